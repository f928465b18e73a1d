/// Reads the roles a database refers to, and the SQL that makes them where they are missing.
struct RoleReader: Sendable {
  let connection: Connection

  /// Predefined roles (pg_*) come with the server and are not listed; neither is the bootstrap superuser, unless it owns
  /// something: PostgreSQL keeps no dependency on a role that cannot go away. Of an extension and its members a dump names no owner.
  ///
  /// The roles that log in and have their rights by membership alone are listed, too: `owns` and `granted` are false.
  func uses() async throws -> [RoleUse] {
    let here = "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
    let rows = try await connection.query(
      """
      WITH RECURSIVE member AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'),
      uses(role, owns) AS (
        SELECT refobjid, deptype = 'o' FROM pg_catalog.pg_shdepend s
          WHERE (deptype <> 'o' OR classid <> 'pg_catalog.pg_extension'::regclass
            AND NOT EXISTS (SELECT FROM member m WHERE m.classid = s.classid AND m.objid = s.objid))
          AND refclassid = 'pg_catalog.pg_authid'::regclass
          AND (dbid = \(here) OR (dbid = 0 AND classid = 'pg_catalog.pg_database'::regclass AND objid = \(here)))
        UNION ALL SELECT datdba, true FROM pg_catalog.pg_database WHERE oid = \(here)
        UNION ALL SELECT setrole, false FROM pg_catalog.pg_db_role_setting WHERE setdatabase = \(here) AND setrole <> 0
        UNION ALL SELECT 10, true WHERE EXISTS (SELECT FROM (
          SELECT 'pg_catalog.pg_class'::regclass AS class, oid FROM pg_catalog.pg_class WHERE relowner = 10 AND relkind NOT IN ('t', 'i', 'I')
          UNION ALL SELECT 'pg_catalog.pg_namespace'::regclass, oid FROM pg_catalog.pg_namespace WHERE nspowner = 10 AND nspname !~ '^pg_'
          UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, oid FROM pg_catalog.pg_proc WHERE proowner = 10
          UNION ALL SELECT 'pg_catalog.pg_type'::regclass, oid FROM pg_catalog.pg_type
            WHERE typowner = 10 AND typrelid = 0 AND typcategory <> 'A' AND typtype <> 'm') o
          WHERE oid >= 16384 AND NOT EXISTS (SELECT FROM member m WHERE m.classid = o.class AND m.objid = o.oid))),
      named AS (SELECT r.oid, r.rolname, bool_or(u.owns) AS owns, NOT bool_and(u.owns) AS granted
        FROM uses u JOIN pg_catalog.pg_roles r ON r.oid = u.role WHERE r.rolname !~ '^pg_' GROUP BY 1, 2),
      \(Self.members(of: "SELECT oid FROM named"))
      SELECT rolname, owns, granted FROM named
      UNION ALL SELECT r.rolname, false, false FROM pg_catalog.pg_roles r JOIN below b USING (oid)
        WHERE r.rolcanlogin AND NOT r.rolsuper AND r.oid NOT IN (SELECT oid FROM named) ORDER BY 1
      """)
    return try rows.map { RoleUse(name: try $0.text(0), owns: $0.isTrue(1), granted: $0.isTrue(2)) }
  }

  /// `below`: those roles, and who is a member of them. A superuser has its rights by itself, and its members are not the database's.
  private static func members(of roles: String) -> String {
    """
    below(oid) AS (\(roles)
      UNION SELECT m.member FROM below b JOIN pg_catalog.pg_roles r ON r.oid = b.oid AND NOT r.rolsuper
        JOIN pg_catalog.pg_auth_members m ON m.roleid = b.oid)
    """
  }

  struct Script: Sendable {
    var sql = RoleScript.title
    /// Whether password hashes could be read.
    let hasPasswords: Bool
    /// Members that log in and are not in it: superusers.
    let leftOut: [String]
  }

  /// `roles.sql`: each role created where it is missing, with its settings and comment; then memberships that are missing, of roles
  /// that exist too, and the parameters they may set. A query a kind, however many roles there are.
  func script(for names: [String]) async throws -> Script {
    let passwords = try await connection.isTrue(
      "SELECT pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT')")
    let wanted = SQL.array(try await withParents(names))
    let settings = try await settings(wanted)
    var script = Script(hasPasswords: passwords, leftOut: try await leftOut(SQL.array(names)))
    for row in try await attributes(wanted, passwords: passwords) {
      let name = try row.text(0)
      script.sql += Self.create(
        name, attributes: try row.text(1), comment: row[2], hash: row[3], settings[Array(name.utf8)] ?? [])
    }
    script.sql += try await memberships(wanted) + parameters(wanted)
    return script
  }

  /// The roles and every role they are a member of.
  private func withParents(_ names: [String]) async throws -> [String] {
    try await connection.column(
      """
      WITH RECURSIVE wanted(oid) AS (
        SELECT oid FROM pg_catalog.pg_roles WHERE rolname = ANY ($1::text[])
        UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN wanted w ON m.member = w.oid)
      SELECT r.rolname FROM pg_catalog.pg_roles r JOIN wanted w ON w.oid = r.oid WHERE r.rolname !~ '^pg_' ORDER BY 1
      """, [SQL.array(names)])
  }

  private func leftOut(_ names: String) async throws -> [String] {
    try await connection.column(
      """
      WITH RECURSIVE \(Self.members(of: "SELECT oid FROM pg_catalog.pg_roles WHERE rolname = ANY ($1::text[])"))
      SELECT r.rolname FROM pg_catalog.pg_roles r JOIN below b USING (oid)
      WHERE r.rolcanlogin AND r.rolsuper AND r.rolname <> ALL ($1::text[]) ORDER BY 1
      """, [names])
  }

  private func attributes(_ wanted: String, passwords: Bool) async throws -> [Row] {
    try await connection.query(
      """
      SELECT r.rolname, concat_ws(' ', CASE WHEN r.rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END,
        CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
        CASE WHEN r.rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
        CASE WHEN r.rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
        CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
        CASE WHEN r.rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
        CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END,
        CASE WHEN r.rolconnlimit >= 0 THEN 'CONNECTION LIMIT ' || r.rolconnlimit END,
        CASE WHEN r.rolvaliduntil IS NOT NULL THEN 'VALID UNTIL ' || quote_literal(r.rolvaliduntil::text) END),
        pg_catalog.shobj_description(r.oid, 'pg_authid'), \(passwords ? "a.rolpassword" : "NULL")
      FROM pg_catalog.pg_roles r\(passwords ? " JOIN pg_catalog.pg_authid a USING (oid)" : "")
      WHERE r.rolname = ANY ($1::text[]) ORDER BY 1
      """, [wanted])
  }

  /// By the bytes of the role's name: two names may be equal to Swift and still be two roles.
  private func settings(_ wanted: String) async throws -> [[UInt8]: [DatabaseProperties.Setting]] {
    let rows = try await connection.query(
      """
      SELECT r.rolname, split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) FROM pg_catalog.pg_db_role_setting s
      JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) WITH ORDINALITY AS u(c, place)
      WHERE s.setdatabase = 0 AND r.rolname = ANY ($1::text[]) ORDER BY r.rolname, u.place
      """, [wanted])
    return try Dictionary(grouping: rows) { Array(try $0.text(0).utf8) }.mapValues { try $0.map(DatabaseProperties.Setting.init) }
  }

  private static func create(
    _ name: String, attributes: String, comment: String?, hash: String?, _ settings: [DatabaseProperties.Setting]
  ) -> String {
    let role = SQL.identifier(name)
    // NOSUPERUSER and its like ask for rights that a role that may only create roles does not have.
    let words = attributes.split(separator: " ").filter { !["NOSUPERUSER", "NOREPLICATION", "NOBYPASSRLS"].contains($0) }
    var body = "CREATE ROLE \(role) \(words.joined(separator: " "))"
    if let hash { body += " PASSWORD \(SQL.literal(hash))" }
    body += ";\n"
    if let comment { body += "COMMENT ON ROLE \(role) IS \(SQL.literal(comment));\n" }
    for setting in settings {
      body +=
        "ALTER ROLE \(role) SET \(DatabaseProperties.settingName(setting.name)) = \(DatabaseProperties.settingValue(setting));\n"
    }
    return unlessExists(name, body)
  }

  /// Granted where missing. The options of 16 and later are left at the target's defaults, which are what a plain GRANT
  /// had before 16; `ADMIN OPTION` is kept.
  private func memberships(_ wanted: String) async throws -> String {
    let rows = try await connection.query(
      """
      SELECT r.rolname, p.rolname, bool_or(m.admin_option) FROM pg_catalog.pg_auth_members m
      JOIN pg_catalog.pg_roles p ON p.oid = m.roleid JOIN pg_catalog.pg_roles r ON r.oid = m.member
      WHERE r.rolname = ANY ($1::text[]) GROUP BY 1, 2 ORDER BY 1, 2
      """, [wanted])
    return try rows.map { Self.grant(try $0.text(1), to: try $0.text(0), admin: $0.isTrue(2)) }.joined()
  }

  /// The parameters a role may set although they are a superuser's: 15 and later.
  private func parameters(_ wanted: String) async throws -> String {
    if connection.serverMajor < 15 { return "" }
    let rows = try await connection.query(
      """
      SELECT r.rolname, p.parname, a.privilege_type, a.is_grantable FROM pg_catalog.pg_parameter_acl p,
        pg_catalog.aclexplode(p.paracl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
      WHERE r.rolname = ANY ($1::text[]) ORDER BY 1, 2, 3
      """, [wanted])
    return try rows.map {
      Self.parameter(try $0.text(1), try $0.text(2), to: try $0.text(0), option: $0.isTrue(3))
    }.joined()
  }

  /// Only a superuser of a server that has them can grant them, and where it cannot be done it keeps no role from being made.
  static func parameter(_ name: String, _ privilege: String, to role: String, option: Bool) -> String {
    let can = """
      pg_catalog.current_setting('server_version_num')::int >= 150000 \
      AND (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
      """
    let missing = """
      NOT EXISTS (SELECT FROM pg_catalog.pg_parameter_acl p, pg_catalog.aclexplode(p.paracl) a \
      JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE p.parname = \(SQL.literal(name)) \
      AND r.rolname = \(SQL.literal(role)) AND a.privilege_type = \(SQL.literal(privilege)))
      """
    let grant =
      "GRANT \(privilege) ON PARAMETER \(DatabaseProperties.settingName(name)) TO \(SQL.identifier(role))\(option ? " WITH GRANT OPTION" : "")"
    // As text: an older server refuses a block that holds what it does not know, whether it is run or not.
    return guarded(can, "IF \(missing) THEN\nEXECUTE \(SQL.literal(grant));\nEND IF;\n")
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
