/// A table as pg_dump writes it, without what calls something that is not there.
struct BareTable: Equatable {
  let statement: String
  /// In words.
  let without: String

  /// Nil where the script creates no table of columns, or has nothing to be left out. pg_dump writes a column or constraint a line.
  init?(_ script: String) {
    let lines = script.split(separator: "\n", omittingEmptySubsequences: false)
    guard let start = lines.firstIndex(where: { $0.hasPrefix("CREATE ") && $0.contains("TABLE ") && $0.hasSuffix(" (") }),
      let end = lines[start...].firstIndex(where: { $0.hasPrefix(")") && $0.hasSuffix(";") })
    else { return nil }
    var columns: [String] = []
    var found: [String] = []
    for line in lines[(start + 1)..<end] {
      let text = line.hasSuffix(",") ? line.dropLast() : line
      if text.hasPrefix("    CONSTRAINT ") {
        found.append("its CHECK constraints")
      } else if let generated = text.firstMatch(of: /^(.*?) GENERATED ALWAYS AS \(.*\) STORED( NOT NULL)?$/) {
        found.append("its generated values")
        columns.append(String(generated.1))
      } else if let column = text.firstMatch(of: /^(.*?) DEFAULT .*?( NOT NULL)?$/) {
        found.append("its defaults")
        columns.append(String(column.1 + (column.2 ?? "")))
      } else {
        columns.append(String(text))
      }
    }
    if found.isEmpty { return nil }
    statement = "\(lines[start])\n\(columns.joined(separator: ",\n"))\n\(lines[end].dropLast())"
    without = Set(found).sorted().joined(separator: ", ")
  }
}
