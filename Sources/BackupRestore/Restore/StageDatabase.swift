import FoundationEssentials
import SystemPackage

/// A database beside the live one.
extension Restore {
  struct StagedDatabase: Sendable {
    let evidence: DatabaseEvidence
    /// What makes it the application's, under its live name.
    let opening: [String]
    let differences: [String]
    /// Statements for what is left out.
    let later: [String]
    /// Settings that PostgreSQL refused.
    let leftOut: [String]
  }

  func staging(_ target: Target, _ ready: Ready) async throws -> Staging {
    let (server, properties) = (ready.server!, try await properties(of: target, ready))
    return Staging(
      server: server, name: target.staging, live: target.live, properties: properties,
      owner: ready.missingRoles.contains(properties.owner) ? server.settings.user : properties.owner, missing: ready.missingRoles)
  }

  func stage(_ target: Target, _ ready: Ready) async throws -> StagedDatabase {
    let server = ready.server!
    let staging = try await staging(target, ready)
    do { try await staging.create() } catch let error as DatabaseError {
      throw Failure(
        .refused, "the staging database could not be created: \(error.message)",
        hint: "nothing live was changed; the server lacks what PostgreSQL names: locale, encoding or rights")
    }
    do {
      let loaded = try await load(target, staging, ready)
      let (reading, analysing) = (try await server.open(target.staging), try await server.open(target.staging))
      // Statistics are not in the archive; without them the first queries of the application would be slow. ANALYZE calls what indexes call.
      let path = try await SearchPaths.read(staging.properties, owner: staging.owner, server.session)[0]
      try await analysing.execute("SET search_path = \(path)")
      async let analysed = settled { try await analysing.execute("ANALYZE") }
      let copy = try await EvidenceReader(connection: reading, isOurs: true).read()
      if case .failure(let error) = await analysed {
        try Task.checkCancellation()
        log.warning("database \(target.live): ANALYZE failed: \(error)\n  hint: run it by hand, or the first queries are slow")
      }
      let prepared = try await staging.prepare(opening: options.acceptDifferences)
      if let shut = prepared.shut {
        throw Failure(
          .verificationFailed, "database \(printable(target.live)) is restored and lets nobody in: \(shut)",
          hint:
            "nothing live was changed; install what is missing on the server, or restore --accept-differences, which leaves it out"
        )
      }
      let (roles, tablespaces) = (ready.missingRoles.isEmpty, ready.keepsTablespaces[target.live] ?? true)
      return StagedDatabase(
        evidence: copy, opening: staging.opening(as: target.live),
        differences: loaded.differences
          + (target.part.evidence?.differences(in: copy, owners: roles, tablespaces: tablespaces) ?? []), later: loaded.later,
        leftOut: prepared.leftOut)
    } catch let error as DatabaseError {
      throw Failure(
        .verificationFailed, "staging database \(target.staging): \(error.message)",
        hint: "nothing live was changed; mend what PostgreSQL names and run it again")
    }
  }

  func server(_ server: Server, hasTablespace name: String) async throws -> Bool {
    try await server.session.isTrue("SELECT EXISTS (SELECT FROM pg_catalog.pg_tablespace WHERE spcname = $1)", [name])
  }

  /// As saved; where the record is lost, those of the live database, else of the maintenance database.
  private func properties(of target: Target, _ ready: Ready) async throws -> DatabaseProperties {
    if let saved = target.part.properties {
      return try await server(ready.server!, hasTablespace: saved.tablespace) ? saved : saved.with(tablespace: "pg_default")
    }
    let server = ready.server!
    if ready.live.contains(target.live) { return try await DatabaseProperties(try await server.open(target.live)) }
    return try await DatabaseProperties(server.session).plain(owner: server.settings.user)
  }

  /// Returns what the operator accepts.
  private func load(_ target: Target, _ staging: Staging, _ ready: Ready) async throws -> LeftOut.Result {
    if !target.part.isPlain {
      let loader = try await loader(target, staging)
      let leftOut = try await loadArchive(target, staging, ready, as: loader)
      try await loader?.remove()
      try await staging.loaded()
      return leftOut
    }
    let server = ready.server!
    let dump = PlainDump(
      settings: server.settings,
      program: try await ready.clients.psql(server: server.major) { await Clients.version(of: $0, context.base) },
      serverMajor: server.major, base: context.base, acceptsErrors: options.acceptDifferences,
      isRestricted: ready.plan.source.isRestricted)
    let repository = context.repository(ready.plan.source.databaseIn)
    let errors = try await streaming(target, ready) { backends in
      try await repository.piped(target.part.archive, of: target.part.snapshot) {
        try await dump.run(staging: target.staging, input: $0, backends: backends)
      }
    }
    try await staging.loaded()
    return LeftOut.Result(differences: errors)
  }

  /// Who loads it in place of a superuser. What the record does not say of this very dump says nothing of it.
  private func loader(_ target: Target, _ staging: Staging) async throws -> Loader? {
    guard !options.asSuperuser, try await staging.isSuperuser() else { return nil }
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

  /// In parallel from a spooled archive where TMPDIR has the room, else streamed.
  private func loadArchive(_ target: Target, _ staging: Staging, _ ready: Ready, as loader: Loader?) async throws
    -> LeftOut.Result
  {
    let server = ready.server!
    let repository = context.repository(ready.plan.source.databaseIn)
    let client = try ready.clients.restore(archive: target.part.pgDump ?? ready.clients.newestMajor, server: server.major)
    let restore = ArchiveRestore(
      settings: loader?.settings ?? server.settings, program: client.program, clientMajor: client.major,
      serverMajor: server.major, base: context.base, role: loader?.owner.role,
      keepTablespaces: ready.keepsTablespaces[target.live] ?? true)
    let paths = try await SearchPaths.read(staging.properties, owner: staging.owner, server.session)
    let spool = ready.scratch.path.appending(percentEncoded(target.staging.utf8))
    let free = min(try Tree.free(ready.scratch.path.string).bytes, context.configuration.scratchBytes ?? .max)
    // Room for every database of the set at once, and some for restic's own scratch files.
    let need = ready.plan.databases.reduce(0) { $0 + $1.part.bytes } + 256 << 20
    let isSpooled = free > need
    if isSpooled {
      let file = try FileDescriptor.open(
        spool, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec], permissions: .ownerReadWrite)
      try await spooling(to: spool) {
        try await repository.dump(target.part.archive, of: target.part.snapshot, into: file, watch: $0)
      }
    } else {
      log.info("TMPDIR has \(Format.bytes(free)) free, a parallel restore needs \(Format.bytes(need)): streaming instead")
    }
    // restic writes into pg_restore: the data goes from child to child.
    let source =
      isSpooled ? ArchiveSource.file(spool) : .repository(repository, path: target.part.archive, snapshot: target.part.snapshot)
    let patience = configuration.waits.stall + (isSpooled ? .zero : configuration.waits.lock)
    let leftOut = try await watching(target, ready, limit: patience) { backends in
      let load = ArchiveLoad(
        restore: restore, source: source, staging: target.staging, scratch: ready.scratch.path, backends: backends,
        searchPaths: paths)
      let wanted = try await staging.mayGivePublic() ? nil : staging.wanted(try await load.contents())
      let refused = try await load.run(jobs: Self.jobs, wanted).filter { !$0.isOnly(of: ready.missingRoles) }
      return try await settle(refused, of: load, target, as: loader)
    }
    if isSpooled { try Tree.remove(spool) }
    return leftOut
  }

  /// A refusal ends the restore with all of them named, unless the operator takes what there is.
  private func settle(
    _ refused: [Refusal], of load: ArchiveLoad, _ target: Target, as loader: Loader?
  ) async throws -> LeftOut.Result {
    if refused.isEmpty { return LeftOut.Result() }
    if !options.acceptDifferences {
      let hint = refused.hint(role: loader?.owner.role)
      throw Failure(.verificationFailed, refused.map { Problem("database \(target.live): \($0.text)", hint: hint) })
    }
    let session = try await Connection(load.restore.settings, database: target.staging, waits: configuration.waits)
    if let role = loader?.owner.role { _ = try await session.query("SET ROLE \(SQL.identifier(role))") }
    return try await LeftOut(load: load, session: session, contents: try await load.contents()).settle(refused)
  }

  /// A repository that stands still in the middle is given up by STALL_TIMEOUT: the file that grows tells.
  private func spooling(to file: FilePath, _ body: (Watch) async throws -> Void) async throws {
    // restic itself waits for a lock before it begins.
    let watch = Watch(limit: configuration.waits.stall + configuration.waits.lock, patience: configuration.waits.connect)
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

  /// restic itself waits for a lock before it begins.
  private func streaming<T: Sendable>(
    _ target: Target, _ ready: Ready, _ body: @Sendable (BackendWatch) async throws -> T
  ) async throws -> T {
    try await watching(target, ready, limit: configuration.waits.stall + configuration.waits.lock, body)
  }

  /// pg_restore and psql report no progress; the size of the database tells, and its sessions whether they work at all.
  private func watching<T: Sendable>(
    _ target: Target, _ ready: Ready, limit: Duration, _ body: @Sendable (BackendWatch) async throws -> T
  ) async throws -> T {
    let backends = BackendWatch(.database(target.staging), ready.server!.settings, configuration.waits, limit: limit)
    let looking = Task {
      let meter = Meter("database \(target.live)")
      await backends.look(every: .seconds(1)) { meter.update(done: $0, total: target.part.properties?.size) }
    }
    defer {
      looking.cancel()
      Screen.shared.finish("database \(target.live)")
    }
    return try await body(backends)
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
