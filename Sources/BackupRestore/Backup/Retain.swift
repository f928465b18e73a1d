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
      let removed = try await removedByPolicy(in: context)
      // Every call to restic costs half a second of processor time for its key (measured).
      if removed.isEmpty, let ready, ready.isWhole(context.host), Self.future(ready.sets, now: Date()) == nil { return .done }
      // The snapshots as they are now: the set just made is among them.
      let (catalog, sets) = try await context.catalog()
      if let future = Self.future(sets, now: Date()) {
        log.warning(
          "record \(future.short) lies in the future (\(future.time)): nothing is forgotten\n  hint: mend the clock of the machine that made it"
        )
        return .attention
      }
      // Another backup may have begun, by a clock that is behind: its parts have no record yet.
      let plan = catalog.forgettable(
        records: removed, marks: sets, host: context.host, keeping: record.id, unrecorded: ready?.catalog.unrecorded(context.host)
      )
      try await apply(plan, in: context)
      let kept = catalog.of(context.host).filter { $0.record != nil && !plan.sets.contains($0.id) }
      if context.settings.prefix.isEmpty { context.numbers.change { ($0.sets, $0.oldest) = (kept.count, kept.first?.id.date) } }
      return .done
    } catch {
      try Task.checkCancellation()
      if "\(error)".contains("403 Forbidden") {
        log.info("\(context.sets.shown) is append-only: its server does the forgetting")
        return .done
      }
      log.error("set \(record.id) is saved, but retention failed", error)
      return .attention
    }
  }

  func plan(
    _ catalog: Catalog, _ sets: [Snapshot], keeping kept: SetID, in context: Context
  ) async throws -> Catalog.Forgettable {
    catalog.forgettable(records: try await removedByPolicy(in: context), marks: sets, host: context.host, keeping: kept)
  }

  /// The records that restic's own retention would remove.
  private func removedByPolicy(in context: Context) async throws -> Set<String> {
    Set(try await context.sets.forgettable(tag: "kind=set", policy: configuration.retention.arguments).map(\.id))
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

  /// A record over an hour ahead of the clock: with it, "within 30 days" would be counted from the wrong day.
  static func future(_ sets: [Snapshot], now: Date) -> Snapshot? {
    sets.first { ($0.date ?? .distantPast) > now.addingTimeInterval(3600) }
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
    output(
      plan.sets.isEmpty ? "nothing would be forgotten" : "would be forgotten: " + plan.sets.map(\.text).joined(separator: ", "))
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
    if !entry.doubted {
      output("set \(entry.id) is not doubted: nothing to accept")
      return .done
    }
    struct Acceptance: Encodable { let set: SetID, accepted: String }
    let document = try JSONEncoder().encode(Acceptance(set: entry.id, accepted: Format.time(now)))
    try await context.sets.write(["accept.json": Array(document)], tags: ["kind=accept", "set=\(entry.id)"])
    output("set \(entry.id) is accepted: retention goes on with the next backup")
    return .done
  }
}
