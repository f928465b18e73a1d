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

  /// Tables come without a clause that is refused, foreign keys for the rows to come, CHECK constraints make way for the rows that are there,
  /// and of a table's rows those that are taken.
  func settle(_ all: [Refusal]) async throws -> Result {
    var result = Result()
    let refused = try await makeBareTables(all, &result)
    var rest: [Refusal] = []
    for refusal in refused.filter(\.isData) + refused.filter({ !$0.isData }) {
      let unchecked = refusal.isMade ? [] : refusal.isData ? try await loadUnchecked(refusal) : try await addForeignKey(refusal)
      if let unchecked, !unchecked.isEmpty {
        result.later += unchecked
        result.differences.append("\(refusal.text); NOT VALID now: it holds for new rows, the old ones are not checked")
      } else if let some = try await loadSome(refusal) {
        result.differences.append("\(refusal.text); \(some)")
      } else {
        rest.append(refusal)
        result.differences.append(refusal.text + (refusal.isMade ? "" : "; left out"))
      }
    }
    let statements = rest.filter { !$0.isData && !$0.isMade }.sorted(by: contents)
    if !statements.isEmpty { result.later.insert(Self.statements(try await load.script(statements)), at: 0) }
    return result
  }

  /// - Returns: what is still refused when the tables are there.
  private func makeBareTables(_ refused: [Refusal], _ result: inout Result) async throws -> [Refusal] {
    var made: Set<Int> = []
    for refusal in refused where refusal.isTable && !refusal.isMade {
      let script = Self.statements(try await load.script([refusal]))
      guard let table = BareTable(script) else { continue }
      let done = await unlessRefused {
        _ = try await session.query(table.statement)
        return []
      }
      if done == nil { continue }
      made.insert(refusal.id)
      result.differences.append("\(refusal.text); made without \(table.without)")
      result.later.append(script.split(separator: "\n").map { "-- \($0)" }.joined(separator: "\n"))
    }
    if made.isEmpty { return refused }
    let others = refused.filter { !made.contains($0.id) }.map(\.id)
    return try await load.pass(others, in: contents, searchPath: load.searchPaths[0]).sorted(by: contents)
  }

  /// In words; nil where none of its rows is taken, or it is no table's.
  private func loadSome(_ refusal: Refusal) async throws -> String? {
    guard refusal.name.hasPrefix("TABLE DATA ") else { return nil }
    let triggers = try await session.query(
      """
      SELECT format('ALTER TABLE %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname),
        format('ALTER TABLE %s ENABLE %s TRIGGER %I', t.tgrelid::regclass, CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' END, t.tgname)
      FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND starts_with($1 || ' ', format('TABLE DATA %s %s ', n.nspname, c.relname))
      """, [refusal.name])
    // They are for what the application writes.
    for trigger in triggers { _ = try await session.query(try trigger.text(0)) }
    let outcome = await settled { try await RowSalvage(load: load, session: session).run(refusal.id) }
    for trigger in triggers { _ = try await session.query(try trigger.text(1)) }
    let found = try outcome.get()
    if found.taken == 0 { return nil }
    if found.refusedCount == 0 { return "all \(Format.count(found.taken, "row is", "rows are")) in" }
    let numbers =
      found.refused.map(Format.count).joined(separator: ", ") + (found.refusedCount > found.refused.count ? ", …" : "")
    return
      "\(Format.count(found.taken, "row is", "rows are")) in, \(Format.count(found.refusedCount)) left out (number \(numbers) of the dump)"
      + (found.reason.map { ": " + printable($0) } ?? "")
  }

  /// Nil where it cannot be added so, either.
  private func addForeignKey(_ refusal: Refusal) async throws -> [String]? {
    guard refusal.isForeignKey else { return nil }
    let definition = Self.statements(try await load.script([refusal])).split(separator: "\n")
      .filter { !$0.hasPrefix("--") && !$0.hasPrefix("\\") }.joined(separator: "\n").trimming(" \n;")
    return await unlessRefused {
      let before = try await session.query(Self.notValid).map { $0[0] }
      // One statement a message: whatever the archive holds, it cannot become two.
      _ = try await session.query(definition + " NOT VALID")
      return try await session.query(Self.notValid).filter { !before.contains($0[0]) }.compactMap { $0[1] }
    }
  }

  private static let notValid = """
    SELECT oid, format('ALTER TABLE %s VALIDATE CONSTRAINT %I;', conrelid::regclass, conname)
    FROM pg_catalog.pg_constraint WHERE contype = 'f' AND NOT convalidated
    """

  /// The rows, with the CHECK constraints of their table taken away for the moment.
  private func loadUnchecked(_ refusal: Refusal) async throws -> [String]? {
    let checks = try await session.query(
      """
      WITH RECURSIVE up(oid) AS (
        SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE starts_with($1 || ' ', format('TABLE DATA %s %s ', n.nspname, c.relname))
        UNION SELECT i.inhparent FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.oid)
      SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname),
        format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.conrelid::regclass, c.conname, pg_catalog.pg_get_constraintdef(c.oid)),
        format('ALTER TABLE %s VALIDATE CONSTRAINT %I;', c.conrelid::regclass, c.conname)
      FROM up JOIN pg_catalog.pg_constraint c ON c.conrelid = up.oid
      WHERE c.contype = 'c' AND c.convalidated AND c.coninhcount = 0
      """, [refusal.name])
    if checks.isEmpty { return nil }
    let dropped = await unlessRefused {
      try await session.transaction(checks.compactMap { $0[0] })
      return []
    }
    guard dropped != nil else { return nil }
    let isLoaded = try await load.pass([refusal.id], in: contents, searchPath: load.searchPaths[0]).isEmpty
    // Where they cannot be added, the evidence tells that they are missing.
    _ = await unlessRefused {
      for check in checks { _ = try await session.query(try check.text(1) + (isLoaded ? " NOT VALID" : "")) }
      return []
    }
    return isLoaded ? checks.compactMap { $0[2] } : nil
  }

  private func unlessRefused(_ body: () async throws -> [String]) async -> [String]? {
    do { return try await body() } catch {
      log.info("\(printable("\(error)"))")
      return nil
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
