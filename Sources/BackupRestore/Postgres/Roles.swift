/// Reads the roles a database refers to, and the SQL that makes them where they are missing.
struct RoleReader: Sendable {
  let connection: Connection

  /// Predefined roles (pg_*) come with the server and are not listed; neither is the bootstrap superuser, unless it owns
  /// something: PostgreSQL keeps no dependency on a role that cannot go away.
  func uses() async throws -> [RoleUse] {
    let here = "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
    let rows = try await connection.query(
      """
      WITH uses(role, owns) AS (
        SELECT refobjid, deptype = 'o' FROM pg_catalog.pg_shdepend
          WHERE refclassid = 'pg_catalog.pg_authid'::regclass
          AND (dbid = \(here) OR (dbid = 0 AND classid = 'pg_catalog.pg_database'::regclass AND objid = \(here)))
        UNION ALL SELECT datdba, true FROM pg_catalog.pg_database WHERE oid = \(here)
        UNION ALL SELECT setrole, false FROM pg_catalog.pg_db_role_setting WHERE setdatabase = \(here) AND setrole <> 0
        UNION ALL SELECT 10, true WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE relowner = 10 AND oid >= 16384)
          OR EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspowner = 10 AND oid >= 16384)
          OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proowner = 10 AND oid >= 16384)
          OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE typowner = 10 AND oid >= 16384))
      SELECT r.rolname, bool_or(u.owns), NOT bool_and(u.owns) FROM uses u JOIN pg_catalog.pg_roles r ON r.oid = u.role
      WHERE r.rolname !~ '^pg_' GROUP BY 1 ORDER BY 1
      """)
    return rows.map { RoleUse(name: $0[0]!, owns: $0[1] == "t", granted: $0[2] == "t") }
  }

  /// `roles.sql`: each role created where it is missing, with its settings and comment; then memberships that are missing, of roles
  /// that exist too. Also returns whether password hashes could be read.
  func script(for names: [String]) async throws -> (sql: String, passwords: Bool) {
    let passwords = try await connection.isTrue(
      "SELECT pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT')")
    let wanted = try await withParents(names)
    var sql =
      "-- Roles the databases of this set refer to. Safe to run again: roles that exist are left as they are, but for memberships they lack.\n"
    for name in wanted { sql += try await create(name, passwords: passwords) }
    for name in wanted { sql += try await memberships(name, among: wanted) }
    return (sql, passwords)
  }

  /// The roles and every role they are a member of, parents first where possible.
  private func withParents(_ names: [String]) async throws -> [String] {
    let list =
      "{" + names.map { "\"" + $0.prefixing("\\\"", with: "\\") + "\"" }.joined(separator: ",")
      + "}"
    return try await connection.query(
      """
      WITH RECURSIVE wanted(oid) AS (
        SELECT oid FROM pg_catalog.pg_roles WHERE rolname = ANY ($1::text[])
        UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN wanted w ON m.member = w.oid)
      SELECT r.rolname FROM pg_catalog.pg_roles r JOIN wanted w ON w.oid = r.oid WHERE r.rolname !~ '^pg_' ORDER BY 1
      """, [list]
    ).map { $0[0]! }
  }

  private func create(_ name: String, passwords: Bool) async throws -> String {
    let row = try await connection.query(
      """
      SELECT concat_ws(' ', CASE WHEN r.rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END,
        CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
        CASE WHEN r.rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
        CASE WHEN r.rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
        CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
        CASE WHEN r.rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
        CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END,
        CASE WHEN r.rolconnlimit >= 0 THEN 'CONNECTION LIMIT ' || r.rolconnlimit END,
        CASE WHEN r.rolvaliduntil IS NOT NULL THEN 'VALID UNTIL ' || quote_literal(r.rolvaliduntil::text) END),
        pg_catalog.shobj_description(r.oid, 'pg_authid')
      FROM pg_catalog.pg_roles r WHERE r.rolname = $1
      """, [name])[0]
    let hash =
      passwords
      ? try await connection.value("SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1", [name]) : nil
    let settings = try await connection.query(
      """
      SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) FROM pg_catalog.pg_db_role_setting s
      JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) WITH ORDINALITY AS u(c, place)
      WHERE s.setdatabase = 0 AND r.rolname = $1 ORDER BY u.place
      """, [name])
    let role = SQL.identifier(name)
    // NOSUPERUSER and its like ask for rights that a role that may only create roles does not have.
    let attributes = row[0]!.split(separator: " ").filter { !["NOSUPERUSER", "NOREPLICATION", "NOBYPASSRLS"].contains($0) }
    var body = "CREATE ROLE \(role) \(attributes.joined(separator: " "))"
    if let hash { body += " PASSWORD \(SQL.literal(hash))" }
    body += ";\n"
    if let comment = row[1] { body += "COMMENT ON ROLE \(role) IS \(SQL.literal(comment));\n" }
    for setting in settings {
      let setting = DatabaseProperties.Setting(role: name, name: setting[0]!, value: setting[1]!)
      body +=
        "ALTER ROLE \(role) SET \(DatabaseProperties.settingName(setting.name)) = \(DatabaseProperties.settingValue(setting));\n"
    }
    return Self.unlessExists(name, body)
  }

  /// Granted where missing. The options of 16 and later are left at the target's defaults, which are what a plain GRANT
  /// had before 16; `ADMIN OPTION` is kept.
  private func memberships(_ name: String, among wanted: [String]) async throws -> String {
    let rows = try await connection.query(
      """
      SELECT p.rolname, bool_or(m.admin_option) FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles p ON p.oid = m.roleid
      JOIN pg_catalog.pg_roles r ON r.oid = m.member WHERE r.rolname = $1 GROUP BY 1 ORDER BY 1
      """, [name])
    return rows.map { Self.grant($0[0]!, to: name, admin: $0[1] == "t") }.joined()
  }

  /// A membership, granted where it is missing.
  static func grant(_ parent: String, to member: String, admin: Bool) -> String {
    let missing = """
      NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles p ON p.oid = m.roleid \
      JOIN pg_catalog.pg_roles r ON r.oid = m.member WHERE p.rolname = \(SQL.literal(parent)) AND r.rolname = \(SQL.literal(member)))
      """
    let option = admin ? " WITH ADMIN OPTION" : ""
    return guarded(missing, "GRANT \(SQL.identifier(parent)) TO \(SQL.identifier(member))\(option);\n")
  }

  /// Statements about a role that are run only where it does not exist.
  static func unlessExists(_ role: String, _ body: String) -> String {
    guarded("NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = \(SQL.literal(role)))", body)
  }

  /// A DO block whose quoting cannot be closed by what is inside: the tag is chosen not to occur in it.
  private static func guarded(_ condition: String, _ body: String) -> String {
    var tag = "role"
    while (body + condition).utf8.contains("$\(tag)$".utf8) { tag += "_" }
    return "DO $\(tag)$ BEGIN IF \(condition) THEN\n\(body)END IF; END $\(tag)$;\n"
  }
}
