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
    let present = Set(try await server.session.roles())
    do {
      try await server.session.execute("BEGIN")
      for statement in RoleScript.statements(plan.source.roles) { _ = try await server.session.query(statement) }
      for role in try await server.session.roles() where !present.contains(role) {
        _ = try await server.session.query("COMMENT ON ROLE \(SQL.identifier(role)) IS \(SQL.literal(Self.mark))")
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
      for role in try await server.session.roles(marked: Self.mark) {
        _ = try await server.session.query("DROP ROLE \(SQL.identifier(role))")
      }
    } catch {
      log.warning("roles of a drill stay on \(server.settings.host): \(error)\n  hint: the next drill takes them away")
    }
  }
}
