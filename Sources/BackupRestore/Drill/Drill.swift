import FoundationEssentials
import SystemPackage

/// `restore --drill`: the newest undoubted set restored into staging, verified and thrown away. Touches nothing live.
public struct Drill: Sendable {
  let invocation: Invocation
  let selection: Selection
  /// Checks and announces, changes nothing.
  let isDry: Bool
  let asSuperuser: Bool

  /// Nothing happens yet.
  public init(_ invocation: Invocation, _ selection: Selection, dryRun: Bool = false, asSuperuser: Bool = false) {
    self.invocation = (try? invocation.onVolume()) ?? invocation
    (self.selection, isDry, self.asSuperuser) = (selection, dryRun, asSuperuser)
  }

  private var configuration: Configuration { invocation.configuration }

  /// - Throws: `Failure` 22 before anything was staged, 21 where the copy is not what its evidence says, 23 for the repository, 11 where
  ///   another run is at work.
  public func run() async throws -> ExitStatus {
    let begin = ContinuousClock().now
    // A server of its own where it has one: what a drill writes would fill the live server's disk.
    var plan = try RestorePlan(
      try await selection.provable(invocation), configuration.files, server: configuration.drill ?? configuration.database,
      replacesFiles: false)
    plan.asSuperuser = asSuperuser
    if isDry { return try await run(plan, begin) }
    do { return try await run(plan, begin) } catch let failure as Failure
      where [.verificationFailed, .refused, .repositoryFailed].contains(failure.status) && plan.source.only == nil
    {
      await note(failure, plan, begin)
      throw failure
    }
  }

  private func run(_ plan: RestorePlan, _ begin: ContinuousClock.Instant) async throws -> ExitStatus {
    // It replaces nothing, so the application stays up.
    return try await Session.open(
      invocation, Session.Needs(database: plan.target, application: false, looksOnly: isDry)
    ) { session in
      try refuseUnfinished(session.swap)
      let roles = DrillRoles(plan, session)
      if !isDry {
        try await session.finishEarlier()
        await roles.drop()
      }
      let id = try await session.swap.newID()

      // Whatever can be known to be wrong, before anything is staged.
      let checked = try await check(plan, session)
      let report = RestoreReport(checked.plan, configuration)
      output(report.announcement())
      if let unreadable = plan.files?.unreadable { log.warning("\(unreadable.text)") }

      var staging = Staging(plan: checked.plan, id: id, found: checked.found, session: session)
      if isDry {
        try await staging.rehearseIdle(isAcceptable: false)
        output("dry run: nothing was changed")
        return .done
      }
      session.onClose { _ in _ = await finishing { await roles.drop() } }
      session.willStage(id)
      try await roles.make(without: checked.found.missingRoles)
      try await staging.rehearse(isAcceptable: false)
      let staged = try await staging.build()
      try staging.verify(staged)

      try await throwAway(plan, id, session)
      let how =
        "restored\(checked.plan.strategy == .readBack ? " or read back" : ""), verified and thrown away in \(begin.elapsed)"
      output(report.summary(of: staged))
      let took = "\(how), as long as a restore takes today"
      let result = result(plan, begin, session, proven: Date(), assertions: staged.assertions)
      guard try await record(took, result, plan) else { return .attention }
      for problem in checked.refusals {
        log.warning("a restore here would be refused: \(problem.text)")
      }
      return staged.limits.isAlarming || !checked.refusals.isEmpty ? .attention : .done
    }
  }

  /// To finish a swap would change what is live.
  private func refuseUnfinished(_ swap: Swap) throws {
    let swaps = try swap.unfinished().filter { try swap.journal($0) != nil }
    try Failure.collect(
      .refused,
      swaps.map { Problem("restore \($0) is unfinished", hint: "run restore --status, then restore, which finishes it") })
  }

  private struct Checked: Sendable {
    var plan: RestorePlan
    var found: RestorePreflight.Found
    /// Why a restore on this volume would be refused.
    var refusals: [Problem] = []
  }

  /// Nothing live can be in its way. Files for which the volume has no room are read back.
  private func check(_ plan: RestorePlan, _ session: Session) async throws -> Checked {
    var problems: [Problem] = []
    var checked = Checked(plan: plan, found: .init(clients: await invocation.clients()))
    if let server = session.server {
      let preflight = DatabasePreflight(
        server: server, plan: plan, live: [], makesRoles: !server.settings.prefix.isEmpty)
      problems += try await preflight.problems(clients: checked.found.clients, base: invocation.environment)
      if problems.isEmpty { checked.found.missingRoles = try await SavedRoles(plan, server).unmakeable() }
    }
    if let files = plan.files {
      let preflight = FilesPreflight(plan: plan, files: files, session: session)
      problems += try await preflight.pathProblems()
      if let directory = session.directory {
        // The pod of drills mounts all read-only, and says nothing of that of restores.
        let mounts = try preflight.mountProblems(in: directory, leavingOut: \.isSnapshots)
        if !mounts.isEmpty {
          log.warning("this set goes back by one restore for each volume: \(Failure(.refused, mounts))")
        }
      }
      if let obstacle = try await obstacle(preflight, &checked) {
        log.warning("files are read back, not restored: \(obstacle.fact)")
        checked.plan.strategy = .readBack
      }
    }
    try Failure.collect(.refused, problems)
    _ = try session.scratch()
    return checked
  }

  /// What keeps the files from being staged.
  private func obstacle(_ preflight: FilesPreflight, _ checked: inout Checked) async throws -> Problem? {
    if let problem = try preflight.stagingProblems().first { return problem }
    if isDry { return nil }
    let found = try await preflight.probe(swaps: false)
    checked.found.limits = found.limits
    checked.refusals = found.problems
    if let directory = preflight.session.directory {
      checked.refusals += try FilesPreflight.pinnedProblems(directory, preflight.plan.paths, deep: false)
    }
    return found.problems.first
  }

  private func throwAway(_ plan: RestorePlan, _ id: RestoreID, _ session: Session) async throws {
    for target in plan.databases { try await session.server?.drop(target.staging(id)) }
    try await blocking { [swap = session.swap] in try swap.remove(id) }
  }

  /// What an auditor asks for as well. Where it cannot be written, the failure itself is told.
  private func note(_ failure: Failure, _ plan: RestorePlan, _ begin: ContinuousClock.Instant) async {
    let result = result(plan, begin, nil, proven: nil, failure: failure)
    guard let document = try? JSON.encoded(result) else { return }
    _ = try? await invocation.repositories.sets.write(["drill.json": document], tags: result.tags)
  }

  private func result(
    _ plan: RestorePlan, _ begin: ContinuousClock.Instant, _ session: Session?, proven: Date?, failure: Failure? = nil,
    assertions: [String] = []
  ) -> DrillResult {
    let version = session?.server?.session.serverVersion
    return DrillResult(
      set: plan.source.record.id, proven: proven.map { Format.time($0) }, code: failure?.status.rawValue ?? 0,
      problems: failure?.problems.map { redacted($0.fact) } ?? [], seconds: Int(begin.duration(to: .now).inSeconds.rounded()),
      toolkit: Toolkit.version, restic: invocation.restic, postgres: version.map { "\($0 / 10000).\($0 % 10000)" },
      assertions: assertions)
  }

  /// Says what was proven, and keeps it in the repository.
  ///
  /// - Returns: whether the set is one to be proven: an empty one proves nothing until somebody has said that it is right.
  private func record(_ how: String, _ result: DrillResult, _ plan: RestorePlan) async throws -> Bool {
    let (record, set) = (plan.source.record, plan.source.record.id)
    if let only = plan.source.only {
      output("\(only.rawValue) of set \(set): \(how); the set as a whole is not proven by that")
      return true
    }
    let isDoubted = plan.source.catalog.of(invocation.repositories.host).contains { $0.id == set && $0.doubted }
    let empty = Doubt.empty(files: record.files, databases: record.databases)
    if isDoubted, !empty.isEmpty {
      log.warning(
        "set \(set): \(how), which proves nothing: \(empty.joined(separator: "; "))\n  hint: if that is right, run backup --accept \(set)"
      )
      return false
    }
    try await invocation.repositories.sets.write(["drill.json": try JSON.encoded(result)], tags: result.tags)
    invocation.metrics.change { ($0.lastDrill, $0.drillSeconds) = (Date(), Double(result.seconds)) }
    output("set \(set) is proven: \(how)")
    return true
  }
}
