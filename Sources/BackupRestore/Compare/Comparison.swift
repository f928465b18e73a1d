import SystemPackage

/// Two states of an application side by side: sets, or a set and what is live. Its JSON is what `restore --diff --json` prints.
struct Comparison: Encodable, Equatable, Sendable {
  /// A set's id, or `live`.
  let then: String
  let now: String
  var databases: [DatabaseComparison] = []
  var files: FilesComparison?
  /// What could not be compared, and why.
  var notes: [String] = []

  static let live = "live"

  init(_ then: String, _ now: String) { (self.then, self.now) = (then, now) }

  /// Two sets.
  init(_ then: Record, _ now: Record, only: Only?, in repository: Repository) async throws {
    self.init(then.id.text, now.id.text)
    if only != .files {
      for (name, first, second) in Self.pairs(then.databases, now.databases.map(\.name)) {
        let other = second.flatMap { name in now.databases.first { $0.name == name } }
        compare(name, first?.evidence, other?.evidence, isThen: first != nil, isNow: other != nil)
      }
    }
    if only == .database { return }
    if let first = then.files, let second = now.files {
      files = try await FilesComparison(first, second, in: repository)
    } else if then.files != nil || now.files != nil {
      notes.append("one of the sets has no files")
    }
  }

  /// A set and what is live. Databases are read as a backup reads them, and for as long as LOCK_WAIT at most.
  init(_ then: Record, live invocation: Invocation, only: Only?, in repository: Repository) async throws {
    self.init(then.id.text, Self.live)
    if only != .files, let settings = invocation.configuration.database {
      for (name, part, live) in Self.pairs(then.databases, settings.names) {
        let read =
          if let live { await Self.evidence(live, settings, invocation.configuration.waits) } else {
            Result<DatabaseEvidence?, any Error>.success(nil)
          }
        switch read {
        case .success(let evidence):
          compare(live ?? name, part?.evidence, evidence, isThen: part != nil, isNow: evidence != nil)
        case .failure(let error):
          try Task.checkCancellation()
          notes.append("database \(printable(name)) is not compared: \(error)")
        }
      }
    }
    if only == .database { return }
    guard let part = then.files, let settings = invocation.configuration.files else { return }
    guard let directory = try settings.open() else {
      notes.append("\(settings.directory) does not exist or is not a directory")
      return
    }
    files = try await FilesComparison(
      part, live: directory, paths: settings.paths.isEmpty ? part.paths : settings.paths, in: repository)
  }

  private mutating func compare(_ name: String, _ then: DatabaseEvidence?, _ now: DatabaseEvidence?, isThen: Bool, isNow: Bool) {
    if let then, let now { return databases.append(DatabaseComparison(name, then, now)) }
    let shown = printable(name)
    if isThen != isNow {
      notes.append("database \(shown) is \(isThen ? "gone" : "new")")
    } else {
      notes.append("database \(shown) is not compared: a set whose record is lost says nothing about it")
    }
  }

  /// One database is the other whatever they are called; several go by their names.
  private static func pairs(_ parts: [DatabasePart], _ names: [String]) -> [(name: String, part: DatabasePart?, other: String?)] {
    if parts.count == 1, names.count == 1 { return [(names[0], parts[0], names[0])] }
    let known = Set(parts.map(\.name))
    return parts.map { part in (part.name, part, names.contains(part.name) ? part.name : nil) }
      + names.filter { !known.contains($0) }.map { ($0, nil, $0) }
  }

  /// - Returns: nil where there is no such database.
  private static func evidence(
    _ name: String, _ settings: DatabaseSettings, _ waits: Waits
  ) async -> Result<DatabaseEvidence?, any Error> {
    await within(waits.lock) {
      let server = try await Server.connect(settings, waits)
      guard try await server.databases().contains(name) else { return nil }
      let connection = try await server.open(name)
      let reader = EvidenceReader(connection: connection)
      let count = try await reader.tables().count
      let size = try await connection.number("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())")
      log.info(
        "database \(printable(name)) is read: \(Format.count(count, "table", "tables")), \(Format.bytes(size)), for \(waits.lock.components.seconds) s at most (LOCK_WAIT)"
      )
      // What somebody has for himself is not compared, and nobody waits behind us for long.
      try await connection.execute("SET lock_timeout = '1s'")
      let holder = try await connection.number("SELECT pg_catalog.pg_backend_pid()")
      let watching = Task { try await end(holder, whereSomebodyWaitsOn: server) }
      defer { watching.cancel() }
      return try await reader.read()
    }
  }

  private static func end(_ holder: Int, whereSomebodyWaitsOn server: Server) async throws {
    var seconds = 0
    while seconds < 3 {
      try await Task.sleep(for: .seconds(1))
      let isWaitedFor = try await server.session.isTrue(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE NOT granted AND \(holder) = ANY (pg_catalog.pg_blocking_pids(pid)))"
      )
      seconds = isWaitedFor ? seconds + 1 : 0
    }
    log.info("somebody waits for what is being read, and goes first")
    _ = try await server.session.query("SELECT pg_catalog.pg_terminate_backend(\(holder))")
  }

  /// The same, seen from the other side.
  var flipped: Comparison {
    var other = Comparison(now, then)
    (other.databases, other.files, other.notes) = (databases.map(\.flipped), files?.flipped, notes)
    return other
  }

  var isEmpty: Bool { databases.allSatisfy(\.isEmpty) && files?.isEmpty != false && notes.isEmpty }
}
