/// One database on its way into a set: its exported snapshot is held open until dump and evidence are done.
struct Dump: Sendable {
  let name: String
  let connection: Connection
  let snapshot: String
  let tables: [EvidenceReader.Table]
  let sequences: [String: (SequenceEvidence.Value, cycles: Bool)]
  /// As it was before pg_dump read it.
  let schema: SchemaEvidence
  let properties: DatabaseProperties
  let program: (path: String, major: Int)

  /// Begins the transaction, exports its snapshot and locks the tables against TRUNCATE and DROP.
  static func prepare(_ name: String, _ settings: DatabaseSettings, _ waits: Waits, clients: Clients) async throws -> Dump {
    let connection = try await Server.open(settings, name, waits)
    let program = try clients.dump(server: connection.serverMajor)
    let reader = EvidenceReader(connection: connection)
    do {
      let sequences = try await reader.sequences()
      let (snapshot, tables) = try await export(reader)
      return Dump(
        name: name, connection: connection, snapshot: snapshot, tables: tables, sequences: sequences,
        schema: try await SchemaReader(connection: connection).read(), properties: try await DatabaseProperties(connection),
        program: (program.program, program.major))
    } catch let error as DatabaseError {
      throw sourceFailure(name, error, waits)
    } catch let error as EvidenceReader.Replaced {
      throw Failure(
        .sourceFailed, "database \(name): another relation takes the place of table \(printable(error.name)) again and again",
        hint: "end what replaces it, then run it again")
    }
  }

  /// A table that is replaced while its lock is waited for is another one in a newer snapshot.
  private static func export(
    _ reader: EvidenceReader, tries: Int = 3
  ) async throws -> (snapshot: String, tables: [EvidenceReader.Table]) {
    try await reader.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    let snapshot = try await reader.connection.value("SELECT pg_catalog.pg_export_snapshot()") ?? ""
    let tables = try await reader.tables()
    do {
      try await reader.lock(tables)
      return (snapshot, tables)
    } catch let error as EvidenceReader.Replaced where tries > 1 {
      log.info("table \(printable(error.name)) was replaced while its lock was waited for: starting over")
      try await reader.connection.execute("ROLLBACK")
      return try await export(reader, tries: tries - 1)
    }
  }

  /// pg_dump into restic beside the evidence, on the same snapshot.
  func save(into repository: Repository, settings: DatabaseSettings, set: SetID) async throws -> (part: DatabasePart, added: Int)
  {
    let archive = Self.archiveName(name)
    let arguments = DatabaseSettings.stdinCommand(
      program: program.path, arguments: DatabaseSettings.dumpArguments(snapshot: snapshot, waits: repository.waits),
      archive: archive, hiding: Array(repository.settings.credentials.keys) + ["RESTIC_PASSWORD", "RESTIC_REPOSITORY"])
    async let dumping = repository.backup(
      arguments, tags: ["set=\(set)", "kind=database"], extra: settings.environment([:], database: name),
      part: "database \(name)")
    let reader = EvidenceReader(connection: connection)
    do {
      let tables = try await reader.evidence(tables)
      let views = try await reader.materializedViews()
      let extensions = try await reader.extensions()
      let objects = try await reader.largeObjects()
      let roles = try await RoleReader(connection: connection).uses()
      let saved = try await dumping
      if saved.bytes == 0 {
        throw Failure(
          .sourceFailed, "the dump of \(name) is empty", hint: "run pg_dump \(name) by hand and look at what it prints")
      }
      let schema = try await SchemaReader(connection: connection).settled(schema)
      try await connection.execute("COMMIT")
      let evidence = DatabaseEvidence(
        tables: tables, sequences: SequenceEvidence.joined(sequences, try await reader.sequences()),
        materializedViews: views, extensions: extensions, largeObjects: objects, schema: schema)
      let part = DatabasePart(
        snapshot: saved.snapshot, name: name, archive: "/" + archive, bytes: saved.bytes, pgDump: program.major,
        properties: properties, roles: roles, evidence: evidence)
      return (part, saved.added)
    } catch let error as DatabaseError {
      throw Self.sourceFailure(name, error, repository.waits)
    } catch let error as ConnectionError {
      throw Failure(
        .sourceFailed, "the connection to database \(name) broke: \(error.message)",
        hint: "look at the server's log, then run it again")
    }
  }

  private static func sourceFailure(_ name: String, _ error: DatabaseError, _ waits: Waits) -> Failure {
    let hint =
      switch error.state {
      case "55P03": "another session holds a lock; end it, or raise LOCK_WAIT (\(waits.lock.components.seconds) s)"
      case "42501": "use the database's owner as POSTGRES_USER; row-level security needs BYPASSRLS or the owner"
      default: "mend what PostgreSQL names and run it again"
      }
    return Failure(.sourceFailed, "database \(name): \(error.message)", hint: hint)
  }

  /// A file name for a database whatever it is called: everything but letters, digits, `_`, `-` and `.` as `%XX`.
  static func archiveName(_ database: String) -> String { percentEncoded(database.utf8) + ".dump" }

  /// The database that an archive's path names; nil where it is not such a path.
  static func databaseName(archive path: String) -> String? {
    guard path.hasPrefix("/"), path.hasSuffix(".dump") else { return nil }
    return percentDecoded(path.dropFirst().dropLast(5)).map { String(decoding: $0, as: UTF8.self) }
  }
}
