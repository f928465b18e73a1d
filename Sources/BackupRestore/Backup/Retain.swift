import FoundationEssentials

/// Retention: restic decides over the records, and what it names is forgotten by snapshot id.
extension Backup {
  /// Never lets the run fail: the set is saved, whatever happens here.
  func retain(_ record: Record, _ ready: Ready) async -> ExitStatus {
    if !record.doubts.isEmpty {
      log.warning(
        """
        set \(record.id) is doubted: \(record.doubts.joined(separator: "; ")); nothing is forgotten until it is accepted
          hint: look at it; if it is right, run backup --accept \(record.id)
        """)
      return .attention
    }
    do {
      // The snapshots as they are now: the set just made is among them.
      let (catalog, sets) = try await context.catalog()
      if let future = Self.future(sets, now: Date()) {
        log.warning(
          "record \(future.short) lies in the future (\(future.time)): nothing is forgotten\n  hint: mend the clock of the machine that made it"
        )
        return .attention
      }
      try await apply(try await plan(catalog, sets, keeping: record.id))
      return .done
    } catch let failure as Failure {
      if failure.description.contains("403 Forbidden") {
        log.info("the repository is append-only: its server does the forgetting")
        return .done
      }
      log.error("set \(record.id) is saved, but retention failed: \(failure)")
      return .attention
    } catch {
      log.error("set \(record.id) is saved, but retention failed: \(error)\n  hint: the next run tries again")
      return .attention
    }
  }

  func plan(_ catalog: Catalog, _ sets: [Snapshot], keeping kept: SetID) async throws -> Catalog.Forgettable {
    let removed = try await context.sets.forgettable(tag: "kind=set", policy: configuration.retention.arguments)
    return catalog.forgettable(records: Set(removed.map(\.id)), marks: sets, host: context.host, keeping: kept)
  }

  /// Records first: a set without its parts would be a lie, parts without a record are only space.
  private func apply(_ plan: Catalog.Forgettable) async throws {
    if plan.sets.isEmpty { return }
    log.info("forgetting \(plan.sets.map(\.text).joined(separator: ", ")) by retention")
    if !plan.records.isEmpty { try await context.sets.forget(plan.records) }
    async let files: Void = plan.files.isEmpty ? () : context.files.forget(plan.files)
    async let databases: Void = plan.databases.isEmpty ? () : context.databases.forget(plan.databases)
    _ = try await (files, databases)
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
    let plan = try await plan(ready.catalog, ready.sets, keeping: SetID(now))
    output(
      plan.sets.isEmpty ? "nothing would be forgotten" : "would be forgotten: " + plan.sets.map(\.text).joined(separator: ", "))
    output("dry run: nothing was changed")
    return .done
  }

  /// `--accept SET`: the operator has looked, and the set is right. A new snapshot says so: restic's own tags cannot be
  /// changed on append-only repositories (measured).
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
    try await context.writeToSets(["accept.json": Array(document)], tags: ["kind=accept", "set=\(entry.id)"])
    output("set \(entry.id) is accepted: retention goes on with the next backup")
    return .done
  }
}
