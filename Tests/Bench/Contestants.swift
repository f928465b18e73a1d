import Foundation
import Glibc
import Support

import BackupRestore

/// Who saves the same data with the same restic and PostgreSQL.
protocol Contestant: Sendable {
  var ground: Ground { get }
  var name: String { get }
  /// The database it restores.
  var database: String { get }
  /// Restores over this directory.
  var files: String { get }

  /// Empty repositories.
  func prepare() async throws
  func backup() async throws
  /// What a restore needs beforehand, untimed.
  func clear() async throws
  func restore() async throws
}

extension Contestant {
  var database: String { name }
  var files: String { ground.site.root + "/" + name + ".files" }
  var repository: String { ground.site.root + "/" + name }

  var environment: [String: String] {
    ground.site.settings.merging(ground.cluster.environment) { $1 }.merging([
      "RESTIC_REPOSITORY": repository, "RESTIC_CACHE_DIR": repository + ".cache", "BASE": repository, "SOURCE": ground.site.files,
      "TARGET": files, "DATABASE": database, "PATH": Cluster.binaries + ":" + ground.site.settings["PATH"]!,
    ]) { $1 }
  }

  func run(_ script: String) async throws {
    try await Shell.script(script, in: ground.site.root, environment: environment)
  }

  /// Bytes of data in all repositories.
  func stored() async throws -> Double {
    let text = try await Shell.script("cat */data/*/* | wc -c", in: repository)
    return Double(text.trimming(" \n")) ?? 0
  }
}

/// The shell scripts: three repositories one after the other; the database dropped before its dump is opened.
struct Predecessor: Contestant {
  let ground: Ground
  let name = "predecessor"

  static let repositories = "r() { local name=$1; shift; restic --quiet -r \"$BASE/$name\" \"$@\"; }\n"

  func prepare() async throws {
    try await run(
      Self.repositories + "rm -rf \"$BASE\" \"$BASE.cache\"; for name in files pg-role pg-database; do r $name init; done")
  }

  func backup() async throws {
    try await run(
      Self.repositories
        + """
        keep() { r $1 forget --keep-last 1 --keep-within 30d --prune; }
        r files unlock --cleanup-cache; (cd "$SOURCE"; r files backup --exclude .backup-restore .); keep files
        r pg-role unlock --cleanup-cache
        pg_dumpall --roles-only | grep postgres | r pg-role backup --stdin; keep pg-role
        r pg-database unlock --cleanup-cache
        pg_dump --no-password --serializable-deferrable app | r pg-database backup --stdin; keep pg-database
        """)
  }

  func clear() async throws {
    // There is always something to replace.
    try await run(
      """
      mkdir -p "$TARGET"; [ -n "$(ls "$TARGET")" ] || cp -a "$SOURCE/." "$TARGET"
      psql -XAtq postgres -c "SELECT 1 FROM pg_database WHERE datname = '$DATABASE'" | grep -q 1 || createdb --template app "$DATABASE"
      """)
  }

  func restore() async throws {
    try await run(
      Self.repositories
        + """
        r pg-role unlock --cleanup-cache; r pg-role dump latest stdin | psql -Xq template1 >/dev/null 2>&1 || true
        r pg-database unlock --cleanup-cache; dropdb --force "$DATABASE"; createdb "$DATABASE"
        r pg-database dump latest stdin | psql -Xq "$DATABASE" >/dev/null
        r files unlock --cleanup-cache; rm -rf "$TARGET"/*; r files restore latest --target "$TARGET"
        """)
  }
}

/// The two pipelines, side by side, and nothing else: no roles, no retention, no evidence, nothing verified.
struct Limit: Contestant {
  let ground: Ground
  let name = "limit"

  func prepare() async throws {
    try await run(
      "rm -rf \"$BASE\" \"$BASE.cache\"; for name in files pg-database; do restic --quiet -r \"$BASE/$name\" init; done")
  }

  func backup() async throws {
    try await run(
      """
      (cd "$SOURCE"; exec restic --quiet -r "$BASE/files" backup --exclude .backup-restore .) & files=$!
      restic --quiet -r "$BASE/pg-database" backup --stdin-filename app.dump --stdin-from-command -- \\
        pg_dump --format=custom --compress=0 --no-password app
      wait $files
      """)
  }

  func clear() async throws {
    try await run("dropdb --force --if-exists \"$DATABASE\"; createdb \"$DATABASE\"; rm -rf \"$TARGET\"")
  }

  func restore() async throws {
    try await run(
      """
      restic --quiet -r "$BASE/files" restore latest --target "$TARGET" & files=$!
      restic --quiet -r "$BASE/pg-database" dump latest app.dump >app.dump
      pg_restore --jobs="$(nproc)" --dbname="$DATABASE" app.dump
      wait $files; rm app.dump
      """)
  }
}

/// These executables. A restore goes over the source itself, which stays what it was.
struct Toolkit: Contestant {
  let ground: Ground
  let name = "toolkit"
  let database = "app"

  var files: String { ground.site.files }

  @discardableResult private func program(_ name: String, _ arguments: [String] = []) async throws -> String {
    try await Shell.run(ground.programs + "/" + name, arguments, environment: environment).output
  }

  func prepare() async throws {
    try await run("rm -rf \"$BASE\" \"$BASE.cache\"")
    try await program("init")
  }

  func backup() async throws { try await program("backup") }

  func clear() async throws {
    for line in try await program("restore", ["--status"]).split(separator: "\n") {
      let id = String(line.prefix { $0 != " " })
      if SetID(id) != nil { try await program("restore", ["--discard-previous", id]) }
    }
  }

  func restore() async throws { try await program("restore") }

  /// - Throws: where not that many sets are listed.
  func list(_ count: Int) async throws {
    let lines = try await program("restore", ["--list"]).split(separator: "\n").count {
      SetID(String($0.prefix { $0 != " " })) != nil
    }
    if lines != count { throw Different(what: "\(lines) sets listed instead of \(count)") }
  }

  /// More records with the tags of the one that is there, a minute earlier each.
  func addRecords(from: Int, to count: Int) async throws {
    try await run(
      """
      export RESTIC_REPOSITORY=$BASE/sets
      restic --quiet restore latest --target record
      restic snapshots --json | grep -o '"tags":\\[[^]]*\\]' | sed -n 1p | grep -oE '"[a-z-]+=[^"]*"' | tr -d '"' |
        grep -v ^set= | sed 's/^/--tag=/' >tags
      cd record
      seq \(from) \(count - 1) | xargs -P "$(nproc)" -I{} bash -c '
        moment=$(( $(date +%s) - 60 * {} ))
        mapfile -t tags <../tags
        restic --quiet backup --host backup-restore --time "$(date -d @$moment "+%F %T")" \\
          --tag "set=$(date -u -d @$moment +%Y%m%dT%H%M%SZ)" "${tags[@]}" *'
      cd ..; rm -r record tags
      """)
  }

  /// The most memory it takes itself, without what it starts, in MB.
  func peak(_ program: String, _ arguments: String...) async throws -> Double {
    let path = ground.programs + "/" + program
    let sampling = Task {
      var peak = 0.0
      while !Task.isCancelled {
        peak = max(peak, Self.highWater(path))
        try? await Task.sleep(for: .milliseconds(20))
      }
      return peak
    }
    defer { sampling.cancel() }
    try await self.program(program, arguments)
    sampling.cancel()
    return await sampling.value
  }

  private static func highWater(_ path: String) -> Double {
    for process in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] where Int(process) != nil {
      guard (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/exe")) == path,
        let status = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8),
        let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") })
      else { continue }
      return (Double(line.split(separator: " ").dropLast().last ?? "") ?? 0) * 1024 / 1e6
    }
    return 0
  }
}

/// How long after its start a program is gone, in milliseconds.
func milliseconds(_ path: String, _ arguments: String...) throws -> Double {
  let begin = ContinuousClock().now
  var pid = pid_t()
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  for descriptor in 0...2 as ClosedRange<Int32> {
    posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
  }
  let words = ([path] + arguments).map { strdup($0) } + [nil]
  defer { words.forEach { free($0) } }
  guard posix_spawn(&pid, path, &actions, nil, words, environ) == 0 else { throw Different(what: "cannot start \(path)") }
  var status: Int32 = 0
  waitpid(pid, &status, 0)
  guard status == 0 else { throw Different(what: "\(path) failed") }
  return begin.duration(to: .now).inSeconds * 1000
}
