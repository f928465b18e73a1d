import Foundation
import Glibc
import Synchronization

import BackupRestore

/// A throwaway PostgreSQL server on loopback, run by an unprivileged user, bounded in time.
public final class Cluster: Sendable {
  public let port: Int
  public let directory: String
  public let password = "superuser's own: pass=word"
  public static let binaries = "/usr/lib/postgresql/15/bin"

  /// The one most tests share; each uses databases of its own.
  public static let shared = Task { try await Cluster() }

  private let options: [String]
  private let missing: String?
  private let memory: String?
  private let added: [String: String]

  /// - Parameters:
  ///   - options: postgres' own, as `name=value`.
  ///   - room: a file system of its own, of that size, as mount(8) takes it.
  ///   - extension: one that this server does not have.
  ///   - primary: what it is a standby of.
  ///   - memory: the size of its /dev/shm.
  ///   - added: files of extensions that no other server has.
  public init(
    options: [String] = [], room: String? = nil, without extension: String? = nil, standbyOf primary: Cluster? = nil,
    memory: String? = nil, added: [String: String] = [:]
  ) async throws {
    (self.options, missing, self.memory, self.added) = (options, `extension`, memory, added)
    directory = "/tmp/backup-restore-cluster.\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
    port = try Self.freePort()
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    if let room { try await Shell.check("mount", ["-t", "tmpfs", "-o", "size=\(room)", "none", directory]) }
    let secret = directory + "/password"
    try password.write(toFile: secret, atomically: false, encoding: .utf8)
    if geteuid() == 0 { try await Shell.check("chown", ["-R", "postgres:postgres", directory]) }
    let making =
      primary == nil
      ? [
        "initdb", "-A", "scram-sha-256", "--pwfile", secret, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8",
      ] : ["pg_basebackup", "--checkpoint=fast", "--write-recovery-conf"]
    _ = try await Shell.run(
      Self.unprivileged[0],
      Self.unprivileged.dropFirst() + ["\(Self.binaries)/\(making[0])", "-D", directory + "/data"] + making.dropFirst(),
      environment: primary?.environment ?? Shell.environment)
    try FileManager.default.removeItem(atPath: secret)
    Self.running.withLock { $0.append(directory) }
    atexit { Cluster.stopAll() }
    try await start()
  }

  /// Starts the server, also one that crashed, and waits until it answers.
  public func start() async throws {
    let settings = [
      "listen_addresses=127.0.0.1", "port=\(port)", "unix_socket_directories=\(directory)", "fsync=off", "wal_level=logical",
      "max_prepared_transactions=10", "max_connections=200",
    ]
    var arguments: [String] = []
    if missing != nil || !added.isEmpty {
      let extensions = "/usr/share/postgresql/15/extension"
      let remove = missing.map { "rm $1/extension/\($0)*; " } ?? ""
      for (name, text) in added { try text.write(toFile: directory + "/" + name, atomically: false, encoding: .utf8) }
      let add = added.keys.map { "cp $1/\($0) $1/extension/; " }.joined()
      let hide = "cp -a \(extensions) $1/; \(remove)\(add)mount --bind $1/extension \(extensions)"
      let script = hide + "; shift; exec \"$@\""
      arguments = ["unshare", "--mount", "sh", "-euc", script, "sh", directory]
    }
    if let memory {
      let script = "mount -t tmpfs -o size=\(memory) none /dev/shm; exec \"$@\""
      arguments += ["unshare", "--mount", "sh", "-euc", script, "sh"]
    }
    arguments += Self.unprivileged + [Self.binaries + "/postgres", "-D", directory + "/data"]
    arguments += (settings + options).flatMap { ["-c", $0] }
    // Ended by its pid when this process exits, and by timeout(1) should this process be killed.
    let command = Command("timeout", ["--signal=INT", "3000"] + arguments, environment: Shell.environment)
    let log = directory + "/log"
    Task {
      _ = try await Runner.run(command, output: .document(limit: 1 << 16)) { line in
        Shell.append(line, to: log)
      }
    }
    for _ in 0..<3000 {
      if try await psql("postgres", "SELECT 1", check: false).code == 0 { return }
      try await Task.sleep(for: .milliseconds(100))
    }
    throw Failure(.unexpected, "the test server did not start: see \(log)", hint: "is port \(port) free?")
  }

  private static let unprivileged =
    geteuid() == 0 ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"] : ["env"]
  private static let running = Mutex<[String]>([])

  static func stopAll() {
    for directory in running.withLock({ $0 }) {
      guard
        let line = try? String(contentsOfFile: directory + "/data/postmaster.pid", encoding: .utf8).split(separator: "\n").first,
        let pid = pid_t(line)
      else { continue }
      kill(pid, SIGQUIT)
      for _ in 0..<300 where kill(pid, 0) == 0 { usleep(100_000) }
      umount2(directory, Int32(MNT_DETACH))
      try? FileManager.default.removeItem(atPath: directory)
    }
  }

  public var pid: pid_t? {
    (try? String(contentsOfFile: directory + "/data/postmaster.pid", encoding: .utf8))?.split(separator: "\n").first.flatMap {
      pid_t($0)
    }
  }

  /// Environment for PostgreSQL's programs as the superuser.
  public var environment: [String: String] {
    Shell.environment.merging(["PGHOST": "127.0.0.1", "PGPORT": "\(port)", "PGUSER": "postgres", "PGPASSWORD": password]) { $1 }
  }

  /// Runs SQL, unaligned output without headings; stops at the first error.
  @discardableResult
  public func psql(_ database: String, _ sql: String, check: Bool = true) async throws -> Shell.Result {
    var environment = environment
    environment["PGDATABASE"] = database
    return try await Shell.run(
      Self.binaries + "/psql", ["-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"], environment: environment, input: sql, check: check)
  }

  /// The database's definition as pg_dump gives it, with its properties.
  public func schema(_ database: String) async throws -> String {
    var environment = environment
    environment["PGDATABASE"] = database
    let text = try await Shell.run(Self.binaries + "/pg_dump", ["--schema-only", "--create"], environment: environment).output
    // \restrict has another random token in each dump.
    return text.split(separator: "\n").filter { !$0.hasPrefix("\\restrict") && !$0.hasPrefix("\\unrestrict") }.joined(
      separator: "\n")
  }

  public static func freePort() throws -> Int {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
      }
    }
    guard bound else { throw Failure(.unexpected, "no free port on 127.0.0.1", hint: "look at ss -ltn") }
    return Int(address.sin_port.bigEndian)
  }
}
