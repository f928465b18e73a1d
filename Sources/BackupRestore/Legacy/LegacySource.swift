import FoundationEssentials

/// Describes old-style snapshots as a set's record would.
struct LegacySource: Sendable {
  let invocation: Invocation
  let catalog: Catalog

  private var configuration: Configuration { invocation.configuration }
  private func repository(_ name: RepositoryName) -> Repository { invocation.repositories.repository(name) }

  func source(of choice: LegacySnapshots.Choice, only: Only?) async throws -> RestoreSource {
    let newest = choice.items.map { $0.snapshot.date ?? .distantPast }.max() ?? .distantPast
    var files: FilesPart?
    if let item = choice.files { files = try await self.files(item) }
    var databases: [DatabasePart] = []
    var beginning: [UInt8] = []
    if let item = choice.database {
      beginning = try await checkComplete(item)
      databases = [
        DatabasePart(item.snapshot, name: configuration.database?.names.first ?? "", archive: DatabasePart.plainPath)
      ]
    }
    var source = RestoreSource(
      name: .snapshots(choice.arguments), title: "old-style snapshots \(choice.items.map(\.shown).joined(separator: ", "))",
      record: Record(
        SetID(newest), host: choice.items.first?.snapshot.hostname ?? "", restic: invocation.restic, files: files,
        databases: databases), catalog: catalog, only: only)
    source.makesAllRoles = true
    source.isRestricted = PlainDump.isRestricted(beginning: beginning)
    source.filesIn = choice.files?.repository ?? .files
    source.databaseIn = choice.database?.repository ?? .database
    if let item = choice.roles { source.roles = try await roles(item) }
    return source
  }

  /// The predecessor saved truncated dumps as good ones, and psql loads them without an error (measured): a whole one ends with
  /// pg_dump's own line.
  ///
  /// - Returns: its beginning.
  private func checkComplete(_ item: LegacySnapshots.Item) async throws -> [UInt8] {
    log.info("reading the dump in snapshot \(item.snapshot.short) to its end: is it complete?")
    let repository = self.repository(item.repository)
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

  private func roles(_ item: LegacySnapshots.Item) async throws -> String {
    let dump: [UInt8]
    do {
      dump = try await repository(item.repository).read(
        DatabasePart.plainPath, of: item.snapshot.id, limit: Repository.largestRecord)
    } catch let failure as Failure where failure.cause == .notInSnapshot {
      log.warning("roles \(item.snapshot.short): the dump is empty, no role is created")
      return ""
    }
    let (sql, leftOut) = LegacyRoles.script(String(decoding: dump, as: UTF8.self))
    // Not shown: part of a password's hash may be in one.
    if !leftOut.isEmpty {
      log.warning(
        "roles \(item.snapshot.short): left out, because they are no statement about a role: \(Format.count(leftOut.count, "line", "lines"))"
      )
    }
    return sql
  }

  /// restic records the same paths for `backup .` and for an absolute path; only the tree tells them apart (measured).
  private func files(_ item: LegacySnapshots.Item) async throws -> FilesPart {
    let shape = LegacyTree(
      recorded: item.snapshot.paths ?? [], directory: configuration.files?.directory, named: configuration.files?.named)
    let seen = Locked(shape.nothingSeen)
    try await repository(item.repository).list(item.snapshot.id) { node in seen.change { shape.take(node, &$0) } }
    return shape.part(of: item.snapshot.id, seen.value)
  }
}
