/// A comparison, for the operator.
extension Comparison {
  /// So many lines a table at most: `--json` has all.
  private static let most = 40

  var text: String {
    let heading = "\(then == Self.live ? then : "set \(then)") -> \(now == Self.live ? now : "set \(now)")"
    if isEmpty { return "\(heading): nothing differs" }
    var parts = [heading]
    for database in databases where !database.tables.isEmpty {
      parts.append(
        table(["TABLE OF \(database.name)", "ROWS THEN", "ROWS NOW", "CHANGE"], database.tables) { table in
          [
            table.name, table.then.map { Format.count($0) } ?? "-", table.now.map { Format.count($0) } ?? "-", Self.word(table),
          ]
        })
      if !database.byContent { parts.append("rows are compared by their number: the set was hashed in another way") }
    }
    for database in databases where !database.objects.isEmpty {
      parts.append(
        table(["DEFINED IN \(database.name)", "NAME", "CHANGE"], database.objects) { [$0.kind, $0.name, $0.change.rawValue] })
    }
    if let files, !files.isEmpty {
      parts.append(
        table(
          ["FILE", "THEN", "NOW", "CHANGE"], files.entries, of: FilesComparison.Change.allCases.reduce(0) { $0 + files[$1].count }
        ) {
          [$0.path, $0.then.map(Format.bytes) ?? "-", $0.now.map(Format.bytes) ?? "-", $0.change.rawValue]
        })
      let totals = FilesComparison.Change.allCases.filter { files[$0].count > 0 }.map { change in
        "\(Format.count(files[change].count)) \(change.rawValue) (\(Format.bytes(files[change].bytes)))"
      }
      parts.append("files: \(totals.joined(separator: ", "))")
    }
    return (parts + notes).joined(separator: "\n")
  }

  private func table<T>(_ heading: [String], _ rows: [T], of all: Int? = nil, _ cells: (T) -> [String]) -> String {
    var table = TextTable(heading)
    for row in rows.prefix(Self.most) { table.add(cells(row)) }
    let more = (all ?? rows.count) - min(rows.count, Self.most)
    return table.text + (more > 0 ? "\nand \(Format.count(more)) more" : "")
  }

  private static func word(_ table: DatabaseComparison.Table) -> String {
    switch table.change {
    case .rows:
      let more = (table.now ?? 0) - (table.then ?? 0)
      return "\(Format.count(abs(more), "row", "rows")) \(more > 0 ? "more" : "fewer")"
    case .content: return "other content"
    default: return table.change.rawValue
    }
  }

  /// What a restore of the set would mean for what is live, the weightiest first: what it would take away before what it would bring.
  var telling: [String] {
    var lines: [(weight: Int, text: String)] = []
    func add(_ weight: Int, _ count: Int, _ text: String) { if count > 0 { lines.append((weight, text)) } }
    for database in databases {
      let name = "the live database \(printable(database.name))"
      let (more, fewer) = (
        database.tables.filter { ($0.now ?? 0) > ($0.then ?? 0) }, database.tables.filter { ($0.now ?? 0) < ($0.then ?? 0) }
      )
      let rows = { (tables: [DatabaseComparison.Table]) in
        "\(Format.count(tables.reduce(0) { $0 + abs(($1.now ?? 0) - ($1.then ?? 0)) }, "row", "rows")) in \(Format.count(tables.count, "table", "tables"))"
      }
      add(0, more.count, "\(name) has \(rows(more)) that this set has not")
      add(2, fewer.count, "\(name) has not \(rows(fewer)) that this set has")
      let other = database.tables.filter { $0.change == .content }
      add(
        1, other.count,
        "\(name) has other content in \(Format.count(other.count, "table", "tables")) of as many rows: \(Self.some(other.map(\.name)))"
      )
      add(
        4, database.objects.count,
        "\(name) defines \(Format.count(database.objects.count, "thing", "things")) otherwise: \(Self.some(database.objects.map { "\($0.kind) \($0.name)" }))"
      )
    }
    if let files {
      let text = { (change: FilesComparison.Change) in
        "\(Format.count(files[change].count, "entry", "entries")) (\(Format.bytes(files[change].bytes)))"
      }
      add(0, files[.new].count, "the live files have \(text(.new)) that this set has not")
      add(1, files[.changed].count, "the live files have \(text(.changed)) that changed since")
      add(3, files[.gone].count, "the live files have not \(text(.gone)) that this set has")
    }
    if lines.isEmpty, notes.isEmpty { return ["what is live is what this set holds"] }
    return lines.enumerated().sorted { ($0.element.weight, $0.offset) < ($1.element.weight, $1.offset) }.prefix(3).map(
      \.element.text) + notes
  }

  private static func some(_ names: [String]) -> String {
    names.prefix(3).map(printable).joined(separator: ", ") + (names.count > 3 ? ", …" : "")
  }
}
