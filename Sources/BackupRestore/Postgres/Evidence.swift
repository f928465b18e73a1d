/// Reads what a database holds. The same code reads the original at backup and the copy at restore.
struct EvidenceReader: Sendable {
  let connection: Connection

  /// A table or leaf partition whose rows pg_dump saves.
  struct Table: Sendable {
    let name: String
    let count: String
    let hash: String
    let lock: String
  }

  /// User schemas: nothing of the system's, nothing temporary.
  private static let ours = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

  /// Member of an extension: its definition comes from the extension, not from the dump.
  private static func member(_ catalog: String, _ object: String) -> String {
    "EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.\(catalog)'::regclass AND d.objid = \(object) "
      + "AND d.deptype = 'e')"
  }

  /// A row's hash is a chain: each column's text, hashed with the columns before it as seed, and NULL by another seed. That is half
  /// the time of hashing `ROW(…)::text`, which quotes every character (measured), and near that of `hash_record_extended`, to which
  /// 1.0 equals 1.00 and enums differ after a restore. A declared cast to text is not the type's output: that of character(n) loses
  /// blanks, that of xml keeps a declaration which the dump has not. Such types, and domains, go through ROW. So do tables of over
  /// 200 columns: 1,600 need 1.8 MB of the server's stack, which has 2 (measured). What is changed here changes
  /// `DatabaseEvidence.method`.
  private static let rowHash = """
    SELECT CASE WHEN count(*) = 0 THEN '0'
      WHEN count(*) > 200 THEN format('pg_catalog.hashtextextended(ROW(%s)::text, 0)', string_agg(k.name, ', ' ORDER BY k.nr))
      ELSE string_agg(format('pg_catalog.hashtextextended(coalesce(%s COLLATE "C", ''''), ', k.text), '' ORDER BY k.nr DESC) || '0'
        || string_agg(format(' # (%s IS NULL)::int)', k.name), '' ORDER BY k.nr) END
    FROM (SELECT quote_ident(a.attname) AS name, row_number() OVER (ORDER BY a.attname COLLATE "C") AS nr,
        format(CASE WHEN t.typtype = 'd' OR EXISTS (SELECT FROM pg_catalog.pg_cast x
            WHERE x.castsource = t.oid AND x.casttarget = 'pg_catalog.text'::regtype AND t.typname <> 'varchar')
          THEN 'ROW(%I)::text' ELSE '%I::text' END, a.attname) AS text
      FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') k
    """

  /// Every table pg_dump saves rows of, with its queries made by the server, which quotes names best.
  ///
  /// Columns by name, because a partition attached later has them in another order than its restored copy; generated ones
  /// left out, because pg_dump leaves them out. Extension tables as far as their dump condition.
  func tables() async throws -> [Table] {
    let rows = try await connection.query(
      """
      SELECT format('%I.%I', n.nspname, c.relname),
        format('SELECT count(*) FROM ONLY %I.%I %s', n.nspname, c.relname, e.condition),
        format('SELECT count(*), sum(%s) FROM ONLY %I.%I %s', (\(Self.rowHash)), n.nspname, c.relname, e.condition),
        format('ONLY %I.%I', n.nspname, c.relname)
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN LATERAL (SELECT x.extcondition[array_position(x.extconfig, c.oid)] AS condition
        FROM pg_catalog.pg_extension x WHERE c.oid = ANY (x.extconfig)) e ON true
      WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND \(Self.ours)
        AND (NOT \(Self.member("pg_class", "c.oid")) OR e.condition IS NOT NULL)
      ORDER BY 1
      """)
    return rows.map { Table(name: $0[0]!, count: $0[1]!, hash: $0[2]!, lock: $0[3]!) }
  }

  /// ACCESS SHARE on all, as pg_dump takes it: TRUNCATE ignores snapshots and must wait until the rows are counted.
  func lock(_ tables: [Table]) async throws {
    for start in stride(from: 0, to: tables.count, by: 500) {
      let names = tables[start..<min(start + 500, tables.count)].map(\.lock).joined(separator: ", ")
      try await connection.execute("LOCK TABLE \(names) IN ACCESS SHARE MODE")
    }
  }

  /// Counts and hashes. Inside a transaction, because a row too large is undone to a savepoint and counted only.
  func evidence(_ tables: [Table]) async throws -> [TableEvidence] {
    var all: [TableEvidence] = []
    for table in tables {
      let row = try await hashed(table.hash, "table \(table.name)")
      if let row {
        all.append(TableEvidence(name: table.name, rows: Int(row[0] ?? "") ?? 0, hash: row[1], hashed: true))
      } else {
        all.append(
          TableEvidence(name: table.name, rows: try await connection.number(table.count), hash: nil, hashed: false))
      }
    }
    return all
  }

  /// Nil where a value is too large to become text: PostgreSQL's limit is 1 GB a value, or the server's memory.
  private func hashed(_ sql: String, _ what: String) async throws -> [String?]? {
    try await connection.execute("SAVEPOINT evidence")
    do {
      let row = try await connection.query(sql).first
      try await connection.execute("RELEASE SAVEPOINT evidence")
      return row
    } catch let error as DatabaseError
      where error.state == "54000" || error.state == "53200" || error.message.contains("invalid memory alloc request")
    {
      try await connection.execute("ROLLBACK TO SAVEPOINT evidence; RELEASE SAVEPOINT evidence")
      log.warning("\(what) is counted, not hashed: \(error.message)")
      return nil
    }
  }

  func sequences() async throws -> [String: (SequenceEvidence.Value, cycles: Bool)] {
    let names = try await connection.query(
      """
      SELECT format('%I.%I', n.nspname, c.relname), s.seqcycle
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
      WHERE c.relpersistence <> 't' AND \(Self.ours) AND NOT \(Self.member("pg_class", "c.oid"))
      """)
    var all: [String: (SequenceEvidence.Value, cycles: Bool)] = [:]
    for row in names {
      let value = try await connection.query("SELECT last_value, is_called FROM \(row[0]!)")[0]
      all[row[0]!] = (.init(last: Int(value[0]!) ?? 0, called: value[1] == "t"), row[1] == "t")
    }
    return all
  }

  func materializedViews() async throws -> [MaterializedView] {
    let rows = try await connection.query(
      """
      SELECT format('%I.%I', n.nspname, c.relname), c.relispopulated
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'm' AND \(Self.ours) AND NOT \(Self.member("pg_class", "c.oid"))
      """)
    return rows.map { MaterializedView(name: $0[0]!, populated: $0[1] == "t") }
  }

  func extensions() async throws -> [String] {
    try await connection.query("SELECT extname FROM pg_catalog.pg_extension ORDER BY 1").map { $0[0]! }
  }

  /// md5 is missing on servers in FIPS mode; sha256 takes bytea and is everywhere since 11.
  func largeObjects() async throws -> LargeObjects {
    let sql = """
      SELECT count(*), sum(pg_catalog.hashtextextended(oid::text || encode(sha256(lo_get(oid)), 'hex'), 0))
      FROM pg_catalog.pg_largeobject_metadata
      """
    if let row = try await hashed(sql, "the large objects") {
      return LargeObjects(count: Int(row[0] ?? "") ?? 0, hash: row[1], hashed: true)
    }
    let count = try await connection.number("SELECT count(*) FROM pg_catalog.pg_largeobject_metadata")
    return LargeObjects(count: count, hash: nil, hashed: false)
  }

  /// Everything at once, in a transaction of its own: how a restored copy is read.
  func read() async throws -> DatabaseEvidence {
    try await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    let sequences = try await sequences()
    let evidence = DatabaseEvidence(
      tables: try await evidence(try await tables()), sequences: SequenceEvidence.joined(sequences, sequences),
      materializedViews: try await materializedViews(), extensions: try await extensions(),
      largeObjects: try await largeObjects())
    try await connection.execute("COMMIT")
    return evidence
  }
}

extension SequenceEvidence {
  /// The readings before and after, of the sequences that both have.
  static func joined(
    _ before: [String: (Value, cycles: Bool)], _ after: [String: (Value, cycles: Bool)]
  ) -> [SequenceEvidence] {
    before.keys.sorted().compactMap { name in
      guard let first = before[name], let last = after[name] else { return nil }
      return SequenceEvidence(name: name, before: first.0, after: last.0, cycles: first.cycles)
    }
  }

  /// Whether a restored value can have been read between the two readings.
  func admits(_ restored: Value) -> Bool {
    if before == after { return restored == before }
    if cycles { return true }
    return (min(before.last, after.last)...max(before.last, after.last)).contains(restored.last)
  }
}

extension DatabaseEvidence {
  /// What differs in a restored copy, one sentence a thing; empty when nothing does.
  func differences(in copy: DatabaseEvidence) -> [String] {
    var found: [String] = []
    // Keys are bytes: two names may be equal to Swift (é composed and decomposed) and still be two tables.
    let key = { (name: String) in Array(name.utf8) }
    let tables = Dictionary(uniqueKeysWithValues: copy.tables.map { (key($0.name), $0) })
    for table in self.tables {
      guard let restored = tables[key(table.name)] else {
        found.append("table \(table.name) is missing")
        continue
      }
      if restored.rows != table.rows {
        found.append("table \(table.name) has \(restored.rows) rows instead of \(table.rows)")
      } else if method == copy.method, table.hashed, restored.hashed, restored.hash != table.hash {
        found.append("table \(table.name) has other content in its \(table.rows) rows")
      } else if table.hashed != restored.hashed {
        found.append("table \(table.name) could be hashed only once")
      }
    }
    let known = Set(self.tables.map { key($0.name) })
    found += copy.tables.filter { !known.contains(key($0.name)) }.map { "table \($0.name) was not there" }
    let sequences = Dictionary(uniqueKeysWithValues: copy.sequences.map { (key($0.name), $0.before) })
    for sequence in self.sequences {
      guard let restored = sequences[key(sequence.name)] else {
        found.append("sequence \(sequence.name) is missing")
        continue
      }
      if !sequence.admits(restored) {
        found.append(
          "sequence \(sequence.name) is at \(restored.last) instead of \(sequence.before.last) to \(sequence.after.last)")
      }
    }
    for view in materializedViews where !copy.materializedViews.contains(view) {
      found.append("materialised view \(view.name) is missing or not \(view.populated ? "populated" : "empty") any more")
    }
    found += extensions.filter { !copy.extensions.contains($0) }.map { "extension \($0) is missing" }
    if largeObjects != copy.largeObjects {
      found.append("large objects differ: \(copy.largeObjects.count) instead of \(largeObjects.count), or other content")
    }
    return found.map(printable)
  }
}
