import FoundationEssentials

/// `restore --rollback`: a swap too. What it replaces is kept as well, under the rollback's own id.
public struct Rollback: Sendable {
  let invocation: Invocation
  let beginning: String?
  let isDry: Bool

  /// - Parameters:
  ///   - beginning: of the id of what is taken back; nil: the newest that is kept.
  ///   - dryRun: checks and announces, changes nothing.
  public init(_ invocation: Invocation, _ beginning: String?, dryRun: Bool = false) {
    (self.invocation, self.beginning, isDry) = (invocation, beginning, dryRun)
  }

  /// - Throws: `Failure` 22 where what was replaced together is not there together, or something stands in the way of the swap.
  public func run() async throws -> ExitStatus {
    let invocation = try invocation.onVolume()
    var needs = Session.Needs.everything(invocation.configuration)
    needs.looksOnly = isDry
    return try await Session.open(invocation, needs) { session in
      try await session.application?.check()
      let finished = isDry ? [] : try await session.finishEarlier()
      if beginning == nil, let done = finished.last(where: { $0.rollbackOf != nil }) {
        output("rollback \(done.id) was interrupted after its commit, and is finished now; to take that back, name it")
        return .done
      }
      let swap = session.swap
      let previous = try PreviousState.choose(try await swap.kept(), beginning, newestByDefault: true)
      try previous.refuseIncomplete()
      try await refuseObstacles(of: previous, session)
      if isDry { return await dryRun(previous, session) }
      let id = try await swap.newID()
      let live = try await session.server?.databases() ?? []
      output("rolling back to what restore \(previous.id) replaced")

      // Before the entries are listed: an application that ends may still write.
      try await session.pause()
      let swapped = try await swap.run(journal(of: previous, id, live: live, swap))
      await session.resume()

      for name in previous.newDatabases { output("database \(name) stays as it is: there was none before that restore") }
      output("rolled back; what was live until now is kept as \(id)")
      await PreviousState.tell(in: swapped, invocation.configuration)
      return .done
    }
  }

  private func dryRun(_ previous: PreviousState, _ session: Session) async -> ExitStatus {
    let sizes = await session.swap.sizes(of: [previous]) ?? [:]
    output(PreviousState.table(of: [previous], sizes, typing: invocation.configuration.typed))
    if let busy = session.busy { log.info("\(busy): a rollback would wait for it") }
    output("dry run: nothing was changed; a rollback swaps what is live with that, and keeps what is live now")
    return .done
  }

  /// What belongs to a database goes aside with it, as in a restore.
  private func refuseObstacles(of previous: PreviousState, _ session: Session) async throws {
    var problems: [Problem] = []
    if let server = session.server {
      let live = try await server.databases()
      for database in previous.databases where live.contains(database.to) {
        problems += try await server.swapProblems(database.to, dropsSlots: nil)
      }
    }
    if let files = previous.files, let directory = session.directory {
      problems += try FilesPreflight.pinnedProblems(directory, files.paths, deep: false)
    }
    try Failure.collect(.refused, problems)
  }

  private func journal(of previous: PreviousState, _ id: RestoreID, live: Set<String>, _ swap: Swap) throws -> SwapJournal {
    let source = previous.files == nil ? nil : try swap.exchange(previous.id)
    return SwapJournal(
      id: id, source: nil, rollbackOf: previous.id, phase: .ready,
      renames: previous.databases.flatMap {
        Swap.renames(from: $0.from, to: $0.to, keeping: DatabaseName.previous($0.to, id), live: live)
      }, paths: previous.files?.paths ?? [],
      entries: try source.map { try $0.entries(from: $0.work, paths: previous.files?.paths ?? []) } ?? [],
      root: previous.files?.rootBefore,
      rootBefore: previous.files?.rootBefore == nil ? nil : try source?.directory.status().attributes)
  }
}
