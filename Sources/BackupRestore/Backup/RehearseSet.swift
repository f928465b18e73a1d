import FoundationEssentials

/// A set that cannot be restored is told the night it is made: its databases are restored without their rows, where anything that matters
/// to that has changed. On any other night it costs nothing.
struct RehearseSet: Sendable {
  let plan: BackupPlan
  let session: Session

  private var configuration: Configuration { session.configuration }

  func run(_ parts: inout SavedParts) async throws {
    guard let settings = configuration.drill ?? configuration.database, !parts.databases.isEmpty else { return }
    for index in parts.databases.indices {
      let part = parts.databases[index].part
      let address = "\(settings.host):\(settings.port)"
      let plain = try Rehearsed(of: part, user: settings.user, server: address)
      let last = parts.last?.databases.first { $0.name == part.name }?.rehearsed
      if let last, last.fingerprint == plain.fingerprint, last.impossible == nil {
        parts.databases[index].part.rehearsed = last
        continue
      }
      do {
        guard let properties = part.properties, let server = try await server(settings) else { continue }
        var rehearsed = plain
        let staging = try await staging(of: part, properties, server)
        rehearsed.impossible = try await obstacle(staging, part)
        if let why = rehearsed.impossible {
          if last?.impossible != why {
            log.info(
              "database \(printable(part.name)) is not rehearsed: \(why); whether it can be restored is known from drills alone")
          }
        } else {
          guard let outcome = try await rehearsal(of: part, staging).run() else { continue }
          rehearsed.refused = outcome.refused + outcome.differing
          tell(outcome, part.name)
        }
        parts.databases[index].part.rehearsed = rehearsed
      } catch let error as CancellationError { throw error } catch {
        // The set is saved, and the next one is rehearsed.
        log.warning("database \(printable(part.name)) could not be rehearsed: \(error)")
      }
    }
  }

  private func server(_ settings: DatabaseSettings) async throws -> Server? {
    configuration.drill == nil ? session.server : try await Server.connect(settings, configuration.waits)
  }

  /// Why there can be no scratch database, or none that is safe: a restore by a superuser is the operator's decision, and no night's.
  private func obstacle(_ staging: StagingDatabase, _ part: DatabasePart) async throws -> String? {
    let (server, user) = (staging.server, staging.server.settings.user)
    if try await server.session.isTrue("SELECT pg_catalog.pg_is_in_recovery()") { return "the server is a standby" }
    if try await !server.session.mine("rolsuper OR rolcreatedb") { return "role \(user) may not create databases" }
    guard part.roles.contains(where: { $0.owns && $0.name != user }), try await staging.isSuperuser(),
      try await !Loader.isPossible(staging, extensions: part.evidence?.extensions ?? [])
    else { return nil }
    return "no role owns all that is in it, or may make it, and the database's own functions would run as \(user), a superuser"
  }

  private func staging(
    of part: DatabasePart, _ properties: DatabaseProperties, _ server: Server
  ) async throws -> StagingDatabase {
    // What a run that was killed left: with the lock of this database nobody else builds one.
    for name in try await server.databases() where DatabaseName.parse(name, live: part.name)?.isStaging == true {
      try await server.drop(name)
    }
    let present = Set(try await server.session.roles())
    let missing = Set(part.roles.map(\.name)).subtracting(present)
    let user = try await server.user()
    return StagingDatabase(
      server: server, name: DatabaseName.staging(part.name, RestoreID(Date())), live: part.name, properties: properties,
      extensions: part.evidence?.extensions ?? [],
      owner: missing.contains(properties.owner) ? user : properties.owner, user: user, missing: missing)
  }

  private func rehearsal(of part: DatabasePart, _ staging: StagingDatabase) throws -> Rehearsal {
    Rehearsal(
      staging: staging, part: part, repository: session.invocation.repositories.databases,
      client: try plan.clients.restore(archive: part.pgDump ?? plan.clients.newestMajor, server: staging.server.major),
      base: session.invocation.environment, scratch: try session.scratch(), asSuperuser: false)
  }

  private func tell(_ outcome: Rehearsal.Outcome, _ name: String) {
    let database = "database \(printable(name))"
    for left in outcome.leftOut { log.info("a restore of \(database) will do without what PostgreSQL refuses: \(left)") }
    for bound in outcome.bound {
      log.warning(
        "a restore of \(database) would refuse what lives only under that name: \(bound)\n  hint: restore --accept-differences leaves it out; it is made in the database afterwards"
      )
    }
  }
}
