import FoundationEssentials

/// In an emergency the rows come first: what the server refuses is left out, and can be made later.
struct LeftOut: Sendable {
  let load: ArchiveLoad
  /// In the staging database, as who loads it.
  let session: Connection
  let contents: [ArchiveLoad.Entry]

  struct Result: Sendable {
    /// A sentence an object.
    var differences: [String] = []
    /// Statements for the day after.
    var later: [String] = []

    static func += (a: inout Self, b: Self) { (a.differences, a.later) = (a.differences + b.differences, a.later + b.later) }
  }

  /// Tables come without a clause that is refused; rows before what is said about them: foreign keys and CHECK constraints make way, and come
  /// back for the rows to come where they do not hold for those that are there.
  func settle(_ all: [Refusal]) async throws -> Result {
    var result = Result()
    let refused = try await makeBareTables(all, &result)
    let data = refused.filter(\.isData)
    if !data.isEmpty { try await settleRows(data, &result) }
    var rest: [Refusal] = []
    // Views have been made again behind their rows, and told.
    for refusal in refused where !refusal.isData && (data.isEmpty || !refusal.isOfView) {
      if !refusal.isMade, let later = try await addForeignKey(refusal), !later.isEmpty {
        result.later += later
        result.differences.append("\(refusal.text)\(Self.notChecked)")
      } else {
        rest.append(refusal)
        result.differences.append(refusal.text + (refusal.isMade ? "" : "; left out"))
      }
    }
    let statements = rest.filter { !$0.isMade }.sorted(by: contents)
    if !statements.isEmpty { result.later.insert(Self.statements(try await load.script(statements)), at: 0) }
    return result
  }

  private static let notChecked = "; NOT VALID now: it holds for new rows, the old ones are not checked"

  /// - Returns: what is still refused when the tables are there.
  private func makeBareTables(_ refused: [Refusal], _ result: inout Result) async throws -> [Refusal] {
    var made: Set<Int> = []
    for refusal in refused where refusal.isTable && !refusal.isMade {
      let script = Self.statements(try await load.script([refusal], owners: load.restore.role == nil))
      guard let table = BareTable(script) else { continue }
      guard try await unlessRefused({ _ = try await session.query(table.statement) }) else { continue }
      if let owner = table.owner { _ = try await unlessRefused { _ = try await session.query(owner) } }
      made.insert(refusal.id)
      result.differences.append("\(refusal.text); made without \(table.without)")
      result.later.append(Self.comment(script))
    }
    if made.isEmpty { return refused }
    let others = refused.filter { !made.contains($0.id) && !$0.isMade }.map(\.id)
    let still = try await load.pass(others, in: contents, searchPath: load.searchPaths[0])
    return (refused.filter(\.isMade) + still).sorted(by: contents)
  }

  /// A script that is read and not run. To psql a carriage return ends a comment, too: none stays, so that no name becomes a command.
  static func comment(_ script: String) -> String {
    let lines = script.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
    return lines.map { "-- " + String(String.UnicodeScalarView($0)).replacing("\r", with: "\\r") }.joined(separator: "\n")
  }

  // MARK: Rows

  private func settleRows(_ data: [Refusal], _ result: inout Result) async throws {
    let names = SQL.array(data.map(\.name))
    var removed = try await removedConstraints(Self.foreignKeys, names)
    for refusal in data {
      let checks = try await removedConstraints(Self.checks, SQL.array([refusal.name]))
      let sentence = try await withoutTriggers(of: refusal) { target in
        // Without them all may be in, and what is refused is a row's own.
        if !checks.isEmpty, try await load.pass([refusal.id], in: contents, searchPath: load.searchPaths[0]).isEmpty {
          return "all rows are in"
        }
        guard let target else { return "left out" }
        return try await RowSalvage(load: load, session: session).run(refusal.id, into: target).words ?? "left out"
      }
      result.differences.append("\(refusal.text); \(sentence)")
      removed += checks
    }
    for constraint in removed { try await restore(constraint, &result) }
    for view in try await load.refreshed(in: contents) { result.differences.append("\(view.text); left out") }
  }

  private struct Removed {
    let table: String
    let name: String
    let definition: String
  }

  /// The tables of those entries, with what they are partitions or children of.
  private static let tables = """
    WITH RECURSIVE up(oid) AS (
      SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, unnest($1::text[]) entry
        WHERE starts_with(entry || ' ', \(entry))
      UNION SELECT i.inhparent FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.oid)
    """

  /// As a table of contents has it, without line breaks.
  private static let entry =
    "translate(format('TABLE DATA %s %s ', n.nspname, c.relname), E'\\n\\r', '  ')"

  private static let foreignKeys = """
    \(tables) SELECT DISTINCT c.conrelid::regclass, quote_ident(c.conname), pg_catalog.pg_get_constraintdef(c.oid) FROM up
    JOIN pg_catalog.pg_constraint c ON up.oid IN (c.conrelid, c.confrelid) WHERE c.contype = 'f' AND c.conparentid = 0
    """

  private static let checks = """
    \(tables) SELECT DISTINCT c.conrelid::regclass, quote_ident(c.conname), pg_catalog.pg_get_constraintdef(c.oid) FROM up
    JOIN pg_catalog.pg_constraint c ON c.conrelid = up.oid WHERE c.contype = 'c' AND c.convalidated AND c.coninhcount = 0
    """

  private func removedConstraints(_ sql: String, _ names: String) async throws -> [Removed] {
    var removed: [Removed] = []
    for row in try await session.query(sql, [names]) {
      let one = Removed(table: try row.text(0), name: try row.text(1), definition: try row.text(2))
      if try await unlessRefused({ _ = try await session.query("ALTER TABLE \(one.table) DROP CONSTRAINT \(one.name)") }) {
        removed.append(one)
      }
    }
    return removed
  }

  private func restore(_ one: Removed, _ result: inout Result) async throws {
    let adding = "ALTER TABLE \(one.table) ADD CONSTRAINT \(one.name) \(one.definition)"
    if try await unlessRefused({ _ = try await session.query(adding) }) { return }
    let what = "constraint \(one.name) of table \(one.table) does not hold for the rows that are there"
    if try await unlessRefused({ _ = try await session.query(adding + " NOT VALID") }) {
      result.differences.append(printable(what + Self.notChecked))
      result.later.append("ALTER TABLE \(one.table) VALIDATE CONSTRAINT \(one.name);")
    } else {
      result.differences.append(printable(what + "; left out"))
      result.later.append(adding + ";")
    }
  }

  /// The application's triggers are for what it writes.
  ///
  /// - Parameter body: gets the table, where the entry's name means one alone.
  private func withoutTriggers<T>(of refusal: Refusal, _ body: (RowSalvage.Table?) async throws -> T) async throws -> T {
    let found = try await session.query(
      """
      SELECT c.oid, n.nspname, c.relname, s.nspname, r.relname,
        (SELECT array_to_json(array_agg(a.attname)) FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_catalog.pg_class r ON c.relispartition AND r.oid = pg_catalog.pg_partition_root(c.oid)
      LEFT JOIN pg_catalog.pg_namespace s ON s.oid = r.relnamespace
      WHERE c.relkind = 'r' AND starts_with($1 || ' ', \(Self.entry))
      """, [refusal.name])
    // Two of one name for a table of contents: which one is meant it does not say.
    guard found.count == 1, let row = found.first, let columns = row[5] else { return try await body(nil) }
    let table = RowSalvage.Table(
      path: [try row.text(1), try row.text(2)], root: [row[3], row[4]].compactMap(\.self),
      columns: Set(try JSONDecoder().decode([String].self, from: Data(columns.utf8))))
    let triggers = try await session.query(
      """
      SELECT format('ALTER TABLE %s DISABLE TRIGGER %I', tgrelid::regclass, tgname),
        format('ALTER TABLE %s ENABLE %s TRIGGER %I', tgrelid::regclass, CASE tgenabled WHEN 'A' THEN 'ALWAYS' END, tgname)
      FROM pg_catalog.pg_trigger WHERE tgrelid = $1::oid AND NOT tgisinternal AND tgenabled IN ('O', 'A')
      """, [try row.text(0)])
    for trigger in triggers { _ = try await session.query(try trigger.text(0)) }
    let result: Swift.Result<T, any Error>
    do { result = .success(try await body(table)) } catch { result = .failure(error) }
    for trigger in triggers { _ = try await session.query(try trigger.text(1)) }
    return try result.get()
  }

  /// Nil where it cannot be added so, either.
  private func addForeignKey(_ refusal: Refusal) async throws -> [String]? {
    guard refusal.isForeignKey else { return nil }
    let definition = Self.statements(try await load.script([refusal])).split(separator: "\n")
      .filter { !$0.hasPrefix("--") && !$0.hasPrefix("\\") }.joined(separator: "\n").trimming(" \n;")
    let before = try await session.query(Self.notValid).map { $0[0] }
    // One statement a message: whatever the archive holds, it cannot become two.
    guard try await unlessRefused({ _ = try await session.query(definition + " NOT VALID") }) else { return nil }
    return try await session.query(Self.notValid).filter { !before.contains($0[0]) }.compactMap { $0[1] }
  }

  private static let notValid = """
    SELECT oid, format('ALTER TABLE %s VALIDATE CONSTRAINT %I;', conrelid::regclass, conname)
    FROM pg_catalog.pg_constraint WHERE contype = 'f' AND NOT convalidated
    """

  /// - Returns: whether PostgreSQL took it.
  private func unlessRefused(_ body: () async throws -> Void) async throws -> Bool {
    do {
      try await body()
      return true
    } catch let error as DatabaseError {
      log.info("\(printable(error.message))")
      return false
    }
  }

  /// Of a script of pg_restore's without what it sets beforehand: an empty search_path above all, with which some were refused. What keeps
  /// psql from obeying commands in it stays.
  static func statements(_ script: String) -> String {
    let lines = script.split(separator: "\n", omittingEmptySubsequences: false)
    guard let start = lines.firstIndex(where: { $0.hasPrefix("-- Name: ") }) else { return "" }
    let end = lines.lastIndex { $0 == "-- PostgreSQL database dump complete" } ?? lines.endIndex
    var kept = lines[start..<max(start, end - 1)].map(String.init)
    while kept.last?.isEmpty == true { kept.removeLast() }
    if let restriction = lines[..<start].first(where: { $0.hasPrefix("\\restrict ") }) {
      kept = [String(restriction)] + kept + ["\\un" + restriction.dropFirst()]
    }
    return kept.joined(separator: "\n")
  }
}
