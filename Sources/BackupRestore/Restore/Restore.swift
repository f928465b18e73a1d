import FoundationEssentials

/// `restore`: stages a set beside what is live, verifies it against its evidence, swaps it in. Reads as its steps.
///
/// Every run returns 0, or 4 where somebody should look at something. It throws `Failure` with the exit code and every problem found;
/// what the database server says, `DatabaseError` and `ConnectionError`; and `CancellationError` after a signal.
public struct Restore: Sendable {
  /// What the command line chooses besides the set; each as its flag's help says.
  public struct Options: Sendable {
    /// Checks and announces, changes nothing.
    public var dryRun = false
    /// Files where they are, after a set of what is live was saved: for volumes without room for two copies.
    public var inPlace = false
    /// Only where database and volume hold nothing.
    public var onlyIfEmpty = false
    /// Swaps although what is staged is not what its evidence says.
    public var acceptDifferences = false
    /// Logical replication slots of the databases that are replaced are dropped after the swap.
    public var dropSlots = false
    /// Loads databases as POSTGRES_USER also where the role that owns all could.
    public var asSuperuser = false

    /// None of them.
    public init() {}
  }

  let invocation: Invocation
  let selection: Selection
  let options: Options

  /// Nothing happens yet.
  public init(_ invocation: Invocation, _ selection: Selection, _ options: Options = Options()) {
    // What cannot be seen now is an error of the steps that look again.
    self.invocation = (try? invocation.onVolume()) ?? invocation
    (self.selection, self.options) = (selection, options)
  }

  /// - Throws: `Failure` 22 before anything was changed, 21 where what is staged is not what its evidence says, 23 for the repository, 11
  ///   where another run is at work.
  public func run() async throws -> ExitStatus {
    let begin = ContinuousClock().now
    if try await leavesWhatIsThere() { return .done }
    // In place what is live is saved as a set first: without its repositories that would end half-way.
    if options.inPlace, !options.dryRun { _ = try await invocation.repositories.catalog() }
    let plan = try plan(try await selection.source(invocation))

    return try await Session.open(invocation, needs(of: plan)) { session in
      if !options.dryRun { try await session.finishEarlier() }
      if try await tellWhatIsThere() { return .done }
      let id = try await session.swap.newID()

      // Whatever can be known to be wrong, before anything is changed.
      let preflight = RestorePreflight(plan: plan, session: session)
      var found = try await preflight.check(unfinished: options.dryRun && session.busy == nil)
      if !options.dryRun { found.limits = try await preflight.probe() }

      let report = RestoreReport(plan, invocation.configuration)
      output(report.announcement(over: found.live))
      for connected in found.connected {
        log.info("\(connected) connected: what they write until the swap stays in the state that is kept")
      }
      if let unreadable = plan.files?.unreadable { log.warning("\(unreadable.text)") }

      // What PostgreSQL would refuse, before hours of loading.
      var staging = Staging(plan: plan, id: id, found: found, session: session)
      if options.dryRun {
        try await staging.rehearseIdle()
        await tellDifferences(plan)
        output("dry run: nothing was changed")
        return .done
      }
      session.willStage(id)
      try await staging.restoreRoles()
      try await staging.rehearse()

      // The replacement beside what is live, held against the evidence.
      let safety = plan.isInPlace ? try await staging.saveLive() : nil
      var staged = try await staging.build()
      try staging.verify(staged)
      if plan.isInPlace { try await staging.overwrite(&staged, safety: safety) }

      // Only now: while the replacement was being built nothing live was touched, and it might have failed.
      try await session.pause()
      try await refuseWhatCameMeanwhile()
      let swapped = try await staging.swapIn(staged, safety: safety)
      let isResumed = await session.resume()

      output("\(report.summary(of: staged))\n\(plan.source.title) restored in \(begin.elapsed)\(session.downtime)")
      tellMaintenanceMode(session)
      staged.tellDeferred(keptIn: session.swap, id)
      await PreviousState.tell(in: swapped.swap, invocation.configuration)
      if let safety { output(report.wayBack(to: safety)) }
      return isResumed && swapped.isTidy && !staged.limits.isAlarming ? .done : .attention
    }
  }

  private func plan(_ source: RestoreSource) throws -> RestorePlan {
    var plan = try RestorePlan(source, invocation.configuration.files, server: invocation.configuration.database)
    plan.strategy = options.inPlace ? .inPlace : .staged
    plan.acceptsDifferences = options.acceptDifferences
    plan.asSuperuser = options.asSuperuser
    plan.dropsSlots = options.dropSlots
    return plan
  }

  private func needs(of plan: RestorePlan) -> Session.Needs {
    Session.Needs(
      database: plan.target,
      filesHint: plan.files == nil
        ? nil : "mount the volume there, create it with mkdir, or restore with --only database",
      looksOnly: options.dryRun)
  }
}
