import FoundationEssentials

/// A plain SQL dump as the predecessor saved it, under `/stdin`; psql loads it.
struct PlainDump: Sendable {
  let settings: DatabaseSettings
  let program: String
  let serverMajor: Int
  let base: [String: String]
  /// The operator takes what loads: every error is a difference, accepted beforehand.
  let acceptsErrors: Bool
  /// Whether it begins with a `\restrict` of its own.
  let isRestricted: Bool

  /// pg_dump 17 and newer set `transaction_timeout`, which servers before 17 do not know; psql goes on after it only where it
  /// goes on after every error, so they are counted.
  private var goesOn: Bool { acceptsErrors || serverMajor < 17 }

  func command(staging: String) -> Command {
    let arguments = [
      "--no-psqlrc", "--quiet", "--dbname=\(DatabaseSettings.keepalives)", "--no-password",
      "--set=ON_ERROR_STOP=\(goesOn ? 0 : 1)", "--set=VERBOSITY=verbose",
      "--output=/dev/null",
    ]
    // A dump made before pg_dump had `\restrict` may hold names with line ends, and what follows them is a command to psql (CVE-2025-8714).
    // Where there is one already, another is refused (measured).
    let restriction = isRestricted ? [] : ["--command=\\restrict \(Self.key())"]
    return Command(program, arguments + restriction + ["--file=-"], environment: settings.environment(base, database: staging))
  }

  /// Runs it, and returns the errors that were accepted. - Throws: `Failure` for any error but that one known one.
  func run(staging: String, input: Input, backends: BackendWatch) async throws -> [String] {
    let errors = ClientErrors("psql")
    backends.watch.begin()
    let outcome = try await Runner.run(
      command(staging: staging), input: input, output: .document(limit: 1 << 16), watch: backends.watch, errors: errors.take)
    if outcome.stopped != nil { throw backends.failure("psql") }
    if outcome.ending.succeeded, errors.count == 0 { return [] }
    if outcome.ending.succeeded, serverMajor < 17, errors.count == errors.timeouts {
      log.info("the dump set transaction_timeout, which server \(serverMajor) does not know: harmless, ignored")
      return []
    }
    let failed = "\(errors.count - errors.timeouts) of the dump's statements failed, the first: \(errors.first ?? "")"
    if outcome.ending.succeeded, acceptsErrors {
      return [failed]
    }
    throw Failure(
      .verificationFailed,
      outcome.ending.succeeded ? failed : "psql failed (\(outcome.ending.text)): \(errors.first ?? "it said nothing")",
      hint: outcome.ending.hint(
        "nothing live was changed; create what PostgreSQL misses, or take what loads with --accept-differences"))
  }

  /// What `\unrestrict` would have to say: nobody who wrote into the dump can have known it.
  private static func key() -> String {
    (0..<4).map { _ in String(UInt64.random(in: 0 ... .max), radix: 36) }.joined()
  }

  /// Whether psql of this version (15, 18) has `\restrict`.
  static func restricts(version: [Int]) -> Bool {
    guard version.count > 1, let since = [13: 22, 14: 19, 15: 14, 16: 10, 17: 6][version[0]] else {
      return (version.first ?? 0) > 17
    }
    return version[1] >= since
  }

  /// Whether `\restrict` is the dump's first word, behind pg_dump's title: further down it may be somebody else's.
  static func isRestricted(beginning: [UInt8]) -> Bool {
    let lines = String(decoding: beginning, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: true)
    return lines.first { $0 != "--" && $0 != "-- PostgreSQL database dump" }?.hasPrefix("\\restrict ") == true
  }

  /// Whether a dump with this beginning would leave the database it is loaded into: `pg_dump --create` makes and connects to its own,
  /// which would be the live one.
  static func leavesItsDatabase(beginning: [UInt8]) -> Bool {
    String(decoding: beginning, as: UTF8.self).split(separator: "\n").contains { line in
      ["\\connect ", "CREATE DATABASE ", "DROP DATABASE "].contains { line.hasPrefix($0) }
    }
  }

  /// Whether a dump with this end is whole: nothing but `\unrestrict` and empty lines come after pg_dump's last words.
  static func isComplete(end: [UInt8]) -> Bool {
    let lines = String(decoding: end, as: UTF8.self).split(separator: "\n").filter {
      $0 != "--" && !$0.hasPrefix("\\unrestrict ")
    }
    return lines.last == "-- PostgreSQL database dump complete"
  }
}

extension DatabasePart {
  static let plainPath = "/stdin"
  var isPlain: Bool { archive == Self.plainPath }
}

extension Clients {
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
}
