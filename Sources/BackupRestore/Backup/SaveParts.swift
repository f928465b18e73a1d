import SystemPackage

/// What was saved of a set.
struct SavedParts: Sendable {
  var files: FilesPart?
  var databases: [(part: DatabasePart, added: Int)] = []
  var filesAdded = 0
  var roles = ""
  /// Roles that log in, and are not in the set.
  var leftOut: [String] = []
  /// What they are compared with.
  var last: Record?
  /// Parts whose source failed, while others are saved.
  var lost: [LostPart] = []
}

/// A part that could not be saved tonight.
struct LostPart: Sendable {
  /// Nil: the files.
  let database: String?
  let failure: Failure

  var doubt: String {
    (database.map { "no database \(printable($0)): " } ?? "no files: ") + failure.problems.map(\.fact).joined(separator: "; ")
  }
}

/// The parts of a set: files and databases side by side.
extension SaveSet {
  /// The snapshots are exported first, so that every part shows the same moment as nearly as can be.
  func prepareDumps() async throws -> (dumps: [Dump], lost: [LostPart]) {
    guard let settings = configuration.database else { return ([], []) }
    var (dumps, lost): ([Dump], [LostPart]) = ([], [])
    for name in plan.databases {
      do {
        let dump = try await BackupPlan.asSource {
          try await Dump.prepare(name, settings, configuration.waits, clients: plan.clients, isPaused: session.application != nil)
        }
        dumps.append(dump)
      } catch let failure as Failure { lost.append(LostPart(database: name, failure: failure)) }
    }
    return (dumps, lost)
  }

  /// What the new set is compared with. Where the main repository is new and a second one is not, the last of that: a set of an empty
  /// application must not age out the good ones there.
  private func lastRecord() async throws -> Record? {
    if let last = try await readable(plan.catalog, in: repositories) { return last }
    guard let copy = invocation.copy, let catalog = try? await copy.catalog() else { return nil }
    return try await readable(catalog, in: copy)
  }

  /// The newest undoubted record that can be read: a damaged one must not stop every backup from now on.
  private func readable(_ catalog: Catalog, in repositories: Repositories) async throws -> Record? {
    for entry in catalog.of(repositories.host).reversed() where entry.trusted {
      guard let record = entry.record else { continue }
      do { return try await repositories.sets.record(of: entry.id, record) } catch let failure as Failure
        where !failure.packs.isEmpty || failure.status == .refused
      {
        log.warning("the record of set \(entry.id) cannot be read: \(failure.problems[0].fact)\n  hint: run backup --check")
      }
    }
    return nil
  }

  private enum Part: Sendable {
    case files(FilesPart, added: Int, last: Record?)
    case database(DatabasePart, added: Int)
    case last(Record?)
    case lost(LostPart)

    /// A source that fails stops none of the others; everything else does.
    static func trying(_ database: String?, _ body: () async throws -> Part) async throws -> Part {
      do { return try await body() } catch let failure as Failure where failure.status == .sourceFailed {
        return .lost(LostPart(database: database, failure: failure))
      }
    }
  }

  /// Files and databases side by side.
  ///
  /// - Throws: `Failure` 20 where no source could be read; anything else that is wrong with one part ends the others.
  func save(_ prepared: (dumps: [Dump], lost: [LostPart]), set: SetID) async throws -> SavedParts {
    let dumps = prepared.dumps
    // The exported snapshots keep the dumps at this moment, whatever the application writes from now on.
    if configuration.files == nil { await resume() }
    var parts = try await withThrowingTaskGroup(of: Part.self) { group in
      if let files = configuration.files {
        group.addTask {
          let saved = try await Part.trying(nil) { try await save(files, set: set) }
          if case .lost = saved { await resume() }
          return saved
        }
      } else {
        group.addTask { .last(try await lastRecord()) }
      }
      for dump in dumps {
        group.addTask {
          try await Part.trying(dump.name) {
            let (part, added) = try await dump.save(
              into: repositories.databases, set: set, clients: plan.clients, isPaused: session.application != nil)
            return .database(part, added: added)
          }
        }
      }
      var parts = SavedParts(lost: prepared.lost)
      for try await saved in group {
        switch saved {
        case .files(let part, let added, let last): (parts.files, parts.filesAdded, parts.last) = (part, added, last)
        case .database(let part, let added): parts.databases.append((part, added))
        case .last(let record): parts.last = record
        case .lost(let part): parts.lost.append(part)
        }
      }
      return parts
    }
    if parts.files == nil, parts.databases.isEmpty {
      try Failure.merge(parts.lost.map { Result<Void, any Error>.failure($0.failure) })
    }
    let place = { plan.databases.firstIndex(of: $0) ?? plan.databases.endIndex }
    parts.databases.sort { place($0.part.name) < place($1.part.name) }
    if let server = session.server, !dumps.isEmpty {
      let names = Set(parts.databases.flatMap { $0.part.roles.map(\.name) })
      let script = try await RoleReader(connection: server.session).script(for: names.sorted())
      (parts.roles, parts.leftOut) = (script.sql, script.leftOut)
      if !script.hasPasswords { log.info("roles are saved without password hashes: \(server.settings.user) may not read them") }
    }
    return parts
  }

  /// The files, and meanwhile the last record: beside the listing, because a third call beside the two that save slows both on two
  /// cores, by 0.3 s of a small backup's 4 (measured).
  private func save(_ files: FilesSettings, set: SetID) async throws -> Part {
    let root = try FilePath(files.directory).status()
    let empty = try Tree.entries(FilePath(files.directory)).allSatisfy { Tree.reserved.contains($0.string) }
    let mounts = try session.directory.map { try Mount.below($0, steps: files.paths) } ?? []
    let hidden = configuration.secretFiles + [APIServer.account]
    let saved = try await repositories.files.confined(to: files.directory, hiding: hidden).backup(
      files.backupArguments(mounts: mounts, empty: empty), tags: ["set=\(set)", "kind=files"], directory: files.directory,
      part: "files",
      tolerateUnreadable: files.allowUnreadable)
    await resume()
    async let last = lastRecord()
    let evidence =
      empty
      ? FilesEvidence()
      : try await repositories.files.evidence(
        of: saved.snapshot, live: session.directory, parts: files.paths + mounts.filter { !$0.isSnapshots }.map(\.path))
    let part = FilesPart(
      snapshot: saved.snapshot, directory: files.directory, paths: files.paths, root: root.attributes, evidence: evidence,
      excluded: files.excludes.isEmpty ? nil : files.excludes, unreadable: saved.complete ? nil : .init(saved.unreadable))
    return .files(part, added: saved.added, last: try await last)
  }

  /// What is saved before a restore replaces it stays as it is until then.
  private func resume() async { if plan.before == nil { await session.resume() } }
}
