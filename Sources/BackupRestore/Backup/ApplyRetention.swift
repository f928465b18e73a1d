import FoundationEssentials

/// Retention: restic decides over the records, and what it names is forgotten by snapshot id.
struct ApplyRetention: Sendable {
  let invocation: Invocation
  /// The main ones, or the second ones.
  let repositories: Repositories

  private var host: String { repositories.host }
  private var postponement: Postponement { Postponement(repositories: repositories, work: .retention) }
  private var isSecond: Bool { !repositories.settings.prefix.isEmpty }

  /// Lets the run fail only where it is stopped: the set is saved, whatever else happens here.
  ///
  /// - Parameter before: what they held before that set.
  func run(after record: Record, before: Catalog) async throws -> ExitStatus {
    if !record.doubts.isEmpty {
      log.warning(
        """
        set \(record.id) is doubted: \(record.doubts.joined(separator: "; ")); nothing is forgotten until it is accepted
          hint: look at it; if it is right, run backup --accept \(record.id)
        """)
      return .attention
    }
    var begun: [SetID] = []
    do {
      if repositories.all.contains(where: \.deletesNothing) { return leftToServer() }
      let removed = try await removedByPolicy(before.former)
      // Every call to restic costs half a second of processor time for its key (measured).
      if removed.isEmpty, before.unrecorded(host).isEmpty, before.ahead(host) == nil, postponement.marks(before.sets).isEmpty {
        return .done
      }
      // The snapshots as they are now: the set just made is among them.
      let catalog = try await repositories.catalog()
      // Another backup may have begun, by a clock that is behind: its parts have no record yet.
      let plan = catalog.forgettable(
        records: removed, marks: catalog.sets, host: host, keeping: record.id, policy: invocation.configuration.retention,
        unrecorded: before.unrecorded(host))
      if let hold = plan.hold {
        if case .much = hold { try await tryToForget(catalog.sets) }
        log.warning("\(words(for: hold, catalog, record.id))")
        if !isSecond { invocation.metrics.change { $0.retentionHeld = true } }
        return .attention
      }
      try await apply(plan, &begun)
      try await postponement.end(catalog.sets)
      let kept = catalog.of(host).filter { $0.record != nil && !plan.sets.contains($0.id) }
      if !isSecond { invocation.metrics.change { ($0.sets, $0.oldest) = (kept.count, kept.first?.id.date) } }
      return .done
    } catch {
      try Task.checkCancellation()
      if (error as? Failure)?.cause == .appendOnly {
        return leftToServer()
      }
      if (error as? Failure)?.cause == .locked, await postponement.begin(before.sets, halves: begun) {
        let what = begun.isEmpty ? "nothing is" : "not all that retention names is"
        log.warning("set \(record.id) is saved; \(what) forgotten tonight, and the next backup does it: \(error)")
        return .done
      }
      log.error(
        "set \(record.id) is saved, but retention \(begun.isEmpty ? "failed" : "could not be ended, and goes on the next night")",
        error)
      return .attention
    }
  }

  private func leftToServer() -> ExitStatus {
    log.info("\(repositories.sets.shown) is append-only: its server does the forgetting")
    return .done
  }

  /// What would be forgotten, were this the set just made.
  func plan(_ catalog: Catalog, keeping kept: SetID) async throws -> Catalog.Forgettable {
    catalog.forgettable(
      records: try await removedByPolicy(catalog.former), marks: catalog.sets, host: host, keeping: kept,
      policy: invocation.configuration.retention)
  }

  /// The records that restic's own retention would remove.
  private func removedByPolicy(_ former: String?) async throws -> Set<String> {
    Set(
      try await repositories.sets.forgettable(
        tag: "kind=set", policy: invocation.configuration.retention.arguments, hosts: [host] + (former.map { [$0] } ?? [])
      ).map(\.id))
  }

  /// On an append-only server sets gather, and what the policy would take of them says nothing. Tried on a snapshot that means nothing:
  /// where it cannot go, it is there for the next time.
  private func tryToForget(_ sets: [Snapshot]) async throws {
    let left = sets.first { $0.tag("kind") == "probe" && $0.hostname == host }?.id
    let probe =
      if let left { left } else { try await repositories.sets.write(["probe.json": Array("{}\n".utf8)], tags: ["kind=probe"]) }
    try await repositories.sets.forget([probe], prune: false)
  }

  func words(for hold: RetentionPlan.Hold, _ catalog: Catalog, _ set: SetID) -> String {
    switch hold {
    case .doubted: return "set \(set) is not whole or is doubted: nothing is forgotten\n  hint: look at it with restore --list"
    case .ahead:
      guard let entry = catalog.ahead(host) else { return "" }
      return """
        set \(entry.id) lies in the future: nothing is forgotten
          hint: mend the clock of the machine that made it; be rid of it by \(forgetting(entry))
        """
    case .much(let taken, let all):
      return """
        retention would forget \(taken) of \(all) undoubted sets at once: nothing is forgotten
          hint: backup --dry-run lists them; if RESTIC_KEEP_LAST and RESTIC_…_TO_KEEP are right, run backup --accept \(set)
        """
    }
  }

  /// What to type: restic forgets a set that this toolkit holds on to.
  func forgetting(_ entry: Catalog.Entry) -> String {
    let parts =
      (entry.record.map { [(repositories.sets, $0)] } ?? []) + (entry.files.map { [(repositories.files, $0)] } ?? [])
      + entry.databases.map { (repositories.databases, $0) }
    return parts.map { "restic -r \($0.shown) forget \($1.short)" }.joined(separator: ", ")
  }

  /// Parts first, without pruning, so that it is quick: cut short there, the record remains, is marked as damaged, and goes the next
  /// night. The other way round parts would remain that no record names, and of those nobody knows that they may go.
  private func apply(_ plan: Catalog.Forgettable, _ begun: inout [SetID]) async throws {
    if plan.sets.isEmpty { return }
    let wherefrom = !isSecond ? "" : " in the second repository"
    log.info("forgetting \(plan.sets.map(\.text).joined(separator: ", "))\(wherefrom) by retention")
    // One after the other: where the first is locked, the sets stay whole.
    if !plan.files.isEmpty { try await repositories.files.forget(plan.files, prune: false) }
    if !plan.files.isEmpty { begun = plan.sets }
    if !plan.databases.isEmpty { try await repositories.databases.forget(plan.databases, prune: false) }
    begun = plan.sets
    async let records: Void = plan.records.isEmpty ? () : repositories.sets.forget(plan.records, prune: true)
    async let first: Void = plan.files.isEmpty ? () : repositories.files.prune()
    async let second: Void = plan.databases.isEmpty ? () : repositories.databases.prune()
    _ = try await (records, first, second)
  }
}
