/// One database on its way into a set: its exported snapshot is held open until dump and evidence are done.
struct Dump: Sendable {
  let name: String
  let settings: DatabaseSettings
  let connection: Connection
  let snapshot: String
  let tables: [EvidenceReader.Table]
  /// This session holds a lock on each of them.
  let isLocked: Bool
  let sequences: [String: (SequenceEvidence.Value, cycles: Bool)]
  /// As it was before pg_dump read it.
  let schema: SchemaEvidence
  let properties: DatabaseProperties
  let program: (path: String, major: Int)
  /// What pg_dump's session is called.
  let application: String
  /// Ends the transaction where somebody waits for its locks for long.
  let courtesy: Courtesy?

  /// Begins the transaction, exports its snapshot and locks the tables against TRUNCATE and DROP.
  ///
  /// - Parameters:
  ///   - locking: false: leaves the locks to pg_dump.
  ///   - isPaused: the application is down, and nobody else's wait matters.
  static func prepare(
    _ name: String, _ settings: DatabaseSettings, _ waits: Waits, clients: Clients, locking: Bool = true, isPaused: Bool = false
  ) async throws -> Dump {
    let connection = try await Server.open(settings, name, waits)
    let program = try clients.dump(server: connection.serverMajor)
    let reader = EvidenceReader(connection: connection)
    let application = "backup-restore pg_dump \(UInt32.random(in: 0...UInt32.max))"
    var courtesy: Courtesy?
    do {
      let sequences = try await reader.sequences()
      let exported = try await export(reader, name, waits, locking: locking)
      // Where there is no room for another session beside pg_dump's, which does not say so in a code, its own patience must do.
      if exported.isLocked, !isPaused, let session = try? await Server.open(settings, name, waits),
        (try? await Server.open(settings, name, waits)) != nil
      {
        let holder = try await connection.number("SELECT pg_catalog.pg_backend_pid()")
        courtesy = Courtesy(holder: holder, exported.tables, application, session)
      }
      return Dump(
        name: name, settings: settings, connection: connection, snapshot: exported.snapshot, tables: exported.tables,
        isLocked: exported.isLocked, sequences: sequences, schema: try await SchemaReader(connection: connection).read(),
        properties: try await DatabaseProperties(connection), program: (program.program, program.major), application: application,
        courtesy: courtesy)
    } catch {
      if let other = courtesy?.other {
        log.info("database \(name): \(other) goes first, and the dump begins anew")
        return try await prepare(name, settings, waits, clients: clients, locking: false)
      }
      throw (error as? DatabaseError).map { sourceFailure(name, $0, waits) } ?? error
    }
  }

  private struct Exported {
    let snapshot: String
    let tables: [EvidenceReader.Table]
    let isLocked: Bool
  }

  /// A table that is replaced while its lock is waited for is another one in a newer snapshot; one that somebody has for himself is waited
  /// for with nothing held.
  private static func export(_ reader: EvidenceReader, _ name: String, _ waits: Waits, locking: Bool) async throws -> Exported {
    var waiting = Waiting(waits.lock)
    var replaced = 0
    while true {
      try await reader.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
      let snapshot = try await reader.connection.row("SELECT pg_catalog.pg_export_snapshot()").text(0)
      let tables = try await reader.tables()
      if !locking { return Exported(snapshot: snapshot, tables: tables, isLocked: false) }
      do {
        try await reader.lock(tables)
        return Exported(snapshot: snapshot, tables: tables, isLocked: true)
      } catch let error as EvidenceReader.Replaced {
        try await reader.connection.execute("ROLLBACK")
        replaced += 1
        if replaced == 3 {
          throw Failure(
            .sourceFailed, "database \(name): another relation takes the place of table \(printable(error.name)) again and again",
            hint: "end what replaces it, then run it again")
        }
        log.info("table \(printable(error.name)) was replaced while its lock was waited for: starting over")
      } catch let error as DatabaseError where error.state == "53200" {
        // Many tables, and max_locks_per_transaction small: there may be room for pg_dump's locks, and not for the same again.
        try await reader.connection.execute("ROLLBACK")
        return try await export(reader, name, waits, locking: false)
      } catch let error as DatabaseError where ["55P03", "57014"].contains(error.state) {
        try await reader.connection.execute("ROLLBACK")
        let blocker = try await reader.blocker() ?? "another session, which is gone by now"
        try await waiting.pause(
          .seconds(1), telling: "database \(name) waits for \(blocker): up to \(waits.lock.components.seconds) s (LOCK_WAIT)",
          until: blocked(name, by: blocker, waits))
      }
    }
  }

  private static func blocked(_ name: String, by blocker: String, _ waits: Waits) -> Failure {
    Failure(
      .sourceFailed, "database \(name): a lock was not to be had from \(blocker)",
      hint: "end that session, or raise LOCK_WAIT (\(waits.lock.components.seconds) s)")
  }

  /// pg_dump into restic beside the evidence, on the same snapshot. Where the application stands behind it, or a standby's recovery ended
  /// it, again on a newer snapshot.
  ///
  /// - Parameter isPaused: the application is down, and what is saved must be of this moment: there is no second one.
  func save(
    into repository: Repository, set: SetID, clients: Clients, isPaused: Bool
  ) async throws -> (part: DatabasePart, added: Int) {
    let deadline = ContinuousClock().now + repository.waits.lock
    var (dump, isAgain) = (self, false)
    while true {
      do { return try await dump.saveOnce(into: repository, set: set) } catch let failure as Failure
        where failure.status == .sourceFailed
      {
        guard let session = try? await Server.open(settings, name, repository.waits) else { throw failure }
        let courtesy = dump.courtesy?.other
        let blocker = if let courtesy { courtesy } else { try await EvidenceReader(connection: session).blocker() }
        let isStandby = try await session.isTrue("SELECT pg_catalog.pg_is_in_recovery()")
        _ = try? await dump.connection.execute("ROLLBACK")
        if let blocker {
          if isPaused || ContinuousClock().now >= deadline { throw Self.blocked(name, by: blocker, repository.waits) }
          log.info("database \(name): the dump waited for \(blocker): that goes first, and the dump begins anew")
        } else {
          if !isStandby || isPaused || isAgain { throw isStandby ? Self.ofStandby(failure) : failure }
          log.info("database \(name): the dump of a standby is tried once more")
          isAgain = true
        }
        // Where many come one after the other, one always stands between two locks of the same table: then pg_dump's alone must do.
        let locking = blocker == nil ? dump.isLocked : !dump.isLocked
        dump = try await Self.prepare(name, settings, repository.waits, clients: clients, locking: locking)
      }
    }
  }

  private static func ofStandby(_ failure: Failure) -> Failure {
    Failure(
      .sourceFailed, failure.problems[0].fact,
      hint: failure.problems[0].hint
        + "; where recovery ended it, set hot_standby_feedback = on on this standby, or a longer max_standby_streaming_delay, "
        + "or back up from the primary")
  }

  private enum Half: Sendable {
    case saved(Repository.Saved)
    case evidence(DatabaseEvidence, [RoleUse])
  }

  /// Whichever fails first ends the other.
  private func saveOnce(into repository: Repository, set: SetID) async throws -> (part: DatabasePart, added: Int) {
    let archive = DatabasePart.archiveName(name)
    let arguments = DatabaseSettings.stdinCommand(
      program: program.path,
      arguments: DatabaseSettings.dumpArguments(snapshot: snapshot, lockWait: EvidenceReader.patience)
        + settings.excludedData.map { "--exclude-table-data=\($0)" },
      archive: archive, hiding: Array(repository.settings.credentials.keys) + ["RESTIC_PASSWORD", "RESTIC_REPOSITORY"])
    let hasEnded = Locked(false)
    defer { courtesy?.end() }
    do {
      let excluded = try await excludedTables(base: repository.base)
      let (saved, evidence, roles) = try await withThrowingTaskGroup(of: Half.self) { group in
        group.addTask {
          defer { hasEnded.change { $0 = true } }
          return .saved(
            try await repository.backup(
              arguments, tags: ["set=\(set)", "kind=database"],
              extra: settings.environment([:], database: name).merging(["PGAPPNAME": application]) { $1 },
              part: "database \(name)"))
        }
        group.addTask { try await readEvidence(repository.waits, without: excluded.tables, hasEnded: hasEnded) }
        var (saved, read): (Repository.Saved?, (DatabaseEvidence, [RoleUse])?)
        for try await half in group {
          switch half {
          case .saved(let value): saved = value
          case .evidence(let evidence, let roles): read = (evidence, roles)
          }
        }
        // Each of the two has given its half, or thrown.
        guard let saved, let read else { throw CancellationError() }
        return (saved, read.0, read.1)
      }
      if saved.bytes == 0 {
        throw Failure(
          .sourceFailed, "the dump of \(name) is empty", hint: "run pg_dump \(name) by hand and look at what it prints")
      }
      let schema = try await SchemaReader(connection: connection).settled(schema)
      try await connection.execute("COMMIT")
      var whole = evidence
      whole.sequences = SequenceEvidence.joined(sequences, try await EvidenceReader(connection: connection).sequences())
        .filter { !excluded.sequences.contains($0.name) }
      whole.schema = schema
      let unsaved = try await EvidenceReader(connection: connection).unsaved()
      if !unsaved.isEmpty { whole.unsaved = unsaved }
      let part = DatabasePart(
        snapshot: saved.snapshot, name: name, archive: "/" + archive, bytes: saved.bytes, pgDump: program.major,
        properties: properties, roles: roles, evidence: whole, excluded: excluded.tables.isEmpty ? nil : excluded.tables.sorted(),
        excludedBy: settings.excludedData.isEmpty ? nil : settings.excludedData)
      return (part, saved.added)
    } catch let error as DatabaseError {
      throw Self.sourceFailure(name, error, repository.waits)
    } catch let error as ConnectionError {
      throw Failure(
        .sourceFailed, "the connection to database \(name) broke: \(error.message)",
        hint: "look at the server's log, then run it again")
    }
  }

  /// Without what is read when pg_dump has ended.
  private func readEvidence(_ waits: Waits, without excluded: Set<String>, hasEnded: Locked<Bool>) async throws -> Half {
    let reader = EvidenceReader(connection: connection)
    let all = tables.map { table in
      var table = table
      table.isExcluded = excluded.contains(table.name)
      return table
    }
    let read = isLocked ? try await reader.evidence(all) : try await evidenceWithoutLocks(all, waits, hasEnded: hasEnded)
    let views = try await reader.materializedViews().map { view in
      MaterializedView(name: view.name, populated: view.populated && !excluded.contains(view.name))
    }
    let evidence = DatabaseEvidence(
      tables: read, sequences: [], materializedViews: views,
      extensions: try await reader.extensions(), largeObjects: try await reader.largeObjects())
    return .evidence(evidence, try await RoleReader(connection: connection).uses())
  }

  private static func sourceFailure(_ name: String, _ error: DatabaseError, _ waits: Waits) -> Failure {
    let hint =
      switch error.state {
      case "55P03": "another session holds a lock; end it, or raise LOCK_WAIT (\(waits.lock.components.seconds) s)"
      case "42501":
        "use a role as POSTGRES_USER that owns all that is in it, or a superuser; FORCE ROW LEVEL SECURITY needs BYPASSRLS"
      default: "mend what PostgreSQL names and run it again"
      }
    return Failure(.sourceFailed, "database \(name): \(error.message)", hint: hint)
  }
}
