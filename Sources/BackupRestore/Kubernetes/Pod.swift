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

  /// Kubernetes keeps 4096 bytes.
  static let longestMessage = 4096

  /// The first line, which says how it ended, and as many of the last lines as fit.
  static func shortened(_ text: String) -> String {
    guard text.utf8.count > longestMessage, let end = text.firstIndex(of: "\n") else { return text }
    let first = text[...end]
    let last = text.utf8.suffix(longestMessage - first.utf8.count)
    let lines = last.firstIndex(of: UInt8(ascii: "\n")).map { text[text.index(after: $0)...] }
    return String(first) + (lines ?? "")
  }

  /// The container's termination message, which `kubectl describe pod` shows and which outlives the log. Only for the pod's own
  /// run: one started by `kubectl exec` does not end the container.
  static func writeTerminationMessage(_ text: String, to path: FilePath = "/dev/termination-log") {
    guard !isWaiting, let file = try? FileDescriptor.open(path, .writeOnly, options: [.truncate, .closeOnExec]) else { return }
    _ = try? file.closeAfter { try file.writeAll(shortened(text).utf8.suffix(longestMessage)) }
  }
}
