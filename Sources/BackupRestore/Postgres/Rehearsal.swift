import SystemPackage

/// A set's schema, roles and settings restored without its rows into a scratch database, as a restore would: what cannot be restored is
/// told before it is needed, and before it takes hours.
struct Rehearsal: Sendable {
  let staging: StagingDatabase
  let part: DatabasePart
  let repository: Repository
  let client: (program: String, major: Int)
  let base: [String: String]
  let scratch: Scratch
  /// Whether a superuser loads as that, also where a role owns all.
  let asSuperuser: Bool

  struct Outcome: Sendable {
    /// An object and PostgreSQL's words, each.
    var refused: [String] = []
    /// What nobody refuses, and is not as it was saved.
    var differing: [String] = []
    /// What is bound to the database's own name, and proves nothing elsewhere.
    var bound: [String] = []
    /// What a restore does without.
    var leftOut: [String] = []
    var keepsTablespaces = true
  }

  /// As much of an archive as is read for its table of contents: 10,000 tables need about 10 MB.
  private static let beginning = 32 << 20

  private var server: Server { staging.server }

  /// - Returns: nil where the archive's beginning says too little, or cannot be had: the load itself will tell.
  func run() async throws -> Outcome? {
    let file = scratch.path.appending("rehearsal.\(percentEncoded(staging.name.utf8))")
    let spool = try FileDescriptor.open(
      file, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec], permissions: .ownerReadWrite)
    try await repository.head(part.archive, of: part.snapshot, bytes: Self.beginning, into: .descriptor(spool))
    defer { try? Tree.remove(file) }
    do { try await staging.create() } catch let error as DatabaseError {
      return Outcome(refused: ["database: \(printable(error.message))"])
    }
    let outcome = await settled { try await rehearse(.file(file)) }
    // Whatever came of it, also after a signal.
    let dropped = await finishing { try await server.drop(staging.name) }
    if case .failure(let error) = dropped, (try? outcome.get()) != nil { throw error }
    return try outcome.get()
  }

  private func rehearse(_ source: ArchiveSource) async throws -> Outcome? {
    // pg_hba.conf may admit by the database's name.
    _ = try await server.open(staging.name).query("SELECT")
    let extensions = part.evidence?.extensions ?? []
    var loader: Loader?
    if !asSuperuser, part.properties != nil, try await staging.isSuperuser() {
      loader = try await Loader.make(staging, extensions: extensions, waits: server.waits)
    }
    var outcome = Outcome()
    guard let all = try await load(source, as: loader) else { return nil }
    let refused = all.filter { refusal in !staging.missing.contains { refusal.reason.contains($0) } }
    try await loader?.remove()
    try await staging.loaded()
    let placed = refused.filter { !$0.isOutOfPlace }
    outcome.keepsTablespaces = placed.count == refused.count
    for refusal in refused where refusal.isOutOfPlace && !outcome.leftOut.contains(refusal.reason) {
      outcome.leftOut.append(refusal.reason)
    }
    // Where an extension is missing, so is all that is built on it.
    if try await areBound(placed) {
      outcome.bound = placed.map(\.text)
    } else {
      outcome.refused = placed.map(\.text)
      if placed.isEmpty { outcome.differing = try await differences(outcome) }
    }
    let prepared = try await staging.prepare()
    outcome.leftOut += prepared.leftOut
    if let shut = prepared.shut { outcome.refused.append(shut) }
    return outcome
  }

  /// Whether PostgreSQL refuses an extension for the database's name, and not for want of rights, of which it speaks in words that a
  /// database may be called.
  private func areBound(_ refused: [Refusal]) async throws -> Bool {
    for name in refused.filter({ $0.names(part.name) }).compactMap(\.ofExtension) {
      let session = try await server.open(staging.name)
      // It must be made somewhere.
      try await session.execute("SET search_path = pg_catalog")
      do { _ = try await session.query("CREATE EXTENSION \(SQL.identifier(name))") } catch let error as DatabaseError {
        if error.state != "42501" { return true }
      }
    }
    return false
  }

  /// What nobody refused, and is not as it was: where a role may not take back what another one granted, PostgreSQL warns and goes on.
  private func differences(_ outcome: Outcome) async throws -> [String] {
    guard let saved = part.evidence?.schema else { return [] }
    let session = try await server.open(staging.name)
    try await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    let copy = try await SchemaReader(connection: session).read()
    if copy.unread != nil { return [] }
    return saved.differences(in: copy, owners: staging.missing.isEmpty, tablespaces: outcome.keepsTablespaces).map(printable)
  }

  private func load(_ source: ArchiveSource, as loader: Loader?) async throws -> [Refusal]? {
    let restore = ArchiveRestore(
      settings: loader?.settings ?? server.settings, program: client.program, clientMajor: client.major,
      serverMajor: server.major, base: base, role: loader?.owner.role)
    let backends = BackendWatch(.database(staging.name), server.settings, server.waits, limit: server.waits.stall)
    let looking = Task { await backends.look(every: .seconds(1)) }
    defer { looking.cancel() }
    let load = ArchiveLoad(
      restore: restore, source: source, staging: staging.name, scratch: scratch.path, backends: backends,
      searchPaths: try await SearchPaths.read(staging.properties, owner: staging.owner, server.session))
    guard let all = try? await load.contents(), !all.isEmpty else { return nil }
    let wanted = try await staging.wanted(all)
    var refused: [Refusal] = []
    for entries in ArchiveLoad.inOrder(wanted.filter { !Self.isOfRows($0.text) }) {
      refused += try await load.run(jobs: 1, entries)
    }
    return refused
  }

  /// Rows, and what is made of them or said about large objects, which would fail without them for no reason.
  static func isOfRows(_ entry: some StringProtocol) -> Bool {
    let kinds = ["TABLE DATA ", "BLOB", "SEQUENCE SET ", "MATERIALIZED VIEW DATA ", "STATISTICS DATA "]
    return kinds.contains { entry.hasPrefix($0) } || entry.contains(" - LARGE OBJECT")
  }
}
