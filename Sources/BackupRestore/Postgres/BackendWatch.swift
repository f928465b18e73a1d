/// Whether backends of the server work. Who waits for one of them does not see it: neither pg_restore nor libpq gives up a backend that
/// stands still, and a server that is gone they notice when TCP does. Another session asks.
final class BackendWatch: Sendable {
  enum Which: Sendable {
    /// Those in a database that nobody else uses.
    case database(String)
    /// One of our own, by its process.
    case session(Int32)
  }

  /// Touched at each sign of work.
  let watch: StallDetector
  private let which: Which
  private let settings: DatabaseSettings
  private let waits: Waits
  let limit: Duration
  private let state = Locked(State())

  private struct State: Sendable {
    /// The last thing that was seen of each backend, for messages.
    var seen = ""
    /// Since when each of them waits for a lock of somebody else.
    var blocked: [String: ContinuousClock.Instant] = [:]
    var why: Failure?
  }

  /// `limit`: without any sign of work.
  init(_ which: Which, _ settings: DatabaseSettings, _ waits: Waits, limit: Duration) {
    (self.which, self.settings, self.waits, self.limit) = (which, settings, waits, limit)
    watch = StallDetector(limit: limit, patience: waits.connect)
  }

  /// Looks until the task is cancelled. `size`: told how large the database is.
  func look(every interval: Duration, _ size: (Int) -> Void = { _ in }) async {
    var session: (connection: Connection, query: String)?
    var lost = ContinuousClock().now
    var before: [Row] = []
    while !Task.isCancelled {
      do {
        let asking = if let session { session } else { try await open() }
        session = asking
        let now = try await asking.connection.query(asking.query)
        lost = .now
        if now != before { watch.touch() }
        before = now
        remember(now)
        if case .database = which, let first = now.first, first[3] != nil, !Task.isCancelled { size(try first.int(3)) }
      } catch is DatabaseError {
        // A backend may end while it is looked at. And what may not be seen ends nothing: the server answers.
        lost = .now
        watch.touch()
      } catch {
        session = nil
        if lost.duration(to: .now) > waits.connect { end(unreachable(error)) }
      }
      try? await Task.sleep(for: interval)
    }
  }

  private func open() async throws -> (connection: Connection, query: String) {
    let connection = try await Connection(settings, database: settings.maintenance, waits: waits, isWatched: false)
    // A superuser may see what Linux knows of a process; else one that only computes looks like one that is stopped.
    let isSuperuser = try await connection.isSuperuser()
    return (connection, Self.query(which, version: connection.serverVersion, isSuperuser: isSuperuser))
  }

  /// A row for each backend: what changes while it works, what it does, who keeps it waiting, and the size of the database; one row of
  /// nothing but the size where there is none.
  static func query(_ which: Which, version: Int, isSuperuser: Bool) -> String {
    let process = { (file: String) in "pg_read_file('/proc/' || a.pid || '/\(file)', 0, 1000, true)" }
    // T: stopped, behind the name in brackets.
    let isStopped = isSuperuser ? "\(process("stat")) ~ '\\) T '" : "false"
    let progress = ["create_index", "analyze"] + (version >= 140000 ? ["copy"] : [])
    let signs =
      ["a.pid::text", "a.state", "a.query_start::text", "a.wait_event"]
      // Of one that waits for its client nothing but the client tells.
      + (isSuperuser ? ["CASE WHEN a.wait_event IS DISTINCT FROM 'ClientRead' THEN \(process("schedstat")) END"] : [])
      // It sleeps because it is told to.
      + ["CASE WHEN a.wait_event = 'PgSleep' AND (\(isStopped)) IS NOT TRUE THEN clock_timestamp()::text END"]
      + (version >= 130000 ? progress : []).map { "(SELECT p::text FROM pg_stat_progress_\($0) p WHERE p.pid = a.pid)" }
    let (condition, size) =
      switch which {
      case .database(let name): ("a.datname = \(SQL.literal(name))", "pg_database_size(\(SQL.literal(name))::name)")
      case .session(let id): ("a.pid = \(id)" + (version >= 130000 ? " OR a.leader_pid = \(id)" : ""), "NULL")
      }
    return """
      SELECT concat_ws(' ', \(signs.joined(separator: ", "))),
        'session ' || a.pid || ' is ' || coalesce(a.state, 'at work') || coalesce(', waiting for ' || a.wait_event, ''),
        CASE WHEN a.wait_event_type = 'Lock' THEN (
          SELECT format('session %s of role %s%s', s.pid, s.usename, ' (' || nullif(s.application_name, '') || ')')
          FROM unnest(pg_blocking_pids(a.pid)) b (pid) LEFT JOIN pg_stat_activity s ON s.pid = b.pid
          WHERE ((s.usename, s.application_name) = (a.usename, a.application_name)) IS NOT TRUE LIMIT 1) END,
        d.size, a.pid
      FROM (SELECT \(size) AS size) d LEFT JOIN pg_stat_activity a ON (\(condition))
        AND a.backend_type IN ('client backend', 'parallel worker')
      ORDER BY a.pid
      """
  }

  /// Ends it where a lock of somebody else is waited for longer than LOCK_WAIT.
  private func remember(_ rows: [Row]) {
    let now = ContinuousClock().now
    var why: Failure?
    state.change { state in
      state.seen = rows.compactMap { $0[1] }.joined(separator: "; ")
      var blocked: [String: ContinuousClock.Instant] = [:]
      for row in rows {
        guard let pid = row[4], let holder = row[2] else { continue }
        let since = state.blocked[pid] ?? now
        blocked[pid] = since
        if now - since > max(waits.lock, .seconds(1)) { why = locked(pid, holder) }
      }
      state.blocked = blocked
    }
    if let why { end(why) }
  }

  private func locked(_ pid: String, _ holder: String) -> Failure {
    Failure(
      .sourceFailed, "session \(pid) waited \(waits.lock.components.seconds) s for a lock that \(printable(holder)) holds",
      hint: "end that session (SELECT pg_terminate_backend(…)), or raise LOCK_WAIT; then run it again")
  }

  private func unreachable(_ error: any Error) -> Failure {
    Failure(
      .sourceFailed, "the database server cannot be reached any more: \(error)",
      hint: "look at its log, then run it again; CONNECT_TIMEOUT sets how long it may be away")
  }

  private func end(_ why: Failure) {
    state.change { $0.why = $0.why ?? why }
    watch.end()
  }

  /// Why what waited for them was stopped.
  func failure(_ program: String) -> Failure {
    let state = state.value
    if let why = state.why {
      return Failure(why.status, "\(program) was stopped: \(why.problems[0].fact)", hint: why.problems[0].hint)
    }
    return Failure(
      .sourceFailed,
      "\(program) was stopped: nothing moved on the server for \(limit.components.seconds) s (STALL_TIMEOUT)"
        + (state.seen.isEmpty ? "" : ": \(printable(state.seen))"),
      hint:
        "look at those sessions in pg_stat_activity and at the server's storage, then run it again")
  }
}
