import Synchronization

/// Standard error of pg_restore or psql. Counts errors, and of them the one that is known to be harmless.
final class ClientErrors: Sendable {
  private struct State {
    var lines = 0
    var errors = 0
    var timeouts = 0
    var ignored: Int?
    var first: String?
  }
  private let state = Mutex(State())
  private let program: String

  init(_ program: String) { self.program = program }

  var count: Int { state.withLock { $0.errors } }
  var timeouts: Int { state.withLock { $0.timeouts } }
  /// The first that is not the known one.
  var first: String? { state.withLock { $0.first } }

  /// Whether every error was the known one, by the lines and by pg_restore's own count, which leaves out those of the connections
  /// that `--jobs` opens (2 counted, 4 printed; measured, 17.12).
  var onlyTimeout: Bool {
    state.withLock { $0.errors > 0 && $0.errors == $0.timeouts && (1...$0.errors).contains($0.ignored ?? 0) }
  }

  static let mostShown = 100

  @Sendable func take(_ line: String) {
    let shown = state.withLock { state in
      state.lines += 1
      if let error = Self.error(line) {
        state.errors += 1
        if Self.isTimeout(error, line) {
          state.timeouts += 1
        } else {
          state.first = state.first ?? Secret.mask(error)
        }
      }
      if let range = line.firstRange(of: "errors ignored on restore: ") { state.ignored = Int(line[range.upperBound...]) }
      return state.lines
    }
    // Rows of the dump may stand in these.
    if ["CONTEXT:", "DETAIL:", "LINE "].contains(where: line.hasPrefix) { return }
    if shown < Self.mostShown {
      log.info("\(line.hasPrefix(program) ? "" : program + ": ")\(Secret.mask(printable(line)))")
    } else if shown == Self.mostShown {
      log.info("\(program): further lines are counted and not shown")
    }
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
