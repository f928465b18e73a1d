import SystemPackage

/// Everything that can be known beforehand, and the locks.
extension Backup {
  struct Ready: Sendable {
    let catalog: Catalog
    let sets: [Snapshot]
    let clients: Clients
    let server: Server?
    let commit: Commit
    /// FILES_DIRECTORY, where this run holds its lock.
    let directory: Directory?
    /// Nil where the application stays up, or is the caller's business.
    let quiesce: Quiesce?
    /// Databases to save.
    let names: [String]
    /// What lies in the place of the toolkit's own directory is not: the set is saved, and somebody has to look.
    var isForeign = false
    /// An `--in-place` that never ended, and of what: what is live is not whole.
    var incomplete: (failure: Failure, source: String)?

    /// Whether every part belongs to a record.
    func isWhole(_ host: String) -> Bool { catalog.of(host).allSatisfy { $0.record != nil } }
  }

  /// The locks, then everything that can be known to be wrong, in one report.
  func preflight(dryRun: Bool) async throws -> Ready {
    let clients = await context.clients()
    var results: [Result<Void, any Error>] = []
    var server: Server?
    if let settings = configuration.database {
      let connected = await settled { try await Self.source { try await connect(settings, clients) } }
      server = try? connected.get()
      results.append(connected.map { _ in })
    }
    try await server?.lock(configuration.database!.names)
    let directory = try await context.lockFiles()
    var commit = Commit(directory: directory, server: server)
    let isHeld = (server == nil) == (configuration.database == nil) && (directory == nil) == (configuration.files == nil)
    async let listed = settled { try await context.catalog() }
    let quiesce = await settled {
      let quiesce = try context.quiesce()
      try await quiesce?.check()
      return quiesce
    }
    let catalog = await listed
    results.append(catalog.map { _ in })
    results.append(quiesce.map { _ in })
    if (try? catalog.get()) != nil { results.append(Result { try checkWritable() }) }
    results.append(Result { try Scratch(context.base).remove() })
    if let files = configuration.files { results.append(Result { try checkFiles(files) }) }
    if let catalog = try? catalog.get() {
      results.append(Result { try checkMissingFiles(catalog.catalog) })
      results.append(await settled { try await checkOldStyle(catalog.catalog) })
    }
    do {
      try Failure.merge(results)
      try tellMounts(commit)
      let isForeign = try await finishInterrupted(commit, dryRun: dryRun)
      // What is not believed keeps no application down.
      if isForeign { commit = Commit(directory: nil, server: server) }
      let listing = try catalog.get()
      return Ready(
        catalog: listing.catalog, sets: listing.sets, clients: clients, server: server, commit: commit,
        directory: directory, quiesce: try quiesce.get(), names: configuration.database?.names ?? [], isForeign: isForeign,
        incomplete: isForeign ? nil : try incomplete(commit))
    } catch {
      // An earlier run that was killed may have left the application down. With all locks held nobody else needs that.
      if isHeld, !dryRun { _ = await commit.resume(try? quiesce.get()) }
      throw error
    }
  }

  /// The application could stop every backup with a name in its own directory.
  ///
  /// - Returns: whether something there is not the toolkit's.
  private func finishInterrupted(_ commit: Commit, dryRun: Bool) async throws -> Bool {
    do {
      for commit in try [commit] + mounted(commit).map(\.commit) {
        if dryRun { _ = try commit.unfinished() } else { try await commit.finishInterrupted(undoing: false) }
      }
      return false
    } catch let failure as Failure where failure.cause == .foreign {
      for problem in failure.problems {
        log.error(
          "\(problem.fact): no restore is finished or rolled back by it, and the set is saved without it\n  hint: \(problem.hint)"
        )
      }
      return true
    }
  }

  /// The other volumes below: a restore of one of them keeps its journal there.
  private func mounted(_ commit: Commit) throws -> [(mount: Mount, commit: Commit)] {
    guard let directory = commit.directory, let files = configuration.files else { return [] }
    let mounts = try Mount.below(directory, steps: files.paths).filter { mount in
      files.paths.isEmpty || files.paths.contains { mount.holds($0) || mount.lies(in: $0) }
    }
    return try mounts.compactMap { mount in
      try directory.directory(at: FilePath(mount.path)).map { (mount, Commit(directory: $0, server: commit.server)) }
    }
  }

  private func incomplete(_ commit: Commit) throws -> (failure: Failure, source: String)? {
    if let journal = try commit.replacing() { return (commit.incomplete(journal), journal.restored) }
    for (mount, commit) in try mounted(commit) {
      guard let journal = try commit.replacing() else { continue }
      let problem = commit.incomplete(journal).problems[0]
      let failure = Failure(.refused, problem.fact, hint: "with FILES_PATHS=\(Format.shell(mount.path)): \(problem.hint)")
      return (failure, journal.restored)
    }
    return nil
  }

  /// The night that a set is made, not on the day that it is needed.
  private func tellMounts(_ commit: Commit) throws {
    let mounts = try mounted(commit).map(\.mount)
    let own = mounts.filter { !$0.isSnapshots }
    if let first = own.first {
      let names = own.map { printable($0.path) }.joined(separator: ", ")
      let command = "FILES_PATHS=\(Format.shell(first.path)) restore --only files"
      log.info(
        "\(names): mount points in \(printable(commit.directory!.path.string)), each restored by a run of its own: \(command)")
    }
    if mounts.contains(where: \.isSnapshots) { log.info(".snapshot is left out: the volume's own snapshots") }
  }

  private func checkWritable() throws {
    let errors = context.repositories.compactMap(\.readOnly)
    try Failure.collect(
      .repositoryFailed, errors.map { Problem("\($0)", hint: "mount the repository writable, for this user") })
  }

  private func checkFiles(_ files: FilesSettings) throws {
    var problems: [Problem] = []
    for path in [files.directory] + files.paths.map({ files.directory + "/" + $0 }) {
      let status = try? FilePath(path).status()
      if status == nil || (path == files.directory && !status!.isDirectory) {
        problems.append(
          Problem(
            "\(printable(path)) \(status == nil ? "does not exist" : "is not a directory")",
            hint: "mount the volume there, or correct FILES_DIRECTORY and FILES_PATHS"))
      }
    }
    for path in files.paths {
      if let link = try Tree.obstacle(onTheWayTo: path, below: FilePath(files.directory)) {
        problems.append(
          Problem(
            "\(printable(link.string)) on the way to \(printable(path)) is not a directory: what it leads to is not what is to be saved",
            hint: "name in FILES_PATHS where it leads"))
      }
    }
    try Failure.collect(.sourceFailed, problems)
  }

  /// Without FILES_DIRECTORY a missing directory means "database only", until a set with files says otherwise.
  private func checkMissingFiles(_ catalog: Catalog) throws {
    guard configuration.files == nil else { return }
    if let entry = catalog.of(context.host).last(where: { $0.record?.tag("files") != nil }) {
      throw Failure(
        .sourceFailed, "\(FilesSettings.standardDirectory) does not exist, but set \(entry.id) of \(context.host) has files",
        hint: "mount the volume, or set another RESTIC_HOST for a database without files")
    }
    log.info("\(FilesSettings.standardDirectory) does not exist and FILES_DIRECTORY is not set: database only")
  }

  /// Before the first set: what the predecessor saved and this configuration leaves out would be missed on the day it is needed. Later
  /// nights have a record to be held against, and do not pay for looking.
  private func checkOldStyle(_ catalog: Catalog) async throws {
    if configuration.files != nil, configuration.database != nil { return }
    if catalog.of(context.host).contains(where: { $0.record != nil }) { return }
    let items = try await context.restorable().old.items
    let otherwise = "or, where they are not wanted any more, give RESTIC_REPOSITORY another base"
    var problems: [Problem] = []
    if configuration.files == nil, let item = items.last(where: { $0.kind == .files }) {
      let path = printable(item.snapshot.paths?.first ?? "")
      problems.append(
        Problem(
          "the old-style snapshot \(item.snapshot.short) holds files of \(path), and no files are configured",
          hint: "mount the volume and set FILES_DIRECTORY=\(path), \(otherwise)"))
    }
    if configuration.database == nil, let item = items.last(where: { $0.kind == .database }) {
      problems.append(
        Problem(
          "the old-style snapshot \(item.snapshot.short) holds a dump (\(printable(item.snapshot.paths?.first ?? ""))), and no database is configured",
          hint: "set POSTGRES_DB, POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_HOST, \(otherwise)"))
    }
    try Failure.collect(.configuration, problems)
  }

  private func connect(_ settings: DatabaseSettings, _ clients: Clients) async throws -> Server {
    let server = try await Server.connect(settings, configuration.waits)
    var problems: [Problem] = []
    _ = try clients.dump(server: server.major)
    let present = try await server.databases()
    for name in settings.names where !present.contains(name) {
      problems.append(
        Problem(
          "there is no database \(printable(name)) on \(settings.host):\(settings.port)",
          hint:
            "check POSTGRES_DB; if it was lost: \(settings.names.count > 1 ? "POSTGRES_DB=\(name) " : "")restore --only database")
      )
    }
    try Failure.collect(.sourceFailed, problems)
    return server
  }

  /// A source that cannot be reached is a failed source; a pooler is none.
  static func source<T>(_ body: () async throws -> T) async throws -> T {
    do { return try await body() } catch let failure as Failure where failure.cause != .pooler {
      throw Failure(.sourceFailed, failure.problems)
    }
  }
}
