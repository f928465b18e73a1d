/// Loads an archive into a staging database with pg_restore.
struct ArchiveRestore: Sendable {
  let settings: DatabaseSettings
  let program: String
  let clientMajor: Int
  let serverMajor: Int
  let base: [String: String]
  let keepOwners: Bool
  /// Who makes everything, and owns it; nil: as saved.
  var role: String? = nil

  /// pg_restore 17 and newer set `transaction_timeout`, which servers before 17 do not know; still so in 17.12 and 18.6.
  var expectsTimeoutError: Bool { clientMajor >= 17 && serverMajor < 17 }

  /// A nil archive is read from standard input, which pg_restore cannot do in parallel.
  func command(staging: String, archive: String?, jobs: Int) -> Command {
    // --dbname makes it connect; a name with = would be read as a connection string, so it goes through the environment.
    var arguments = ["--dbname=\(DatabaseSettings.keepalives)", "--no-password"]
    if !expectsTimeoutError { arguments.append("--exit-on-error") }
    if !keepOwners || role != nil { arguments.append("--no-owner") }
    if let role { arguments.append("--role=\(role)") }
    if let archive { arguments += ["--jobs=\(jobs)", archive] }
    return Command(program, arguments, environment: settings.environment(base, database: staging))
  }

  /// Runs it. - Throws: `Failure` when pg_restore fails for any other reason than that one known error, or its sessions stand still.
  func run(_ command: Command, input: Input, backends: BackendWatch) async throws {
    let errors = ClientErrors("pg_restore")
    backends.watch.begin()
    let outcome = try await Runner.run(
      command, input: input, output: .document(limit: 1 << 16), watch: backends.watch, errors: errors.take)
    if outcome.stopped != nil { throw backends.failure("pg_restore") }
    if outcome.ending.succeeded { return }
    if expectsTimeoutError, outcome.ending == .exited(1), errors.onlyTimeout {
      log.info("pg_restore \(clientMajor) set transaction_timeout, which server \(serverMajor) does not know: harmless, ignored")
      return
    }
    // pg_restore runs with an empty search_path, also what an index or a generated column calls.
    let path =
      errors.first?.contains("does not exist") == true
      ? "; a function that an index, a view or a column calls must name its schemas, or carry them: ALTER FUNCTION … SET search_path"
      : ""
    let rights =
      role.map {
        "; what only a superuser can make, not \(printable($0)) who owns the rest: restore --as-superuser loads all as POSTGRES_USER"
      } ?? ""
    throw Failure(
      .verificationFailed, "pg_restore failed (\(outcome.ending.text)): \(errors.first ?? "it said nothing")",
      hint: outcome.ending.hint("nothing live was changed; the line above names what the server refused\(path)\(rights)"))
  }
}
