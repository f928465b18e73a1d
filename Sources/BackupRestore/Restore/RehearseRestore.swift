/// The first step: what PostgreSQL would refuse is known before the load, which may take hours.
extension Staging {
  /// - Parameter isAcceptable: whether `--accept-differences` is a way out.
  /// - Throws: `Failure` 22 with PostgreSQL's words, 21 with what differs though nobody refuses it, unless the operator accepts it.
  mutating func rehearse(isAcceptable: Bool = true) async throws {
    guard let server = session.server else { return }
    var (problems, differences, missing): ([Problem], [Difference], [String]) = ([], [], [])
    for target in plan.databases where !target.part.isPlain {
      if let name = target.part.properties?.tablespace, try await !server.hasTablespace(name) {
        missing.append(
          "tablespace \(printable(name)), which the server lacks: database \(printable(target.live)) lies in the default one")
      }
      let rehearsal = try await rehearsal(of: target, on: server)
      guard let outcome = try await invocation.namingAffectedSets(of: plan.source.catalog, { try await rehearsal.run() }) else {
        log.info("database \(target.live) is not rehearsed: its archive's table of contents cannot be read by itself")
        continue
      }
      keepsTablespaces[target.live] = outcome.keepsTablespaces
      missing += outcome.leftOut.map { "of database \(printable(target.live)), what PostgreSQL refuses: \($0)" }
      problems += (outcome.refused + outcome.bound).map {
        Problem("database \(printable(target.live)): \($0)", hint: refusedHint(server, isAcceptable))
      }
      differences += outcome.differing.map { Difference(part: .database(target.live), text: $0) }
    }
    for left in missing { log.warning("left out \(left)") }
    leftOut += missing
    // What is accepted is told with what the load itself finds.
    if !plan.acceptsDifferences {
      try Failure.collect(.refused, problems)
      try settle(differences)
    }
    for problem in problems { log.warning("PostgreSQL will refuse \(problem.fact)") }
  }

  /// For a dry run, which waits for nobody: whoever has the locks would drop what it builds.
  func rehearseIdle(isAcceptable: Bool = true) async throws {
    guard let server = session.server else { return }
    if let busy = session.busy {
      log.info("\(busy): a restore would wait for it; whether PostgreSQL takes the set is not tried now")
      return
    }
    // For as long as that takes, and no longer: a backup may begin meanwhile.
    do { try await server.lock(server.settings.names, wait: .zero) } catch let failure as Failure where failure.status == .locked
    {
      log.info("\(failure.problems[0].fact): whether PostgreSQL takes the set is not tried now")
      return try await server.unlock(server.settings.names)
    }
    let rehearsed = await settled {
      var copy = self
      try await copy.rehearse(isAcceptable: isAcceptable)
    }
    try await server.unlock(server.settings.names)
    try rehearsed.get()
  }

  private func rehearsal(of target: RestorePlan.Target, on server: Server) async throws -> Rehearsal {
    var database = try await database(target, on: server)
    // Those that are made with the first real restore.
    database.missing.formUnion(try await SavedRoles(plan, server).missing().map(\.name))
    return Rehearsal(
      staging: database, part: target.part, repository: invocation.repositories.repository(plan.source.databaseIn),
      client: try found.clients.restore(archive: target.part.pgDump ?? found.clients.newestMajor, server: server.major),
      base: invocation.environment, scratch: try session.scratch(), asSuperuser: plan.asSuperuser)
  }

  private func refusedHint(_ server: Server, _ isAcceptable: Bool) -> String {
    let accepting =
      isAcceptable
      ? ", or restore --accept-differences, which takes all rows that PostgreSQL takes and leaves out what it refuses" : ""
    return
      "nothing was changed; mend what PostgreSQL names (what only a superuser may make: \(server.settings.prefix)POSTGRES_USER set to one for the restore, and --as-superuser)\(accepting)"
  }
}
