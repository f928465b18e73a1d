/// How a session is opened, and what is set in it before it is used.
extension Connection {
  static func options(_ settings: DatabaseSettings, database: String, _ waits: Waits) -> [String: String] {
    var options = [
      "host": settings.host, "port": String(settings.port), "dbname": database, "user": settings.user,
      "application_name": "backup-restore \(Toolkit.run)", "client_encoding": "UTF8",
      "fallback_application_name": "backup-restore",
      "connect_timeout": String(max(2, min(30, waits.connect.components.seconds))),
      // A node that is lost frees its advisory lock within about a minute.
      "keepalives": "1", "keepalives_idle": "20", "keepalives_interval": "10", "keepalives_count": "3",
      "tcp_user_timeout": "60000",
    ]
    options["password"] = settings.password?.reveal()
    return options
  }

  /// What would change the text form of values, keep us from reading, or outlast us on the server.
  nonisolated func pin(_ waits: Waits) async throws {
    try await execute(
      """
      SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1;
      SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET search_path = ''; SET row_security = off;
      SET standard_conforming_strings = on; SET xmlbinary = 'base64'; SET statement_timeout = 0;
      SET default_transaction_read_only = off; SET max_parallel_workers_per_gather = 0; SET quote_all_identifiers = off;
      SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '\(waits.postgresLock)s';
      \(Self.restriction)
      """)
    // The server's own end of what the options above are for ours: it keeps the locks of a node that is lost for hours else.
    try await execute(
      "SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; SET tcp_user_timeout = '60s'"
    )
    if serverVersion >= 140000 { try await execute("SET idle_session_timeout = 0") }
    if serverVersion >= 170000 { try await execute("SET transaction_timeout = 0") }
  }

  /// No function of a view that took a table's name runs as ours, nor a foreign server's (CVE-2024-7348). Servers know it since 15.8 and its
  /// like; see `isRestricted`.
  private static let restriction = """
    SELECT pg_catalog.set_config('restrict_nonsystem_relation_kind', 'view, foreign-table', false)
    WHERE pg_catalog.current_setting('restrict_nonsystem_relation_kind', true) IS NOT NULL
    """
}
