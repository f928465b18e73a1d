/// Loads an archive into a staging database with pg_restore.
struct ArchiveRestore: Sendable {
  let settings: DatabaseSettings
  let program: String
  let clientMajor: Int
  let serverMajor: Int
  let base: [String: String]
  /// Who makes everything, and owns it; nil: as saved.
  var role: String? = nil
  /// Where one of them is missing, everything goes into the database's own.
  var keepTablespaces = true

  /// pg_restore 17 and newer set `transaction_timeout`, which servers before 17 do not know; still so in 17.12 and 18.6.
  var expectsTimeoutError: Bool { clientMajor >= 17 && serverMajor < 17 }

  /// What of it, and how.
  struct Choice: Sendable {
    /// A file with the entries that are wanted; nil: all.
    var list: String? = nil
    /// For what is tried again; nil: the first time.
    var searchPath: String? = nil
  }

  /// A nil archive is read from standard input, which pg_restore cannot do in parallel.
  func command(staging: String, archive: String?, jobs: Int, _ choice: Choice = Choice()) -> Command {
    // --dbname makes it connect; a name with = would be read as a connection string, so it goes through the environment. Without
    // --verbose it does not say which entry was refused.
    var arguments = ["--dbname=\(DatabaseSettings.keepalives)", "--no-password", "--verbose"]
    if role != nil { arguments.append("--no-owner") }
    if let role { arguments.append("--role=\(role)") }
    if !keepTablespaces { arguments.append("--no-tablespaces") }
    if let list = choice.list { arguments.append("--use-list=\(list)") }
    if let archive { arguments += (jobs > 1 ? ["--jobs=\(jobs)"] : []) + [archive] }
    var environment = settings.environment(base, database: staging)
    if let path = choice.searchPath { environment["PGOPTIONS"] = Self.options(environment["PGOPTIONS"], path) }
    return Command(program, arguments, environment: environment)
  }

  /// Without parallel workers, which need shared memory: a container's /dev/shm has 64 MB. The server splits options at every character that
  /// C calls space, and what it splits off is set with POSTGRES_USER's rights.
  private static func options(_ own: String?, _ path: String) -> String {
    let escaped = path.prefixing("\\ \t\n\u{0B}\u{0C}\r", with: "\\")
    let options = ["search_path=\(escaped)", "max_parallel_maintenance_workers=0", "max_parallel_workers_per_gather=0"]
    return ([own].compactMap(\.self) + options.map { "-c \($0)" }).joined(separator: " ")
  }

  /// Runs it to the archive's end, and returns what the server refused. - Throws: `Failure` when pg_restore fails for any other reason
  /// than that and the one known error, or its sessions stand still.
  /// - Parameter isQuiet: the second time the same words are no news.
  func run(_ command: Command, input: Input, backends: BackendWatch, isQuiet: Bool = false) async throws -> [Refusal] {
    let errors = ClientErrors("pg_restore", isQuiet: isQuiet)
    backends.watch.begin()
    let outcome = try await Runner.run(
      command, input: input, output: .document(limit: 1 << 16), watch: backends.watch, errors: errors.take)
    if outcome.stopped != nil { throw backends.failure("pg_restore") }
    if outcome.ending.succeeded { return [] }
    let isOver = outcome.ending == .exited(1)
    if expectsTimeoutError, isOver, errors.onlyTimeout || errors.refusals != nil {
      log.info("pg_restore \(clientMajor) set transaction_timeout, which server \(serverMajor) does not know: harmless, ignored")
      if errors.onlyTimeout { return [] }
    }
    if isOver, let refusals = errors.refusals { return refusals }
    throw Failure(
      .verificationFailed, "pg_restore failed (\(outcome.ending.text)): \(errors.first ?? "it said nothing")",
      hint: outcome.ending.hint("nothing live was changed; mend what the line above names, then run it again"))
  }
}
