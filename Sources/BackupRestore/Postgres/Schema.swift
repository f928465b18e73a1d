/// Reads what a database defines, object by object, from the catalogs alone: nothing that the application owns is planned or executed.
///
/// Rows come from the transaction's snapshot, as pg_dump's do. What the server prints from its caches (names, expressions) may be newer; see
/// `settled`.
struct SchemaReader: Sendable {
  let connection: Connection

  /// What cannot be had is told and left out: where pg_dump succeeds, so does the backup.
  func read() async throws -> SchemaEvidence {
    // A query this long would be compiled for longer than it runs. Printing a view locks what the view reads: until the rollback.
    try await connection.execute("SAVEPOINT definitions; SET LOCAL jit = off; SET LOCAL lock_timeout = '5s'")
    do {
      var kinds: [String: [SchemaObject]] = [:]
      for row in try await connection.query(sql) {
        kinds[try row.text(0), default: []].append(SchemaObject(name: try row.text(1), hash: row[2]))
      }
      try await connection.execute("ROLLBACK TO SAVEPOINT definitions; RELEASE SAVEPOINT definitions")
      return SchemaEvidence(major: connection.serverMajor, objects: kinds)
    } catch let error as DatabaseError {
      try await connection.execute("ROLLBACK TO SAVEPOINT definitions; RELEASE SAVEPOINT definitions")
      log.warning("definitions are not compared: \(printable(error.message))")
      return SchemaEvidence(major: connection.serverMajor, objects: [:], unread: error.message)
    }
  }

  /// What pg_dump, at work since, saved is what `before` says, unless a row of a catalog was replaced or removed meanwhile, which its
  /// xmax tells. Then only what both readings say is certain.
  func settled(_ before: SchemaEvidence) async throws -> SchemaEvidence {
    let catalogs = [
      "class", "attribute", "attrdef", "inherits", "index", "constraint", "trigger", "rewrite", "policy", "statistic_ext", "proc",
      "sequence", "aggregate", "type", "enum", "range", "namespace", "description", "event_trigger", "publication",
      "publication_rel",
      "collation", "cast", "operator", "opclass", "opfamily", "conversion", "language", "default_acl", "foreign_server",
      "foreign_table",
    ].map { "EXISTS (SELECT FROM pg_catalog.pg_\($0) WHERE xmax <> '0'::xid)" }
    guard before.unread == nil, try await connection.isTrue("SELECT \(catalogs.joined(separator: " OR "))") else { return before }
    return before.settled(with: try await read())
  }

  /// An expression as the server prints it, without what differs after a restore: casts and parentheses. `a IN ('x', 'y')` on varchar is
  /// printed `(a)::text = ANY ((ARRAY['x'::character varying, …])::text[])`, and that, read again, as
  /// `(a)::text = ANY (ARRAY[('x'::character varying)::text, …])`; `a AND b AND c` gains a pair of parentheses (measured, 15.20).
  func flat(_ printed: String) -> String {
    let name = #"("([^"]|"")+"|[a-z_][a-z0-9_]*)"#
    let cast = "::\(name)(\\.\(name))?( varying| precision)?(\\([0-9, -]+\\))?( with(out)? time zone)?(\\[\\])*"
    return "translate(regexp_replace(\(printed), \(SQL.literal(cast)), '', 'g'), E'() \\n', '')"
  }

  /// A view as the server prints it, without the names that it gives to a function's columns: it names as many as the function has now, and
  /// printed again all (measured, 15.20).
  func unnamed(_ printed: String) -> String {
    let name = #"("([^"]|"")+"|[a-z_][a-z0-9_]*)"#
    let columns = #"(\)|WITH ORDINALITY) (\#(name))\(\#(name)(, \#(name))*\)"#
    return "regexp_replace(\(printed), \(SQL.literal(columns)), '\\1 \\2', 'g')"
  }

  /// Options have no order: pg_dump sorts those of foreign data.
  func sorted(_ options: String) -> String {
    "(SELECT string_agg(o, ',' ORDER BY o COLLATE \"C\") FROM unnest(\(options)) o)"
  }

  func since(_ major: Int, _ sql: String, else other: String = "NULL") -> String {
    connection.serverMajor >= major ? sql : other
  }

  /// Granted to whom and what, without by whom. An order is none of the list's own.
  func list(_ grants: String, without owner: String = "0") -> String {
    """
    coalesce((SELECT string_agg(g.one, ',' ORDER BY g.one) FROM (SELECT DISTINCT concat_ws(' ',
      CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable) COLLATE "C" AS one
      FROM aclexplode(\(grants)) a WHERE a.grantee = 0 OR a.grantee <> \(owner)) g), 'none')
    """
  }

  private var sql: String {
    """
    WITH member AS MATERIALIZED (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
    -- What the server makes by itself with a type, and pg_dump leaves to it: for a range, multiranges since 14, their functions and casts.
    made AS MATERIALIZED (SELECT classid, objid FROM pg_depend WHERE deptype = 'i' AND refclassid = 'pg_type'::regclass),
    space AS MATERIALIZED (SELECT n.* FROM pg_namespace n WHERE \(EvidenceReader.ours)),
    rel AS MATERIALIZED (SELECT c.* FROM pg_class c JOIN space n ON n.oid = c.relnamespace WHERE c.relpersistence <> 't'
      AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)),
    usual AS MATERIALIZED (SELECT mode() WITHIN GROUP (ORDER BY pg_get_userbyid(relowner)) AS owner
      FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'f')),
    type AS MATERIALIZED (SELECT t.* FROM pg_type t JOIN space n ON n.oid = t.typnamespace WHERE t.typisdefined
      AND (t.typrelid = 0 OR t.typrelid IN (SELECT oid FROM rel WHERE relkind = 'c'))
      AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)),
    object(class, oid, definition) AS (SELECT o.* FROM (\(relations)
      UNION ALL \(partsOfRelations)
      UNION ALL \(routinesAndTypes)
      UNION ALL \(others)) o (class, oid, definition)
      WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = o.class AND m.objid = o.oid)
        AND NOT EXISTS (SELECT FROM made m WHERE m.classid = o.class AND m.objid = o.oid)),
    everything(kind, name, definition) AS (
      SELECT i.type, i.identity, o.definition FROM object o, pg_identify_object(o.class, o.oid, 0) i
      UNION ALL \(comments)
      UNION ALL \(grants))
    SELECT kind, name, CASE WHEN kind <> 'grant' OR definition IS NOT NULL THEN
      encode(substr(sha256(convert_to(coalesce(definition, ''), getdatabaseencoding())), 1, 8), 'hex') END
    FROM everything WHERE name IS NOT NULL ORDER BY kind COLLATE "C", name COLLATE "C", 3
    """
  }
}
