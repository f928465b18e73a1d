import FoundationEssentials
import Glibc
import Logging
import Synchronization

/// The run's log: facts for the operator, through the screen so that progress lines stay below them.
let log = Logger(label: "backup-restore")

extension Logger {
  /// Each problem of an error on a line of its own, behind what it means.
  func error(_ what: String, _ error: any Error) {
    let problems = (error as? Failure)?.problems ?? [Problem("\(error)", hint: "run it again")]
    for problem in problems { self.error("\(what): \(problem.text)") }
  }
}

/// LOG_FORMAT.
enum LogFormat: String, Sendable { case text, json }

/// The one writer to standard error. On a terminal it keeps a line of progress per part at the bottom, updated in place;
/// elsewhere it prints plain lines and, each minute, where every part stands. Where nobody reads it drops progress and keeps lines,
/// and the run goes on.
final class Screen: Sendable {
  static let shared = Screen()

  private struct State {
    var parts: [(name: String, line: String)] = []
    var drawn = 0
    var lastDraw = ContinuousClock().now
    var lastHeartbeat = ContinuousClock().now
    var format = LogFormat.text
    var said = Said()
    /// Where something was written last.
    var last: Outlet?
  }
  private let state = Mutex(State())
  let isTerminal = isatty(STDERR_FILENO) == 1
  private let errors = Outlet(STDERR_FILENO)
  /// The same one where both are one terminal or one pipe: lines and results stay in their order also when nobody reads.
  private let results: Outlet

  private init() {
    var (first, second) = (stat(), stat())
    let isSame =
      fstat(STDOUT_FILENO, &first) == 0 && fstat(STDERR_FILENO, &second) == 0 && first.st_mode & S_IFMT != S_IFREG
      && (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
    results = isSame ? errors : Outlet(STDOUT_FILENO)
  }

  /// Called once, before the first log line.
  static func bootstrap(_ format: LogFormat) {
    shared.state.withLock { $0.format = format }
    LoggingSystem.bootstrap { _ in ScreenLog() }
  }

  /// One line of log.
  func write(_ level: Logger.Level, _ message: String) {
    let message = printable(message, keeping: "\n")
    state.withLock { state in
      clear(&state)
      let line = line(level, message, state.format, plain: !isTerminal)
      write(Terminal.wrapped(line, width: state.format == .json ? nil : width) + "\n", to: errors, &state)
      draw(&state)
      if level >= .warning { state.said.add(message, level) }
      tellPod(self.line(level, message, state.format, plain: true), state.format)
    }
  }

  /// What collects a container's log reads two pipes, and keeps no order between them: so one is read out before the other gets more.
  private func write(_ text: String, to outlet: Outlet, _ state: inout State) {
    if let last = state.last, last !== outlet { last.settle() }
    state.last = outlet
    outlet.write(text)
  }

  /// A result, for standard output.
  func result(_ text: String) {
    let text = printable(text, keeping: "\n")
    state.withLock { state in
      clear(&state)
      // Among JSON a table is JSON too: whatever collects these lines reads one object a line.
      let line = state.format == .json ? line(.info, text, .json, plain: true) : text
      let shown = state.format == .json ? line : Terminal.wrapped(line, width: Terminal.columns(of: STDOUT_FILENO))
      write(shown + "\n", to: results, &state)
      draw(&state)
      state.said.add(text, nil)
      tellPod(line, state.format)
    }
  }

  /// Results, warnings and errors so far.
  var said: Said { state.withLock { $0.said } }

  private func tellPod(_ text: String, _ format: LogFormat) {
    guard let log = Pod.log?.rawValue else { return }
    let process = format == .json ? "" : "[\(getpid())] "
    let line = Array((process + text.replacing("\n", with: "\n" + process) + "\n").utf8)
    // Non-blocking: see `Pod.log`.
    _ = line.withUnsafeBytes { Glibc.write(log, $0.baseAddress, $0.count) }
  }

  /// At the end, for a reader that is slow. `hurried`: after SIGTERM, when Kubernetes has begun to count.
  func drain(hurried: Bool) {
    let deadline = ContinuousClock().now + .seconds(hurried ? 2 : 30)
    for outlet in [results, errors] { outlet.drain(until: deadline) }
  }

  /// Where every part stands.
  var standing: String {
    state.withLock { $0.parts.map { "\($0.name): \($0.line.replacing("  ", with: ", "))" }.joined(separator: "; ") }
  }

  /// Sets a part's progress line.
  func progress(_ part: String, _ line: String) {
    let part = printable(part)
    state.withLock { state in
      if let index = state.parts.firstIndex(where: { $0.name == part }) {
        state.parts[index].line = line
      } else {
        state.parts.append((part, line))
        state.lastDraw -= .seconds(1)
        state.lastHeartbeat = min(state.lastHeartbeat, ContinuousClock().now)
      }
      let now = ContinuousClock().now
      if !errors.isFree { return }
      if isTerminal, now - state.lastDraw > .milliseconds(100) {
        clear(&state)
        draw(&state)
        state.lastDraw = now
      } else if !isTerminal, now - state.lastHeartbeat > .seconds(60) {
        state.lastHeartbeat = now
        for part in state.parts { emit(self.line(.info, "\(part.name): \(part.line)", state.format, plain: true)) }
      }
    }
  }

  /// Removes a part's progress line.
  func finish(_ part: String) {
    let part = printable(part)
    state.withLock { state in
      clear(&state)
      state.parts.removeAll { $0.name == part }
      draw(&state)
    }
  }

  private func clear(_ state: inout State) {
    guard isTerminal, state.drawn > 0 else { return }
    // Above what is not read yet they cannot be found again: they stay.
    if errors.isFree { errors.write("\u{1B}[\(state.drawn)A\u{1B}[J") }
    state.drawn = 0
  }

  private func draw(_ state: inout State) {
    guard isTerminal, !state.parts.isEmpty, errors.isFree else { return }
    let columns = width ?? 80
    errors.write(state.parts.map { "\($0.name): \($0.line)".prefix(columns - 1) + "\n" }.joined())
    state.drawn = state.parts.count
  }

  /// Of the terminal, now.
  private var width: Int? { isTerminal ? Terminal.columns(of: STDERR_FILENO) : nil }

  private func emit(_ text: String) { errors.write(text + "\n") }

  private func line(_ level: Logger.Level, _ message: String, _ format: LogFormat, plain: Bool) -> String {
    switch format {
    case .json:
      struct Line: Encodable {
        let time: String
        let level: String
        let message: String
        /// Several runs write into the log of the pod that waits.
        let process: Int32
      }
      let json = try? JSON.encoded(Line(time: Format.time(Date()), level: level.rawValue, message: message, process: getpid()))
      return json.map { String(decoding: $0, as: UTF8.self) } ?? message
    case .text:
      let prefix = plain ? Format.time(Date()) + " " : ""
      let name = level == .info ? "" : level.rawValue + ": "
      return prefix + name + message
    }
  }
}

/// swift-log's way onto the screen.
private struct ScreenLog: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level = .info

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    Screen.shared.write(event.level, event.message.description)
  }
}

/// Results go to standard output.
func output(_ text: String) { Screen.shared.result(text) }
