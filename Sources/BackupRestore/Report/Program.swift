import ArgumentParser
import Dispatch
import FoundationEssentials
import Glibc
import Synchronization

/// What all three executables do around their steps: signals, configuration, errors, exit code.
public enum Program {
  public static let version = "0.1.0"

  public static let help = """
    CONFIGURATION (environment; each NAME also as NAME_FILE)
    \(Variable.help)

    Backend variables as restic documents them (AWS_*, B2_*, …) and libpq's (PGSSLMODE, …) are passed on.

    EXIT STATUS
    \(ExitStatus.table)
    """

  /// Runs `body` with the configuration of `environment` and ends with the status it returns.
  ///
  /// SIGTERM and SIGINT cancel it: children are ended in order, what it staged is removed. SIGHUP and SIGPIPE are
  /// ignored, because a lost `kubectl exec` must not end a restore.
  public static func run(
    _ environment: [String: String] = ProcessInfo.processInfo.environment,
    _ body: @escaping @Sendable (Context) async throws -> ExitStatus
  ) async throws {
    Screen.bootstrap(.text)
    signal(SIGHUP, SIG_IGN)
    signal(SIGPIPE, SIG_IGN)
    umask(0o077)
    let running = Task { try await body(try await Context(environment)) }
    let received = Mutex<Int32>(0)
    let sources = onStop { number in
      received.withLock { $0 = number }
      log.warning("\(number == SIGINT ? "SIGINT" : "SIGTERM") received: stopping in order (a swap that has begun is finished)")
      running.cancel()
    }
    let result = await running.result
    for source in sources { source.cancel() }
    let status = conclude(result, signal: received.withLock { $0 })
    Pod.writeTerminationMessage("exit code \(status.rawValue): \(status.meaning)\n" + Screen.shared.said)
    if status != .done { throw ExitCode(status.rawValue) }
  }

  /// Calls `body` with SIGTERM or SIGINT when it arrives, until the sources are cancelled.
  static func onStop(_ body: @escaping @Sendable (Int32) -> Void) -> [any DispatchSourceSignal] {
    [SIGTERM, SIGINT].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { body(number) }
      source.resume()
      return source
    }
  }

  private static func conclude(_ result: Result<ExitStatus, any Error>, signal number: Int32) -> ExitStatus {
    switch result {
    case .success(let status): return status
    case .failure(let error):
      if number != 0 {
        log.error(
          "stopped by \(number == SIGINT ? "SIGINT" : "SIGTERM")\n  hint: restore --status shows whether anything is unfinished")
        return number == SIGINT ? .interrupted : .terminated
      }
      guard let failure = error as? Failure else {
        log.error("\(printable(String(describing: error)))\n  hint: this was not foreseen; report it with the lines above")
        return .unexpected
      }
      for problem in failure.problems { log.error("\(problem.fact)\n  hint: \(problem.hint)") }
      return failure.status
    }
  }
}
