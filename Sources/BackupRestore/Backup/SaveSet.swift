import FoundationEssentials

/// Saves a set: the parts side by side, then the record.
struct SaveSet: Sendable {
  let plan: BackupPlan
  let session: Session

  var invocation: Invocation { session.invocation }
  var configuration: Configuration { session.configuration }
  var repositories: Repositories { invocation.repositories }
  private var host: String { repositories.host }

  struct Saved: Sendable {
    let record: Record
    let text: String
    /// What became of the parts that it lacks; nil where it is whole.
    let failure: Failure?
  }

  /// A source that fails leaves a set that is doubted, and keeps nothing else from being saved.
  ///
  /// - Throws: `Failure` 20 where no source could be read, 23 for a repository: then there is no set.
  func run() async throws -> Saved {
    let begin = ContinuousClock().now
    let set = try await newID()
    log.info("set \(set) begins")
    try await session.pause()
    var parts = try await save(try await prepareDumps(), set: set)
    // It must bring back all that is replaced.
    if plan.before != nil, let lost = parts.lost.first { throw lost.failure }
    // What a restore saves before it replaces anything is no night.
    if plan.before == nil { try await RehearseSet(plan: plan, session: session).run(&parts) }
    let record = Record(
      id: set, host: host, toolkit: Toolkit.version, restic: invocation.restic, finished: Format.time(Date()),
      doubts: doubts(parts, set: set), files: parts.files, databases: parts.databases.map(\.part), before: plan.before,
      pod: parts.lost.isEmpty ? Pod.own : nil)
    try await write(record, roles: parts.roles)
    note(record, parts)
    return Saved(
      record: record, text: summary(record, parts, seconds: begin.duration(to: .now)) + session.downtime,
      failure: parts.lost.isEmpty ? nil : missing(parts.lost, set))
  }

  private func missing(_ lost: [LostPart], _ set: SetID) -> Failure {
    let names = lost.map { $0.database.map { "database \(printable($0))" } ?? "the files" }.joined(separator: ", ")
    let last = Problem(
      "set \(set) is saved without \(names), is doubted, and nothing was forgotten",
      hint: "mend what is named above, then run backup again")
    return Failure(.sourceFailed, lost.flatMap(\.failure.problems) + [last])
  }

  /// Everything that keeps a set from being trusted.
  private func doubts(_ parts: SavedParts, set: SetID) -> [String] {
    var doubts =
      parts.lost.map(\.doubt)
      + Doubt.reasons(
        files: parts.files, databases: parts.databases.map(\.part), since: parts.last, lost: parts.lost.map(\.database))
    if let (failure, source) = plan.incomplete {
      log.error("\(failure)")
      // First: that it has shrunk as well follows from that.
      doubts.insert(Doubt.incomplete(printable(source)), at: 0)
    }
    if plan.before == nil {
      doubts += nightly(set, since: parts.last)
      doubts += parts.databases.compactMap { $0.part.rehearsed?.doubt($0.part.name) }
    }
    return doubts
  }

  /// What a night has against it, whatever it saved: it begins after a gap, or in repositories that a backup had to make.
  private func nightly(_ set: SetID, since last: Record?) -> [String] {
    guard let last else {
      if plan.catalog.sets.contains(where: { Initialise.isMark($0, of: host) }) { return [Initialise.doubt] }
      // Its name comes from what is configured: what is configured otherwise today begins from nothing.
      let settings = repositories.settings
      let others = Set(plan.catalog.entries.map(\.host)).filter {
        $0 == settings.formerHost || settings.isSibling($0) || saves(theSameAs: $0)
      }
      return others.isEmpty ? [] : [Doubt.renamed(host, others.sorted())]
    }
    let own = plan.catalog.soundTimes(host)
    let times = own.isEmpty ? [last.id.date].compactMap { $0 } : own
    return set.date.flatMap { RetentionPlan.gap(before: $0, after: times, policy: configuration.retention) }.map {
      [Doubt.gap($0)]
    } ?? []
  }

  /// A slip in RESTIC_HOST: the newest set of another name is of the same directory and databases.
  private func saves(theSameAs other: String) -> Bool {
    guard other != host, let entry = plan.catalog.of(other).last(where: { $0.record != nil }) else { return false }
    let archives = entry.databases.compactMap { $0.paths?.first }
    return Set(archives) == Set(plan.databases.map { "/" + DatabasePart.archiveName($0) })
      && (entry.files == nil) == (configuration.files == nil)
      && entry.files?.paths?.first.map(repositories.isOfDirectory) != false
  }

  /// Waits for the next second where this one is taken: the id is the second the set began.
  private func newID() async throws -> SetID {
    var id = SetID(Date())
    while plan.catalog.of(host).contains(where: { $0.id == id }) {
      try await Task.sleep(for: .milliseconds(200))
      id = SetID(Date())
    }
    return id
  }

  /// Written last: from here on the set exists.
  private func write(_ record: Record, roles: String) async throws {
    var documents: [Directory.Name: [UInt8]] = ["set.json": try record.encoded()]
    if !record.databases.isEmpty { documents["roles.sql"] = Array(roles.utf8) }
    try await repositories.sets.write(documents, tags: record.tags)
  }

  /// For the metrics. What retention leaves is known later. A doubted set is no success: the last one that is none stays it.
  private func note(_ record: Record, _ parts: SavedParts) {
    let own = plan.catalog.of(host)
    invocation.metrics.change { numbers in
      numbers.saved = record.doubts.isEmpty ? Date() : plan.catalog.lastSound(host)?.id.date
      numbers.size = (record.files?.evidence?.bytes ?? 0) + record.databases.reduce(0) { $0 + $1.bytes }
      numbers.added = parts.filesAdded + parts.databases.reduce(0) { $0 + $1.added }
      numbers.rows = record.rows
      numbers.files = record.files?.evidence?.entries
      numbers.unreadable = record.files.map { $0.unreadable?.count ?? 0 }
      numbers.sets = own.count { $0.record != nil } + 1
      numbers.oldest = own.first { $0.record != nil }?.id.date ?? record.id.date
      numbers.lastDrill = own.compactMap(\.drilled).max().flatMap(Format.read)?.date
      numbers.retentionHeld = !record.doubts.isEmpty
      numbers.down = session.application?.seconds
    }
  }

  private func summary(_ record: Record, _ parts: SavedParts, seconds: Duration) -> String {
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
