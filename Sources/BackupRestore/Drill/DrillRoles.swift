/// On a server of its own a drill makes the roles that the set names, and takes them away again: they may come with password hashes. The
/// comment tells them from others after a drill that was killed.
struct DrillRoles: Sendable {
  static let mark = "made by a drill of backup-restore"

  private let plan: RestorePlan
  /// Nil where they are none of a drill's business.
  private let server: Server?

  init(_ plan: RestorePlan, _ session: Session) {
    self.plan = plan
    server = session.server.flatMap { $0.settings.prefix.isEmpty ? nil : $0 }
  }

  func make(without unmakeable: Set<String>) async throws {
    guard let server else { return }
    let roles = SavedRoles(plan, server)
    guard roles.areNeeded(try await roles.missing().filter(\.isNeeded), without: unmakeable) else { return }
    // The roles' own parents are made, too. One transaction: no role without its mark.
    let all = "SELECT rolname FROM pg_catalog.pg_roles"
    let present = try await server.session.query(all).map { $0[0]! }
    do {
      try await server.session.execute("BEGIN")
      for statement in RoleScript.statements(plan.source.roles) { _ = try await server.session.query(statement) }
      for row in try await server.session.query(all) where !present.contains(row[0]!) {
        _ = try await server.session.query("COMMENT ON ROLE \(SQL.identifier(row[0]!)) IS \(SQL.literal(Self.mark))")
      }
      try await server.session.execute("COMMIT")
    } catch {
      try? await server.session.execute("ROLLBACK")
      throw error
    }
  }

  /// What drills made, this one or one that was killed.
  func drop() async {
    guard let server else { return }
    do {
      let roles = try await server.session.query(
        "SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.shobj_description(oid, 'pg_authid') = $1", [Self.mark])
      for role in roles { _ = try await server.session.query("DROP ROLE \(SQL.identifier(role[0]!))") }
    } catch {
      log.warning("roles of a drill stay on \(server.settings.host): \(error)\n  hint: the next drill takes them away")
    }
  }
}
