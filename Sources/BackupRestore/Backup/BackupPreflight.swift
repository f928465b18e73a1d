import SystemPackage

/// Everything that would keep a backup from being carried out and can be known beforehand, in one report. Changes nothing.
struct BackupPreflight: Sendable {
  let session: Session

  private var invocation: Invocation { session.invocation }
  private var configuration: Configuration { session.configuration }
  private var host: String { invocation.repositories.host }

  /// - Throws: `Failure` with every problem; its exit code is the first one's: 20 for a source, 10, 12 or 23 for a repository.
  func check() async throws -> BackupPlan {
    let clients = await invocation.clients()
    async let listed = settled { try await invocation.repositories.catalog() }
    var results = session.missing.map { Result<Void, any Error>.failure($0) }
    if let error = session.unreached { results.append(Result { try BackupPlan.asSource { throw error } }) }
    if let server = session.server {
      results.append(await settled { try await checkDatabases(server, clients) })
    }
    let application = await settled { try await session.application?.check() }
    let catalog = await listed
    results.append(catalog.map { _ in })
    results.append(application.map { _ in })
    if (try? catalog.get()) != nil { results.append(Result { try checkWritable() }) }
    results.append(Result { _ = try session.scratch() })
    if let files = configuration.files { results.append(Result { try checkFiles(files) }) }
    if let catalog = try? catalog.get() {
      results.append(Result { try checkMissingFiles(catalog) })
      results.append(await settled { try await checkLegacy(catalog) })
    }
    try Failure.merge(results)
    return BackupPlan(catalog: try catalog.get(), clients: clients, databases: configuration.database?.names ?? [])
  }

  private func checkWritable() throws {
    let errors = invocation.repositories.all.compactMap(\.readOnly)
    try Failure.collect(
      .repositoryFailed, errors.map { Problem("\($0)", hint: "mount the repository writable, for this user") })
  }

  private func checkFiles(_ files: FilesSettings) throws {
    var problems: [Problem] = []
    for path in [files.directory] + files.paths.map({ files.directory + "/" + $0 }) {
      let status = try? FilePath(path).status()
      let isFit = status.map { $0.isDirectory || path != files.directory } ?? false
      if !isFit {
        problems.append(
          Problem(
            "\(printable(path)) \(status == nil ? "does not exist" : "is not a directory")",
            hint: "mount the volume there, or correct FILES_DIRECTORY and FILES_PATHS"))
      }
    }
    for path in files.paths {
      let whole = FilePath(files.directory + "/" + path)
      let link =
        try FileStatus.existing(whole)?.type == "symlink"
        ? whole : Tree.obstacle(onTheWayTo: path, below: FilePath(files.directory))
      if let link {
        problems.append(
          Problem(
            "\(printable(link.string))\(link == whole ? ", which FILES_PATHS names, is a link" : " on the way to \(printable(path)) is not a directory"): what it leads to is not what is to be saved",
            hint: "name in FILES_PATHS where it leads"))
      }
    }
    try Failure.collect(.sourceFailed, problems)
  }

  /// Without FILES_DIRECTORY a missing directory means "database only", until a set with files says otherwise.
  private func checkMissingFiles(_ catalog: Catalog) throws {
    guard configuration.files == nil else { return }
    if let entry = catalog.of(host).last(where: { $0.record?.tag("files") != nil }) {
      throw Failure(
        .sourceFailed, "\(FilesSettings.standardDirectory) does not exist, but set \(entry.id) of \(host) has files",
        hint: "mount the volume, or set another RESTIC_HOST for a database without files")
    }
    log.info("\(FilesSettings.standardDirectory) does not exist and FILES_DIRECTORY is not set: database only")
  }

  /// Before the first set: what the predecessor saved and this configuration leaves out would be missed on the day it is needed. Later
  /// nights have a record to be held against, and do not pay for looking.
  private func checkLegacy(_ catalog: Catalog) async throws {
    if configuration.files != nil, configuration.database != nil { return }
    if catalog.of(host).contains(where: { $0.record != nil }) { return }
    let items = try await invocation.restorable().legacy.items
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

  private func checkDatabases(_ server: Server, _ clients: Clients) async throws {
    let settings = server.settings
    _ = try BackupPlan.asSource { try clients.dump(server: server.major) }
    let present = try await server.databases()
    try Failure.collect(
      .sourceFailed,
      settings.names.filter { !present.contains($0) }.map { name in
        Problem(
          "there is no database \(printable(name)) on \(settings.host):\(settings.port)",
          hint:
            "check POSTGRES_DB; if it was lost: \(settings.names.count > 1 ? "RESTIC_HOST=\(Format.shell(host)) POSTGRES_DB=\(name) " : "")restore --only database"
        )
      })
  }
}
