/// What of the live database would be in the way of its swap.
extension Server {
  /// - Parameter dropsSlots: `--drop-slots`; nil: there is no such option.
  func swapProblems(_ name: String, dropsSlots: Bool?) async throws -> [Problem] {
    var problems: [Problem] = []
    let user = settings.user
    let superuser = try await session.isSuperuser()
    if !superuser {
      let owner = try await session.query(
        """
        SELECT r.rolname, pg_catalog.pg_has_role(current_user, r.oid, 'USAGE'), r.rolsuper
        FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba WHERE d.datname = $1
        """,
        [name])
      if let row = owner.first, !row.isTrue(1) {
        let owner = try row.text(0)
        problems.append(
          Problem(
            "database \(name) belongs to \(owner), so \(user) cannot rename it",
            // A membership in a superuser would give away every right.
            hint: row.isTrue(2)
              ? "set POSTGRES_USER to a superuser, or give it away: ALTER DATABASE \(SQL.identifier(name)) OWNER TO \(SQL.identifier(user)), run by a superuser"
              : "set POSTGRES_USER to \(owner), or GRANT \(SQL.identifier(owner)) TO \(SQL.identifier(user))"))
      }
      let sessions = try await session.query(
        """
        SELECT a.usename, count(*) FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
        WHERE a.datname = $1 AND (r.rolsuper OR NOT (pg_catalog.pg_has_role(current_user, r.oid, 'USAGE')
          OR pg_catalog.pg_has_role(current_user, 'pg_signal_backend', 'USAGE'))) GROUP BY 1
        """, [name])
      for row in sessions {
        problems.append(
          Problem(
            "\(try row.text(1)) sessions of \(try row.text(0)) are in database \(name), and \(user) may not end them",
            hint:
              "end them, or GRANT pg_signal_backend TO \(SQL.identifier(user)); a superuser's can only be ended by a superuser"))
      }
    }
    for transaction in try await session.column("SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1", [name]) {
      problems.append(
        Problem(
          "prepared transaction \(transaction) is open in database \(name) and blocks the swap",
          hint: "COMMIT PREPARED or ROLLBACK PREPARED \(SQL.literal(transaction)) in that database"))
    }
    return problems + (try await followers(of: name, dropsSlots: dropsSlots))
  }

  /// What belongs to a database whatever it is called, and would stay on the previous one.
  private func followers(of name: String, dropsSlots: Bool?) async throws -> [Problem] {
    var problems: [Problem] = []
    let subscriptions = try await session.column(
      """
      SELECT s.subname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
      WHERE d.datname = $1 AND s.subenabled
      """, [name])
    for subscription in subscriptions {
      problems.append(
        Problem(
          "subscription \(subscription) belongs to database \(name) and would go on filling the previous one",
          hint: "ALTER SUBSCRIPTION \(SQL.identifier(subscription)) DISABLE in that database; enable it anew after the restore"))
    }
    let slots = try await session.column("SELECT slot_name FROM pg_catalog.pg_replication_slots WHERE database = $1", [name])
    if dropsSlots == true {
      if !slots.isEmpty, try await !session.mine("rolsuper OR rolreplication") {
        problems.append(
          Problem(
            "\(settings.user) may not drop the replication slots of database \(name)",
            hint: "ALTER ROLE \(SQL.identifier(settings.user)) REPLICATION, run by a superuser"))
      }
      return problems
    }
    for slot in slots {
      let hint =
        dropsSlots == nil ? "SELECT pg_drop_replication_slot(\(SQL.literal(slot)))" : "run with --drop-slots"
      problems.append(
        Problem(
          "logical replication slot \(slot) belongs to database \(name) and would stay on the previous one",
          hint: "stop its consumer and \(hint); it must then be made anew"))
    }
    return problems
  }
}
