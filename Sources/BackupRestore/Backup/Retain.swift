import FoundationEssentials

/// Retention: restic decides over the records, and what it names is forgotten by snapshot id.
extension Backup {
  /// Lets the run fail only where it is stopped: the set is saved, whatever else happens here. `context`: the main repositories or
  /// the second ones. `since`: what they held before that set, where that is known.
  func retain(_ record: Record, in context: Context, since ready: Ready? = nil) async throws -> ExitStatus {
    if !record.doubts.isEmpty {
      log.warning(
        """
        set \(record.id) is doubted: \(record.doubts.joined(separator: "; ")); nothing is forgotten until it is accepted
          hint: look at it; if it is right, run backup --accept \(record.id)
        """)
      return .attention
    }
    do {
      if context.repositories.contains(where: \.deletesNothing) { return leftToServer(context) }
      let removed = try await removedByPolicy(in: context)
      // Every call to restic costs half a second of processor time for its key (measured).
      if removed.isEmpty, let ready, ready.isWhole(context.host), ready.catalog.ahead(context.host) == nil { return .done }
      // The snapshots as they are now: the set just made is among them.
      let (catalog, sets) = try await context.catalog()
      // Another backup may have begun, by a clock that is behind: its parts have no record yet.
      let plan = catalog.forgettable(
        records: removed, marks: sets, host: context.host, keeping: record.id, policy: configuration.retention,
        unrecorded: ready?.catalog.unrecorded(context.host))
      if let hold = plan.hold {
        if case .much = hold { try await tryToForget(sets, in: context) }
        log.warning("\(words(for: hold, catalog, record.id, in: context))")
        if context.settings.prefix.isEmpty { context.numbers.change { $0.retentionHeld = true } }
        return .attention
      }
      try await apply(plan, in: context)
      let kept = catalog.of(context.host).filter { $0.record != nil && !plan.sets.contains($0.id) }
      if context.settings.prefix.isEmpty { context.numbers.change { ($0.sets, $0.oldest) = (kept.count, kept.first?.id.date) } }
      return .done
    } catch {
      try Task.checkCancellation()
      if (error as? Failure)?.cause == .appendOnly {
        return leftToServer(context)
      }
      log.error("set \(record.id) is saved, but retention failed", error)
      return .attention
    }
  }

  private func leftToServer(_ context: Context) -> ExitStatus {
    log.info("\(context.sets.shown) is append-only: its server does the forgetting")
    return .done
  }

  func plan(
    _ catalog: Catalog, _ sets: [Snapshot], keeping kept: SetID, in context: Context
  ) async throws -> Catalog.Forgettable {
    catalog.forgettable(
      records: try await removedByPolicy(in: context), marks: sets, host: context.host, keeping: kept,
      policy: configuration.retention)
  }

  /// The records that restic's own retention would remove.
  private func removedByPolicy(in context: Context) async throws -> Set<String> {
    Set(try await context.sets.forgettable(tag: "kind=set", policy: configuration.retention.arguments).map(\.id))
  }

  /// On an append-only server sets gather, and what the policy would take of them says nothing. Tried on a snapshot that means nothing:
  /// where it cannot go, it is there for the next time.
  private func tryToForget(_ sets: [Snapshot], in context: Context) async throws {
    let left = sets.first { $0.tag("kind") == "probe" && $0.hostname == context.host }?.id
    let probe =
      if let left { left } else { try await context.sets.write(["probe.json": Array("{}\n".utf8)], tags: ["kind=probe"]) }
    try await context.sets.forget([probe], prune: false)
  }

  private func words(for hold: RetentionPlan.Hold, _ catalog: Catalog, _ set: SetID, in context: Context) -> String {
    switch hold {
    case .doubted: return "set \(set) is not whole or is doubted: nothing is forgotten\n  hint: look at it with restore --list"
    case .ahead:
      guard let entry = catalog.ahead(context.host) else { return "" }
      return """
        set \(entry.id) lies in the future: nothing is forgotten
          hint: mend the clock of the machine that made it; be rid of it by \(forgetting(entry, in: context))
        """
    case .much(let taken, let all):
      return """
        retention would forget \(taken) of \(all) undoubted sets at once: nothing is forgotten
          hint: backup --dry-run lists them; if RESTIC_KEEP_LAST and RESTIC_…_TO_KEEP are right, run backup --accept \(set)
        """
    }
  }

  /// What to type: restic forgets a set that this toolkit holds on to.
  private func forgetting(_ entry: Catalog.Entry, in context: Context) -> String {
    let parts =
      (entry.record.map { [(context.sets, $0)] } ?? []) + (entry.files.map { [(context.files, $0)] } ?? [])
      + entry.databases.map { (context.databases, $0) }
    return parts.map { "restic -r \($0.shown) forget \($1.short)" }.joined(separator: ", ")
  }

  /// Parts first, without pruning, so that it is quick: cut short there, the record remains, is marked as damaged, and goes the next
  /// night. The other way round parts would remain that no record names, and of those nobody knows that they may go.
  private func apply(_ plan: Catalog.Forgettable, in context: Context) async throws {
    if plan.sets.isEmpty { return }
    let wherefrom = context.settings.prefix.isEmpty ? "" : " in the second repository"
    log.info("forgetting \(plan.sets.map(\.text).joined(separator: ", "))\(wherefrom) by retention")
    // One after the other: where the first is locked, the sets stay whole.
    if !plan.files.isEmpty { try await context.files.forget(plan.files, prune: false) }
    if !plan.databases.isEmpty { try await context.databases.forget(plan.databases, prune: false) }
    async let records: Void = plan.records.isEmpty ? () : context.sets.forget(plan.records, prune: true)
    async let first: Void = plan.files.isEmpty ? () : context.files.prune()
    async let second: Void = plan.databases.isEmpty ? () : context.databases.prune()
    _ = try await (records, first, second)
  }

  // MARK: --dry-run and --accept

  func explain(_ ready: Ready) async throws -> ExitStatus {
    var table = TextTable(["PART", "WOULD BE SAVED"])
    if let files = configuration.files {
      table.add([
        "files", files.paths.isEmpty ? files.directory : files.paths.map { files.directory + "/" + $0 }.joined(separator: ", "),
      ])
    }
    if let database = configuration.database, let server = ready.server {
      let program = try ready.clients.dump(server: server.major)
      for name in database.names {
        let size = try await server.session.number("SELECT pg_catalog.pg_database_size($1::name)", [name])
        table.add([
          "database \(name)", "\(Format.bytes(size)) on the server, by pg_dump \(program.major) from PostgreSQL \(server.major)",
        ])
      }
    }
    output(table.text)
    let plan = try await plan(ready.catalog, ready.sets, keeping: SetID(now), in: context)
    if let hold = plan.hold { log.warning("\(words(for: hold, ready.catalog, SetID(now), in: context))") }
    let (sets, title) = plan.hold == nil ? (plan.sets, "would be forgotten: ") : (plan.held, "held back: ")
    output(sets.isEmpty ? "nothing would be forgotten" : title + sets.map(\.text).joined(separator: ", "))
    for id in try ready.commit.unfinished() {
      output("restore \(id) is unfinished: backup finishes it first, where it was committed")
    }
    for entry in ready.catalog.of(context.host) where entry.doubted || !entry.gone.isEmpty {
      output("set \(entry.id) is \(entry.mark)")
    }
    output("dry run: nothing was changed")
    return .done
  }

  /// `--accept SET`: the operator has looked, and the set is right. A new snapshot says so: restic's own tags cannot be
  /// changed on append-only repositories (measured).
  ///
  /// - Parameter beginning: of the set's id.
  /// - Throws: `Failure` 22 where no set, several, or another host's are meant.
  public func accept(_ beginning: String) async throws -> ExitStatus {
    let (catalog, _) = try await context.catalog()
    let entry = try catalog.choose(.named(beginning), host: context.host)
    guard entry.host == context.host else {
      throw Failure(.refused, "set \(entry.id) belongs to \(entry.host)", hint: "set RESTIC_HOST=\(entry.host)")
    }
    if entry.isAhead {
      throw Failure(
        .refused, "set \(entry.id) lies in the future: whatever is saved until then is older",
        hint: "mend the clock of the machine that made it; be rid of it by \(forgetting(entry, in: context))")
    }
    let copyHolds = await copyHolds()
    if !entry.doubted, !copyHolds {
      guard try await takesMuch(in: context) else {
        output("set \(entry.id) is not doubted, and retention is not held: nothing to accept")
        return .done
      }
    }
    struct Acceptance: Encodable { let set: SetID, accepted: String }
    let document = try JSONEncoder().encode(Acceptance(set: entry.id, accepted: Format.time(now)))
    // In both: retention here may forget the set, and what says that it is accepted, before the next copy.
    for context in [context] + (copyHolds ? [context.copy!] : []) {
      try await context.sets.write(["accept.json": Array(document)], tags: ["kind=accept", "set=\(entry.id)"])
    }
    output("set \(entry.id) is accepted: retention goes on with the next backup")
    return .done
  }

  private func takesMuch(in context: Context) async throws -> Bool {
    let (catalog, sets) = try await context.catalog()
    guard case .much = try await plan(catalog, sets, keeping: SetID(now), in: context).hold else { return false }
    return true
  }

  /// Where the second repository cannot be asked, the next backup copies the acceptance.
  private func copyHolds() async -> Bool {
    guard let copy = context.copy else { return false }
    return (try? await takesMuch(in: copy)) == true
  }
}
