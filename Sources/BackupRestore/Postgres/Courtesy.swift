/// Ends a dump by the session that holds its first locks when somebody has waited for one of them for `EvidenceReader.patience`, and pg_dump
/// has not got it yet: a slow repository may let pg_dump begin late, and all who come after that one wait, too.
final class Courtesy: Sendable {
  /// For whom it was ended, before it was.
  private let known = Locked<String?>(nil)
  private let watching: Task<Void, any Error>

  var other: String? { known.value }

  /// - Parameter session: its own, for the time until pg_dump, whose session is called `application`, has all locks.
  init(holder: Int, _ tables: [EvidenceReader.Table], _ application: String, _ session: Connection) {
    let patience = EvidenceReader.patience.components.seconds
    // Before 14 nobody knows since when a lock is waited for: the statement's begin, where this role may see it.
    let since = session.serverMajor < 14 ? "a.query_start" : "l.waitstart"
    // Who waits for pg_dump, too, waits as for any dump.
    let waits = """
      SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid,
          LATERAL pg_catalog.pg_blocking_pids(l.pid) AS others
        WHERE NOT l.granted AND l.locktype = 'relation' AND pg_catalog.clock_timestamp() - \(since) > interval '\(patience) s'
          AND \(holder) = ANY (others)
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity d WHERE d.application_name = $1 AND d.pid = ANY (others)))
      """
    watching = Task { [known] in
      let reader = EvidenceReader(connection: session)
      while try await !reader.isLocked(tables, by: application) {
        if try await session.isTrue(waits, [application]) {
          let other = try await reader.blocker() ?? "another session"
          known.change { $0 = other }
          // First whose snapshot pg_dump may be about to import; then pg_dump, which would save what nobody can prove any more.
          _ = try await session.query("SELECT pg_catalog.pg_terminate_backend(\(holder))")
          _ = try await session.query(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE application_name = $1",
            [application])
          return
        }
        try await Task.sleep(for: .milliseconds(250))
      }
    }
  }

  func end() { watching.cancel() }
  deinit { watching.cancel() }
}
