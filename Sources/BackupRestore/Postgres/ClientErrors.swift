import Synchronization

/// Standard error of pg_restore or psql. Counts errors, and of them the one that is known to be harmless; tells what pg_restore was at.
final class ClientErrors: Sendable {
  private struct State {
    var lines = 0
    var errors = 0
    var timeouts = 0
    var ignored: Int?
    var first: String?
    var entries: [Refusal] = []
    /// The place among them of the one that is being told of.
    var current: Int?
    /// Errors before any entry was named.
    var homeless = 0
  }
  private let state = Mutex(State())
  private let program: String
  /// Whether its words are told elsewhere.
  private let isQuiet: Bool

  init(_ program: String, isQuiet: Bool = false) { (self.program, self.isQuiet) = (program, isQuiet) }

  var count: Int { state.withLock { $0.errors } }
  var timeouts: Int { state.withLock { $0.timeouts } }
  /// The first that is not the known one.
  var first: String? { state.withLock { $0.first } }

  /// Whether every error was the known one, by the lines and by pg_restore's own count, which leaves out those of the connections
  /// that `--jobs` opens (2 counted, 4 printed; measured, 17.12).
  var onlyTimeout: Bool {
    state.withLock { $0.errors > 0 && $0.errors == $0.timeouts && (1...$0.errors).contains($0.ignored ?? 0) }
  }

  /// What the server refused of an archive that was gone through to its end. Nil where it was not, or an error is no entry's.
  ///
  /// pg_restore's own count is no help: with `--jobs` it adds up what each worker has met so far (8 counted, 4 printed; measured, 15.20).
  var refusals: [Refusal]? {
    state.withLock { state in
      guard state.ignored != nil, state.homeless == 0, !state.entries.isEmpty else { return nil }
      // Two workers that fail at once: the second one's error stands behind the first one's.
      let spare = state.entries.compactMap { $0.errors.first }.first
      return state.entries.map { entry in
        guard entry.errors.isEmpty, let spare else { return entry }
        return Refusal(id: entry.id, name: entry.name, errors: [spare])
      }
    }
  }

  static let mostShown = 100

  @Sendable func take(_ line: String) {
    let shown: Int? = state.withLock { state in
      if let entry = line.wholeMatch(of: /pg_restore: from TOC entry (\d+); \d+ \d+ (.*)/), let id = Int(entry.1) {
        state.current = state.entries.firstIndex { $0.id == id } ?? state.entries.endIndex
        if state.current == state.entries.endIndex { state.entries.append(Refusal(id: id, name: String(entry.2))) }
      }
      if let error = Self.error(line) { Self.take(error, line, &state) }
      if let range = line.firstRange(of: "errors ignored on restore: ") { state.ignored = Int(line[range.upperBound...]) }
      if line.hasPrefix("Command was: "), let current = state.current, !state.entries[current].errors.isEmpty {
        state.entries[current].errors[state.entries[current].errors.count - 1].command = String(line.dropFirst(13))
      }
      if isQuiet || isProgress(line) || line.isEmpty { return nil }
      state.lines += 1
      return state.lines
    }
    // Rows of the dump may stand in these.
    guard let shown, !["CONTEXT:", "DETAIL:", "LINE ", "COPY "].contains(where: line.hasPrefix) else { return }
    if shown < Self.mostShown {
      log.info("\(line.hasPrefix(program) ? "" : program + ": ")\(redacted(line))")
    } else if shown == Self.mostShown {
      log.info("\(program): further lines are counted and not shown")
    }
  }

  private static func take(_ error: String, _ line: String, _ state: inout State) {
    state.errors += 1
    if isTimeout(error, line) {
      state.timeouts += 1
      return
    }
    let said = Secret.mask(error)
    state.first = state.first ?? said
    if let current = state.current { state.entries[current].errors.append(.init(said: said)) } else { state.homeless += 1 }
  }

  /// What pg_restore tells of its work: it names no entry without `--verbose`.
  private func isProgress(_ line: String) -> Bool {
    program == "pg_restore" && line.hasPrefix("pg_restore: ")
      && !["error:", "warning:", "detail:", "hint:"].contains { line.dropFirst(12).hasPrefix($0) }
  }

  private static func isTimeout(_ error: String, _ line: String) -> Bool {
    error.contains("unrecognized configuration parameter \"transaction_timeout\"")
      || (line.contains(" 42704: ") && error.contains("transaction_timeout"))
  }

  /// `pg_restore: error: …`, `psql: error: …`, `psql:<stdin>:14: FEHLER:  42704: …`; nil for anything else. psql's own words are
  /// English here, the server's need not be: there the SQLSTATE tells, of which 00, 01 and 02 are no errors.
  private static func error(_ line: String) -> String? {
    if let own = line.firstMatch(of: /^(?:pg_restore:|psql:(?:<stdin>:\d+:)?) error: +(.*)$/) { return String(own.1) }
    guard let server = line.firstMatch(of: /^psql:(?:<stdin>:\d+:)? [^ ]+: +([0-9A-Z]{5}): +(.*)$/) else { return nil }
    return ["00", "01", "02"].contains(server.1.prefix(2)) ? nil : String(server.2)
  }
}
