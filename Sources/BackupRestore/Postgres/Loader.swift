/// A role of its own that loads a database as the role that owns all of it.
///
/// CHECK constraints and generated columns run as whoever loads. `SET ROLE` alone is no wall: what they call sets the role back to the
/// session's, a superuser (measured). This session's role has nothing but its membership.
struct Loader: Sendable {
  let staging: StagingDatabase
  let owner: DatabaseProperties.SoleOwner
  let settings: DatabaseSettings

  /// What the comment of the role says: after a run that was killed it tells it from others.
  static let mark = "made by a restore of backup-restore"

  /// Whether one role owns all that a superuser would load, and may make it.
  static func isPossible(_ staging: StagingDatabase, extensions: [String]) async throws -> Bool {
    let isAble = """
      SELECT NOT rolsuper AND NOT EXISTS (SELECT FROM unnest($2::text[]) n LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = n
          LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
          WHERE n <> 'plpgsql' AND (v.superuser AND NOT v.trusted) IS NOT FALSE)
      FROM pg_catalog.pg_roles WHERE rolname = $1
      """
    // What asks for settings has chunks of the owner's tables in schemas of its own, too, where that may make none (measured).
    guard let owner = staging.properties.soleOwner, staging.server.major >= 15, staging.missing.isEmpty,
      StoredSettings.asked(by: extensions).isEmpty
    else { return false }
    return try await staging.server.session.isTrue(isAble, [owner.role, SQL.array(extensions)])
  }

  /// For a superuser. Nil where it is not possible.
  static func make(_ staging: StagingDatabase, extensions: [String], waits: Waits) async throws -> Loader? {
    guard let owner = staging.properties.soleOwner, try await isPossible(staging, extensions: extensions) else { return nil }
    let password = (0..<4).map { _ in String(UInt64.random(in: 0 ... .max), radix: 36) }.joined()
    let loader = Loader(
      staging: staging, owner: owner, settings: staging.server.settings.with(user: staging.name, password: Secret(password)))
    try await loader.admit(password)
    do {
      _ = try await Connection(loader.settings, database: staging.name, waits: waits).query("SELECT")
      return loader
    } catch let error as ConnectionError {
      try await loader.remove()
      log.warning(
        "the role that was made to load \(printable(staging.name)) is not let in: \(printable(error.message))\n  hint: let pg_hba.conf admit all roles from here"
      )
      return nil
    }
  }

  private var role: String { SQL.identifier(staging.name) }

  private func admit(_ password: String) async throws {
    let (database, owner) = (SQL.identifier(staging.name), SQL.identifier(owner.role))
    try await staging.server.session.transaction([
      "CREATE ROLE \(role) LOGIN PASSWORD \(SQL.literal(password)) IN ROLE \(owner)",
      "COMMENT ON ROLE \(role) IS \(SQL.literal(Self.mark))", "REVOKE ALL ON DATABASE \(database) FROM PUBLIC",
      "GRANT CONNECT ON DATABASE \(database) TO \(role)", "GRANT CREATE ON DATABASE \(database) TO \(owner)",
      "ALTER DATABASE \(database) CONNECTION LIMIT -1",
    ])
    if staging.properties.publicSchema == nil { return }
    _ = try await staging.server.open(staging.name).query("ALTER SCHEMA public OWNER TO \(owner)")
  }

  /// With whatever its session was made to leave behind. Then what belongs to another role than made it is given to that.
  func remove() async throws {
    let (server, database) = (staging.server, SQL.identifier(staging.name))
    _ = try await server.session.query("ALTER DATABASE \(database) CONNECTION LIMIT 0")
    _ = try await server.session.query(
      "SELECT pg_catalog.pg_terminate_backend(pid, 10000) FROM pg_catalog.pg_stat_activity WHERE usename = $1", [staging.name])
    let inside = try await server.open(staging.name)
    _ = try await inside.query("DROP OWNED BY \(role)")
    for object in owner.ofDatabaseOwner { _ = try await inside.query("ALTER \(object) OWNER TO pg_database_owner") }
    try await staging.restorePublic(of: owner.role, in: inside)
    _ = try await server.session.query("REVOKE ALL ON DATABASE \(database) FROM \(SQL.identifier(owner.role))")
    await server.dropLoader(staging.name)
  }
}
