import FoundationEssentials

/// Which set a restore reads, or which old-style snapshots.
public struct Selection: Sendable {
  /// A set's beginning, or old-style snapshots.
  public var names: [String]
  /// The newest set that had been read by this time; not together with `names`.
  public var time: Date?
  /// Nil: files and databases.
  public var only: Only?

  /// The newest set, files and databases, unless more is said.
  public init(names: [String] = [], at time: Date? = nil, only: Only? = nil) {
    // `latest` alone says no more than nothing.
    (self.names, self.time, self.only) = (names.allSatisfy { $0 == "latest" } ? [] : names, time, only)
  }

  private var choice: Catalog.Choice { names.first.map { .named($0) } ?? time.map { .at($0) } ?? .newest }

  /// Where there is no set at all, the newest old-style snapshots.
  ///
  /// - Throws: `Failure` 22 where the choice is the operator's.
  func source(_ invocation: Invocation) async throws -> RestoreSource {
    let found = try await invocation.restorable()
    tellWhatIsPassedOver(found.catalog, host: invocation.repositories.host)
    return try await invocation.namingAffectedSets(of: found.catalog) {
      if let choice = try legacy(found) {
        let source = LegacySource(invocation: invocation, catalog: found.catalog)
        return try await source.source(of: choice, only: only(of: choice)).onVolume(invocation)
      }
      let entry = try set(in: found.catalog, host: invocation.repositories.host)
      return try await RestoreSource(of: entry, found.catalog, only: only, invocation).onVolume(invocation)
    }
  }

  /// The newest undoubted set, whatever is newer; or the one that is named.
  ///
  /// - Throws: `Failure` 22 where there is none, or the choice is the operator's.
  func provable(_ invocation: Invocation) async throws -> RestoreSource {
    let found = try await invocation.restorable()
    let host = invocation.repositories.host
    tellWhatIsPassedOver(found.catalog, host: host)
    if found.catalog.lastSound(host) == nil || !names.isEmpty || time != nil, try legacy(found) != nil {
      throw Failure(
        .refused, "a drill proves a set, and there is none", hint: "run backup first; restore --list shows what is there")
    }
    return try await invocation.namingAffectedSets(of: found.catalog) {
      let entry = try provable(in: found.catalog, host)
      return try await RestoreSource(of: entry, found.catalog, only: only, invocation).onVolume(invocation)
    }
  }

  private func provable(in catalog: Catalog, _ host: String) throws -> Catalog.Entry {
    guard names.isEmpty, time == nil, let entry = catalog.lastSound(host) else { return try set(in: catalog, host: host) }
    for newer in catalog.of(host) where newer.id > entry.id && (newer.doubted || !newer.gone.isEmpty) {
      log.warning("set \(newer.id) is newer and \(newer.mark): \(entry.id) is proven instead")
    }
    return entry
  }

  private func tellWhatIsPassedOver(_ catalog: Catalog, host: String) {
    guard let time, let entry = catalog.beingRead(at: time, host: host, only: only) else { return }
    log.warning(
      "set \(entry.id) is passed over: it began before \(Format.time(time)), but had not been read before \(Format.time(entry.read(only)))\n  hint: what changed in between may be in it; restore \(entry.id) takes it all the same"
    )
  }

  private func set(in catalog: Catalog, host: String) throws -> Catalog.Entry {
    let entry = try catalog.choose(choice, host: host, only: only)
    if names.isEmpty, let ahead = catalog.ahead(host) {
      log.warning(
        "set \(ahead.id) is dated in the future and is passed over\n  hint: the next backup says how to be rid of it; name it where it is wanted"
      )
    }
    return entry
  }

  // MARK: Old-style snapshots

  /// Those that are named, or the newest where no set fits; nil: a set is meant.
  private func legacy(_ found: Restorable) throws -> LegacySnapshots.Choice? {
    if names.count > 1 || (names.count == 1 && found.legacy.contains(names[0]) && !found.catalog.contains(names[0])) {
      return try found.legacy.named(names)
    }
    if !names.isEmpty || found.catalog.entries.contains(where: { $0.read(only) <= time ?? .distantFuture }) { return nil }
    let choice = try found.legacy.newest(at: time, only)
    return choice.isEmpty ? nil : choice
  }

  private func only(of choice: LegacySnapshots.Choice) -> Only? {
    if names.isEmpty { return only }
    return only ?? (choice.files == nil ? .database : choice.database == nil ? .files : nil)
  }
}

extension RestoreSource {
  /// A set by its record; where that is lost, as far as its parts tell.
  fileprivate init(of entry: Catalog.Entry, _ catalog: Catalog, only: Only?, _ invocation: Invocation) async throws {
    let (name, title) = (Name.set(entry.id), "set \(entry.id)")
    guard let snapshot = entry.record else {
      log.warning(
        "the record of set \(entry.id) is lost: without evidence only the archive's and the tree's completeness can be verified")
      let databases = entry.databases.map { snapshot in
        let archive = snapshot.paths?.first ?? "/"
        return DatabasePart(snapshot, name: DatabasePart.databaseName(archive: archive) ?? "", archive: archive)
      }
      let files = entry.files.map {
        FilesPart(snapshot: $0.id, directory: $0.paths?.first, paths: [], root: nil, evidence: nil)
      }
      self.init(
        name: name, title: title,
        record: Record(entry.id, host: entry.host, restic: invocation.restic, files: files, databases: databases),
        catalog: catalog, only: only)
      return
    }
    // Both at once: each costs restic its key anew.
    let sets = invocation.repositories.sets
    async let roles =
      entry.databases.isEmpty || only == .files
      ? [] : sets.read("/roles.sql", of: snapshot.id, limit: Repository.largestRecord)
    let record = try await sets.record(of: entry.id, snapshot).located(at: entry)
    self.init(
      name: name, title: title, record: record, catalog: catalog, roles: String(decoding: try await roles, as: UTF8.self),
      only: only)
  }

  /// Of a set of several volumes, what belongs onto the one that FILES_PATHS names.
  fileprivate func onVolume(_ invocation: Invocation) async throws -> RestoreSource {
    guard let settings = invocation.configuration.files, let path = settings.mounted, let files = record.files,
      files.directory != settings.directory
    else { return self }
    struct Seen: Sendable {
      var evidence = FilesEvidence()
      var root: Node?
    }
    let seen = Locked(Seen())
    try await invocation.repositories.repository(filesIn).list(files.snapshot) { node in
      if node.path == "/" + path { seen.change { $0.root = node } }
      if node.path?.hasPrefix("/\(path)/") == true { seen.change { $0.evidence.count(node) } }
    }
    guard let root = seen.value.root, root.type == "dir" else {
      throw Failure(
        .refused, "\(title) does not hold \(printable(path))", hint: "correct FILES_PATHS, or choose another set")
    }
    var source = self
    source.record.take(
      path, of: files, FileAttributes(user: root.uid ?? 0, group: root.gid ?? 0, mode: root.permissions), seen.value.evidence)
    return source
  }
}

extension Invocation {
  /// Where a repository is damaged: which sets need what is damaged, and the newest one that does not.
  func namingAffectedSets<T: Sendable>(of catalog: Catalog, _ body: () async throws -> T) async throws -> T {
    do { return try await body() } catch let failure as Failure where !failure.packs.isEmpty {
      var snapshots: Set<String> = []
      for repository in repositories.all {
        snapshots.formUnion((try? await repository.snapshots(needing: failure.packs)) ?? [])
      }
      let affected = catalog.sets(with: snapshots)
      let sound = catalog.of(repositories.host).last { $0.sound && !affected.contains($0.id.text) }
      throw Failure(
        failure.status,
        failure.problems + [
          Problem(
            "what is damaged is needed by \(affected.isEmpty ? "unknown sets" : affected.joined(separator: ", "))",
            hint: sound.map { "the newest set that does not need it: restore \($0.id)" }
              ?? "no other set can do without it: restic's manual, \"Troubleshooting\"")
        ])
    }
  }
}
