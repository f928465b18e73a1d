/// A question to the server of which each row of the answer is a problem.
struct ServerCheck: Sendable {
  let query: String
  var values: [String?] = []
  /// What is wrong by a row, and what to do about it.
  let fact: @Sendable (Row) throws -> String
  let hint: @Sendable (Row) throws -> String

  /// For queries: whether this session may do everything.
  static let isSuperuser = "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)"
}

extension Connection {
  /// What is wrong by each of the checks, in their order.
  func problems(_ checks: [ServerCheck]) async throws -> [Problem] {
    var problems: [Problem] = []
    for check in checks {
      for row in try await query(check.query, check.values) {
        problems.append(Problem(try check.fact(row), hint: try check.hint(row)))
      }
    }
    return problems
  }
}
