import SystemPackage

/// The parts of a set: files and databases side by side.
extension Backup {
  struct Parts: Sendable {
    var files: FilesPart?
    var databases: [(part: DatabasePart, added: Int)] = []
    var filesAdded = 0
    var roles = ""
    /// Roles that log in, and are not in the set.
    var leftOut: [String] = []
    var isResumed = true
    /// What they are compared with.
    var last: Record?
    /// Parts whose source failed, while others are saved.
    var lost: [Lost] = []
  }

  /// A part that could not be saved tonight.
  struct Lost: Sendable {
    /// Nil: the files.
    let database: String?
    let failure: Failure

    var doubt: String {
      (database.map { "no database \(printable($0)): " } ?? "no files: ") + failure.problems.map(\.fact).joined(separator: "; ")
    }
  }

  /// The snapshots are exported first, so that every part shows the same moment as nearly as can be.
  func prepareDumps(_ ready: Ready) async throws -> (dumps: [Dump], lost: [Lost]) {
    guard let settings = configuration.database else { return ([], []) }
    var (dumps, lost): ([Dump], [Lost]) = ([], [])
    for name in ready.names {
      do {
        let dump = try await Self.source {
          try await Dump.prepare(name, settings, configuration.waits, clients: ready.clients, isPaused: ready.quiesce != nil)
        }
        dumps.append(dump)
      } catch let failure as Failure { lost.append(Lost(database: name, failure: failure)) }
    }
    return (dumps, lost)
  }

  /// What the new set is compared with. Where the main repository is new and a second one is not, the last of that: a set of an empty
  /// application must not age out the good ones there.
  private func lastRecord(_ ready: Ready) async throws -> Record? {
    if let last = try await readable(ready.catalog, in: context) { return last }
    guard let copy = context.copy, let catalog = try? await copy.catalog().catalog else { return nil }
    return try await readable(catalog, in: copy)
  }

  /// The newest undoubted record that can be read: a damaged one must not stop every backup from now on.
  private func readable(_ catalog: Catalog, in context: Context) async throws -> Record? {
    for entry in catalog.of(context.host).reversed() where entry.trusted {
      do { return try await context.sets.record(of: entry.id, entry.record!) } catch let failure as Failure
        where !failure.packs.isEmpty || failure.status == .refused
      {
        log.warning("the record of set \(entry.id) cannot be read: \(failure.problems[0].fact)\n  hint: run backup --check")
      }
    }
    return nil
  }

  private enum Saved: Sendable {
    case files(FilesPart, added: Int, last: Record?)
    case database(DatabasePart, added: Int)
    case last(Record?)
    case lost(Lost)

    /// A source that fails stops none of the others; everything else does.
    static func trying(_ database: String?, _ body: () async throws -> Saved) async throws -> Saved {
      do { return try await body() } catch let failure as Failure where failure.status == .sourceFailed {
        return .lost(Lost(database: database, failure: failure))
      }
    }
  }

  /// Files and databases side by side.
  ///
  /// - Throws: `Failure` 20 where no source could be read; anything else that is wrong with one part ends the others.
  func save(_ ready: Ready, _ prepared: (dumps: [Dump], lost: [Lost]), set: SetID) async throws -> Parts {
    let dumps = prepared.dumps
    let isResumed = Locked(true)
    // The exported snapshots keep the dumps at this moment, whatever the application writes from now on.
    let resume: @Sendable () async -> Void = {
      let whole = await ready.commit.resume(ready.quiesce)
      isResumed.change { $0 = whole }
    }
    if configuration.files == nil { await resume() }
    var parts = try await withThrowingTaskGroup(of: Saved.self) { group in
      if let files = configuration.files {
        group.addTask {
          let saved = try await Saved.trying(nil) { try await save(files, ready, set: set, then: resume) }
          if case .lost = saved { await resume() }
          return saved
        }
      } else {
        group.addTask { .last(try await lastRecord(ready)) }
      }
      for dump in dumps {
        group.addTask {
          try await Saved.trying(dump.name) {
            let (part, added) = try await dump.save(
              into: context.databases, settings: configuration.database!, set: set, clients: ready.clients,
              isPaused: ready.quiesce != nil)
            return .database(part, added: added)
          }
        }
      }
      var parts = Parts(lost: prepared.lost)
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
    parts.isResumed = isResumed.value
    parts.databases.sort { ready.names.firstIndex(of: $0.part.name)! < ready.names.firstIndex(of: $1.part.name)! }
    if let server = ready.server, !dumps.isEmpty {
      let names = Set(parts.databases.flatMap { $0.part.roles.map(\.name) })
      let script = try await RoleReader(connection: server.session).script(for: names.sorted())
      (parts.roles, parts.leftOut) = (script.sql, script.leftOut)
      if !script.hasPasswords { log.info("roles are saved without password hashes: \(server.settings.user) may not read them") }
    }
    return parts
  }

  /// The files, and meanwhile the last record: beside the listing, because a third call beside the two that save slows both on two
  /// cores, by 0.3 s of a small backup's 4 (measured).
  private func save(
    _ files: FilesSettings, _ ready: Ready, set: SetID, then resume: () async -> Void
  ) async throws -> Saved {
    let root = try FilePath(files.directory).status()
    let empty = try Tree.entries(FilePath(files.directory)).allSatisfy { Tree.reserved.contains($0.string) }
    let mounts = try ready.directory.map { try Mount.below($0, steps: files.paths) } ?? []
    let hidden = configuration.secretFiles + [APIServer.account]
    let saved = try await context.files.confined(to: files.directory, hiding: hidden).backup(
      Self.filesArguments(files, mounts: mounts, empty: empty), tags: ["set=\(set)", "kind=files"], directory: files.directory,
      part: "files",
      tolerateUnreadable: files.allowUnreadable)
    await resume()
    async let last = lastRecord(ready)
    let evidence = empty ? FilesEvidence() : try await context.files.evidence(of: saved.snapshot, live: ready.directory)
    let part = FilesPart(
      snapshot: saved.snapshot, directory: files.directory, paths: files.paths, root: root.attributes, evidence: evidence,
      unreadable: saved.complete ? nil : .init(saved.unreadable))
    return .files(part, added: saved.added, last: try await last)
  }

  /// Relative to FILES_DIRECTORY, which is restic's working directory, so that the set can be restored anywhere.
  /// Of an empty directory restic saves `.` never ("snapshot is empty", exit code 1, measured), but its absolute path.
  static func filesArguments(_ files: FilesSettings, mounts: [Mount] = [], empty: Bool = false) -> [String] {
    let own = ([files.directory] + mounts.map { files.directory + "/" + $0.path }).flatMap { volume in
      Tree.reserved.sorted().flatMap { ["--exclude", ResticPattern.escaped(volume + "/" + $0)] }
    }
    let snapshots = mounts.filter(\.isSnapshots).flatMap {
      ["--exclude", ResticPattern.escaped(files.directory + "/" + $0.path)]
    }
    return own + snapshots + ["--"] + (empty ? [files.directory] : files.paths.isEmpty ? ["."] : files.paths)
  }
}
