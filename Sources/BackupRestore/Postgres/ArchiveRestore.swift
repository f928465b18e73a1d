import Synchronization
import SystemPackage

/// Loads an archive into a staging database with pg_restore.
struct ArchiveRestore: Sendable {
  let settings: DatabaseSettings
  let program: String
  let clientMajor: Int
  let serverMajor: Int
  let base: [String: String]
  let keepOwners: Bool

  /// pg_restore 17 and newer set `transaction_timeout`, which servers before 17 do not know; still so in 17.12 and 18.6.
  var expectsTimeoutError: Bool { clientMajor >= 17 && serverMajor < 17 }

  /// A nil archive is read from standard input, which pg_restore cannot do in parallel.
  func command(staging: String, archive: String?, jobs: Int) -> Command {
    // --dbname makes it connect; a name with = would be read as a connection string, so it goes through the environment.
    var arguments = ["--dbname=", "--no-password"]
    if !expectsTimeoutError { arguments.append("--exit-on-error") }
    if !keepOwners { arguments.append("--no-owner") }
    if let archive { arguments += ["--jobs=\(jobs)", archive] }
    return Command(program, arguments, environment: settings.environment(base, database: staging))
  }

  /// Runs it. - Throws: `Failure` when pg_restore fails for any other reason than that one known error.
  func run(_ command: Command, input: Input) async throws {
    let errors = RestoreErrors()
    let outcome = try await Runner.run(command, input: input, output: .document(limit: 1 << 16), errors: errors.take)
    if outcome.ending.succeeded { return }
    if expectsTimeoutError, outcome.ending == .exited(1), errors.onlyTimeout {
      log.info("pg_restore \(clientMajor) set transaction_timeout, which server \(serverMajor) does not know: harmless, ignored")
      return
    }
    throw Failure(
      .verificationFailed, "pg_restore failed (\(outcome.ending.text)): \(errors.first ?? "it said nothing")",
      hint: "nothing live was changed; the line above names what the server refused")
  }
}

/// pg_restore's standard error. Counts errors, and of them the one that is known to be harmless.
final class RestoreErrors: Sendable {
  private let state = Mutex<(errors: Int, timeouts: Int, ignored: Int?, first: String?)>((0, 0, nil, nil))

  var first: String? { state.withLock { $0.first } }

  /// Whether every error was the known one, by the lines and by pg_restore's own count.
  var onlyTimeout: Bool {
    state.withLock { $0.errors > 0 && $0.errors == $0.timeouts && $0.ignored == $0.errors }
  }

  @Sendable func take(_ line: String) {
    log.info("\(line.hasPrefix("pg_restore: ") ? "" : "pg_restore: ")\(Secret.mask(printable(line)))")
    state.withLock { state in
      if line.hasPrefix("pg_restore: error: ") {
        state.errors += 1
        if line.contains("unrecognized configuration parameter \"transaction_timeout\"") {
          state.timeouts += 1
        } else {
          state.first = state.first ?? Secret.mask(String(line.dropFirst(19)))
        }
      }
      if let range = line.firstRange(of: "errors ignored on restore: ") { state.ignored = Int(line[range.upperBound...]) }
    }
  }
}
