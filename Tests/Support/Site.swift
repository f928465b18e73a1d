import Foundation
import Glibc
import Testing

import BackupRestore

/// A deployment under test: a repository, a directory of files, databases on a server, and the executables.
public final class Site: Sendable {
  public let root: String
  public let cluster: Cluster?
  /// The database's name, unique unless given.
  public let database: String
  public let settings: [String: String]

  public var files: String { root + "/files" }
  public var repository: String { root + "/repository" }
  public var work: String { files + "/.backup-restore" }

  public init(
    cluster: Cluster? = nil, database: String? = nil, files: Bool = true, root: String? = nil, settings: [String: String] = [:]
  ) async throws {
    self.root = root ?? "/tmp/backup-restore-site.\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
    self.cluster = cluster
    let unique = "site_\(UInt32.random(in: 0...UInt32.max))"
    self.database = database ?? unique
    var all = Shell.environment
    all["RESTIC_REPOSITORY"] = self.root + "/repository"
    all["RESTIC_PASSWORD"] = "repository's own: pass=word"
    all["RESTIC_CACHE_DIR"] = self.root + "/cache"
    all["TMPDIR"] = self.root + "/tmp"
    all["LOCK_WAIT"] = "60"
    if files { all["FILES_DIRECTORY"] = self.root + "/files" }
    if let cluster {
      all["POSTGRES_DB"] = self.database
      all["POSTGRES_USER"] = "postgres"
      all["POSTGRES_PASSWORD"] = cluster.password
      all["POSTGRES_HOST"] = "127.0.0.1:\(cluster.port)"
    }
    self.settings = all.merging(settings) { $1 }
    for directory in ["", "/tmp", "/cache"] + (files ? ["/files"] : []) {
      try FileManager.default.createDirectory(atPath: self.root + directory, withIntermediateDirectories: true)
    }
  }

  deinit { remove() }

  public func remove() { try? FileManager.default.removeItem(atPath: root) }

  /// Where `swift build` put the executables: beside the running test.
  public static let products: String = {
    let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return String(own.prefix(upTo: own.lastIndex(of: "/") ?? own.startIndex))
  }()

  /// Runs `init`, `backup` or `restore` with the site's environment; nil removes a variable.
  @discardableResult
  public func run(_ program: String, _ arguments: [String] = [], with changes: [String: String?] = [:]) async throws
    -> Shell.Result
  {
    try await start(program, arguments, with: changes).result
  }

  /// Runs it beside the test.
  public func start(_ program: String, _ arguments: [String] = [], with changes: [String: String?] = [:]) throws -> Shell.Running
  {
    var environment = settings
    for (name, value) in changes { environment[name] = value }
    if program == "init", changes["PATH"] == nil { environment["PATH"] = try Self.cheapKeys.get() + settings["PATH"]! }
    return .init(Self.products + "/" + program, arguments, environment: environment)
  }

  /// PATH with a restic whose `init` makes cheap keys where it can reach them, and copies what it made of the same name and password
  /// before: most of what it does, half a second of processor time for each repository, is to measure how long a password's hash takes
  /// here. It sees a slow machine as well, and makes later calls the cheaper for it.
  static let cheapKeys = Result {
    let bin = products + "/cheap-keys"
    try FileManager.default.createDirectory(atPath: bin, withIntermediateDirectories: true)
    let script = """
      #!/bin/bash
      PATH=${PATH#*:} golden=
      case " $* " in *" init "*) ;; *) exec restic "$@" ;; esac
      if [ "$*" = "--json init" ] && [ "${RESTIC_REPOSITORY:0:1}" = / ] && [ ! -e "$RESTIC_REPOSITORY/config" ]; then
        golden='\(bin)'/$(printf '%s\\0' "$RESTIC_PASSWORD" "${RESTIC_REPOSITORY##*/}" | sha256sum | cut -c 1-32)
        if [ -e "$golden" ] && mkdir -p "$RESTIC_REPOSITORY" 2>/dev/null && cp -a "$golden/." "$RESTIC_REPOSITORY"; then exit; fi
      fi
      restic "$@" & restic=$!
      trap 'kill $restic' INT TERM
      while kill -STOP $restic && sleep 0.02 && kill -CONT $restic; do sleep 0.005; done >&- 2>&- &
      wait $restic || exit
      [ -d "$RESTIC_REPOSITORY/keys" ] || exit 0
      python3 '\(Preloaded.sources)/cheap-keys.py' "$RESTIC_REPOSITORY/keys"
      [ -z "$golden" ] || { cp -a "$RESTIC_REPOSITORY" "$golden.$$" && mv -T "$golden.$$" "$golden"; } 2>/dev/null || rm -rf "$golden.$$"

      """
    // Another process may be running what is there.
    let new = bin + "/restic.\(getpid())"
    try script.write(toFile: new, atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: new)
    rename(new, bin + "/restic")
    return bin + ":"
  }

  /// restic on one of the repositories.
  @discardableResult
  public func restic(_ repository: String, _ arguments: [String], check: Bool = true) async throws -> Shell.Result {
    var environment = settings
    environment["RESTIC_REPOSITORY"] = self.repository + "/" + repository
    if arguments.first == "init" { environment["PATH"] = try Self.cheapKeys.get() + environment["PATH"]! }
    return try await Shell.run("restic", arguments, environment: environment, check: check)
  }

  public func sql(_ text: String) async throws -> String {
    try await cluster!.psql(database, text).output.trimming(" \n")
  }

  /// Names of databases on the server that belong to this site.
  public func databases() async throws -> [String] {
    let names = try await cluster!.psql("postgres", "SELECT datname FROM pg_database ORDER BY 1").output.split(separator: "\n")
      .map(String.init)
    return names.filter { $0 == database || DatabaseName.parse($0, live: database) != nil }
  }

  /// The ids of the sets that have a record, oldest first.
  public func sets() async throws -> [String] {
    let lines = try await run("restore", ["--list"]).output.split(separator: "\n").filter { !$0.contains("no record") }
    return lines.compactMap { $0.split(separator: " ").first.map(String.init) }.filter { SetID($0) != nil }
  }

  public func createDatabase(_ sql: String = "") async throws {
    try await cluster!.psql(
      "postgres", "CREATE DATABASE \(SQL.identifier(database)) TEMPLATE template0 OWNER \(SQL.identifier(user))")
    if !sql.isEmpty { try await own(sql) }
  }

  /// `restore --status`, with repositories that answer nothing before it has said all that is at hand. It waits two seconds for that, by
  /// its own clock, and twenty for them: where it says of a repository what that answered, it said the rest at once.
  public func status() async throws -> Shell.Result {
    let said = root + "/status"
    let path = try fake(
      "restic",
      """
      case " $* " in *" snapshots "*) until grep -Eq '^(PREVIOUS|kept for rollback)' '\(said)'; do sleep 0.02; done;; esac
      PATH=${PATH#*:}
      exec restic "$@"
      """, for: "-status")
    let script = "'\(Self.products)/restore' --status >'\(said)'"
    let run = try await Shell.Running("sh", ["-c", script], environment: settings.merging(["PATH": path]) { $1 }).result
    let output = try String(contentsOfFile: said, encoding: .utf8)
    let isLate = output.split(separator: "\n").contains { $0.hasPrefix("repository: ") && $0.contains("no answer within") }
    #expect(!isLate, "\(output)\(run.errors)")
    return .init(code: run.code, output: output, errors: run.errors)
  }

  /// Until no restic works for this site any more: one whose toolkit was killed goes on by itself.
  public func untilIdle() async throws {
    try await Shell.script(
      // One may be gone before it is looked at.
      "while { grep -lsa '\(root)' $(pgrep -x restic | sed 's,.*,/proc/&/environ,') /dev/null || true; } | grep -q .; do sleep 0.1; done",
      in: root)
  }

  /// Until a shell's condition in `root` is true, five minutes at most.
  public func until(_ condition: String) async throws {
    try await Shell.script("for i in $(seq 6000); do if \(condition); then exit; fi; sleep 0.05; done; exit 1", in: root)
  }

  /// PATH with a program of that name before all others, a script of sh. `PATH=${PATH#*:}` in it makes the name mean the real one.
  ///
  /// - Parameter purpose: tells it from another one of that name.
  public func fake(_ name: String, _ body: String, for purpose: String = "") throws -> String {
    let bin = root + "/fake-\(name)\(purpose)"
    try FileManager.default.createDirectory(atPath: bin, withIntermediateDirectories: true)
    try "#!/bin/sh\n\(body)\n".write(toFile: bin + "/" + name, atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: bin + "/" + name)
    return bin + ":" + settings["PATH"]!
  }

  public func script(_ text: String) async throws { try await Shell.script(text, in: files) }
}
