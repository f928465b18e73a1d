import CLinux
import Dispatch
import FoundationEssentials
import Glibc
import Synchronization
import SystemPackage

/// What all three executables do around their steps: signals, configuration, errors, exit code.
public enum Program {
  /// What each `--help` ends with: the variables and the exit codes.
  public static let help = """
    CONFIGURATION (environment; each NAME also as NAME_FILE)
    \(Variable.help)

    Backend variables as restic documents them (AWS_*, B2_*, …) and libpq's (PGSSLMODE, …) are passed on.

    EXIT STATUS
    \(ExitStatus.table)
    """

  /// Runs a command line, but `--version` alone, which names restic and PostgreSQL's clients as well.
  public static func main(_ command: @Sendable ([String]) async -> Void) async {
    if Toolkit.arguments == ["--version"] { print(await Versions.text()) } else { await command(Toolkit.arguments) }
  }

  /// Ends without a run: with `--help`, or because the command line is wrong.
  ///
  /// - Parameter text: what ArgumentParser says; its errors begin with `Error:`, where every other line of ours has `error:`.
  public static func end(_ text: String, _ code: Int32) -> Never {
    if code == 0 {
      print(text)
    } else {
      let said = text.hasPrefix("Error: ") ? "e" + text.dropFirst() : text
      let width = Terminal.columns(of: STDERR_FILENO)
      _ = try? FileDescriptor.standardError.writeAll((Terminal.wrapped(said, width: width) + "\n").utf8)
    }
    exit(code)
  }

  /// Runs `body` with the configuration of `environment` and ends with the status it returns.
  ///
  /// `reporting`: as what it is told to PING_URL and METRICS_PUSHGATEWAY_URL. `answering`: somebody only asks, and wants
  /// what there is at once.
  ///
  /// SIGTERM and SIGINT cancel it: children are ended in order, what it staged is removed. SIGHUP and SIGPIPE are
  /// ignored, because a lost `kubectl exec` must not end a restore.
  ///
  /// The process ends here, without exit(3): it runs what libraries registered for their end while threads that nobody waits for still use
  /// them. A connection in the middle of its TLS handshake crashed in libcrypto, and a run that SIGTERM had stopped in order ended with
  /// 139 (measured, once in about 25).
  public static func run(
    _ environment: [String: String] = ProcessInfo.processInfo.environment, reporting run: Reporter.Run? = nil,
    answering: Bool = false, _ body: @escaping @Sendable (Invocation) async throws -> ExitStatus
  ) async -> Never {
    // Before the configuration, so that a wrong one is reported too. What is wrong with these variables is said there.
    var reported = Environment(environment)
    let settings = ReportingSettings(&reported)
    Screen.bootstrap(settings.format)
    signal(SIGHUP, SIG_IGN)
    signal(SIGPIPE, SIG_IGN)
    // In the background of a terminal with `stty tostop` a line would stop the run.
    signal(SIGTTOU, SIG_IGN)
    umask(0o077)
    let heart = ThreadShortage.watch()
    let begin = ContinuousClock().now
    let reporter = run.map { Reporter($0, settings, environment) }
    // Beside the run: a health check that does not answer holds up nothing.
    let starting = Task { await reporter?.started() }
    let numbers = Locked(RunMetrics())
    let running = Task { try await body(try await Invocation(environment, numbers, isLooking: answering)) }
    let received = Mutex<Int32>(0)
    let sources = onStop { number in
      received.withLock { $0 = number }
      log.warning("\(number == SIGINT ? "SIGINT" : "SIGTERM") received: stopping in order (a swap that has begun is finished)")
      running.cancel()
    }
    let result = await running.result
    for source in sources { source.cancel() }
    let number = received.withLock { $0 }
    let status = conclude(result, signal: number)
    if number == 0 { await starting.value }
    let said = Screen.shared.said.message(headline(result, status))
    await reporter?.ended(
      status, numbers.value, seconds: begin.duration(to: .now).inSeconds, said: said, hurried: number != 0)
    Pod.writeTerminationMessage(said)
    Screen.shared.drain(hurried: number != 0)
    heart.cancel()
    linux_exit(status.rawValue)
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

  /// How it ended in one line: the cause, where there is one, and not the kind of it.
  private static func headline(_ result: Result<ExitStatus, any Error>, _ status: ExitStatus) -> String {
    var reason: String?
    // Of many the first: the last may say how many more there are.
    if case .failure(let error) = result { reason = (error as? Failure)?.problems.first?.fact ?? Screen.shared.said.reason }
    if status == .attention || status == .unreadable { reason = Screen.shared.said.reason }
    return "exit code \(status.rawValue): \(reason ?? status.meaning)"
  }

  private static func conclude(_ result: Result<ExitStatus, any Error>, signal number: Int32) -> ExitStatus {
    switch result {
    case .success(let status): return status
    case .failure(let error):
      if number != 0 {
        log.error(
          "stopped by \(number == SIGINT ? "SIGINT" : "SIGTERM")\n  hint: run it again, which goes on or begins anew; restore --status shows whether a restore is unfinished"
        )
        return number == SIGINT ? .interrupted : .terminated
      }
      // A server that crashes, or is shut down, or has no room, ends whatever was being asked.
      if error is ConnectionError || error is DatabaseError {
        log.error(
          "the database server failed: \(error)\n  hint: look at its log, then run it again; restore --status shows whether a restore is unfinished"
        )
        return .sourceFailed
      }
      guard let failure = error as? Failure else {
        log.error("\(printable(String(describing: error)))\n  hint: this was not foreseen; report it with the lines above")
        return .unexpected
      }
      for problem in failure.problems { log.error("\(problem.text)") }
      return failure.status
    }
  }
}
