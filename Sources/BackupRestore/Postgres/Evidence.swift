/// Reads what a database holds. The same code reads the original at backup and the copy at restore.
struct EvidenceReader: Sendable {
  let connection: Connection
  /// The database is one that this run has built: nobody else is in it, and what cannot be read there is no copy.
  var isOurs = false

  /// A table or leaf partition whose rows pg_dump saves, or a partitioned one, which it only locks.
  struct Table: Sendable {
    let name: String
    let oid: String
    /// The file its rows lie in, which TRUNCATE, that ignores snapshots, replaces; as the newest commit has it.
    let file: String?
    /// Nil where it has no rows of its own.
    let copy: String?
    /// Why it is not read.
    let unread: String?
    let lock: String
    /// Of a partition, the table that all of them are of.
    let root: String?
    /// Whether it is saved without its rows, because POSTGRES_EXCLUDE_TABLE_DATA says so.
    var isExcluded = false
  }

  /// User schemas: nothing of the system's, nothing temporary.
  static let ours = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

  /// Member of an extension: its definition comes from the extension, not from the dump.
  private static func member(_ catalog: String, _ object: String) -> String {
    "EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.\(catalog)'::regclass AND d.objid = \(object) "
      + "AND d.deptype = 'e')"
  }

  /// Every table pg_dump saves rows of, with its statements made by the server, which quotes names best.
  ///
  /// Read by `COPY table TO`, as pg_dump does, which takes tables alone and plans nothing: to plan a SELECT the server opens every index
  /// and statistics object of the table, holds a lock on each, and evaluates what is constant in their expressions, as whoever asks
  /// (measured, 15.20: an IMMUTABLE function of the table's owner ran as the superuser who counted the rows).
  ///
  /// Columns by name, because a partition attached later has them in another order than its restored copy; generated ones
  /// left out, because pg_dump leaves them out. Extension tables as far as their dump condition, which pg_dump selects, too.
  func tables() async throws -> [Table] {
    let isRestricted = try await connection.isRestricted()
    let rows = try await connection.query(
      """
      SELECT t.name, t.oid, CASE WHEN t.relkind = 'p' THEN NULL WHEN t.condition IS NULL OR t.condition = '' THEN format('COPY %s %s TO STDOUT', t.name, '(' || t.columns || ')')
        ELSE format('COPY (SELECT %s FROM ONLY %s %s) TO STDOUT', t.columns, t.name, t.condition) END,
        t.condition <> '', format('ONLY %s', t.name), pg_catalog.pg_relation_filenode(t.oid), t.is_empty_here, t.root
      FROM (SELECT format('%I.%I', n.nspname, c.relname) AS name, c.oid, c.relkind, e.condition,
          (SELECT format('%I.%I', s.nspname, r.relname) FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace s ON s.oid = r.relnamespace
            WHERE c.relispartition AND r.oid = pg_catalog.pg_partition_root(c.oid)) AS root,
          c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery() AS is_empty_here,
          (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C") FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN LATERAL (SELECT x.extcondition[array_position(x.extconfig, c.oid)] AS condition
          FROM pg_catalog.pg_extension x WHERE c.oid = ANY (x.extconfig)) e ON true
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND \(Self.ours)
          AND (NOT \(Self.member("pg_class", "c.oid")) OR e.condition IS NOT NULL)) t
      ORDER BY 1
      """)
    return try rows.map { row in
      let elsewhere = row.isTrue(6) ? "it is unlogged, and of a standby pg_dump saves no row of it" : nil
      let unchecked =
        row.isTrue(3) && !isRestricted
        ? "it is an extension's, and the server has no restrict_nonsystem_relation_kind: update PostgreSQL" : nil
      let name = try row.text(0)
      return Table(
        name: name, oid: try row.text(1), file: row[5], copy: row[2],
        unread: elsewhere ?? unchecked ?? Self.unnamed(name + (row[2] ?? "")),
        lock: try row.text(4), root: row[7])
    }
  }

  /// In a database without an encoding a name may be bytes that are no text: no statement of ours can say it.
  static func unnamed(_ name: String) -> String? {
    name.unicodeScalars.contains("\u{FFFD}") ? "its name, or a column's, is no UTF-8" : nil
  }

  func evidence(_ tables: [Table]) async throws -> [TableEvidence] {
    var all: [TableEvidence] = []
    for table in tables { if let evidence = try await evidence(table) { all.append(evidence) } }
    return all
  }

  /// In the transaction of the connection, which goes on whatever PostgreSQL says to this table. Nil where it has no rows of its own.
  func evidence(_ table: Table) async throws -> TableEvidence? {
    guard let copy = table.copy else { return nil }
    if table.isExcluded { return TableEvidence(name: table.name, rows: 0, hash: nil, hashed: true, root: table.root) }
    if let why = table.unread { return unread(table, why) }
    guard let sum = try await attempt("the evidence of table \(table.name)", { try await connection.copy(copy) }) else {
      return unread(table, nil)
    }
    return TableEvidence(
      name: table.name, rows: sum.rows, hash: sum.rows == 0 ? nil : String(sum.sum), hashed: true, root: table.root)
  }

  /// - Parameter why: where it has not been said yet.
  func unread(_ table: Table, _ why: String?) -> TableEvidence {
    if let why { log.warning("table \(printable(table.name)) is saved, and its rows are not counted: \(why)") }
    return TableEvidence(name: table.name, rows: 0, hash: nil, hashed: false, unread: true)
  }

  /// What PostgreSQL refuses to show us is left out of the evidence, and said: pg_dump asks in another way, and saves it or fails itself.
  ///
  /// Not what it keeps from our role, which pg_dump needs just as well, nor what a standby ends, with the whole snapshot.
  private func attempt<T: Sendable>(_ what: String, _ body: () async throws -> T) async throws -> T? {
    try await connection.execute("SAVEPOINT evidence")
    do {
      let value = try await body()
      try await connection.execute("RELEASE SAVEPOINT evidence")
      return value
    } catch let error as DatabaseError where !isOurs && !["42501", "40001"].contains(error.state) {
      try await connection.execute("ROLLBACK TO SAVEPOINT evidence; RELEASE SAVEPOINT evidence")
      log.warning("\(printable(what)) cannot be had, and is left out: \(printable(error.message))")
      return nil
    }
  }

  /// Outside the snapshot's transaction, because sequences ignore snapshots, and because the function that asks by OID, not by a name that
  /// something else may have taken, would lock each one against ALTER until the transaction's end (measured, 15.20).
  ///
  /// It is silent about one that never gave a value. That is asked by name, as pg_dump asks, where no view can be behind it.
  func sequences() async throws -> [String: (SequenceEvidence.Value, cycles: Bool)] {
    let byName = if isOurs { true } else { try await connection.isRestricted() }
    let rows = try await connection.query(
      """
      SELECT format('%I.%I', n.nspname, c.relname), s.seqcycle, pg_catalog.pg_sequence_last_value(c.oid)
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
      WHERE c.relpersistence <> 't' AND \(Self.ours) AND NOT \(Self.member("pg_class", "c.oid"))
        AND NOT (c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery())
      """)
    var all: [String: (SequenceEvidence.Value, cycles: Bool)] = [:]
    for row in rows where row[2] != nil {
      all[try row.text(0)] = (.init(last: try row.int(2), called: true), row.isTrue(1))
    }
    let silent = byName ? try rows.filter { row in try row[2] == nil && Self.unnamed(try row.text(0)) == nil } : []
    for start in stride(from: 0, to: silent.count, by: 100) {
      let some = silent[start..<min(start + 100, silent.count)]
      let values = try some.indices.map { "SELECT \($0), last_value, is_called FROM \(try silent[$0].text(0))" }
      for value in try await connection.query(values.joined(separator: " UNION ALL ")) {
        let row = silent[try value.int(0)]
        all[try row.text(0)] = (.init(last: try value.int(1), called: value.isTrue(2)), row.isTrue(1))
      }
    }
    return all
  }

  /// As pg_dump saves them: it leaves empty what reads, by views as well, from one that is.
  func materializedViews() async throws -> [MaterializedView] {
    let rows = try await connection.query(
      """
      WITH RECURSIVE reads(view, source) AS (
        SELECT r.ev_class, d.refobjid FROM pg_catalog.pg_rewrite r
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
          AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
        JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind IN ('m', 'v')),
      behind(view, source) AS (SELECT * FROM reads UNION SELECT b.view, r.source FROM behind b JOIN reads r ON r.view = b.source)
      SELECT format('%I.%I', n.nspname, c.relname), c.relispopulated, EXISTS (SELECT FROM behind b
        JOIN pg_catalog.pg_class m ON m.oid = b.source AND m.relkind = 'm' AND NOT m.relispopulated WHERE b.view = c.oid)
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'm' AND \(Self.ours) AND NOT \(Self.member("pg_class", "c.oid"))
      """)
    return try rows.map { row in
      let (name, isLost) = (try row.text(0), row.isTrue(1) && row.isTrue(2))
      if isLost, !isOurs {
        log.warning(
          "materialised view \(printable(name)) is saved empty: it reads from one that is not populated\n  hint: REFRESH MATERIALIZED VIEW on that one, or on both after a restore"
        )
      }
      return MaterializedView(name: name, populated: row.isTrue(1) && !isLost)
    }
  }

  /// How many tables, views and sequences there are that no extension brought.
  func relations() async throws -> Int {
    try await connection.number(
      """
      SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND \(Self.ours) AND NOT \(Self.member("pg_class", "c.oid"))
      """)
  }

  /// Tables that hold something and are saved by nobody: pg_dump leaves an extension's members to the extension, also those that somebody
  /// has made its members since. Asked without a lock, by what the statistics say. A script of an extension that is trusted makes its own as a superuser, one that is not as who ran it,
  /// who was one.
  func unsaved() async throws -> [String] {
    try await connection.column(
      """
      SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_roles r ON r.oid = c.relowner AND NOT r.rolsuper
      WHERE c.relkind = 'r' AND \(Self.ours) AND \(Self.member("pg_class", "c.oid"))
        AND (c.relpages > 0 OR pg_catalog.pg_stat_get_live_tuples(c.oid) > 0)
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension x WHERE c.oid = ANY (x.extconfig)) ORDER BY 1
      """)
  }

  func extensions() async throws -> [String] {
    try await connection.column("SELECT extname FROM pg_catalog.pg_extension ORDER BY 1")
  }

  /// md5 is missing on servers in FIPS mode; sha256 takes bytea and is everywhere since 11. Each is read once: lo_get is volatile, so
  /// the subquery stays one.
  func largeObjects() async throws -> LargeObjects {
    let sql = """
      SELECT count(*), sum(pg_catalog.hashtextextended(o.oid::text || encode(sha256(o.data), 'hex'), 0)), coalesce(sum(octet_length(o.data)), 0)
      FROM (SELECT oid, lo_get(oid) AS data FROM pg_catalog.pg_largeobject_metadata) o
      """
    // A value may be too large to become text: PostgreSQL's limit is 1 GB, or the server's memory.
    if let row = try await attempt("the hash of the large objects", { try await connection.row(sql) }) {
      return LargeObjects(count: try row.int(0), hash: row[1], hashed: true, bytes: try row.int(2))
    }
    let count = try await connection.number("SELECT count(*) FROM pg_catalog.pg_largeobject_metadata")
    return LargeObjects(count: count, hash: nil, hashed: false)
  }

  /// Everything at once, in a transaction of its own: how a restored copy is read.
  func read() async throws -> DatabaseEvidence {
    let sequences = try await sequences()
    try await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    let evidence = DatabaseEvidence(
      tables: try await evidence(try await tables()), sequences: SequenceEvidence.joined(sequences, sequences),
      materializedViews: try await materializedViews(), extensions: try await extensions(),
      largeObjects: try await largeObjects(), schema: try await SchemaReader(connection: connection).read())
    try await connection.execute("COMMIT")
    return evidence
  }
}
