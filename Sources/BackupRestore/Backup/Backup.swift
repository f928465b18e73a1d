import FoundationEssentials

/// `backup`: saves a set, then forgets, copies and checks. Reads as its steps.
///
/// Every run returns 0, 3 where unreadable files were left out, or 4 where the set is saved and somebody should look at something. It
/// throws `Failure` with the exit code and every problem found, and then there is no set, or one that lacks the source that failed.
public struct Backup: Sendable {
  let invocation: Invocation
  let isDry: Bool
  let isChecking: Bool
  let now: Date

  /// The run begins now.
  ///
  /// - Parameters:
  ///   - dryRun: says what would be saved and forgotten, changes nothing.
  ///   - checking: reads a part of the repositories back, too.
  public init(_ invocation: Invocation, dryRun: Bool = false, checking: Bool = false) {
    (self.invocation, isDry, isChecking, now) = (invocation, dryRun, checking, Date())
  }

  private var host: String { invocation.repositories.host }

  /// - Throws: `Failure` 20 for a source, 10, 12 or 23 for a repository, 11 where another run is at work.
  public func run() async throws -> ExitStatus {
    try await Session.open(
      invocation, Session.Needs(database: invocation.configuration.database, looksOnly: isDry, isTolerant: true)
    ) { session in
      // Whatever can be known to be wrong, before anything is changed.
      var plan = try await BackupPreflight(session: session).check()

      // What a restore committed and could not finish; what one in place left is not complete.
      let earlier = EarlierRestores(session: session)
      try earlier.tellVolumes()
      plan.isForeign = try await earlier.finish(dryRun: isDry)
      if !plan.isForeign { plan.incomplete = try earlier.incomplete() }

      if isDry { return try await BackupDryRun(plan: plan, session: session, now: SetID(now)).run() }
      if let status = await savedBefore(plan, session) { return status }

      // Files and databases side by side, then the record: from there on the set exists.
      let saved = try await SaveSet(plan: plan, session: session).run()
      output(saved.text)
      if let failure = saved.failure { throw failure }
      let halves = Postponement(repositories: invocation.repositories, work: .retention).halves(plan.catalog.sets)
      for entry in plan.catalog.of(host) where !entry.gone.isEmpty && !halves.contains(entry.id.text) {
        log.warning("set \(entry.id) is damaged: \(entry.lost); somebody or something forgot it, or the storage lost it")
      }

      let isTidy = try await tidy(saved.record, plan, session)
      if let unreadable = saved.record.files?.unreadable { log.warning("\(unreadable.text)") }
      // An API server that was away may be back: the next run is a night away.
      await session.resume()
      if !isTidy || plan.isForeign { return .attention }
      return saved.record.files?.unreadable == nil ? .done : .unreadable
    }
  }

  /// A container that starts again after it ended with 3 or 4 saves nothing twice in one night.
  private func savedBefore(_ plan: BackupPlan, _ session: Session) async -> ExitStatus? {
    guard let entry = plan.catalog.saved(by: Pod.own, host: host, now: now) else { return nil }
    output(
      "set \(entry.id) was saved by this pod, whose container has started again: no other is saved"
        + (entry.mark.isEmpty ? "" : "; it is \(entry.mark)"))
    let isResumed = await session.resume()
    // The exit code is for the kubelet: a health check that was told of 3 or 4 is not told that all is well now.
    invocation.metrics.change { $0.isUntold = isResumed }
    return .done
  }

  /// Retention, copy and check, which may take hours: a restore may begin meanwhile.
  ///
  /// - Returns: whether nobody has to look at it.
  private func tidy(_ record: Record, _ plan: BackupPlan, _ session: Session) async throws -> Bool {
    // Where the application is down still, it is scaled back at the end, and nobody may be in the middle of a swap then.
    if await session.resume() {
      do { try await session.release() } catch let failure as Failure where failure.status == .locked {
        log.error("set \(record.id) is saved; its retention, copy and check are left to the next backup", failure)
        return false
      }
    }
    var results = [
      try await ApplyRetention(invocation: invocation, repositories: invocation.repositories).run(
        after: record, before: plan.catalog)
    ]
    results.append(try await CopySets(invocation: invocation).run(after: record))
    if isChecking { results.append(try await CheckRepositories(invocation: invocation, now: now).run()) }
    return !results.contains(.attention)
  }
}
