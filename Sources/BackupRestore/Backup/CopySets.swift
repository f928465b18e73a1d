/// The second repository: `restic copy` of every set that it lacks, records last.
struct CopySets: Sendable {
  let invocation: Invocation

  private var source: Repositories { invocation.repositories }

  /// Lets the run fail only where it is stopped. Retention there is the same as here.
  func run(after record: Record) async throws -> ExitStatus {
    guard let target = invocation.copy else { return .done }
    let before: Catalog
    do {
      let copied: [String]
      (copied, before) = try await copy(to: target, record)
      output(copied.isEmpty ? "second repository: has every set" : "second repository: copied \(copied.joined(separator: ", "))")
      invocation.metrics.change { $0.copyFailed = false }
    } catch {
      try Task.checkCancellation()
      invocation.metrics.change { $0.copyFailed = true }
      log.error("the set is saved, but not copied to \(target.settings.shown)", error)
      log.info("each backup copies what the second repository lacks")
      return .attention
    }
    if !record.doubts.isEmpty { return .done }
    return try await ApplyRetention(invocation: invocation, repositories: target).run(after: record, before: before)
  }

  /// - Returns: what was copied, and what was there before.
  private func copy(to target: Repositories, _ record: Record) async throws -> ([String], Catalog) {
    let catalog = try await source.catalog()
    let there = try await Copied(target)
    // restic gives a copy an id of its own.
    if catalog.sets.contains(where: { there.ids.contains($0.id) }) {
      throw Failure(
        .configuration, "COPY_RESTIC_REPOSITORY is the same repository as RESTIC_REPOSITORY, by another name",
        hint: "name another place, best another building")
    }
    // What retention would forget there in the same night is not copied: an append-only main repository may keep it for ever.
    let retention = ApplyRetention(invocation: invocation, repositories: source)
    let plan = record.doubts.isEmpty ? try await retention.plan(catalog, keeping: record.id) : .init()
    let expired = plan.hold == .ahead ? [] : plan.sets + plan.held
    let whole = catalog.of(source.host).filter { $0.record != nil && $0.gone.isEmpty && !expired.contains($0.id) }
    // Also one whose record is there and whose part is not: somebody mended that repository.
    let entries = whole.filter { entry in
      entry.record.map { !there.sets.contains($0.identity) } == true
        || entry.files.map { !there.files.contains($0.identity) } == true
        || entry.databases.contains { !there.databases.contains($0.identity) }
    }
    let marks = catalog.sets.filter { mark in
      // What proves one repository proves nothing about another.
      (mark.tag("kind") == "accept" || HoldMark.isOne(mark)) && mark.hostname == source.host
        && !there.sets.contains(mark.identity)
        && whole.contains { $0.id.text == mark.tag("set") }
    }
    let files = entries.compactMap(\.files).filter { !there.files.contains($0.identity) }
    let databases = entries.flatMap(\.databases).filter { !there.databases.contains($0.identity) }
    if !files.isEmpty || !databases.isEmpty {
      async let first: Void = Self.copy(files, source.files, target)
      async let second: Void = Self.copy(databases, source.databases, target)
      _ = try await (first, second)
      // restic says nothing about a snapshot that it did not find.
      try (try await Copied(target)).check(files: files, databases: databases)
    }
    let records = entries.compactMap(\.record).filter { !there.sets.contains($0.identity) }
    try await Self.copy(records + marks, source.sets, target)
    return (entries.map(\.id.text), there.catalog)
  }

  private static func copy(_ snapshots: [Snapshot], _ source: Repository, _ target: Repositories) async throws {
    if snapshots.isEmpty { return }
    try await target.repository(source.name).copy(snapshots.map(\.id), from: source)
  }

  /// What the second repository holds, by `identity`.
  private struct Copied: Sendable {
    let files: Set<String>
    let databases: Set<String>
    let sets: Set<String>
    let ids: Set<String>
    let catalog: Catalog

    init(_ target: Repositories) async throws {
      let lists = try await target.snapshots()
      files = Set(lists.files.map(\.identity))
      databases = Set(lists.databases.map(\.identity))
      sets = Set(lists.sets.map(\.identity))
      ids = Set(lists.sets.map(\.id))
      catalog = target.catalog(of: lists)
    }

    func check(files: [Snapshot], databases: [Snapshot]) throws {
      let missing =
        files.filter { !self.files.contains($0.identity) } + databases.filter { !self.databases.contains($0.identity) }
      try Failure.collect(
        .repositoryFailed,
        missing.map { Problem("snapshot \($0.short) did not arrive", hint: "try restic copy by hand and look at what it says") })
    }
  }
}
