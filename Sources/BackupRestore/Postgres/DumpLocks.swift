/// Locks beside an application that wants its tables for itself.
///
/// TRUNCATE and ALTER TABLE wait for whoever reads, and whoever comes after them waits for them. A dump that waits for a lock while it holds
/// others stands the application still; and where pg_dump waits behind somebody who waits for the session that waits for pg_dump,
/// PostgreSQL sees no deadlock (measured, 15.20). So nothing here waits for more than `patience` while it holds a lock, and nobody waits
/// much longer than that for one that only this run has (`Courtesy`).
extension EvidenceReader {
  static let patience = Duration.seconds(3)

  /// ACCESS SHARE on all, as pg_dump takes it: TRUNCATE ignores snapshots and must wait until the rows are counted.
  ///
  /// - Throws: `Replaced` where another relation had taken a table's name meanwhile: pg_dump would save that, under this snapshot.
  ///   `DatabaseError` 55P03 or 57014 where somebody else has one of them for longer than `patience`.
  func lock(_ tables: [Table]) async throws {
    // Of each lock by itself, and of all in a statement.
    let patience = Self.patience.components.seconds
    try await connection.execute("SET LOCAL lock_timeout = '\(patience)s'; SET LOCAL statement_timeout = '\(patience)s'")
    // Of one without a name pg_dump's own lock must do.
    let tables = tables.filter { Self.unnamed($0.name) == nil }
    for start in stride(from: 0, to: tables.count, by: 500) {
      let some = tables[start..<min(start + 500, tables.count)]
      try await connection.execute("LOCK TABLE \(some.map(\.lock).joined(separator: ", ")) IN ACCESS SHARE MODE")
      // By names as they are now, not as the snapshot has them.
      let names = "VALUES " + some.map { "(\($0.oid)::oid, \(SQL.literal($0.name)))" }.joined(separator: ", ")
      let replaced = try await connection.value(
        "SELECT n.name FROM (\(names)) n (oid, name) WHERE pg_catalog.to_regclass(n.name)::oid IS DISTINCT FROM n.oid LIMIT 1")
      if let replaced { throw Replaced(name: replaced) }
    }
    try await connection.execute("SET LOCAL statement_timeout = 0")
  }

  struct Replaced: Error { let name: String }

  /// Who has, or waits to have, a table for itself, as messages say it; nil: nobody. Outside a transaction, in which the list of sessions
  /// would stay as it was.
  func blocker() async throws -> String? {
    let rows = try await connection.query(
      """
      SELECT a.pid, a.usename, a.application_name, left(a.query, 200), format('%I.%I', n.nspname, c.relname)
      FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
      JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
      JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p') JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND \(Self.ours) ORDER BY l.granted DESC LIMIT 1
      """)
    return rows.first.map { row in
      // What a role may not see of another's session is empty.
      let statement = row[3].map { $0.isEmpty ? "" : ": " + oneLine($0) } ?? ""
      let program = row[2].map { $0.isEmpty ? "" : " (\($0))" } ?? ""
      let who = row[0].map { "session \($0) of role \(row[1] ?? "unknown")\(program)" } ?? "a prepared transaction"
      return printable("\(who), which wants table \(row[4] ?? "") for itself\(statement)")
    }
  }

  /// Whether a session of that name holds a lock on every one of the tables.
  func isLocked(_ tables: [Table], by application: String) async throws -> Bool {
    try await connection.number(
      """
      SELECT count(DISTINCT l.relation) FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
      WHERE a.application_name = $2 AND l.locktype = 'relation' AND l.granted AND l.relation = ANY ($1::oid[])
      """, [SQL.array(tables.map(\.oid)), application]) == tables.count
  }

  func files(of tables: [Table]) async throws -> [String: String] {
    let rows = try await connection.query(
      "SELECT oid, pg_catalog.pg_relation_filenode(oid) FROM unnest($1::oid[]) oid", [SQL.array(tables.map(\.oid))])
    return try rows.reduce(into: [:]) { $0[try $1.text(0)] = $1[1] }
  }
}

extension Dump {
  /// The evidence of tables that this run holds no lock on, read beside pg_dump, whose locks keep them as it saves them. Each in a
  /// transaction of its own on the same snapshot, so that no lock of ours outlasts its table.
  ///
  /// - Parameter hasEnded: pg_dump, which may be gone before it is seen.
  func evidenceWithoutLocks(_ tables: [EvidenceReader.Table], _ waits: Waits, hasEnded: Locked<Bool>) async throws
    -> [TableEvidence]
  {
    let reader = EvidenceReader(connection: try await Server.open(settings, name, waits))
    while !hasEnded.value {
      if try await reader.isLocked(tables, by: application) { break }
      try await Task.sleep(for: .milliseconds(50))
    }
    let files = try await reader.files(of: tables)
    var all: [TableEvidence] = []
    for table in tables {
      if table.file != files[table.oid] {
        log.warning(
          "table \(printable(table.name)) was emptied or rewritten while its dump began, and is saved as pg_dump found it: perhaps empty"
        )
      }
      if let evidence = try await evidenceWithoutLocks(table, files[table.oid], reader) { all.append(evidence) }
    }
    return all
  }

  private func evidenceWithoutLocks(
    _ table: EvidenceReader.Table, _ file: String?, _ reader: EvidenceReader
  ) async throws -> TableEvidence? {
    let connection = reader.connection
    try await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try await connection.execute("SET TRANSACTION SNAPSHOT \(SQL.literal(snapshot)); SET LOCAL lock_timeout = '1s'")
    let evidence = try await reader.evidence(table)
    let now = try await reader.files(of: [table])[table.oid]
    try await connection.execute("COMMIT")
    return now == file ? evidence : reader.unread(table, "it was emptied or rewritten meanwhile")
  }
}
