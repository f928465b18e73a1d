import FoundationEssentials
import SystemPackage

/// A database that is restored and verified.
struct StagedDatabase: Sendable {
  let evidence: DatabaseEvidence
  /// What makes it the application's, under its live name.
  let opening: [String]
  let differences: [String]
  /// Queries of DRILL_SQL that are true.
  let assertions: [String]
  /// Statements for what is left out.
  let deferred: [String]
  /// Settings that PostgreSQL refused.
  let leftOut: [String]
}

/// A database beside the live one.
extension Staging {
  func database(_ target: RestorePlan.Target, on server: Server) async throws -> StagingDatabase {
    let (properties, user) = (try await properties(of: target, on: server), try await server.user())
    return StagingDatabase(
      server: server, name: target.staging(id), live: target.live, properties: properties,
      extensions: target.part.evidence?.extensions ?? [],
      owner: found.missingRoles.contains(properties.owner) ? user : properties.owner, user: user, missing: found.missingRoles)
  }

  func stage(_ target: RestorePlan.Target, on server: Server) async throws -> StagedDatabase {
    let staging = try await database(target, on: server)
    do { try await staging.create() } catch let error as DatabaseError {
      throw Failure(
        .refused, "the staging database could not be created: \(error.message)",
        hint: "nothing live was changed; the server lacks what PostgreSQL names: locale, encoding or rights")
    }
    do {
      let (loaded, asserted) = try await load(target, into: staging)
      let (reading, analysing) = (try await server.open(staging.name), try await server.open(staging.name))
      // Statistics are not in the archive; without them the first queries of the application would be slow. ANALYZE calls what indexes call.
      let path = try await SearchPaths.read(staging.properties, owner: staging.owner, server.session)[0]
      try await analysing.execute("SET search_path = \(path)")
      async let analysed = settled { try await analyse(analysing) }
      let copy = try await EvidenceReader(connection: reading, isOurs: true).read()
      if case .failure(let error) = await analysed {
        try Task.checkCancellation()
        log.warning(
          "database \(target.live): ANALYZE failed: \(error)\n  hint: run it by hand, or the first queries of what it names are slow"
        )
      }
      let prepared = try await staging.prepare(opening: plan.acceptsDifferences)
      if let shut = prepared.shut {
        throw Failure(
          .verificationFailed, "database \(printable(target.live)) is restored and lets nobody in: \(shut)",
          hint:
            "nothing live was changed; install what is missing on the server, or restore --accept-differences, which leaves it out"
        )
      }
      let (roles, tablespaces) = (found.missingRoles.isEmpty, keepsTablespaces[target.live] ?? true)
      return StagedDatabase(
        evidence: copy, opening: staging.opening(as: target.live),
        differences: asserted.failed + loaded.differences
          + (target.part.evidence?.differences(in: copy, owners: roles, tablespaces: tablespaces) ?? []),
        assertions: asserted.held,
        deferred: loaded.later,
        leftOut: prepared.leftOut)
    } catch let error as DatabaseError {
      throw Failure(
        .verificationFailed, "staging database \(staging.name): \(error.message)",
        hint: "nothing live was changed; mend what PostgreSQL names and run it again")
    }
  }

  /// One that cannot be sampled, for a partition that is another server's, keeps the rest from nothing.
  private func analyse(_ connection: Connection) async throws {
    do { try await connection.execute("ANALYZE") } catch let error as DatabaseError {
      for table in try await EvidenceReader(connection: connection).tables() {
        _ = try? await connection.query("ANALYZE \(table.name)")
      }
      throw error
    }
  }

  /// As saved; where the record is lost, those of the live database, else of the maintenance database.
  private func properties(of target: RestorePlan.Target, on server: Server) async throws -> DatabaseProperties {
    if let saved = target.part.properties {
      return try await server.hasTablespace(saved.tablespace) ? saved : saved.with(tablespace: "pg_default")
    }
    if found.live.contains(target.live) { return try await DatabaseProperties(try await server.open(target.live)) }
    return try await DatabaseProperties(server.session).plain(owner: try await server.user())
  }

  /// - Returns: what the operator accepts.
  private func load(_ target: RestorePlan.Target, into staging: StagingDatabase) async throws -> (LeftOut.Result, Asserted) {
    var (leftOut, asserted, isAsked) = (LeftOut.Result(), Asserted(), false)
    if target.part.isPlain {
      leftOut.differences = try await loadPlain(target, into: staging)
    } else {
      let loader = try await loader(target, staging)
      isAsked = loader != nil
      leftOut = try await loadArchive(target, into: staging, as: loader)
      // Before it is gone: what a query calls of the application's is not to run as a superuser.
      if let loader { asserted = try await assertions(of: target, in: staging, as: loader) }
      try await loader?.remove()
    }
    try await staging.loaded()
    if !isAsked { asserted = try await assertions(of: target, in: staging, as: nil) }
    return (leftOut, asserted)
  }

  /// Who loads it in place of a superuser. What the record does not say of this very dump says nothing of it.
  private func loader(_ target: RestorePlan.Target, _ staging: StagingDatabase) async throws -> Loader? {
    guard !plan.asSuperuser, try await staging.isSuperuser() else { return nil }
    let extensions = target.part.evidence?.extensions ?? []
    if target.part.properties != nil,
      let loader = try await Loader.make(staging, extensions: extensions, waits: configuration.waits)
    {
      return loader
    }
    let user = staging.server.settings.user
    if target.part.roles.contains(where: { $0.owns && $0.name != user }) {
      log.warning(
        "database \(target.live) is loaded as \(user), a superuser: no role owns all that is in it, or may make it\n  hint: its own functions run as that meanwhile; a role that owns the database, with CREATEDB, can restore it alone"
      )
    }
    return nil
  }

  private var archives: Repository { invocation.repositories.repository(plan.source.databaseIn) }

  /// In parallel from a spooled archive where TMPDIR has the room, else streamed.
  private func loadArchive(
    _ target: RestorePlan.Target, into staging: StagingDatabase, as loader: Loader?
  ) async throws -> LeftOut.Result {
    let (server, scratch) = (staging.server, try session.scratch())
    let client = try found.clients.restore(archive: target.part.pgDump ?? found.clients.newestMajor, server: server.major)
    let restore = ArchiveRestore(
      settings: loader?.settings ?? server.settings, program: client.program, clientMajor: client.major,
      serverMajor: server.major, base: invocation.environment, role: loader?.owner.role,
      keepTablespaces: keepsTablespaces[target.live] ?? true)
    let paths = try await SearchPaths.read(staging.properties, owner: staging.owner, server.session)
    let spool = try await spooled(target, in: scratch)
    // restic writes into pg_restore: the data goes from child to child.
    let source =
      spool.map(ArchiveSource.file) ?? .repository(archives, path: target.part.archive, snapshot: target.part.snapshot)
    // restic itself waits for a lock before it begins.
    let patience = configuration.waits.stall + (spool == nil ? configuration.waits.lock : .zero)
    let leftOut = try await watching(target, staging, limit: patience) { backends in
      let load = ArchiveLoad(
        restore: restore, source: source, staging: staging.name, scratch: scratch.path, backends: backends, searchPaths: paths)
      let hasEventTriggers = target.part.evidence?.schema?.objects["event trigger"]?.isEmpty == false
      let isWhole = hasEventTriggers ? false : try await staging.mayGivePublic()
      let wanted = isWhole ? nil : try await staging.wanted(try await load.contents())
      var leftOut = LeftOut.Result()
      for entries in wanted.map({ ArchiveLoad.inOrder($0).map(Optional.some) }) ?? [nil] {
        let refused = try await load.run(jobs: Self.jobs, entries).filter { !$0.isOnly(of: found.missingRoles) }
        leftOut += try await settle(refused, of: load, target, as: loader)
      }
      return leftOut
    }
    if let spool { try Tree.remove(spool) }
    return leftOut
  }

  /// Nil where there is no room for every database of the set at once, and some for restic's own scratch files.
  private func spooled(_ target: RestorePlan.Target, in scratch: Scratch) async throws -> FilePath? {
    let free = min(try Tree.free(scratch.path.string).bytes, configuration.scratchBytes ?? .max)
    let need = plan.databases.reduce(0) { $0 + $1.part.bytes } + 256 << 20
    if free <= need {
      log.info("TMPDIR has \(Format.bytes(free)) free, a parallel restore needs \(Format.bytes(need)): streaming instead")
      return nil
    }
    let spool = scratch.path.appending(percentEncoded(target.staging(id).utf8))
    let file = try FileDescriptor.open(
      spool, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec], permissions: .ownerReadWrite)
    try await spooling(to: spool) {
      try await archives.dump(target.part.archive, of: target.part.snapshot, into: file, watch: $0)
    }
    return spool
  }

  /// The predecessor's SQL, by psql.
  ///
  /// - Returns: the errors that the operator accepts.
  private func loadPlain(_ target: RestorePlan.Target, into staging: StagingDatabase) async throws -> [String] {
    let server = staging.server
    let dump = PlainDump(
      settings: server.settings,
      program: try await found.clients.psql(server: server.major) { await Clients.version(of: $0, invocation.environment) },
      serverMajor: server.major, base: invocation.environment, acceptsErrors: plan.acceptsDifferences,
      isRestricted: plan.source.isRestricted)
    // restic itself waits for a lock before it begins.
    let patience = configuration.waits.stall + configuration.waits.lock
    return try await watching(target, staging, limit: patience) { backends in
      try await archives.piped(target.part.archive, of: target.part.snapshot) {
        try await dump.run(staging: staging.name, input: $0, backends: backends)
      }
    }
  }

  /// A refusal ends the restore with all of them named, unless the operator takes what there is.
  private func settle(
    _ refused: [Refusal], of load: ArchiveLoad, _ target: RestorePlan.Target, as loader: Loader?
  ) async throws -> LeftOut.Result {
    if refused.isEmpty { return LeftOut.Result() }
    if !plan.acceptsDifferences {
      let hint = refused.hint(role: loader?.owner.role)
      throw Failure(.verificationFailed, refused.map { Problem("database \(target.live): \($0.text)", hint: hint) })
    }
    let session = try await Connection(load.restore.settings, database: target.staging(id), waits: configuration.waits)
    if let role = loader?.owner.role { _ = try await session.query("SET ROLE \(SQL.identifier(role))") }
    return try await LeftOut(load: load, session: session, contents: try await load.contents()).settle(refused)
  }

  /// A repository that stands still in the middle is given up by STALL_TIMEOUT: the file that grows tells.
  private func spooling(to file: FilePath, _ body: (StallDetector) async throws -> Void) async throws {
    let watch = StallDetector(limit: configuration.waits.stall + configuration.waits.lock, patience: configuration.waits.connect)
    let looking = Task {
      var last = 0
      while !Task.isCancelled {
        if let size = try? file.status().size, size > last {
          last = size
          watch.touch()
        }
        try? await Task.sleep(for: .milliseconds(500))
      }
    }
    defer { looking.cancel() }
    try await body(watch)
  }

  static var jobs: Int { max(2, ProcessInfo.processInfo.activeProcessorCount) }

  /// pg_restore and psql report no progress; the size of the database tells, and its sessions whether they work at all.
  private func watching<T: Sendable>(
    _ target: RestorePlan.Target, _ staging: StagingDatabase, limit: Duration,
    _ body: @Sendable (BackendWatch) async throws -> T
  ) async throws -> T {
    let backends = BackendWatch(.database(staging.name), staging.server.settings, configuration.waits, limit: limit)
    let looking = Task {
      let meter = ProgressMeter("database \(target.live)")
      await backends.look(every: .seconds(1)) { meter.update(done: $0, total: target.part.properties?.size) }
    }
    defer {
      looking.cancel()
      Screen.shared.finish("database \(target.live)")
    }
    return try await body(backends)
  }
}
