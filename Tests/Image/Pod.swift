import Foundation
import Support
import Testing

@testable import BackupRestore

/// A deployment whose pods are containers of the image: a volume of files, secrets as mounted files, a local repository, a database
/// on the test server.
final class PodSite: Sendable {
  /// How docker/kubernetes runs it.
  enum Profile: Sendable {
    /// The CronJob: reads whatever the owner, writes nothing.
    case backup
    /// The Deployment: gives restored files their owners.
    case restore
    /// Writes, but cannot give a file away.
    case withoutOwners
    /// As the files' own user, without any capability.
    case nonRoot

    /// The manifests' securityContext, as podman says it.
    var options: [String] {
      let added: [String] =
        switch self {
        case .backup, .withoutOwners: ["DAC_OVERRIDE"]
        case .restore: ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP"]
        case .nonRoot: []
        }
      return [
        "--user", self == .nonRoot ? "999:999" : "0:0", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges",
        "--tmpfs", "/tmp:size=1g,mode=1777",
      ] + added.map { "--cap-add=\($0)" }
    }
  }

  let root: String
  let cluster: Cluster?
  let database = "pod_\(UInt32.random(in: 0...UInt32.max))"
  let settings: [String: String]
  static let secrets = "/var/run/secrets/backup-secrets"
  static let password = "repository's own: pass=word $(id)"

  var files: String { root + "/files" }
  var repository: String { root + "/repository" }

  init(cluster: Cluster? = nil, settings: [String: String] = [:], secrets: [String: String] = [:]) async throws {
    root = "/tmp/backup-restore-pod.\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
    self.cluster = cluster
    for directory in ["files", "repository", "secrets", "cache"] {
      try FileManager.default.createDirectory(atPath: "\(root)/\(directory)", withIntermediateDirectories: true)
    }
    var all = [
      "RESTIC_REPOSITORY": "/repository", "RESTIC_PASSWORD_FILE": Self.secrets + "/restic-password", "LOCK_WAIT": "30",
      "RESTIC_NEW_PASSWORD_FILE": Self.secrets + "/restic-new-password", "RESTIC_CACHE_DIR": "/var/cache/restic",
      "TMPDIR": "/tmp",
    ]
    var hidden = secrets
    hidden["restic-password"] = hidden["restic-password"] ?? Self.password
    if let cluster {
      all["POSTGRES_DB"] = database
      all["POSTGRES_HOST"] = "127.0.0.1:\(cluster.port)"
      all["POSTGRES_USER_FILE"] = Self.secrets + "/postgres-user"
      all["POSTGRES_PASSWORD_FILE"] = Self.secrets + "/postgres-password"
      hidden["postgres-user"] = "postgres"
      hidden["postgres-password"] = cluster.password
      try await cluster.psql("postgres", "CREATE DATABASE \(database) TEMPLATE template0")
    }
    self.settings = all.merging(settings) { $1 }
    // As a Secret's file: a newline at the end, readable for the pod's user.
    for (name, value) in hidden { try (value + "\n").write(toFile: "\(root)/secrets/\(name)", atomically: true, encoding: .utf8) }
    try await Shell.script("chmod 755 . && chmod 777 cache repository", in: root)
  }

  deinit { try? Tree.remove(.init(root)) }

  func options(_ profile: Profile, _ changes: [String: String?] = [:]) -> [String] {
    var environment = settings
    for (name, value) in changes { environment[name] = value }
    let volumes = [
      "\(files):/var/jira\(profile == .backup ? ":ro" : "")", "\(repository):/repository", "\(root)/secrets:\(Self.secrets):ro",
      "\(root)/cache:/var/cache/restic",
    ]
    return ["--network", "host"] + profile.options + volumes.flatMap { ["--volume", $0] }
      + environment.sorted { $0.key < $1.key }.flatMap { ["--env", "\($0.key)=\($0.value)"] }
  }

  /// One run in a container of its own, as the CronJob's pod.
  func run(
    _ command: [String], as profile: Profile = .restore, with changes: [String: String?] = [:], _ more: [String] = []
  ) async throws -> Shell.Result {
    try await Engine.run(["run", "--rm"] + options(profile, changes) + more + [Engine.image] + command, check: false)
  }

  /// The backup-restore pod: waits for exec.
  func waiting(as profile: Profile = .restore, _ more: [String] = []) async throws -> Container {
    let pod = try await Container(options(profile) + more, ["/entrypoint-start-and-wait.sh"])
    try await pod.waits(for: "waiting")
    return pod
  }

  func sql(_ text: String) async throws -> String { try await cluster!.psql(database, text).output.trimming(" \n") }

  func script(_ text: String) async throws { try await Shell.script(text, in: files) }

  /// Rows in a table and a tree with several owners; `initialised`: and repositories, made as an operator does.
  func fill(initialised: Bool = false) async throws {
    if cluster != nil { _ = try await sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'saved')") }
    try await script("mkdir -p data; echo saved > data/a; ln -s a data/link; chmod 600 data/a; chown -R 901:901 data; echo b > b")
    if initialised { #expect(try await run(["init.sh"]).code == 0) }
  }

  func lose() async throws {
    if cluster != nil { try await cluster!.psql("postgres", "DROP DATABASE \(database) WITH (FORCE)") }
    try await script("rm -rf data b")
  }
}
