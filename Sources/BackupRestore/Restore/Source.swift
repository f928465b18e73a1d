import FoundationEssentials

/// What a restore reads: a set by its record, or old-style snapshots, described as a record would.
struct Source: Sendable {
  /// `set 20261123T231000Z`, or the snapshots.
  let title: String
  /// As the command line names it.
  let named: Journal.Restored
  var record: Record
  /// `roles.sql`, or what an old-style dump of roles becomes.
  var roles = ""
  var filesIn = RepositoryName.files
  var databaseIn = RepositoryName.database
  var isOldStyle = false
  /// A plain dump that keeps psql from obeying what stands in it.
  var isRestricted = false
  /// What of it is restored; nil: all.
  var only: Only?
}

extension Restore {
  /// The set or snapshots the operator chose. Where there is no set at all, the newest old-style snapshots.
  func source(_ catalog: Catalog, _ old: OldStyle) async throws -> Source {
    let names = options.chosen
    if options.drill, names.isEmpty, options.at == nil, let entry = catalog.lastSound(context.host) {
      for newer in catalog.of(context.host) where newer.id > entry.id && (newer.doubted || !newer.gone.isEmpty) {
        log.warning("set \(newer.id) is newer and \(newer.mark): \(entry.id) is proven instead")
      }
      return try await source(of: entry)
    }
    if names.count > 1 || (names.count == 1 && old.contains(names[0]) && !catalog.contains(names[0])) {
      let choice = try old.named(names)
      var source = try await source(of: choice)
      source.only = options.only ?? (choice.files == nil ? .database : choice.database == nil ? .files : nil)
      return source
    }
    if let time = options.at, let entry = catalog.beingRead(at: time, host: context.host, only: options.only) {
      log.warning(
        "set \(entry.id) is passed over: it began before \(Format.time(time)), but had not been read before \(Format.time(entry.read(options.only)))\n  hint: what changed in between may be in it; restore \(entry.id) takes it all the same"
      )
    }
    if names.isEmpty, !catalog.entries.contains(where: { $0.read(options.only) <= options.at ?? .distantFuture }) {
      let choice = try old.newest(at: options.at, options.only)
      if !choice.isEmpty { return try await source(of: choice) }
    }
    let entry = try catalog.choose(options.choice, host: context.host, only: options.only)
    if names.isEmpty, let ahead = catalog.ahead(context.host) {
      log.warning(
        "set \(ahead.id) is dated in the future and is passed over\n  hint: the next backup says how to be rid of it; name it where it is wanted"
      )
    }
    return try await source(of: entry)
  }

  private func source(of entry: Catalog.Entry) async throws -> Source {
    guard let snapshot = entry.record else {
      log.warning(
        "the record of set \(entry.id) is lost: without evidence only the archive's and the tree's completeness can be verified")
      let databases = entry.databases.map { snapshot in
        let archive = snapshot.paths?.first ?? "/"
        return part(snapshot, name: Dump.databaseName(archive: archive) ?? "", archive: archive)
      }
      let files = entry.files.map {
        FilesPart(snapshot: $0.id, directory: $0.paths?.first, paths: [], root: nil, evidence: nil)
      }
      return Source(
        title: "set \(entry.id)", named: .set(entry.id),
        record: record(entry.id, entry.host, files: files, databases: databases), only: options.only)
    }
    // Both at once: each costs restic its key anew.
    async let roles = roles(of: entry, snapshot)
    let record = try await context.sets.record(of: entry.id, snapshot).located(at: entry)
    return Source(
      title: "set \(entry.id)", named: .set(entry.id), record: record, roles: try await roles, only: options.only)
  }

  private func roles(of entry: Catalog.Entry, _ record: Snapshot) async throws -> String {
    if entry.databases.isEmpty || options.only == .files { return "" }
    return String(
      decoding: try await context.sets.read("/roles.sql", of: record.id, limit: Repository.largestRecord), as: UTF8.self)
  }

  /// Of a set of several volumes, what belongs onto the one that FILES_PATHS names.
  func mounted(_ source: Source) async throws -> Source {
    guard let settings = configuration.files, let path = settings.mounted, let files = source.record.files,
      files.directory != settings.directory
    else { return source }
    struct Seen: Sendable {
      var evidence = FilesEvidence()
      var root: Node?
    }
    let seen = Locked(Seen())
    try await context.repository(source.filesIn).list(files.snapshot) { node in
      if node.path == "/" + path { seen.change { $0.root = node } }
      if node.path?.hasPrefix("/\(path)/") == true { seen.change { $0.evidence.count(node) } }
    }
    guard let root = seen.value.root, root.type == "dir" else {
      throw Failure(
        .refused, "\(source.title) does not hold \(printable(path))", hint: "correct FILES_PATHS, or choose another set")
    }
    var source = source
    source.record.take(
      path, of: files, FileAttributes(user: root.uid ?? 0, group: root.gid ?? 0, mode: root.permissions), seen.value.evidence)
    return source
  }

  // MARK: Old style

  private func source(of choice: OldStyle.Choice) async throws -> Source {
    if options.drill {
      throw Failure(
        .refused, "a drill proves a set, and there is none", hint: "run backup first; restore --list shows what is there")
    }
    let title = "old-style snapshots \(choice.items.map(\.shown).joined(separator: ", "))"
    let newest = choice.items.map { $0.snapshot.date ?? .distantPast }.max() ?? .distantPast
    var files: FilesPart?
    if let item = choice.files { files = try await oldFiles(item) }
    var databases: [DatabasePart] = []
    var beginning: [UInt8] = []
    if let item = choice.database {
      beginning = try await checkComplete(item)
      databases = [part(item.snapshot, name: configuration.database?.names.first ?? "", archive: DatabasePart.plainPath)]
    }
    var source = Source(
      title: title, named: .snapshots(choice.arguments),
      record: record(SetID(newest), choice.items.first?.snapshot.hostname ?? "", files: files, databases: databases))
    source.isOldStyle = true
    source.isRestricted = PlainDump.isRestricted(beginning: beginning)
    source.only = options.only
    source.filesIn = choice.files?.repository ?? .files
    source.databaseIn = choice.database?.repository ?? .database
    if let item = choice.roles { source.roles = try await oldRoles(item) }
    return source
  }

  /// The predecessor saved truncated dumps as good ones, and psql loads them without an error (measured): a whole one ends with
  /// pg_dump's own line.
  ///
  /// - Returns: its beginning.
  private func checkComplete(_ item: OldStyle.Item) async throws -> [UInt8] {
    log.info("reading the dump in snapshot \(item.snapshot.short) to its end: is it complete?")
    let repository = context.repository(item.repository)
    var end: [UInt8] = []
    do { end = try await repository.tail(DatabasePart.plainPath, of: item.snapshot.id, bytes: 512) } catch let failure as Failure
    {
      // Of an empty dump restic saves a snapshot without the file (measured, 0.19.1).
      if failure.cause != .notInSnapshot { throw failure }
    }
    if end.isEmpty {
      throw Failure(
        .refused, "the dump in snapshot \(item.snapshot.short) is empty", hint: "name an older one; restore --list shows all")
    }
    let beginning = try await repository.head(DatabasePart.plainPath, of: item.snapshot.id, bytes: 1 << 16)
    if PlainDump.leavesItsDatabase(beginning: beginning) {
      throw Failure(
        .refused, "the dump in snapshot \(item.snapshot.short) was made with --create: it would change the live database itself",
        hint: "load it by hand into another server, or name another snapshot")
    }
    if !PlainDump.isComplete(end: end) {
      throw Failure(
        .refused, "the dump in snapshot \(item.snapshot.short) is truncated: pg_dump's last line is missing",
        hint: "name an older one; restore --list shows all")
    }
    return beginning
  }

  private func oldRoles(_ item: OldStyle.Item) async throws -> String {
    let dump: [UInt8]
    do {
      dump = try await context.repository(item.repository).read(
        DatabasePart.plainPath, of: item.snapshot.id, limit: Repository.largestRecord)
    } catch let failure as Failure where failure.cause == .notInSnapshot {
      log.warning("roles \(item.snapshot.short): the dump is empty, no role is created")
      return ""
    }
    let (sql, leftOut) = OldRoles.script(String(decoding: dump, as: UTF8.self))
    // Not shown: part of a password's hash may be in one.
    if !leftOut.isEmpty {
      log.warning(
        "roles \(item.snapshot.short): left out, because they are no statement about a role: \(Format.count(leftOut.count, "line", "lines"))"
      )
    }
    return sql
  }

  /// restic records the same paths for `backup .` and for an absolute path; only the tree tells them apart (measured).
  private func oldFiles(_ item: OldStyle.Item) async throws -> FilesPart {
    let shape = OldTree(
      recorded: item.snapshot.paths ?? [], directory: configuration.files?.directory, named: configuration.files?.named)
    let seen = Locked(shape.nothingSeen)
    try await context.repository(item.repository).list(item.snapshot.id) { node in seen.change { shape.take(node, &$0) } }
    return shape.part(of: item.snapshot.id, seen.value)
  }

  private func part(_ snapshot: Snapshot, name: String, archive: String) -> DatabasePart {
    DatabasePart(
      snapshot: snapshot.id, name: name, archive: archive, bytes: snapshot.summary?.total_bytes_processed ?? 0, pgDump: nil,
      properties: nil, roles: [], evidence: nil)
  }

  private func record(_ id: SetID, _ host: String, files: FilesPart?, databases: [DatabasePart]) -> Record {
    Record(
      id: id, host: host, toolkit: Program.version, restic: context.restic, finished: "", doubts: [], files: files,
      databases: databases)
  }
}
