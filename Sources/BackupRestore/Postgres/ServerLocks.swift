/// Advisory locks in the maintenance database: advisory locks are per database.
extension Server {
  /// What a run keeps others from meanwhile, one lock for each name of a database.
  enum Work: String {
    /// Whatever reads or replaces a database: saving, restoring, changing passwords.
    case database = "backup-restore "
    /// What a backup does when its set is saved: retention, copy, check.
    /// Begins as no name of the other kind does.
    case repositories = "backup-restore: repositories of "
  }

  /// - Throws: `Failure` 11 where another session holds one for longer than `wait`, LOCK_WAIT unless given.
  func lock(_ names: [String], for work: Work = .database, wait: Duration? = nil) async throws {
    var waiting = Waiting(wait ?? waits.lock)
    for name in names.sorted() {
      while try await !session.isTrue("SELECT pg_catalog.pg_try_advisory_lock(\(Self.key(name, work)))") {
        let holder = try await holder(name, work)
        let fact =
          work == .database ? "database \(name) is" : "the retention, copy and check of an earlier set of database \(name) is"
        let who = holder?.text ?? "another session"
        try await waiting.pause(
          telling: "\(fact) locked by \(who): waiting up to \(waits.lock.components.seconds) s (LOCK_WAIT)",
          until: Failure(
            .locked, "\(fact) in use by \(who)",
            hint: holder?.hint(settings, waits) ?? "run it again, or raise LOCK_WAIT (\(waits.lock.components.seconds) s)"))
      }
    }
  }

  func unlock(_ names: [String]) async throws {
    for name in names { _ = try await session.query("SELECT pg_catalog.pg_advisory_unlock(\(Self.key(name, .database)))") }
  }

  /// Who holds a lock. The key is no secret: whoever may connect to the maintenance database can take it.
  struct Holder: Sendable, Equatable {
    let session: String
    let role: String
    let application: String
    /// From where, and since when; what this role may not see is left out.
    let place: String
    /// The role is the one that asks.
    let isOwnRole: Bool
    /// How far it is, as it says; nil: it has not said.
    let progress: String?

    private var program: String? { application.hasPrefix("backup-restore ") ? String(application.dropFirst(15)) : nil }

    /// Where it runs, as it says; what is no pod's name is not to be typed.
    private var pod: Substring? { isOwnRole ? program?.firstMatch(of: /\ in pod ([a-z0-9][a-z0-9.-]*)$/)?.1 : nil }

    /// Another role may be an operator's, or call itself what it likes: that is the reader's to say.
    var text: String {
      let known = isOwnRole ? "" : " as role \(role)"
      let who =
        program.map { $0 + known }
        ?? "role \(role)\(application.isEmpty ? "" : " (\(application))"), which is no run of backup-restore,"
      return printable("\(who)\(place) (PostgreSQL session \(session))")
    }

    func hint(_ settings: DatabaseSettings, _ waits: Waits) -> String {
      let ending = "SELECT pg_terminate_backend(\(session))"
      let inOrder = pod.map { "kubectl delete pod \($0) ends it in order, and a set that is saved stays; " } ?? ""
      let waiting =
        "wait for it to end, or raise LOCK_WAIT (\(waits.lock.components.seconds) s); \(inOrder)one that is known to be dead: \(ending)"
      if isOwnRole { return program == nil ? "end it: \(ending)" : waiting }
      let database = SQL.identifier(settings.maintenance)
      let closing =
        "\(ending); REVOKE CONNECT ON DATABASE \(database) FROM PUBLIC, \(SQL.identifier(role)); "
        + "GRANT CONNECT ON DATABASE \(database) TO \(SQL.identifier(settings.user))"
      return printable(
        program == nil
          ? "a superuser ends it and keeps that role out: \(closing)"
          : "\(waiting); where \(role) is not the role of a run of yours: \(closing)")
    }
  }

  func holder(_ name: String, _ work: Work = .database) async throws -> Holder? {
    let rows = try await session.query(
      """
      SELECT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''),
        CASE WHEN a.backend_start IS NULL THEN '' ELSE format(' from %s since %s', coalesce(host(a.client_addr), 'this machine'),
          to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ')) END,
        a.usename = session_user, a.query
      FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
      JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
      WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND a.pid <> pg_catalog.pg_backend_pid()
        AND (l.classid::bigint << 32 | l.objid::bigint) = \(Self.key(name, work)) LIMIT 1
      """)
    return try rows.first.map { row in
      Holder(
        session: try row.text(0), role: try row.text(1), application: try row.text(2), place: try row.text(3),
        isOwnRole: row.isTrue(4), progress: row.isTrue(4) ? row[5].flatMap(Self.progress) : nil)
    }
  }

  /// How far this run is, for whoever asks who holds its locks: the session's last statement is all that others see of it.
  /// In ASCII, which every server has.
  func say(_ progress: String) async throws {
    let text = String(String.UnicodeScalarView(progress.unicodeScalars.map { $0.isASCII ? $0 : "?" }))
    _ = try await session.query(Self.saying + SQL.literal(text))
  }

  private static let saying = "SELECT /* progress */ "

  /// From a statement of `say`, of which the server shows the beginning (track_activity_query_size).
  static func progress(_ statement: String) -> String? {
    guard statement.hasPrefix(saying) else { return nil }
    let said = statement.dropFirst(saying.count)
    let text = printable(said.replacing("''", with: "'").trimming("' "))
    return text.isEmpty ? nil : text
  }

  private static func key(_ name: String, _ work: Work) -> String {
    "pg_catalog.hashtextextended(\(SQL.literal(work.rawValue + name)), 0)"
  }

  /// This session, or where it broke a new one with the same locks: the server may still be busy with what the old one asked for, and
  /// keeps its locks as long.
  func answering(wait: Duration = .zero) async throws -> Server {
    if (try? await session.query("SELECT")) != nil { return self }
    let other = try await reconnected()
    try await other.lock(settings.names, wait: wait)
    return other
  }

  private func reconnected() async throws -> Server {
    var last: any Error = CancellationError()
    for _ in 0..<10 {
      do { return try await Server.connect(settings, waits) } catch { last = error }
      try await Task.sleep(for: .seconds(1))
    }
    throw last
  }
}
