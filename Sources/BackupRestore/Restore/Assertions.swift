/// What DRILL_SQL says of a database that is restored.
struct Asserted: Sendable {
  /// By their names.
  var held: [String] = []
  /// What is not true, one sentence each.
  var failed: [String] = []
}

/// "Hashes prove what was saved, not that it was sane."
extension Staging {
  /// Each query in a read-only transaction of its own, as who loaded the database, with what the application finds names by.
  func assertions(of target: RestorePlan.Target, in staging: StagingDatabase, as loader: Loader?) async throws -> Asserted {
    let names = configuration.database?.names ?? []
    let wanted = configuration.assertions.filter { ($0.database ?? names.first) == target.live }
    if wanted.isEmpty { return Asserted() }
    let settings = loader?.settings ?? staging.server.settings
    let session = try await Connection(settings, database: staging.name, waits: configuration.waits)
    let path = try await SearchPaths.read(staging.properties, owner: staging.owner, staging.server.session)[0]
    var asserted = Asserted()
    for assertion in wanted {
      let name = "\(assertion.name) (DRILL_SQL)"
      do {
        try await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = \(path)")
        try await session.execute("SET LOCAL statement_timeout = '\(configuration.waits.stall.components.seconds)s'")
        let rows = try await session.query(assertion.query)
        if rows.count == 1, rows[0].isTrue(0) {
          asserted.held.append(assertion.name)
        } else {
          asserted.failed.append("\(name) is not true\(rows.count == 1 ? "" : ": it gives \(rows.count) rows")")
        }
      } catch let error as DatabaseError {
        asserted.failed.append("\(name) cannot be asked: \(printable(error.message))")
      }
      try await session.execute("ROLLBACK")
    }
    return asserted
  }

  /// What DRILL_SQL asks of a database that is not restored now.
  func tellUnasked() {
    let first = configuration.database?.names.first
    for assertion in configuration.assertions where !plan.databases.contains(where: { $0.live == assertion.database ?? first }) {
      log.warning("\(assertion.name) (DRILL_SQL) is not asked: its database is not restored now")
    }
  }
}
