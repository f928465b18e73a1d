/// Everything that would keep a restore from being carried out and can be known before anything changes, in one report.
struct RestorePreflight: Sendable {
  let plan: RestorePlan
  let session: Session

  /// What the later steps go by.
  struct Found: Sendable {
    /// Names of the databases on the server.
    var live: Set<String> = []
    let clients: Clients
    /// Roles that are missing and cannot be made; what they owned goes to POSTGRES_USER.
    var missingRoles: Set<String> = []
    /// What the volume does not keep of the files.
    var limits = FilesLimits()
    /// Who is connected to what is replaced, in words.
    var connected: [String] = []
  }

  /// - Parameter unfinished: whether an earlier restore that is unfinished is a problem: a dry run finishes none.
  /// - Throws: `Failure` 22 with every problem.
  func check(unfinished: Bool) async throws -> Found {
    async let clients = session.invocation.clients()
    var problems = unfinished ? try unfinishedProblems() : []
    var found = Found(live: try await session.server?.databases() ?? [], clients: await clients)
    if let server = session.server {
      let preflight = DatabasePreflight(server: server, plan: plan, live: found.live, makesRoles: true)
      problems += try await preflight.problems(clients: found.clients, base: session.invocation.environment)
      if problems.isEmpty { found.missingRoles = try await SavedRoles(plan, server).unmakeable() }
      for target in plan.databases where found.live.contains(target.live) {
        let sessions = try await server.sessions(in: target.live)
        if sessions.isEmpty { continue }
        found.connected.append("database \(printable(target.live)): \(sessions.joined(separator: ", "))")
      }
    }
    if let files = plan.files {
      let preflight = FilesPreflight(plan: plan, files: files, session: session)
      problems += try await preflight.pathProblems()
      problems += try preflight.problems()
    }
    problems += try await applicationProblems()
    try Failure.collect(.refused, problems)
    _ = try session.scratch()
    return found
  }

  /// What the volume keeps of the files, tried in a scratch directory of ours: the first step that writes.
  ///
  /// - Throws: `Failure` 22 with what it refuses.
  func probe() async throws -> FilesLimits {
    guard let files = plan.files else { return FilesLimits() }
    let found = try await FilesPreflight(plan: plan, files: files, session: session).probe(swaps: true)
    try Failure.collect(.refused, found.problems)
    return found.limits
  }

  private func unfinishedProblems() throws -> [Problem] {
    try session.swap.unfinished().map {
      Problem("restore \($0) is unfinished", hint: "run restore without --dry-run: it finishes or undoes that one first")
    }
  }

  private func applicationProblems() async throws -> [Problem] {
    guard let application = session.application,
      case .failure(let error) = await settled({ try await application.check() })
    else { return [] }
    guard let failure = error as? Failure else { throw error }
    return failure.problems
  }
}
