import FoundationEssentials

/// `backup`: saves a set. Reads as its steps; each is below.
///
/// Every run returns 0, 3 where unreadable files were left out, or 4 where the set is saved and something wants to be looked at. It
/// throws `Failure` with the exit code and every problem found, and then there is no set, or one that lacks the source that failed.
public struct Backup: Sendable {
  let context: Context
  let now: Date

  /// The run begins now.
  public init(_ context: Context) {
    self.context = context
    now = Date()
  }

  var configuration: Configuration { context.configuration }

  /// - Parameters:
  ///   - dryRun: says what would be saved and forgotten, changes nothing.
  ///   - checking: reads a part of the repositories back, too.
  /// - Throws: `Failure` 20 for a source, 10, 12 or 23 for a repository, 11 where another run is at work.
  public func run(dryRun: Bool, checking: Bool = false) async throws -> ExitStatus {
    let ready = try await preflight(dryRun: dryRun)
    if dryRun { return try await explain(ready) }
    if let entry = ready.catalog.saved(by: Pod.own, host: context.host, now: now) {
      output(
        "set \(entry.id) was saved by this pod, whose container has started again: no other is saved"
          + (entry.mark.isEmpty ? "" : "; it is \(entry.mark)"))
      let isResumed = await ready.commit.resume(ready.quiesce)
      // The exit code is for the kubelet: a health check that was told of 3 or 4 is not told that all is well now.
      context.numbers.change { $0.isUntold = isResumed }
      return isResumed ? .done : .attention
    }
    let saved: SavedSet
    do { saved = try await saveSet(ready) } catch {
      _ = await ready.commit.resume(ready.quiesce)
      throw error
    }
    output(saved.text)
    if let failure = saved.failure {
      if !saved.isResumed { _ = await ready.commit.resume(ready.quiesce) }
      throw failure
    }
    for entry in ready.catalog.of(context.host) where !entry.gone.isEmpty {
      log.warning("set \(entry.id) is damaged: \(entry.lost); somebody or something forgot it, or the storage lost it")
    }
    let results = try await afterwards(saved, ready, checking: checking)
    if let unreadable = saved.record.files?.unreadable { log.warning("\(unreadable.text)") }
    // An API server that was away may be back: the next run is a night away.
    let isResumed = saved.isResumed ? true : await ready.commit.resume(ready.quiesce)
    if results.contains(.attention) || !isResumed || ready.isForeign { return .attention }
    return saved.record.files?.unreadable == nil ? .done : .unreadable
  }

  /// Retention, copy and check, which may take hours: a restore may begin meanwhile.
  private func afterwards(_ saved: SavedSet, _ ready: Ready, checking: Bool) async throws -> [ExitStatus] {
    // Where the application is down still, it is scaled back at the end, and nobody may be in the middle of a swap then.
    if saved.isResumed {
      do { try await release(ready) } catch let failure as Failure where failure.status == .locked {
        log.error("set \(saved.record.id) is saved; its retention, copy and check are left to the next backup", failure)
        return [.attention]
      }
    }
    var results = [try await retain(saved.record, in: context, since: ready)]
    results.append(try await copySets(saved.record))
    if checking { results.append(try await check()) }
    return results
  }

  /// The locks of database and volume. No two backups are at what comes now at once: each waits for the one before.
  ///
  /// - Throws: `Failure` 11 where that one takes longer than LOCK_WAIT.
  private func release(_ ready: Ready) async throws {
    do {
      try await ready.server?.unlock(ready.names)
      if let directory = ready.directory {
        try await DirectoryLock.release(directory.path.string, waits: configuration.waits)
      }
      try await ready.server?.lock(ready.names, for: .repositories)
    } catch let error as ConnectionError {
      // With the session its locks are gone. restic's own still keep two retentions from one repository.
      log.info("the session with the maintenance database broke: \(error)")
    }
  }

  struct SavedSet: Sendable {
    let record: Record
    let text: String
    /// The application is scaled back.
    let isResumed: Bool
    /// What became of the parts that it lacks; nil where it is whole.
    let failure: Failure?
  }

  /// The parts side by side, then the record. A source that fails leaves a set that is doubted, and keeps nothing else from being saved.
  func saveSet(_ ready: Ready, before: String? = nil) async throws -> SavedSet {
    let begin = ContinuousClock().now
    let set = try await newID(after: ready.catalog)
    log.info("set \(set) begins")
    try await ready.quiesce?.pause()
    var parts = try await save(ready, try await prepareDumps(ready), set: set)
    // It must bring back all that is replaced.
    if before != nil, let lost = parts.lost.first { throw lost.failure }
    // What a restore saves before it replaces anything is no night.
    if before == nil { try await rehearse(&parts, ready) }
    let doubts = doubts(parts, ready, set: set, isNight: before == nil)
    let record = Record(
      id: set, host: context.host, toolkit: Program.version, restic: context.restic, finished: Format.time(Date()),
      doubts: doubts, files: parts.files, databases: parts.databases.map(\.part), before: before,
      pod: parts.lost.isEmpty ? Pod.own : nil)
    try await write(record, roles: parts.roles)
    note(record, parts, ready)
    return SavedSet(
      record: record, text: summary(record, parts, seconds: begin.duration(to: .now)) + (ready.quiesce?.downtime ?? ""),
      isResumed: parts.isResumed, failure: parts.lost.isEmpty ? nil : missing(parts.lost, set))
  }

  private func missing(_ lost: [Lost], _ set: SetID) -> Failure {
    let names = lost.map { $0.database.map { "database \(printable($0))" } ?? "the files" }.joined(separator: ", ")
    let last = Problem(
      "set \(set) is saved without \(names), is doubted, and nothing was forgotten",
      hint: "mend what is named above, then run backup again")
    return Failure(.sourceFailed, lost.flatMap(\.failure.problems) + [last])
  }

  /// Everything that keeps a set from being trusted.
  private func doubts(_ parts: Parts, _ ready: Ready, set: SetID, isNight: Bool) -> [String] {
    var doubts =
      parts.lost.map(\.doubt)
      + Doubt.reasons(
        files: parts.files, databases: parts.databases.map(\.part), since: parts.last, lost: parts.lost.map(\.database))
    if let (failure, source) = ready.incomplete {
      log.error("\(failure)")
      // First: that it has shrunk as well follows from that.
      doubts.insert(Doubt.incomplete(printable(source)), at: 0)
    }
    if isNight {
      doubts += nightly(set, ready, since: parts.last)
      doubts += parts.databases.compactMap { $0.part.rehearsed?.doubt($0.part.name) }
    }
    return doubts
  }

  /// What a night has against it, whatever it saved: it begins after a gap, or in repositories that a backup had to make.
  private func nightly(_ set: SetID, _ ready: Ready, since last: Record?) -> [String] {
    guard let last else {
      return ready.sets.contains { Initialise.isMark($0, of: context.host) } ? [Initialise.doubt] : []
    }
    let own = ready.catalog.soundTimes(context.host)
    let times = own.isEmpty ? [last.id.date].compactMap { $0 } : own
    return set.date.flatMap { RetentionPlan.gap(before: $0, after: times, policy: configuration.retention) }.map {
      [Doubt.gap($0)]
    } ?? []
  }

  /// Waits for the next second where this one is taken: the id is the second the set began.
  private func newID(after catalog: Catalog) async throws -> SetID {
    var id = SetID(Date())
    while catalog.of(context.host).contains(where: { $0.id == id }) {
      try await Task.sleep(for: .milliseconds(200))
      id = SetID(Date())
    }
    return id
  }

  /// Written last: from here on the set exists.
  private func write(_ record: Record, roles: String) async throws {
    var documents = ["set.json": try record.encoded()]
    if !record.databases.isEmpty { documents["roles.sql"] = Array(roles.utf8) }
    try await context.sets.write(documents, tags: record.tags)
  }

  /// For the metrics. What retention leaves is known later. A doubted set is no success: the last one that is none stays it.
  private func note(_ record: Record, _ parts: Parts, _ ready: Ready) {
    let own = ready.catalog.of(context.host)
    context.numbers.change { numbers in
      numbers.saved = record.doubts.isEmpty ? Date() : ready.catalog.lastSound(context.host)?.id.date
      numbers.size = (record.files?.evidence?.bytes ?? 0) + record.databases.reduce(0) { $0 + $1.bytes }
      numbers.added = parts.filesAdded + parts.databases.reduce(0) { $0 + $1.added }
      numbers.rows = record.rows
      numbers.files = record.files?.evidence?.entries
      numbers.unreadable = record.files.map { $0.unreadable?.count ?? 0 }
      numbers.sets = own.count { $0.record != nil } + 1
      numbers.oldest = own.first { $0.record != nil }?.id.date ?? record.id.date
      numbers.lastDrill = own.compactMap(\.drilled).max().flatMap(Snapshot.date)
      numbers.retentionHeld = !record.doubts.isEmpty
      numbers.down = ready.quiesce?.seconds
    }
  }

  private func summary(_ record: Record, _ parts: Parts, seconds: Duration) -> String {
    var table = TextTable(["PART", "SNAPSHOT", "CONTENT", "SIZE", "ADDED"])
    if let files = record.files, let evidence = files.evidence {
      let content =
        "\(Format.count(evidence.counts["file"] ?? 0, "file", "files")), \(Format.count(evidence.counts["dir"] ?? 0, "directory", "directories"))"
      table.add([
        "files", String(files.snapshot.prefix(8)), content, Format.bytes(evidence.bytes), Format.bytes(parts.filesAdded),
      ])
    }
    for (part, added) in parts.databases {
      let content =
        "\(Format.count(part.evidence?.tables.count ?? 0, "table", "tables")), \(Format.count(part.evidence?.rows ?? 0, "row", "rows"))"
      table.add([
        "database \(part.name)", String(part.snapshot.prefix(8)), content, Format.bytes(part.bytes), Format.bytes(added),
      ])
    }
    let leftOut = parts.leftOut.map(printable).joined(separator: ", ")
    return table.text + (leftOut.isEmpty ? "" : "\nleft out: \(leftOut), superuser and member of the database's roles")
      + "\nset \(record.id) saved in \(Format.duration(seconds.inSeconds))"
  }
}
