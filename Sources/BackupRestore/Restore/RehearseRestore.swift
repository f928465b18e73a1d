/// The first step: what PostgreSQL would refuse is known before the load, which may take hours.
extension Restore {
  /// - Returns: what a restore does without, in words.
  /// - Throws: `Failure` 22 with PostgreSQL's words, 21 with what differs though nobody refuses it, unless the operator accepts it.
  func rehearse(_ ready: inout Ready) async throws -> [String] {
    guard let server = ready.server else { return [] }
    var (problems, differences, leftOut): ([Problem], [Difference], [String]) = ([], [], [])
    for target in ready.plan.databases where !target.part.isPlain {
      if let name = target.part.properties?.tablespace, try await !self.server(server, hasTablespace: name) {
        leftOut.append(
          "tablespace \(printable(name)), which the server lacks: database \(printable(target.live)) lies in the default one")
      }
      let rehearsal = try await rehearsal(of: target, ready, server)
      guard let outcome = try await telling(ready.catalog, { try await rehearsal.run() }) else {
        log.info("database \(target.live) is not rehearsed: its archive's table of contents cannot be read by itself")
        continue
      }
      ready.keepsTablespaces[target.live] = outcome.keepsTablespaces
      leftOut += outcome.leftOut.map { "of database \(printable(target.live)), what PostgreSQL refuses: \($0)" }
      problems += (outcome.refused + outcome.bound).map {
        Problem("database \(printable(target.live)): \($0)", hint: refusedHint(server))
      }
      differences += outcome.differing.map { Difference(part: .database(target.live), text: $0) }
    }
    for left in leftOut { log.warning("left out \(left)") }
    if !options.acceptDifferences { try Failure.collect(.refused, problems) }
    // What is accepted is told with what the load itself finds.
    if !options.acceptDifferences { try decide(differences, ready) }
    for problem in problems { log.warning("PostgreSQL will refuse \(problem.fact)") }
    return leftOut
  }

  private func rehearsal(of target: Target, _ ready: Ready, _ server: Server) async throws -> Rehearsal {
    var staging = try await staging(target, ready)
    // Those that are made with the first real restore.
    staging.missing.formUnion(try await missingRoles(ready).map(\.name))
    return Rehearsal(
      staging: staging, part: target.part, repository: context.repository(ready.plan.source.databaseIn),
      client: try ready.clients.restore(archive: target.part.pgDump ?? ready.clients.newestMajor, server: server.major),
      base: context.base, scratch: ready.scratch, asSuperuser: options.asSuperuser)
  }

  private func refusedHint(_ server: Server) -> String {
    let accepting =
      options.drill
      ? "" : ", or restore --accept-differences, which takes all rows that PostgreSQL takes and leaves out what it refuses"
    return
      "nothing was changed; mend what PostgreSQL names (what only a superuser may make: \(server.settings.prefix)POSTGRES_USER set to one for the restore, and --as-superuser)\(accepting)"
  }
}
