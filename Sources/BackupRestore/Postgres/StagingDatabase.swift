/// A database that is being built. It belongs to POSTGRES_USER and lets nobody else in, from the statement that creates it to the one
/// that swaps it in: whoever gets in before could put anything into what is verified, and an owner could open it from another database.
struct StagingDatabase: Sendable {
  let server: Server
  let name: String
  /// As it will be called, for messages.
  let live: String
  let properties: DatabaseProperties
  /// That it has, as far as its record says.
  let extensions: [String]
  /// Whose it will be.
  let owner: String
  /// Whose rights this run's sessions have: POSTGRES_USER's, or where ALTER ROLE … SET role says so another one's.
  let user: String
  /// Roles that are named in it, and left out.
  var missing: Set<String>

  private var database: String { SQL.identifier(name) }

  /// - Throws: `DatabaseError` with what PostgreSQL said.
  func create() async throws {
    _ = try await server.session.query(properties.create(name, serverMajor: server.major))
    let own = StoredSettings.whileLoading(properties.settings, owner: properties.owner)
    for setting in own + StoredSettings.asked(by: extensions) {
      let (name, value) = (DatabaseProperties.settingName(setting.name), DatabaseProperties.settingValue(setting))
      // What is refused is refused again when all are given, and told then.
      _ = try? await server.session.query("ALTER DATABASE \(database) SET \(name) = \(value)")
    }
    // Superusers alone pass the limit; it stays for them.
    if try await isSuperuser() { return }
    try await run([
      "REVOKE ALL ON DATABASE \(database) FROM PUBLIC", "ALTER DATABASE \(database) CONNECTION LIMIT -1",
    ])
    if owner == user { return }
    // What an owner must have where something is given to it. From 15 on `public` takes nothing from others.
    try await run(["GRANT CREATE ON DATABASE \(database) TO \(SQL.identifier(owner))"])
    if server.major >= 15 {
      _ = try await server.open(name).query("GRANT CREATE ON SCHEMA public TO \(SQL.identifier(owner))")
    }
  }

  func isSuperuser() async throws -> Bool {
    try await server.session.isSuperuser()
  }

  /// After it is loaded, whoever loaded it: nobody keeps what was granted for that.
  func loaded() async throws {
    for setting in StoredSettings.asked(by: extensions) {
      _ = try? await server.session.query("ALTER DATABASE \(database) RESET \(DatabaseProperties.settingName(setting.name))")
    }
    if try await isSuperuser() || owner == user { return }
    if server.major >= 15 { try await restorePublic(of: owner, in: try await server.open(name)) }
    try await run(["REVOKE ALL ON DATABASE \(database) FROM \(SQL.identifier(owner))"])
  }

  /// The extension's own end of a restore, in the database that is live by then: it starts workers, which are to do nothing to a copy.
  func endRestoring() async {
    guard !StoredSettings.asked(by: extensions).isEmpty, (try? await isSuperuser()) == true else { return }
    let member = """
      SELECT p.oid::pg_catalog.regproc::text FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e'
      JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'timescaledb'
      WHERE p.proname = 'timescaledb_post_restore'
      """
    let ended = await settled {
      let inside = try await server.open(live)
      for row in try await inside.query(member) { _ = try await inside.query("SELECT \(try row.text(0))()") }
    }
    if case .failure(let error) = ended {
      log.warning("timescaledb in database \(printable(live)): \(error)\n  hint: run SELECT timescaledb_post_restore() there")
    }
  }

  struct Prepared: Sendable {
    /// What PostgreSQL refused to set: this role may not, or the server does not know it.
    var leftOut: [String] = []
    /// Why nobody gets in.
    var shut: String?
  }

  /// Settings and comment, which change nothing for who is not let in. What opens it is tried, and undone: the swap must not fail for it.
  ///
  /// - Parameter opening: settings that keep everybody out are left out, too.
  func prepare(opening: Bool = false) async throws -> Prepared {
    var prepared = Prepared()
    _ = try await server.session.query("ALTER DATABASE \(database) RESET ALL")
    for statement in properties.replay(on: name, missing: missing) {
      do { _ = try await server.session.query(statement) } catch let error as DatabaseError {
        prepared.leftOut.append(printable("\(statement.replacing(database, with: SQL.identifier(live))): \(error.message)"))
      }
    }
    try await server.session.transaction(self.opening(as: name), undone: true)
    prepared.shut = try await shut()
    if prepared.shut != nil, opening {
      for setting in properties.settings where StoredSettings.loads(setting) {
        let target = setting.role.map { "ROLE \(SQL.identifier($0)) IN DATABASE \(database)" } ?? "DATABASE \(database)"
        _ = try await server.session.query("ALTER \(target) RESET \(setting.name)")
      }
      prepared.leftOut += [prepared.shut].compactMap { $0.map { "what lets nobody in: \($0)" } }
      prepared.shut = await refusal()
    }
    return prepared
  }

  /// A session of its own, as the application opens one: what the settings name is loaded now, or nobody gets in.
  private func shut() async throws -> String? {
    if let error = await refusal() { return "a connection to it fails: \(error)" }
    // Those of one role are tried on this one.
    let own = "ROLE \(SQL.identifier(server.settings.user)) IN DATABASE \(database)"
    for setting in properties.settings where StoredSettings.loads(setting) && setting.role != server.settings.user {
      guard let role = setting.role, !missing.contains(role), try await isSuperuser() else { continue }
      let change = "ALTER \(own) SET \(setting.name) = \(DatabaseProperties.settingValue(setting))"
      _ = try await server.session.query(change)
      let error = await refusal()
      _ = try await server.session.query("ALTER \(own) RESET \(setting.name)")
      if let error { return "a connection to it as \(printable(role)) fails: \(error)" }
    }
    return nil
  }

  private func refusal() async -> String? {
    do {
      _ = try await Connection(server.settings, database: name, waits: server.waits).query("SELECT")
      return nil
    } catch { return printable("\(error)") }
  }

  /// The entries of an archive that this user can make at all: `public` is given away by who may act as both its owners.
  func wanted(_ all: [ArchiveLoad.Entry]) async throws -> [ArchiveLoad.Entry] {
    if try await mayGivePublic() { return all }
    return all.filter { !$0.text.hasPrefix("SCHEMA - public ") }
  }

  /// Databases made before 15 have a `public` that belongs to the bootstrap superuser.
  func mayGivePublic() async throws -> Bool {
    guard let owner = properties.publicSchema?.owner, owner != "pg_database_owner", !missing.contains(owner) else { return true }
    return try await server.session.isTrue(
      "SELECT coalesce((SELECT pg_catalog.pg_has_role(current_user, oid, 'MEMBER') FROM pg_catalog.pg_roles WHERE rolname = $1), false)",
      [owner])
  }

  /// What makes it the application's: sent with the swap, in its transaction.
  func opening(as name: String) -> [String] {
    properties.opening(name, owner: owner, user: user, missing: missing)
  }

  private func run(_ statements: [String]) async throws {
    for statement in statements { _ = try await server.session.query(statement) }
  }

  /// The schema `public` as it was saved. Where the set does not say how, only what was granted for loading is taken back.
  func restorePublic(of role: String, in session: Connection) async throws {
    let role = SQL.identifier(role)
    guard let saved = properties.publicSchema else {
      _ = try await session.query("REVOKE CREATE ON SCHEMA public FROM \(role)")
      return
    }
    let isElse = "SELECT pg_catalog.pg_get_userbyid(nspowner) <> $1 FROM pg_catalog.pg_namespace WHERE nspname = 'public'"
    let owner = SQL.identifier(saved.owner)
    if try await session.isTrue(isElse, [saved.owner]), try await mayGivePublic() {
      _ = try await session.query("ALTER SCHEMA public OWNER TO \(owner)")
    }
    // From all, so that they come back in their order, which pg_dump keeps.
    let grants = saved.grants.filter { !missing.contains($0.grantee) }
    for grantee in ["PUBLIC", owner, role] + grants.map(\.grantee).filter({ !$0.isEmpty }).map(SQL.identifier) {
      _ = try await session.query("REVOKE ALL ON SCHEMA public FROM \(grantee)")
    }
    for grant in grants {
      _ = try await session.query(grant.statement("SCHEMA public", to: grant.grantee))
    }
  }
}

extension DatabaseProperties.Grant {
  func statement(_ object: String, to grantee: String) -> String {
    let to = grantee.isEmpty ? "PUBLIC" : SQL.identifier(grantee)
    return "GRANT \(privilege) ON \(object) TO \(to)\(grantable ? " WITH GRANT OPTION" : "")"
  }
}
