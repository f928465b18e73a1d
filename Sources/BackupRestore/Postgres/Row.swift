/// One row of a query: values as text, NULL as nil. What the query promises and the server does not send is an error: a crash or a 0 in its
/// place would end a run without a word, or be taken for the truth.
struct Row: Equatable, Sendable {
  private let values: [String?]
  private let sql: String

  init(_ values: [String?], of sql: String) { (self.values, self.sql) = (values, sql) }

  /// What may be NULL; columns count from 0.
  subscript(column: Int) -> String? { column < values.count ? values[column] : nil }

  /// - Throws: `DatabaseError` 22002 where it is NULL.
  func text(_ column: Int) throws -> String {
    guard let value = self[column] else { throw surprise(column, "is missing", "22002") }
    return value
  }

  /// - Throws: `DatabaseError`, 22002 where it is NULL, 22018 where it is no whole number.
  func int(_ column: Int) throws -> Int {
    let text = try text(column)
    guard let number = Int(text) else { throw surprise(column, "is no whole number: \(text.prefix(40))", "22018") }
    return number
  }

  /// NULL is not true.
  func isTrue(_ column: Int) -> Bool { self[column] == "t" }

  private func surprise(_ column: Int, _ what: String, _ state: String) -> DatabaseError {
    DatabaseError(state, "column \(column + 1) of the answer \(what) (\(sql.prefix(100))…)")
  }
}
