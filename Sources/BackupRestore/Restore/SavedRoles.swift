/// The roles of a set, and those of them that the server lacks.
struct SavedRoles: Sendable {
  private let plan: RestorePlan
  private let server: Server
  /// Those that its databases name.
  let uses: [RoleUse]

  init(_ plan: RestorePlan, _ server: Server) {
    (self.plan, self.server) = (plan, server)
    var seen: Set<String> = []
    uses = plan.databases.flatMap(\.part.roles).filter { seen.insert($0.name).inserted }
  }

  private var session: Connection { server.session }

  func missing() async throws -> [RoleUse] {
    let present = Set(try await session.roles())
    return uses.filter { !present.contains($0.name) }
  }

  /// What the server says to all of them: run for real, and undone. Nil: nothing.
  func error() async throws -> String? {
    do {
      try await session.transaction(RoleScript.statements(plan.source.roles), undone: true)
      return nil
    } catch let error as DatabaseError { return error.message }
  }

  /// Those that are missing and cannot be made: what they own goes to POSTGRES_USER. Those that only have grants are told before, and are
  /// here where the operator accepts that these go.
  func unmakeable() async throws -> Set<String> {
    let missing = try await missing().filter { $0.owns || ($0.granted && plan.acceptsDifferences) }
    if missing.isEmpty { return [] }
    if try await error() == nil { return [] }
    let (owners, user) = (missing.filter(\.owns).map(\.name).sorted(), server.settings.user)
    if !owners.isEmpty {
      log.warning(
        "\(owners.joined(separator: ", ")) is missing and \(user) may not create roles: what they own will belong to \(user)")
    }
    return Set(missing.map(\.name))
  }

  /// Where none is missing, what the operator has changed since, memberships too, is left alone.
  func areNeeded(_ missing: [RoleUse], without unmakeable: Set<String>) -> Bool {
    guard unmakeable.isEmpty, !plan.source.roles.isEmpty else { return false }
    return plan.source.makesAllRoles || !missing.isEmpty
  }

  /// Makes those that are missing.
  ///
  /// - Returns: what is left out, and the databases do without.
  func restore(without unmakeable: Set<String>) async throws -> [String] {
    let missing = try await missing()
    let members = missing.filter { !$0.isNeeded }.map { printable($0.name) }.joined(separator: ", ")
    guard areNeeded(missing, without: unmakeable) else {
      return members.isEmpty ? [] : ["\(members), which logs in by its membership alone: CREATE ROLE and GRANT by hand"]
    }
    do { try await session.transaction(RoleScript.statements(plan.source.roles)) } catch let error as DatabaseError
      where !plan.source.makesAllRoles && !missing.contains(where: \.isNeeded)
    {
      log.warning("\(members) cannot be made: \(error.message)\n  hint: CREATE ROLE and GRANT by hand, run by a superuser")
      return ["\(members), which logs in by its membership alone and cannot be made: \(printable(error.message))"]
    }
    if !plan.source.roles.contains(" ON PARAMETER ") { return [] }
    if server.major >= 15, try await session.isSuperuser() { return [] }
    return ["what roles may set by GRANT … ON PARAMETER: only a superuser grants it, on 15 and newer"]
  }
}
