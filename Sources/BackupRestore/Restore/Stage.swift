import FoundationEssentials
import Glibc
import SystemPackage

/// Builds the replacement beside what is live, and holds it against the evidence.
extension Restore {
  struct Staged: Sendable {
    var files: FilesEvidence?
    var databases: [(target: Target, evidence: DatabaseEvidence)] = []
    var differences: [String] = []
  }

  /// Files and databases side by side; the first failure stops the others. Files in place wait until every database is
  /// verified.
  func stage(_ ready: Ready, safety: SetID?) async throws -> Staged {
    enum Part: Sendable {
      case files(FilesEvidence, [String])
      case database(Target, DatabaseEvidence, [String])
    }
    if let server = ready.server, !options.drill, ready.missingRoles.isEmpty, !ready.plan.source.roles.isEmpty {
      try await server.session.execute(ready.plan.source.roles)
    }
    let staged = try await withThrowingTaskGroup(of: Part.self) { group in
      if let files = ready.plan.files, !options.inPlace {
        group.addTask {
          let (evidence, differences) = try await stage(files, ready)
          return .files(evidence, differences)
        }
      }
      for target in ready.plan.databases {
        group.addTask {
          let (evidence, differences) = try await stage(target, ready)
          return .database(target, evidence, differences)
        }
      }
      var staged = Staged()
      for try await part in group {
        switch part {
        case .files(let evidence, let differences):
          staged.files = evidence
          staged.differences += differences.map { "files: " + $0 }
        case .database(let target, let evidence, let differences):
          staged.databases.append((target, evidence))
          staged.differences += differences.map { "database \(target.live): " + $0 }
        }
      }
      return staged
    }
    guard let files = ready.plan.files, options.inPlace else { return staged }
    try decide(staged.differences)
    return try await overwrite(files, ready, staged, safety: safety)
  }

  /// A difference ends the restore with the things named; the operator may accept it.
  func verify(_ staged: Staged, _ ready: Ready) async throws { try decide(staged.differences) }

  private func decide(_ differences: [String]) throws {
    if differences.isEmpty { return }
    if options.acceptDifferences {
      for difference in differences { log.warning("accepted: \(difference)") }
      return
    }
    let more = differences.count > 20 ? [Problem("and \(differences.count - 20) more differences", hint: "see above")] : []
    throw Failure(
      .verificationFailed,
      differences.prefix(20).map {
        Problem("\($0)", hint: "nothing live was changed; choose another set, or look closely and use --accept-differences")
      } + more)
  }

  // MARK: Database

  private func stage(_ target: Target, _ ready: Ready) async throws -> (DatabaseEvidence, [String]) {
    let server = ready.server!
    let settings = server.settings
    let properties = try await properties(of: target, ready)
    let owner = ready.missingRoles.contains(properties.owner) ? settings.user : properties.owner
    do {
      try await server.session.execute(properties.create(target.staging, owner: owner, serverMajor: server.major))
    } catch let error as DatabaseError {
      throw Failure(
        .refused, "the staging database could not be created: \(error.message)",
        hint: "nothing live was changed; the server lacks what PostgreSQL names: locale, encoding or rights")
    }
    let accepted = try await load(target, ready)
    let connection = try await server.open(target.staging)
    let copy: DatabaseEvidence
    do {
      copy = try await EvidenceReader(connection: connection).read()
      // Statistics are not in the archive; without them the first queries of the application would be slow.
      try await connection.execute("ANALYZE")
      for statement in properties.replay(on: target.staging, owner: owner, missing: ready.missingRoles) {
        try await server.session.execute(statement)
      }
    } catch let error as DatabaseError {
      throw Failure(
        .verificationFailed, "staging database \(target.staging): \(error.message)",
        hint: "nothing live was changed; mend what PostgreSQL names and run it again")
    }
    return (copy, accepted + (target.part.evidence?.differences(in: copy) ?? []))
  }

  /// As saved; where the record is lost, those of the live database, else of the maintenance database.
  private func properties(of target: Target, _ ready: Ready) async throws -> DatabaseProperties {
    if let saved = target.part.properties { return saved }
    let server = ready.server!
    if ready.live.contains(target.live) { return try await DatabaseProperties(try await server.open(target.live)) }
    return try await DatabaseProperties(server.session).plain(owner: server.settings.user)
  }

  /// Returns the errors that the operator accepts.
  private func load(_ target: Target, _ ready: Ready) async throws -> [String] {
    let part = "database \(target.live)"
    let growing = Task { await watchGrowth(target, ready.server!, part) }
    defer {
      growing.cancel()
      Screen.shared.finish(part)
    }
    if !target.part.isPlain {
      try await loadArchive(target, ready)
      return []
    }
    let server = ready.server!
    let dump = PlainDump(
      settings: server.settings, program: try ready.clients.psql(server: server.major), serverMajor: server.major,
      base: context.base, acceptsErrors: options.acceptDifferences)
    let repository = context.repository(ready.plan.source.databaseIn)
    return try await repository.piped(target.part.archive, of: target.part.snapshot) {
      try await dump.run(staging: target.staging, input: $0)
    }
  }

  /// In parallel from a spooled archive where TMPDIR has the room, else streamed.
  private func loadArchive(_ target: Target, _ ready: Ready) async throws {
    let server = ready.server!
    let repository = context.repository(ready.plan.source.databaseIn)
    let client = try ready.clients.restore(archive: target.part.pgDump ?? ready.clients.newestMajor, server: server.major)
    let restore = ArchiveRestore(
      settings: server.settings, program: client.program, clientMajor: client.major, serverMajor: server.major,
      base: context.base,
      keepOwners: ready.missingRoles.isEmpty)
    let spool = ready.scratch.path.appending(percentEncoded(target.staging.utf8))
    let free = min(try Tree.free(ready.scratch.path.string).bytes, context.configuration.scratchBytes ?? .max)
    // Room for every database of the set at once, and some for restic's own scratch files.
    let need = ready.plan.databases.reduce(0) { $0 + $1.part.bytes } + 256 << 20
    if free > need {
      let file = try FileDescriptor.open(
        spool, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec], permissions: .ownerReadWrite)
      try await repository.dump(target.part.archive, of: target.part.snapshot, into: file)
      try await restore.run(restore.command(staging: target.staging, archive: spool.string, jobs: Self.jobs), input: .none)
      try Tree.remove(spool)
    } else {
      log.info("TMPDIR has \(Format.bytes(free)) free, a parallel restore needs \(Format.bytes(need)): streaming instead")
      // restic writes into pg_restore: the data goes from child to child.
      try await repository.piped(target.part.archive, of: target.part.snapshot) {
        try await restore.run(restore.command(staging: target.staging, archive: nil, jobs: 1), input: $0)
      }
    }
  }

  static var jobs: Int { max(2, ProcessInfo.processInfo.activeProcessorCount) }

  /// pg_restore reports no progress; the size of the database tells.
  private func watchGrowth(_ target: Target, _ server: Server, _ part: String) async {
    guard let connection = try? await server.open(server.settings.maintenance) else { return }
    let meter = Meter(part)
    while !Task.isCancelled {
      if let size = try? await connection.number("SELECT pg_catalog.pg_database_size($1::name)", [target.staging]) {
        if Task.isCancelled { return }
        meter.update(done: size, total: target.part.properties?.size)
      }
      try? await Task.sleep(for: .seconds(1))
    }
  }

  // MARK: Files

  private func stage(_ files: FilesPart, _ ready: Ready) async throws -> (FilesEvidence, [String]) {
    let exchange = ready.commit.exchange(ready.plan.id)!
    try Tree.makeDirectory(exchange.work)
    try Tree.makeDirectory(exchange.tree)
    if files.evidence?.entries == 0 { return (FilesEvidence(), []) }
    try await context.repository(ready.plan.source.filesIn).restore(
      files.snapshot, to: exchange.tree.string, include: ready.plan.paths, total: files.evidence?.bytes, part: "files")
    try await blocking { try giveOwner(below: exchange.tree) }
    let result = try await FilesVerification(
      directory: exchange.tree, paths: ready.plan.paths, owner: configuration.files?.owner, evidence: files.evidence
    ).run(context.repository(ready.plan.source.filesIn), snapshot: files.snapshot)
    try await blocking { try Tree.syncFileSystem(exchange.tree) }
    return result
  }

  private func giveOwner(below directory: FilePath) throws {
    guard let owner = configuration.files?.owner else { return }
    try Tree.walk(directory, skipping: Tree.reserved) { try give($0, $1, to: owner) }
  }

  private func give(_ path: FilePath, _ status: FileStatus, to owner: FilesSettings.Owner) throws {
    let attributes = FileAttributes(user: owner.user, group: owner.group, mode: status.mode)
    if status.type == "symlink" { try path.own(attributes) } else { try path.set(attributes) }
  }

  // MARK: In place

  /// For volumes too full for two copies: what is live is saved as a set first.
  func saveLive(_ ready: Ready) async throws -> SetID? {
    if let journal = try ready.commit.replacing() {
      log.warning("an earlier --in-place was interrupted: what is live is incomplete and is not saved")
      return journal.safety
    }
    log.warning("--in-place: the files are replaced where they are; saving what is live first")
    let backup = Backup(context)
    let server = ready.server
    let saved = try await backup.saveSet(
      Backup.Ready(
        catalog: ready.catalog, sets: ready.sets, clients: ready.clients, server: server, lock: ready.lock,
        names: server == nil ? [] : ready.plan.databases.map(\.live).filter { ready.live.contains($0) }), before: "in-place")
    output(saved.text)
    return saved.record.id
  }

  /// The live files go first: restic's own `--delete` comes after the content, when a full volume has failed already.
  private func overwrite(_ files: FilesPart, _ ready: Ready, _ staged: Staged, safety: SetID?) async throws -> Staged {
    let directory = FilePath(configuration.files!.directory)
    let paths = ready.plan.paths
    let marker = ready.commit.exchange(ready.plan.id)!
    try Tree.makeDirectory(marker.work)
    let journal = Journal(
      id: ready.plan.id, source: ready.plan.source.arguments, rollbackOf: nil, phase: .replacing, renames: [], paths: paths,
      entries: [],
      root: nil, rootBefore: nil, safety: safety)
    try journal.write(in: marker.work)
    do { return try await replace(files, directory, ready, staged) } catch {
      let failure = ready.commit.incomplete(journal)
      log.error("\(failure)")
      throw error
    }
  }

  private func replace(_ files: FilesPart, _ directory: FilePath, _ ready: Ready, _ staged: Staged) async throws -> Staged {
    let paths = ready.plan.paths
    try await blocking {
      let all = paths.isEmpty ? try Tree.entries(directory).filter { !Tree.reserved.contains($0.string) } : []
      for path in all.map({ directory.appending($0) }) + paths.map({ directory.appending(FilePath($0).components) }) {
        try Tree.remove(path)
      }
    }
    if files.evidence?.entries == 0 { return staged }
    try await context.repository(ready.plan.source.filesIn).restore(
      files.snapshot, to: directory.string, include: paths, total: files.evidence?.bytes, part: "files")
    try await blocking {
      if paths.isEmpty { return try giveOwner(below: directory) }
      for path in paths.map({ directory.appending(FilePath($0).components) }) {
        guard let owner = configuration.files?.owner, let status = try FileStatus.existing(path) else { continue }
        try give(path, status, to: owner)
        if status.isDirectory { try giveOwner(below: path) }
      }
    }
    let (evidence, differences) = try await FilesVerification(
      directory: directory, paths: paths, owner: configuration.files?.owner, evidence: files.evidence
    ).run(context.repository(ready.plan.source.filesIn), snapshot: files.snapshot)
    try await blocking { try Tree.syncFileSystem(directory) }
    var staged = staged
    staged.files = evidence
    staged.differences += differences.map { "files: " + $0 }
    return staged
  }
}

extension DatabaseProperties {
  /// The same encoding and locale, nothing else.
  func plain(owner: String) -> DatabaseProperties {
    DatabaseProperties(
      serverVersion: serverVersion, owner: owner, encoding: encoding, provider: provider, collate: collate, ctype: ctype,
      locale: locale, icuRules: icuRules, tablespace: "pg_default", connectionLimit: -1, isTemplate: false, comment: nil,
      grants: nil,
      settings: [], size: 0)
  }
}
