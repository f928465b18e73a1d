/// A query of DRILL_SQL: what must be true of a database that is restored.
struct Assertion: Equatable, Sendable {
  /// The comment before it, else its own beginning.
  let name: String
  let query: String
  /// Nil: the first of POSTGRES_DB.
  let database: String?

  /// Statements end with `;` at a line's end; comments of whole lines before one are its name; `\\connect NAME` as psql has it chooses the
  /// database of those that follow.
  static func all(in text: String) -> [Assertion] {
    var assertions: [Assertion] = []
    var (comments, lines, database): ([String], [String], String?) = ([], [], nil)
    let finish = {
      let query = lines.joined(separator: "\n").trimming(" \t\n;")
      let name =
        comments.isEmpty
        ? String(query.split(whereSeparator: \.isWhitespace).joined(separator: " ").prefix(80)) : comments.joined(separator: " ")
      if !query.isEmpty { assertions.append(Assertion(name: printable(name), query: query, database: database)) }
      (comments, lines) = ([], [])
    }
    for line in text.split(whereSeparator: \.isNewline).map({ $0.trimming(" \t\r") }) {
      if lines.isEmpty, line.hasPrefix("--") {
        comments.append(line.dropFirst(2).trimming(" "))
      } else if lines.isEmpty, let command = line.wholeMatch(of: /\\c(?:onnect)? +"?([^"]+)"?/) {
        database = String(command.1)
      } else {
        lines.append(line)
        if line.hasSuffix(";") { finish() }
      }
    }
    finish()
    return assertions
  }

  static func all(_ environment: inout Environment) -> [Assertion] {
    guard let text = environment.text("DRILL_SQL") else { return [] }
    let (all, names) = (self.all(in: text), environment.list("POSTGRES_DB"))
    if all.isEmpty { environment.report("DRILL_SQL holds no query", hint: "end each query by ; at the end of a line") }
    if names.isEmpty {
      environment.report("DRILL_SQL is set, and POSTGRES_DB is not", hint: "set POSTGRES_DB, or unset DRILL_SQL")
    }
    for name in Set(all.compactMap(\.database)).sorted() where !names.contains(name) {
      environment.report(
        "DRILL_SQL connects to \(name), which POSTGRES_DB does not name", hint: "name one of \(names.joined(separator: ", "))")
    }
    return all
  }
}
