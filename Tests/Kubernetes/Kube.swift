import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// Nights, interruptions and the runbook, one after the other; the other suites of this directory run beside them: most of what they do is waiting for pods.
@Suite(.serialized, .servers, .cluster, .timeLimit(.minutes(30))) enum OnKubernetes {}

extension Trait where Self == ConditionTrait {
  /// Where no cluster can be had a suite is skipped by name; in CI it fails.
  static var cluster: Self { .enabled(if: Kube.missing == nil || Kube.isCI, "no Kubernetes here: set TEST_KUBECONFIG") }
}

/// A real Kubernetes: the one TEST_KUBECONFIG names, or one node of this machine's own until this process ends.
///
/// Images come into the node by TEST_KUBE_LOAD, a command that takes an archive: `kind load image-archive`, `k3d image import`.
final class Kube: Sendable {
  let kubeconfig: String
  /// Where the node keeps volumes.
  let volumes: String
  /// Before 1.21 CronJobs are batch/v1beta1, before 1.26 there is no podFailurePolicy.
  let minor: Int

  static let shared = Task { try await Kube() }
  static let image = "localhost/backup-restore:test"
  static let server = "localhost/postgresql:15"
  static let project = Needs.project
  static let variables = ProcessInfo.processInfo.environment
  static let isCI = variables["CI"] == "true"
  private static let script = project + "/../shared/kubernetes/cluster.sh"

  /// Why there is no cluster; nil where there can be one.
  static let missing: String? =
    variables["TEST_KUBECONFIG"] != nil || FileManager.default.isExecutableFile(atPath: script)
    ? nil : "neither TEST_KUBECONFIG nor a script that makes a cluster"

  private init() async throws {
    if let missing = Self.missing { throw Failure(.unexpected, missing, hint: "in CI a cluster is required") }
    for (image, maker) in [(Self.image, "docker/image"), (Self.server, "docker/test-images")] {
      try await Self.podman("podman image exists \(image) || \(maker) \(maker == "docker/image" ? image : "15") >&2")
    }
    if let given = Self.variables["TEST_KUBECONFIG"] {
      kubeconfig = given
      volumes = "/tmp/backup-restore-volumes"
    } else {
      let directory = try await Self.up()
      kubeconfig = directory + "/kubeconfig"
      volumes = directory + "/volumes"
    }
    let load =
      Self.variables["TEST_KUBE_LOAD"]
      ?? "ctr -a \((kubeconfig as NSString).deletingLastPathComponent)/containerd.sock -n k8s.io images import"
    for image in [Self.image, Self.server] {
      try await Self.podman(
        "archive=$(mktemp -u --suffix=.tar); trap 'rm -f $archive' EXIT; podman save -q -o $archive \(image); \(load) $archive >&2"
      )
    }
    struct Version: Decodable {
      struct Server: Decodable { let minor: String }
      let serverVersion: Server
    }
    let text = try await Shell.run("kubectl", ["--kubeconfig", kubeconfig, "version", "-o", "json"]).output
    minor = Int(try JSONDecoder().decode(Version.self, from: Data(text.utf8)).serverVersion.minor.prefix { $0.isNumber }) ?? 0
  }

  private static func podman(_ text: String) async throws {
    try await Shell.script(
      ". docker/podman.env.sh; " + text, in: project, environment: variables.filter { $0.key != "LD_LIBRARY_PATH" })
  }

  /// Ends a cluster and what it left on the machine when standard input closes, that is when the test is gone, however it ended.
  private static let guardian = #"""
    script=$1 directory=$2
    exec 9>/tmp/backup-restore-kube.lock; flock 9; touch "$directory/alone"
    cat >/dev/null
    kubectl() { timeout 90 kubectl --kubeconfig "$directory/kubeconfig" "$@"; }
    if [ -e "$directory/kubelet.pid" ]; then
      kubectl delete pods --all-namespaces --all --grace-period=1 --wait=false
      namespaces=$(kubectl get namespace -l backup-restore/test -o name)
      [ -z "$namespaces" ] || kubectl delete $namespaces --timeout=60s
    fi
    "$script" down "$directory"
    for process in /proc/[0-9]*; do
      ! tr '\0' ' ' <"$process/cmdline" | grep -qF -- "-address $directory/containerd.sock" || kill -KILL "${process#/proc/}"
    done
    findmnt -rno TARGET | grep "^$directory/" | sort -r | xargs -r umount -l
    for table in filter nat mangle; do
      iptables -t $table -S | sed -n '/KUBE-/s/^-A/-D/p' | while read -r rule; do eval "iptables -t $table $rule"; done
      for chain in $(iptables -t $table -S | sed -n 's/^-N \(KUBE-.*\)/\1/p'); do iptables -t $table -X "$chain"; done
    done
    rm -rf "$directory" /var/log/pods/app-[0-9]*_* /var/log/containers/*_app-[0-9]*_* /var/lib/cni/networks/lab /var/lib/cni/results/lab-*
    """#

  /// One cluster of this kind fits on a machine: others wait for it.
  private static func up() async throws -> String {
    let directory = "/tmp/backup-restore-kube.\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let (process, lifeline) = (Process(), Pipe())
    process.executableURL = URL(filePath: "/usr/bin/setsid")
    process.arguments = ["bash", "-c", guardian, "guardian", script, directory]
    process.standardInput = lifeline
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    _ = fcntl(lifeline.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
    try process.run()
    running.change { $0 = (process, lifeline) }
    atexit {
      Kube.running.change { running in
        try? running?.lifeline.fileHandleForWriting.close()
        running?.process.waitUntilExit()
      }
    }
    try await until("another test's cluster is gone", seconds: 900) {
      FileManager.default.fileExists(atPath: directory + "/alone")
    }
    try await podman("\(script) up \(directory) >\(directory)/up.log 2>&1 || { cat \(directory)/up.log >&2; exit 1; }")
    return directory
  }
  private static let running = Locked<(process: Process, lifeline: Pipe)?>(nil)

  /// kubectl as the administrator.
  @discardableResult
  func kubectl(_ arguments: [String], input: String? = nil, check: Bool = true) async throws -> Shell.Result {
    try await Shell.run("kubectl", ["--kubeconfig", kubeconfig] + arguments, input: input, check: check)
  }
}

/// Looks every 200 ms; a condition that never comes true is an error with its name.
func until(_ what: String, seconds: Int = 600, _ condition: () async throws -> Bool) async throws {
  let deadline = ContinuousClock().now + .seconds(seconds)
  while try await !condition() {
    guard ContinuousClock().now < deadline else { throw Failure(.unexpected, "not within \(seconds) s: \(what)", hint: "") }
    try await Task.sleep(for: .milliseconds(200))
  }
}

/// One word for a shell.
func quoted(_ word: String) -> String { "'" + word.replacing("'", with: "'\\''") + "'" }
