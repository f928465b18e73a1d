import FoundationEssentials

/// The PostgreSQL client programs on this machine, by major version.
struct Clients: Equatable, Sendable {
  /// Directories that hold pg_dump and pg_restore.
  let directories: [Int: String]

  /// Debian and the image lay them out as `/usr/lib/postgresql/MAJOR/bin`; `roots` is that first part. `PATH`'s own pg_dump
  /// comes first for its major, so that a test or an operator can put another one there.
  static func find(path: String, roots: [String] = ["/usr/lib/postgresql"], _ version: (String) async -> Int?) async -> Clients {
    var found: [Int: String] = [:]
    for directory in path.split(separator: ":").map(String.init) {
      // Debian's /usr/bin/pg_dump is a perl wrapper that chooses by its own rules; the real ones are below the roots.
      guard FileManager.default.isExecutableFile(atPath: directory + "/pg_dump"), !isWrapper(directory + "/pg_dump") else {
        continue
      }
      if let major = await version(directory + "/pg_dump"), found[major] == nil { found[major] = directory }
    }
    for root in roots {
      for entry in (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? [] {
        let directory = "\(root)/\(entry)/bin"
        if let major = Int(entry), found[major] == nil, FileManager.default.isExecutableFile(atPath: directory + "/pg_dump") {
          found[major] = directory
        }
      }
    }
    return Clients(directories: found)
  }

  private static func isWrapper(_ path: String) -> Bool {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: path).hasSuffix("pg_wrapper")) ?? false
  }

  /// The server's own major, else the smallest newer one: pg_dump refuses a server newer than itself (measured).
  func dump(server major: Int) throws -> (program: String, major: Int) {
    guard let fit = directories.keys.filter({ $0 >= major }).min() else {
      throw Failure(
        .refused, "the server is PostgreSQL \(major), and the newest pg_dump here is \(newest)",
        hint: "install postgresql-client-\(major), or use an image that has it")
    }
    return (directories[fit]! + "/pg_dump", fit)
  }

  /// The server's own major where it can read the archive, else the smallest that can: an older pg_restore cannot read a newer
  /// archive, a newer one sends `transaction_timeout` to servers that do not know it (measured).
  func restore(archive: Int, server: Int) throws -> (program: String, major: Int) {
    let able = directories.keys.filter { $0 >= archive }
    guard let fit = able.contains(server) ? server : able.min() else {
      throw Failure(
        .refused, "the archive was made by pg_dump \(archive), and the newest pg_restore here is \(newest)",
        hint: "install postgresql-client-\(archive), or use an image that has it")
    }
    return (directories[fit]! + "/pg_restore", fit)
  }

  /// The one of the server's own major, else the newest, because psql speaks with every server; of those that can be kept from obeying
  /// commands in what they load.
  func psql(server: Int, _ version: (String) async -> [Int]) async throws -> String {
    let found = ([server] + directories.keys.sorted(by: >)).compactMap { directories[$0].map { $0 + "/psql" } }
    let programs = found.filter { FileManager.default.isExecutableFile(atPath: $0) }
    for program in programs where PlainDump.restricts(version: await version(program)) { return program }
    throw Failure(
      .refused,
      programs.isEmpty
        ? "psql is missing, which loads the plain SQL of old-style snapshots"
        : "\(programs[0]) obeys commands that stand in a dump, such as \\!: it is older than \\restrict",
      hint:
        "install postgresql-client-\(server)\(programs.isEmpty ? "" : " in its newest minor version"), or use an image that has it"
    )
  }

  /// What a program says to `--version`; empty where it cannot be run.
  static func version(of program: String, _ base: [String: String]) async -> [Int] {
    let outcome = try? await Runner.run(
      Command(program, ["--version"], environment: base), output: .document(limit: 4096), errors: { _ in })
    return outcome.map { Version.numbers(String(decoding: $0.document, as: UTF8.self)) } ?? []
  }

  private var newest: String { directories.keys.max().map(String.init) ?? "missing" }
}

extension DatabaseSettings {
  /// The environment of PostgreSQL's programs. The password goes here and never into arguments or a file.
  func environment(_ base: [String: String], database: String) -> [String: String] {
    var environment = base.merging(libpq) { $1 }
    environment["PGHOST"] = host
    environment["PGPORT"] = String(port)
    environment["PGUSER"] = user
    environment["PGDATABASE"] = database
    environment["PGAPPNAME"] = "backup-restore"
    environment["PGCONNECT_TIMEOUT"] = "30"
    // A server may say otherwise for all, or for this database: a managed one does where its disk gets full.
    let writing = "-c default_transaction_read_only=off"
    environment["PGOPTIONS"] = libpq["PGOPTIONS"].map { $0 + " " + writing } ?? writing
    if let password { environment["PGPASSWORD"] = password.reveal() }
    return environment
  }

  /// For children, as `--dbname`: what libpq reads from no variable. The database's name still comes from PGDATABASE.
  ///
  /// A node that is lost is noticed within a minute while nothing is on its way to it. No tcp_user_timeout, which would end the load of a
  /// table where the server takes nothing for so long: Linux counts a full window, too.
  static let keepalives = "keepalives=1 keepalives_idle=20 keepalives_interval=10 keepalives_count=3"

  /// pg_dump's arguments. The database comes from PGDATABASE: `--dbname` would read a name with `=` as a connection string.
  static func dumpArguments(snapshot: String, lockWait: Duration) -> [String] {
    // Uncompressed: restic compresses, and finds again what did not change (1.6 MB instead of 87 MB, measured).
    [
      "--dbname=\(keepalives)", "--format=custom", "--compress=0", "--no-password", "--snapshot=\(snapshot)",
      "--lock-wait-timeout=\(lockWait.components.seconds * 1000)",
    ]
  }

  /// A dump as a restic part: restic runs pg_dump itself and saves nothing when it fails. `env -u` takes restic's
  /// secrets out of what pg_dump inherits; pg_dump replaces env, so no process stands between.
  static func stdinCommand(program: String, arguments: [String], archive: String, hiding secrets: [String]) -> [String] {
    ["--stdin-from-command", "--stdin-filename", archive, "--", "env"] + secrets.sorted().flatMap { ["-u", $0] } + [program]
      + arguments
  }
}
