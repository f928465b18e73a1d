import FoundationEssentials
import Glibc
import SystemPackage

/// What a pod shows of a run besides the run's own terminal.
enum Pod {
  /// Whether process 1 is `init --wait`: then this run was started by `kubectl exec`.
  static let isWaiting: Bool = {
    let words = getpid() == 1 ? nil : Run.commandLine(1)
    return words?.first?.split(separator: "/").last == "init" && words?.contains("--wait") == true
  }()

  /// The waiting process's standard error, which `kubectl logs` shows: an operator whose connection broke finds the end of
  /// the run there. Never waits: a log that nobody reads must not hold up a restore.
  static let log: FileDescriptor? =
    isWaiting ? try? FileDescriptor.open("/proc/1/fd/2", .writeOnly, options: [.append, .nonBlocking, .closeOnExec]) : nil

  /// Of the pod whose container this process is; nil elsewhere, and in a run by `kubectl exec`.
  ///
  /// From where the kubelet mounts what it writes for each pod: nothing else in a container tells a pod from others of its name.
  static let own: String? = getpid() == 1 ? (try? MountInfo.read()).flatMap(id) : nil

  /// By the files that it mounts into every container. What else it mounts, in other pods too, is seen where the node's own directories are.
  static func id(mounts: String) -> String? {
    mounts.firstMatch(
      of: #/\/pods\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/[^ ]* (?:\/etc\/hosts|\/dev\/termination-log)\s/#
    ).map { String($0.1) }
  }

  /// Kubernetes keeps 4096 bytes.
  static let longestMessage = 4096

  /// The container's termination message, which `kubectl describe pod` shows and which outlives the log. Only for the pod's own
  /// run: one started by `kubectl exec` does not end the container.
  static func writeTerminationMessage(_ text: String, to path: FilePath = "/dev/termination-log") {
    guard !isWaiting, let file = try? FileDescriptor.open(path, .writeOnly, options: [.truncate, .closeOnExec]) else { return }
    _ = try? file.closeAfter { try file.writeAll(text.utf8.prefix(longestMessage)) }
  }
}

/// A process of ours in this pod, by its command line, which every user may read.
struct Run: Equatable, Sendable {
  let id: pid_t
  let name: String

  static let names: Set<String> = ["init", "backup", "restore"]

  /// Those that are alive, without this one.
  static func others() -> [Run] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.compactMap { pid_t($0) }.filter { $0 != getpid() }.compactMap { id in
      guard let words = commandLine(id), let name = words.first?.split(separator: "/").last.map(String.init), names.contains(name)
      else { return nil }
      return Run(id: id, name: name)
    }
  }

  /// Nil where there is no such process, or it is dead and only waits to be collected.
  static func commandLine(_ id: pid_t) -> [String]? {
    guard let data = try? Data(contentsOf: URL(filePath: "/proc/\(id)/cmdline")), !data.isEmpty else { return nil }
    return data.split(separator: 0, omittingEmptySubsequences: false).dropLast().map { String(decoding: $0, as: UTF8.self) }
  }
}
