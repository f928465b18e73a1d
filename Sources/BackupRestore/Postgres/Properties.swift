extension DatabaseProperties {
  /// Reads them in the database itself.
  ///
  /// pg_dump writes the grants, comment, settings and connection limit into every archive, but pg_restore gives them out
  /// with `--create` only, under the old name (measured); so they are read here and replayed on the staging database.
  init(_ connection: Connection) async throws {
    let version = connection.serverVersion
    // 15 has daticulocale, 17 renamed it datlocale; 16 added the rules.
    let locale = version >= 170000 ? "d.datlocale" : version >= 150000 ? "d.daticulocale" : "NULL"
    let rules = version >= 160000 ? "d.daticurules" : "NULL"
    let provider = version >= 150000 ? "d.datlocprovider" : "'c'"
    let row = try await connection.row(
      """
      SELECT pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_encoding_to_char(d.encoding), \(provider),
        d.datcollate, d.datctype, \(locale), \(rules), t.spcname, d.datconnlimit, d.datistemplate,
        pg_catalog.shobj_description(d.oid, 'pg_database'), d.datacl IS NOT NULL, pg_catalog.pg_database_size(d.oid)
      FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
      WHERE d.datname = pg_catalog.current_database()
      """)
    let grants = try await connection.query(
      """
      SELECT CASE WHEN a.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable
      FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a
      WHERE d.datname = pg_catalog.current_database() ORDER BY 1, 2
      """)
    let publicSchema = try await connection.query(
      """
      SELECT pg_catalog.pg_get_userbyid(n.nspowner),
        CASE WHEN a.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable
      FROM pg_catalog.pg_namespace n
      LEFT JOIN LATERAL pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) WITH ORDINALITY
        AS a(grantor, grantee, privilege_type, is_grantable, place) ON true
      WHERE n.nspname = 'public' ORDER BY a.place
      """)
    let settings = try await connection.query(
      """
      SELECT r.rolname, split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
      FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
      LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) WITH ORDINALITY AS u(c, place)
      WHERE d.datname = pg_catalog.current_database() ORDER BY r.rolname NULLS FIRST, u.place
      """)
    self.init(
      serverVersion: version, owner: try row.text(0), encoding: try row.text(1), provider: try row.text(2),
      collate: try row.text(3), ctype: try row.text(4), locale: row[5], icuRules: row[6], tablespace: try row.text(7),
      connectionLimit: try row.int(8), isTemplate: row.isTrue(9), comment: row[10],
      grants: row.isTrue(11) ? try grants.map { try Grant($0, from: 0) } : nil, settings: try settings.map(Setting.init),
      size: try row.int(12),
      publicSchema: try publicSchema.first.map { first in
        // Where it has no grants at all, its row has none.
        PublicSchema(owner: try first.text(0), grants: try publicSchema.filter { $0[2] != nil }.map { try Grant($0, from: 1) })
      }, soleOwner: try await Self.soleOwner(connection))
  }

  /// `CREATE DATABASE`, empty and closed, with everything that cannot be changed afterwards.
  func create(_ name: String, serverMajor: Int) -> String {
    var sql = "CREATE DATABASE \(SQL.identifier(name)) TEMPLATE template0 CONNECTION LIMIT 0"
    sql += " ENCODING \(SQL.literal(encoding)) LC_COLLATE \(SQL.literal(collate)) LC_CTYPE \(SQL.literal(ctype))"
    if serverMajor >= 15 {
      switch provider {
      case "i": sql += " LOCALE_PROVIDER icu" + (locale.map { " ICU_LOCALE \(SQL.literal($0))" } ?? "")
      case "b": sql += " LOCALE_PROVIDER builtin" + (locale.map { " BUILTIN_LOCALE \(SQL.literal($0))" } ?? "")
      default: sql += " LOCALE_PROVIDER libc"
      }
      if let icuRules, serverMajor >= 16 { sql += " ICU_RULES \(SQL.literal(icuRules))" }
    }
    if tablespace != "pg_default" { sql += " TABLESPACE \(SQL.identifier(tablespace))" }
    return sql
  }

  /// Statements that give `name` the comment and settings of the saved database. Roles in `missing` are left out.
  ///
  /// They belong to the database's OID, so they are given to staging and come along when it is renamed.
  func replay(on name: String, missing: Set<String>) -> [String] {
    let database = SQL.identifier(name)
    var statements: [String] = []
    if let comment { statements.append("COMMENT ON DATABASE \(database) IS \(SQL.literal(comment))") }
    for setting in settings where !missing.contains(setting.role ?? "") {
      let value = Self.settingValue(setting)
      let target = setting.role.map { "ROLE \(SQL.identifier($0)) IN DATABASE \(database)" } ?? "DATABASE \(database)"
      statements.append("ALTER \(target) SET \(Self.settingName(setting.name)) = \(value)")
    }
    return statements
  }

  /// Statements that make `name`, which was created closed and as `user`'s, belong to `owner` and take whom the saved database took.
  func opening(_ name: String, owner: String, user: String, missing: Set<String>) -> [String] {
    let database = SQL.identifier(name)
    var statements = owner == user ? [] : ["ALTER DATABASE \(database) OWNER TO \(SQL.identifier(owner))"]
    if let grants {
      statements.append("REVOKE ALL ON DATABASE \(database) FROM PUBLIC")
      statements.append("REVOKE ALL ON DATABASE \(database) FROM \(SQL.identifier(owner))")
      for grant in grants where !missing.contains(grant.grantee) || grant.grantee == self.owner {
        statements.append(grant.statement("DATABASE \(database)", to: grant.grantee == self.owner ? owner : grant.grantee))
      }
    } else {
      // PostgreSQL's default, which closing took away.
      statements.append("GRANT CONNECT, TEMPORARY ON DATABASE \(database) TO PUBLIC")
    }
    statements.append("ALTER DATABASE \(database) CONNECTION LIMIT \(max(-1, connectionLimit))")
    if isTemplate { statements.append("ALTER DATABASE \(database) IS_TEMPLATE true") }
    return statements
  }
}

extension DatabaseProperties.Grant {
  /// Of the columns grantee, privilege and whether it may be passed on.
  init(_ row: Row, from column: Int) throws {
    self.init(grantee: try row.text(column), privilege: try row.text(column + 1), grantable: row.isTrue(column + 2))
  }
}

extension DatabaseProperties.Setting {
  /// Of the columns role, which may be NULL, name and value.
  init(_ row: Row) throws { self.init(role: row[0], name: try row.text(1), value: try row.text(2)) }
}

extension Server {
  /// Whose rights the sessions of this run have.
  func user() async throws -> String { try await session.row("SELECT current_user").text(0) }

  /// pg_database_size, in bytes; nil where the role may not ask.
  func size(of name: String) async throws -> Int? {
    let size = """
      SELECT pg_catalog.pg_database_size(oid) FROM pg_catalog.pg_database WHERE datname = $1
      AND (pg_catalog.has_database_privilege(oid, 'CONNECT') OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'))
      """
    return try await session.value(size, [name]).flatMap { Int($0) }
  }
}
