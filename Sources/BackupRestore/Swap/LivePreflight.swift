/// What of the live database would be in the way of its swap.
extension Server {
  /// - Parameter dropsSlots: `--drop-slots`; nil: there is no such option.
  func swapProblems(_ name: String, dropsSlots: Bool?) async throws -> [Problem] {
    let slots = dropsSlots == true ? undroppableSlots(of: name) : slots(of: name, hasOption: dropsSlots != nil)
    return try await session.problems([
      owner(of: name), sessions(in: name), preparedTransactions(in: name), subscriptions(of: name), slots,
    ])
  }

  private func owner(of name: String) -> ServerCheck {
    let user = settings.user
    return ServerCheck(
      query: """
        SELECT r.rolname, r.rolsuper FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba
        WHERE d.datname = $1 AND NOT pg_catalog.pg_has_role(current_user, r.oid, 'USAGE')
        """, values: [name],
      fact: { "database \(name) belongs to \(try $0.text(0)), so \(user) cannot rename it" },
      hint: {
        let owner = try $0.text(0)
        // A membership in a superuser would give away every right.
        return $0.isTrue(1)
          ? "set POSTGRES_USER to a superuser, or give it away: ALTER DATABASE \(SQL.identifier(name)) OWNER TO \(SQL.identifier(user)), run by a superuser"
          : "set POSTGRES_USER to \(owner), or GRANT \(SQL.identifier(owner)) TO \(SQL.identifier(user))"
      })
  }

  private func sessions(in name: String) -> ServerCheck {
    let user = settings.user
    return ServerCheck(
      query: """
        SELECT a.usename, count(*) FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
        WHERE a.datname = $1 AND NOT \(ServerCheck.isSuperuser)
          AND (r.rolsuper OR NOT (pg_catalog.pg_has_role(current_user, r.oid, 'USAGE')
            OR pg_catalog.pg_has_role(current_user, 'pg_signal_backend', 'USAGE'))) GROUP BY 1
        """, values: [name],
      fact: {
        "\(Format.count(try $0.int(1), "session", "sessions")) of \(try $0.text(0)) in database \(name) cannot be ended by \(user)"
      },
      hint: { _ in
        "end them, or GRANT pg_signal_backend TO \(SQL.identifier(user)); a superuser's can only be ended by a superuser"
      })
  }

  private func preparedTransactions(in name: String) -> ServerCheck {
    ServerCheck(
      query: "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1", values: [name],
      fact: { "prepared transaction \(try $0.text(0)) is open in database \(name) and blocks the swap" },
      hint: { "COMMIT PREPARED or ROLLBACK PREPARED \(SQL.literal(try $0.text(0))) in that database" })
  }

  // What belongs to a database whatever it is called, and would stay on the previous one.

  private func subscriptions(of name: String) -> ServerCheck {
    ServerCheck(
      query: """
        SELECT s.subname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
        WHERE d.datname = $1 AND s.subenabled
        """, values: [name],
      fact: { "subscription \(try $0.text(0)) belongs to database \(name) and would go on filling the previous one" },
      hint: { "ALTER SUBSCRIPTION \(SQL.identifier(try $0.text(0))) DISABLE in that database; enable it anew after the restore" })
  }

  private func slots(of name: String, hasOption: Bool) -> ServerCheck {
    ServerCheck(
      query: "SELECT slot_name FROM pg_catalog.pg_replication_slots WHERE database = $1", values: [name],
      fact: { "logical replication slot \(try $0.text(0)) belongs to database \(name) and would stay on the previous one" },
      hint: {
        let way = hasOption ? "run with --drop-slots" : "SELECT pg_drop_replication_slot(\(SQL.literal(try $0.text(0))))"
        return "stop its consumer and \(way); it must then be made anew"
      })
  }

  private func undroppableSlots(of name: String) -> ServerCheck {
    let user = settings.user
    return ServerCheck(
      query: """
        SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = current_user AND NOT (rolsuper OR rolreplication)
          AND EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE database = $1)
        """, values: [name],
      fact: { _ in "\(user) may not drop the replication slots of database \(name)" },
      hint: { _ in "ALTER ROLE \(SQL.identifier(user)) REPLICATION, run by a superuser" })
  }
}
