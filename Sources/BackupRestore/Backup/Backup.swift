import FoundationEssentials
import Glibc
import SystemPackage

/// `backup`: saves a set. Reads as its steps; each is below.
public struct Backup: Sendable {
  let context: Context
  let now: Date

  public init(_ context: Context) {
    self.context = context
    now = Date()
  }

  var configuration: Configuration { context.configuration }

  public func run(dryRun: Bool) async throws -> ExitStatus {
    let ready = try await preflight()
    if dryRun { return try await explain(ready) }
    let saved = try await saveSet(ready)
    output(saved.text)
    let retained = await retain(saved.record, ready)
    if saved.unreadable.isEmpty { return retained }
    log.warning(
      "\(saved.unreadable.count) unreadable files are not in the set: \(saved.unreadable.prefix(20).joined(separator: ", "))")
    return retained == .done ? .unreadable : retained
  }

  struct SavedSet: Sendable {
    let record: Record
    let text: String
    let unreadable: [String]
  }

  /// Steps 4 and 5: the parts side by side, then the record. Anything missing: no record.
  func saveSet(_ ready: Ready, before: String? = nil) async throws -> SavedSet {
    let begin = ContinuousClock().now
    let set = try await newID(after: ready.catalog)
    log.info("set \(set) begins")
    let dumps = try await prepareDumps(ready)
    let last = try await lastRecord(ready)
    let parts = try await save(ready, dumps, set: set)
    let doubts = last.map { Doubt.reasons(files: parts.files, databases: parts.databases.map(\.part), since: $0) } ?? []
    let record = Record(
      id: set, host: context.host, toolkit: Program.version, restic: context.restic, finished: Format.time(Date()),
      doubts: doubts, files: parts.files, databases: parts.databases.map(\.part), before: before)
    try await write(record, roles: parts.roles)
    return SavedSet(
      record: record, text: summary(record, parts, seconds: begin.duration(to: .now)), unreadable: parts.unreadable)
  }

  // MARK: 1. Preflight

  struct Ready: Sendable {
    let catalog: Catalog
    let sets: [Snapshot]
    let clients: Clients
    let server: Server?
    let lock: DirectoryLock?
    /// Databases to save.
    let names: [String]
  }

  /// Everything that can be known to be wrong, in one report; then the locks.
  func preflight() async throws -> Ready {
    async let listed = settled { try await context.catalog() }
    async let clients = context.clients()
    var results: [Result<Void, any Error>] = []
    let catalog = await listed
    results.append(catalog.map { _ in })
    if (try? catalog.get()) != nil { results.append(Result { try checkWritable() }) }
    if let files = configuration.files { results.append(Result { try checkFiles(files) }) }
    if let catalog = try? catalog.get() { results.append(Result { try checkMissingFiles(catalog.catalog) }) }
    let found = await clients
    var server: Server?
    if let settings = configuration.database {
      let connected = await settled { try await Self.source { try await connect(settings, found) } }
      server = try? connected.get()
      results.append(connected.map { _ in })
    }
    try Failure.merge(results)
    let listing = try catalog.get()
    if let settings = configuration.database { try await server?.lock(settings.names) }
    var lock: DirectoryLock?
    if let files = configuration.files {
      lock = try await DirectoryLock.take(files.directory, waits: configuration.waits)
      try await finishInterrupted(files, server)
    }
    return Ready(
      catalog: listing.catalog, sets: listing.sets, clients: found, server: server, lock: lock,
      names: configuration.database?.names ?? [])
  }

  /// restic itself would try for 15 minutes to write its lock (measured).
  private func checkWritable() throws {
    var problems: [Problem] = []
    for repository in [context.files, context.databases, context.sets] {
      guard let path = repository.localPath, access(path + "/locks", W_OK) != 0 else { continue }
      problems.append(
        Problem("\(FileError("access", path + "/locks"))", hint: "mount the repository writable, for this user"))
    }
    try Failure.collect(.repositoryFailed, problems)
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

  private func connect(_ settings: DatabaseSettings, _ clients: Clients) async throws -> Server {
    let server = try await Server.connect(settings, configuration.waits)
    var problems: [Problem] = []
    _ = try clients.dump(server: server.major)
    let present = try await server.databases()
    for name in settings.names where !present.contains(name) {
      problems.append(
        Problem(
          "there is no database \(printable(name)) on \(settings.host):\(settings.port)",
          hint: "check POSTGRES_DB; if it was lost: restore --only database"))
    }
    try Failure.collect(.sourceFailed, problems)
    return server
  }

  /// A source that cannot be reached is a failed source.
  private static func source<T>(_ body: () async throws -> T) async throws -> T {
    do { return try await body() } catch let failure as Failure { throw Failure(.sourceFailed, failure.problems) }
  }

  private func finishInterrupted(_ files: FilesSettings, _ server: Server?) async throws {
    try await Commit(directory: files.directory, server: server).finishInterrupted(undoing: false)
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

  // MARK: 2. Save

  struct Parts: Sendable {
    var files: FilesPart?
    var databases: [(part: DatabasePart, added: Int)] = []
    var filesAdded = 0
    var unreadable: [String] = []
    var roles = ""
  }

  /// The snapshots are exported first, so that every part shows the same moment as nearly as can be.
  private func prepareDumps(_ ready: Ready) async throws -> [Dump] {
    guard let settings = configuration.database else { return [] }
    var dumps: [Dump] = []
    for name in ready.names {
      dumps.append(try await Self.source { try await Dump.prepare(name, settings, configuration.waits, clients: ready.clients) })
    }
    return dumps
  }

  private func lastRecord(_ ready: Ready) async throws -> Record? {
    guard let entry = ready.catalog.lastSound(context.host), let snapshot = entry.record else { return nil }
    return try await context.record(of: entry.id, snapshot)
  }

  /// Files and databases side by side; the first failure stops the others.
  private func save(_ ready: Ready, _ dumps: [Dump], set: SetID) async throws -> Parts {
    enum Saved: Sendable {
      case files(FilesPart, added: Int, unreadable: [String])
      case database(DatabasePart, added: Int)
    }
    var parts = try await withThrowingTaskGroup(of: Saved.self) { group in
      if let files = configuration.files {
        group.addTask {
          let (part, added, unreadable) = try await save(files, set: set)
          return .files(part, added: added, unreadable: unreadable)
        }
      }
      for dump in dumps {
        group.addTask {
          let (part, added) = try await dump.save(into: context.databases, settings: configuration.database!, set: set)
          return .database(part, added: added)
        }
      }
      var parts = Parts()
      for try await saved in group {
        switch saved {
        case .files(let part, let added, let unreadable):
          (parts.files, parts.filesAdded, parts.unreadable) = (part, added, unreadable)
        case .database(let part, let added): parts.databases.append((part, added))
        }
      }
      return parts
    }
    parts.databases.sort { ready.names.firstIndex(of: $0.part.name)! < ready.names.firstIndex(of: $1.part.name)! }
    if let server = ready.server, !dumps.isEmpty {
      let names = Set(parts.databases.flatMap { $0.part.roles.map(\.name) })
      let (sql, passwords) = try await RoleReader(connection: server.session).script(for: names.sorted())
      parts.roles = sql
      if !passwords { log.info("roles are saved without password hashes: \(server.settings.user) may not read them") }
    }
    return parts
  }

  private func save(_ files: FilesSettings, set: SetID) async throws -> (FilesPart, added: Int, unreadable: [String]) {
    let root = try FilePath(files.directory).status()
    let empty = try Tree.entries(FilePath(files.directory)).allSatisfy { Tree.reserved.contains($0.string) }
    let saved = try await context.files.backup(
      Self.filesArguments(files, empty: empty), tags: ["set=\(set)", "kind=files"], directory: files.directory, part: "files",
      tolerateUnreadable: files.allowUnreadable)
    let evidence = Locked(FilesEvidence())
    if !empty {
      try await context.files.list(saved.snapshot) { node in
        evidence.change { $0.count(node.type ?? "", size: node.size ?? 0, user: node.uid ?? 0, group: node.gid ?? 0) }
      }
    }
    let part = FilesPart(
      snapshot: saved.snapshot, directory: files.directory, paths: files.paths, root: root.attributes, evidence: evidence.value)
    return (part, saved.added, saved.complete ? [] : saved.unreadable)
  }

  /// Relative to FILES_DIRECTORY, which is restic's working directory, so that the set can be restored anywhere.
  /// Of an empty directory restic saves `.` never ("snapshot is empty", exit code 1, measured), but its absolute path.
  static func filesArguments(_ files: FilesSettings, empty: Bool = false) -> [String] {
    let own = Tree.reserved.sorted().flatMap { ["--exclude", ResticPattern.escaped(files.directory + "/" + $0)] }
    return own + ["--"] + (empty ? [files.directory] : files.paths.isEmpty ? ["."] : files.paths)
  }

  // MARK: 3. Record

  /// Written last: from here on the set exists.
  private func write(_ record: Record, roles: String) async throws {
    var documents = ["set.json": try record.encoded()]
    if !record.databases.isEmpty { documents["roles.sql"] = Array(roles.utf8) }
    try await context.writeToSets(documents, tags: record.tags)
  }

  private func summary(_ record: Record, _ parts: Parts, seconds: Duration) -> String {
    var table = TextTable(["PART", "SNAPSHOT", "CONTENT", "SIZE", "ADDED"])
    if let files = record.files, let evidence = files.evidence {
      let content =
        "\(Format.count(evidence.counts["file"] ?? 0)) files, \(Format.count(evidence.counts["dir"] ?? 0)) directories"
      table.add([
        "files", String(files.snapshot.prefix(8)), content, Format.bytes(evidence.bytes), Format.bytes(parts.filesAdded),
      ])
    }
    for (part, added) in parts.databases {
      let content = "\(Format.count(part.evidence?.tables.count ?? 0)) tables, \(Format.count(part.evidence?.rows ?? 0)) rows"
      table.add([
        "database \(part.name)", String(part.snapshot.prefix(8)), content, Format.bytes(part.bytes), Format.bytes(added),
      ])
    }
    return table.text + "\nset \(record.id) saved in \(Format.duration(seconds.inSeconds))"
  }
}

/// Small documents in the `sets` repository.
extension Context {
  /// Sizes of records grow with the number of tables, not with their data.
  static let largestRecord = 32 << 20

  func writeToSets(_ documents: [String: [UInt8]], tags: [String]) async throws {
    let scratch = try Scratch(base)
    defer { scratch.remove() }
    for (name, bytes) in documents { try Tree.writeDurably(bytes, to: scratch.path.appending(name)) }
    _ = try await sets.backup(
      ["--"] + documents.keys.sorted(), tags: tags, directory: scratch.path.string, part: "record")
  }

  func record(of set: SetID, _ snapshot: Snapshot) async throws -> Record {
    try Record(decoding: try await sets.read("/set.json", of: snapshot.id, limit: Self.largestRecord), set: set.text)
  }
}

/// restic's patterns are Go's filepath.Match: a name with `*` or `[` must be escaped to mean itself.
enum ResticPattern {
  static func escaped(_ path: String) -> String {
    path.prefixing("*?[]\\", with: "\\")
  }
}
