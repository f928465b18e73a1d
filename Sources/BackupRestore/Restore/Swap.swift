import FoundationEssentials
import Glibc

/// Commit, rollback, discard.
extension Restore {
  /// - Parameters:
  ///   - opening: of the databases, under their live names.
  ///   - safety: the set that `--in-place` saved before.
  /// - Returns: the commit, and whether somebody should look at what it left on the server.
  func commit(_ ready: Ready, opening: [String], safety: SetID?) async throws -> (Commit, isTidy: Bool) {
    let plan = ready.plan
    let staged = plan.files != nil && !options.inPlace ? try self.staged(ready) : nil
    let root = staged == nil || !plan.paths.isEmpty || configuration.files?.owner != nil ? nil : plan.files?.root
    let commit = try await ready.commit.run(
      Journal(
        id: plan.id, source: plan.source.named, rollbackOf: nil, phase: .ready,
        renames: plan.databases.flatMap { Self.renames(from: $0.staging, to: $0.live, keeping: $0.previous, live: ready.live) },
        paths: plan.paths, entries: try staged.map { try $0.entries(from: $0.work, paths: plan.paths) } ?? [], root: root,
        rootBefore: root == nil ? nil : try staged?.directory.status().attributes, safety: safety), staged,
      opening: opening)
    if plan.files != nil { try ready.commit.endReplacing() }
    ready.scratch.remove()
    let server = commit.server
    // A task of its own: it is done.
    let isTidy = await Task { if let server { await leaveSlots(plan, server) } else { true } }.value
    return (commit, isTidy)
  }

  /// By its name once more: what is kept must be found under it.
  private func staged(_ ready: Ready) throws -> Exchange {
    if let exchange = try ready.commit.exchange(ready.plan.id), try exchange.hasTree { return exchange }
    throw Failure(
      .refused,
      "what was staged is not in \(Tree.workDirectory)/\(ready.plan.id) any more: somebody renamed \(Tree.workDirectory)",
      hint: "nothing live was changed; look in the top of FILES_DIRECTORY for a directory of user \(geteuid()) that holds "
        + "\(ready.plan.id), remove it, and run restore again while the application is down")
  }

  /// Out of the way first, then in.
  static func renames(from: String, to: String, keeping previous: String, live: Set<String>) -> [Server.Rename] {
    (live.contains(to) ? [.init(from: to, to: previous)] : []) + [.init(from: from, to: to)]
  }

  /// A slot follows the database it was made in, which is the previous one now; dropped before, it would be missing where the swap fails.
  private func leaveSlots(_ plan: Plan, _ server: Server) async -> Bool {
    var isTidy = true
    for target in plan.databases {
      let rows = await settled {
        try await server.session.query(
          "SELECT slot_name, active_pid FROM pg_catalog.pg_replication_slots WHERE database = $1", [target.previous])
      }
      for row in (try? rows.get()) ?? [] {
        let slot = row[0]!
        guard options.dropSlots else {
          log.warning(
            "replication slot \(slot) was made meanwhile and stays on \(target.previous)\n  hint: drop it, or it retains WAL")
          isTidy = false
          continue
        }
        do {
          if let pid = row[1] { _ = try await server.session.query("SELECT pg_catalog.pg_terminate_backend($1::int)", [pid]) }
          try await server.dropSlot(slot)
          log.warning("replication slot \(slot) of \(target.live) is dropped")
        } catch {
          log.error("replication slot \(slot) stays on \(target.previous)", error)
          isTidy = false
        }
      }
    }
    return isTidy
  }

  // MARK: --rollback and --discard-previous

  /// A swap too: what it replaces is kept as well, under the rollback's own id.
  ///
  /// - Parameter beginning: of the id of what is taken back; nil: the newest that is kept.
  /// - Throws: `Failure` 22 where what was replaced together is not there together, or something stands in the way of the swap.
  public func rollback(_ beginning: String?) async throws -> ExitStatus {
    let commit = try await context.hold()
    let quiesce = try context.quiesce()
    try await quiesce?.check()
    let finished = try await commit.finishInterrupted(undoing: true)
    if beginning == nil, let done = finished.last(where: { $0.rollbackOf != nil }) {
      output("rollback \(done.id) was interrupted after its commit, and is finished now; to take that back, name it")
      return await commit.resume(quiesce) ? .done : .attention
    }
    let kept = try await commit.kept()
    let previous = try Self.choose(kept, beginning, newestByDefault: true)
    try Self.refuse(previous)
    try await refuseFollowed(previous, commit)
    if let files = previous.files, let directory = commit.directory {
      try Failure.collect(.refused, try Self.pinnedProblems(directory, files.paths, deep: false))
    }
    let id = try await commit.newID()
    let live = try await commit.server?.databases() ?? []
    output("rolling back to what restore \(previous.id) replaced")
    let done: Commit
    do {
      // Before the entries are listed: an application that ends may still write.
      try await quiesce?.pause()
      done = try await commit.run(rollback(of: previous, id, live: live, commit))
    } catch {
      _ = await commit.resume(quiesce)
      throw error
    }
    let isResumed = await done.resume(quiesce)
    let stays = previous.files?.renames.filter { rename in
      DatabaseName.isPrevious(rename.to) == false && !previous.databases.contains { $0.to == rename.to }
    }
    for rename in stays ?? [] { output("database \(rename.to) stays as it is: there was none before that restore") }
    output("rolled back; what was live until now is kept as \(id)")
    await tellKept(done)
    return isResumed ? .done : .attention
  }

  /// After a commit nothing makes a failure of it any more: neither the server nor a signal.
  func tellKept(_ commit: Commit) async {
    switch await Task(operation: { await settled { try await commit.kept() } }).value {
    case .success(let kept): if !kept.isEmpty { output(Self.keptText(kept, volume: volume)) }
    case .failure(let error): log.warning("what is kept cannot be listed now: \(error)\n  hint: restore --status, later")
    }
  }

  /// What belongs to a database goes aside with it, as in a restore.
  private func refuseFollowed(_ previous: Commit.Kept, _ commit: Commit) async throws {
    guard let server = commit.server else { return }
    let live = try await server.databases()
    var problems: [Problem] = []
    for database in previous.databases where live.contains(database.to) {
      problems += try await server.swapProblems(database.to, dropsSlots: nil)
    }
    try Failure.collect(.refused, problems)
  }

  private func rollback(of previous: Commit.Kept, _ id: RestoreID, live: Set<String>, _ commit: Commit) throws -> Journal {
    let source = previous.files == nil ? nil : try commit.exchange(previous.id)
    return Journal(
      id: id, source: nil, rollbackOf: previous.id, phase: .ready,
      renames: previous.databases.flatMap {
        Self.renames(from: $0.from, to: $0.to, keeping: DatabaseName.previous($0.to, id), live: live)
      }, paths: previous.files?.paths ?? [],
      entries: try source.map { try $0.entries(from: $0.work, paths: previous.files?.paths ?? []) } ?? [],
      root: previous.files?.rootBefore,
      rootBefore: previous.files?.rootBefore == nil ? nil : try source?.directory.status().attributes)
  }

  /// `--resume-application`: for one that a killed run left scaled down.
  ///
  /// - Throws: `Failure` 22 without QUIESCE_DEPLOYMENTS.
  public func resumeApplication() async throws -> ExitStatus {
    guard let quiesce = try context.quiesce() else {
      throw Failure(
        .refused, "QUIESCE_DEPLOYMENTS is not set, so no run scales anything", hint: "set it, or scale by hand: kubectl scale")
    }
    let commit = try await context.hold()
    // What cannot be cleared away now keeps no application down.
    let finished = await settled { try await commit.finishInterrupted(undoing: true) }
    let isResumed = await commit.resume(quiesce)
    output(await quiesce.status().joined(separator: "\n"))
    _ = try finished.get()
    return isResumed ? .done : .attention
  }

  /// Removes for good what a restore or rollback replaced.
  ///
  /// - Parameter beginning: of its id; nil where one alone is kept. In full, it takes away also what is not whole any more.
  /// - Throws: `Failure` 22 where none or several are meant.
  public func discardPrevious(_ beginning: String?) async throws -> ExitStatus {
    let commit = try await context.hold()
    try await commit.finishInterrupted(undoing: true)
    let previous = try Self.choose(try await commit.kept(), beginning, newestByDefault: false)
    let missing = Self.missing(previous)
    // Named in full somebody means it: what was removed by hand must not stand in the way of the rest for ever.
    if beginning != previous.id.text {
      try Failure.collect(
        .refused,
        missing.map {
          Problem($0.fact, hint: "\($0.hint); what is there is removed by restore --discard-previous \(previous.id)")
        })
    }
    for problem in missing { log.warning("\(problem.fact): it is not removed") }
    if let tree = try commit.exchange(previous.id)?.work.directory(Exchange.treeName) {
      try Failure.collect(.refused, try Self.pinnedProblems(tree, [], deep: true))
    }
    try await commit.discard(previous)
    output("previous \(previous.id) discarded")
    return .done
  }

  /// Files and databases that one restore replaced belong together; those of a database or directory that is not configured now, or that
  /// somebody removed, are not found.
  static func missing(_ previous: Commit.Kept) -> [Problem] {
    var problems = previous.missingDatabases.map { name in
      let rest =
        previous.files == nil
        ? "what is there can be renamed by hand"
        : "if it was dropped, the old files are in .backup-restore/\(previous.id)/tree, to be moved by hand"
      return Problem(
        "restore \(previous.id) replaced database \(name) too, and \(DatabaseName.previous(name, previous.id)) is not found",
        hint: "set POSTGRES_DB and POSTGRES_HOST as in that restore; \(rest)")
    }
    if let directory = previous.missingFiles {
      problems.append(
        Problem(
          "restore \(previous.id) replaced the files of \(printable(directory)) too, and its .backup-restore/\(previous.id) is not found",
          hint:
            "set FILES_DIRECTORY as in that restore; if it was removed, the old files are gone: choose a set by restore --list"))
    }
    return problems
  }

  /// - Throws: `Failure` 22 where what is kept is not all that was live.
  static func refuse(_ previous: Commit.Kept) throws {
    try Failure.collect(.refused, missing(previous))
    if previous.isBeingDiscarded {
      throw Failure(
        .refused, "\(previous.id) is being discarded",
        hint: "restore --discard-previous \(previous.id) removes what is left of it")
    }
    if let safety = previous.mark?.safety {
      throw Failure(
        .refused, "restore \(previous.id) replaced the files in place, so only its databases are kept",
        hint: "what was live before is set \(safety): restore --in-place \(safety)")
    }
  }

  static func choose(_ kept: [Commit.Kept], _ beginning: String?, newestByDefault: Bool) throws -> Commit.Kept {
    let found = kept.filter { beginning == nil || $0.id.text.hasPrefix(beginning!) }
    if found.isEmpty {
      throw Failure(
        .refused, beginning.map { "no previous state \(printable($0)) is kept" } ?? "no previous state is kept",
        hint: "restore --status shows what is")
    }
    if found.count > 1, beginning != nil || !newestByDefault {
      throw Failure(
        .refused, "several previous states are kept: \(found.map(\.id.text).joined(separator: ", "))", hint: "name one of them")
    }
    return found.last!
  }
}
