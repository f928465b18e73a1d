/// The server as seen from the maintenance database: locks, names, rights, and the swap.
struct Server: Sendable {
  let settings: DatabaseSettings
  let waits: Waits
  /// The session that holds the advisory locks and sends the rename, so that no lock can free before the rename ends.
  let session: Connection

  var major: Int { session.serverMajor }

  /// - Throws: `Failure` 22 with what the server said.
  static func connect(_ settings: DatabaseSettings, _ waits: Waits) async throws -> Server {
    Server(
      settings: settings, waits: waits,
      session: try await open(settings, settings.maintenance, waits))
  }

  static func open(_ settings: DatabaseSettings, _ database: String, _ waits: Waits) async throws -> Connection {
    do {
      return try await Connection(settings, database: database, waits: waits)
    } catch let error as ConnectionError {
      throw Failure(
        .refused, "database \(database) on \(settings.host):\(settings.port): \(error.message)",
        hint: error.isPooler
          ? "set \(settings.prefix.isEmpty ? "POSTGRES_HOST, POSTGRES_SERVICE and POSTGRES_PORT" : "\(settings.prefix)POSTGRES_HOST") to the server itself"
          : Reason.hint(for: [error.message], in: Reason.database, prefix: settings.prefix) ?? "",
        cause: error.isPooler ? .pooler : .plain)
    }
  }

  func open(_ database: String) async throws -> Connection { try await Self.open(settings, database, waits) }

  func databases() async throws -> Set<String> {
    Set(try await session.column("SELECT datname FROM pg_catalog.pg_database"))
  }

  /// Who is connected to a database, `3 sessions of app` each.
  func sessions(in name: String) async throws -> [String] {
    try await session.query(
      """
      SELECT count(*), usename FROM pg_catalog.pg_stat_activity
      WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid() AND usename IS NOT NULL GROUP BY usename ORDER BY 2
      """, [name]
    ).map { "\(Format.count(try $0.int(0), "session", "sessions")) of \(printable(try $0.text(1)))" }
  }

  func hasTablespace(_ name: String) async throws -> Bool {
    try await session.isTrue("SELECT EXISTS (SELECT FROM pg_catalog.pg_tablespace WHERE spcname = $1)", [name])
  }

  /// (name, comment) of every database.
  func comments() async throws -> [(name: String, comment: String?)] {
    try await session.query(
      "SELECT datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database ORDER BY 1"
    ).map { (try $0.text(0), $0[1]) }
  }

  func comment(_ name: String) async throws -> String? {
    try await session.value(
      "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = $1", [name])
  }

  /// OIDs by name, and whose: the truth about a swap that was interrupted, whatever somebody renamed or dropped since.
  struct Identities: Codable, Equatable, Sendable {
    /// PostgreSQL's system identifier; nil where the role may not read it. Two new servers count their OIDs alike.
    let system: String?
    let oids: [String: String]
  }

  func identities(of names: [String]) async throws -> Identities {
    var oids: [String: String] = [:]
    for name in names {
      oids[name] = try await session.value("SELECT oid::text FROM pg_catalog.pg_database WHERE datname = $1", [name])
    }
    return Identities(system: try await system(), oids: oids)
  }

  /// Two queries: one that names the function is refused as a whole where the role may not call it.
  func system() async throws -> String? {
    let may = "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')"
    guard try await session.isTrue(may) else { return nil }
    return try await session.value("SELECT system_identifier::text FROM pg_catalog.pg_control_system()")
  }

  func name(ofDatabase oid: String) async throws -> String? {
    try await session.value("SELECT datname FROM pg_catalog.pg_database WHERE oid = $1::oid", [oid])
  }

  // MARK: The swap

  struct Rename: Codable, Equatable, Sendable {
    let from: String
    let to: String
  }

  /// Renames all in one implicit transaction, `statements` with them, against clients that keep coming back.
  ///
  /// ALTER DATABASE RENAME locks the database first, so newcomers wait, and gives the sessions inside up to 5 s to leave;
  /// meanwhile another session terminates them. Terminating first and renaming then failed in 11 of 12 tries (measured).
  func rename(_ renames: [Rename], with statements: [String]) async throws {
    let renaming = renames.map { "ALTER DATABASE \(SQL.identifier($0.from)) RENAME TO \(SQL.identifier($0.to))" }
    let sql = (renaming + statements).joined(separator: "; ")
    let terminator = try await open(settings.maintenance)
    let names = renames.map { SQL.literal($0.from) }.joined(separator: ", ")
    let deadline = ContinuousClock().now + .seconds(60)
    while true {
      let terminating = Task {
        while !Task.isCancelled {
          _ = try? await terminator.query(
            """
            SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
            WHERE datname IN (\(names)) AND pid <> pg_catalog.pg_backend_pid()
            """)
          try await Task.sleep(for: .milliseconds(50))
        }
      }
      let renamed = await settled { try await session.execute(sql) }
      // What it is asking for yet would end those that come to the restored database.
      terminating.cancel()
      _ = await terminating.result
      do {
        return try renamed.get()
      } catch let error as DatabaseError where error.state == "55006" && ContinuousClock().now < deadline {
        log.info("sessions keep coming back: trying the swap again")
      } catch let error as DatabaseError {
        throw Failure(
          .verificationFailed, "the databases could not be renamed: \(error.message)",
          hint: "the databases are as they were; end the sessions that are in the way and run it again")
      }
    }
  }
}

extension Connection {
  func isSuperuser() async throws -> Bool { try await mine("rolsuper") }

  /// What the role of this session may, by the columns of pg_roles.
  func mine(_ right: String) async throws -> Bool {
    try await isTrue("SELECT \(right) FROM pg_catalog.pg_roles WHERE rolname = current_user")
  }

  /// The names of all roles, or of those whose comment is `mark`.
  func roles(marked mark: String? = nil) async throws -> [String] {
    let marked = " WHERE pg_catalog.shobj_description(oid, 'pg_authid') = $1"
    return try await column("SELECT rolname FROM pg_catalog.pg_roles" + (mark == nil ? "" : marked), mark.map { [$0] } ?? [])
  }
}

extension Server {
  /// Its consumer has been told to end, and may need a moment.
  func dropSlot(_ name: String) async throws {
    for attempt in 1... {
      do {
        _ = try await session.query("SELECT pg_catalog.pg_drop_replication_slot($1::name)", [name])
        return
      } catch let error as DatabaseError where error.state == "55006" && attempt < 50 {
        try await Task.sleep(for: .milliseconds(100))
      }
    }
  }

  /// A database with a subscription cannot be dropped. Restored ones were never enabled and have no slot; of one that was live, the slot
  /// on its publisher is not ours to drop.
  private func dropSubscriptions(in name: String) async throws {
    let rows = try await session.query(
      """
      SELECT s.subname, s.subslotname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
      WHERE d.datname = $1
      """, [name])
    if rows.isEmpty { return }
    let inside = try await open(name)
    for row in rows {
      let title = try row.text(0)
      let subscription = "SUBSCRIPTION \(SQL.identifier(title))"
      try await inside.execute("ALTER \(subscription) DISABLE")
      try await inside.execute("ALTER \(subscription) SET (slot_name = NONE)")
      try await inside.execute("DROP \(subscription)")
      if let slot = row[1], DatabaseName.isPrevious(name) {
        log.warning(
          "subscription \(title) is gone with \(name)\n  hint: drop its slot \(slot) on the publisher, or it retains WAL there")
      }
    }
  }

  /// - Throws: `Failure` 22 with what PostgreSQL said.
  func drop(_ name: String) async throws {
    do { try await dropWhole(name) } catch let error as DatabaseError {
      throw Failure(
        .refused, "database \(name) cannot be dropped: \(error.message)",
        hint: "run it again with a superuser as POSTGRES_USER, or mend what PostgreSQL names")
    }
    await dropLoader(name)
  }

  /// The role that loaded the database of that name; it stays where somebody made it own something elsewhere.
  func dropLoader(_ name: String) async {
    do {
      let isLoader = "SELECT pg_catalog.shobj_description(oid, 'pg_authid') = $2 FROM pg_catalog.pg_roles WHERE rolname = $1"
      guard try await session.isTrue(isLoader, [name, Loader.mark]) else { return }
      _ = try await session.query("DROP ROLE \(SQL.identifier(name))")
    } catch {
      log.warning(
        "role \(printable(name)), which loaded a database, stays: \(error)\n  hint: drop it by hand: it is a member of the owner")
    }
  }

  private func dropWhole(_ name: String) async throws {
    // An interrupted DROP leaves a database that can only be dropped: altering it ends the session (measured, 15.18).
    let isWhole = "SELECT datconnlimit <> -2 FROM pg_catalog.pg_database WHERE datname = $1"
    if try await session.isTrue(isWhole, [name]) {
      try await session.execute("ALTER DATABASE \(SQL.identifier(name)) IS_TEMPLATE false")
      try await dropSubscriptions(in: name)
    }
    let statement = "DROP DATABASE IF EXISTS \(SQL.identifier(name))"
    do { try await session.execute(statement + " WITH (FORCE)") } catch let error as DatabaseError where error.state == "42501" {
      // To a plain role FORCE refuses everything where it may not end one session, and an autovacuum worker is no role's (measured,
      // 15.20). Without FORCE the server ends that itself.
      _ = try await session.query(
        """
        SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
        WHERE datname = $1 AND usesysid IS NOT NULL AND pg_catalog.pg_has_role(usesysid, 'USAGE')
        """, [name])
      do { try await session.execute(statement) } catch is DatabaseError { throw error }
    }
  }
}
