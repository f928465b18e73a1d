/// A table as pg_dump writes it, without what calls something that is not there.
struct BareTable: Equatable {
  let statement: String
  /// In words.
  let without: String
  /// `ALTER TABLE … OWNER TO …`; nil: the script says none.
  let owner: String?

  /// Nil where the script creates no table of columns, or has nothing to be left out. pg_dump begins a line for each column or constraint.
  init?(_ script: String) {
    let lines = script.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    // The first of all: a name may have lines, and one of them look so.
    guard let start = lines.firstIndex(where: { $0.hasPrefix("CREATE ") }), lines[start].contains("TABLE "),
      lines[start].hasSuffix(" ("), Self.isWhole(lines[start] + ")")
    else { return nil }
    var (columns, found, current): ([String], Set<String>, String) = ([], [], "")
    var index = start + 1
    while index < lines.count, !current.isEmpty || !lines[index].hasPrefix(")") {
      current += (current.isEmpty ? "" : "\n") + lines[index]
      index += 1
      if !Self.isWhole(current) { continue }
      let (kept, left) = Self.bare(current.hasSuffix(",") ? String(current.dropLast()) : current)
      if let kept { columns.append(kept) }
      if let left { found.insert(left) }
      current = ""
    }
    guard index < lines.count, !found.isEmpty, let end = lines[index...].firstIndex(where: { $0.hasSuffix(";") }) else {
      return nil
    }
    let tail = lines[index...end].joined(separator: "\n").dropLast()
    statement = "\(lines[start])\n\(columns.joined(separator: ",\n"))\n\(tail)"
    without = found.sorted().joined(separator: ", ")
    owner = lines[(end + 1)...].first { $0.hasPrefix("ALTER TABLE ") && $0.contains(" OWNER TO ") && $0.hasSuffix(";") }
  }

  /// Of a column or constraint what stays, and what goes.
  private static func bare(_ entry: String) -> (kept: String?, left: String?) {
    if entry.hasPrefix("    CONSTRAINT "), entry.contains(" CHECK (") { return (nil, "its CHECK constraints") }
    if let range = entry.firstRange(of: " GENERATED ALWAYS AS ("), entry.contains(" STORED") {
      return (String(entry[..<range.lowerBound]), "its generated values")
    }
    guard let range = entry.firstRange(of: " DEFAULT ") else { return (entry, nil) }
    let end = [" NOT NULL", " NOT NULL NO INHERIT"].first(where: entry.hasSuffix) ?? ""
    return (entry[..<range.lowerBound] + end, "its defaults")
  }

  /// Whether every quote and parenthesis is closed.
  static func isWhole(_ text: String) -> Bool {
    var (quote, depth): (Unicode.Scalar?, Int) = (nil, 0)
    for scalar in text.unicodeScalars {
      if let open = quote {
        if scalar == open { quote = nil }
      } else if scalar == "'" || scalar == "\"" {
        quote = scalar
      } else if scalar == "(" {
        depth += 1
      } else if scalar == ")" {
        depth -= 1
      }
    }
    return quote == nil && depth == 0
  }
}
