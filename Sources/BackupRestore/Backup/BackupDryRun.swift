/// `backup --dry-run`: what would be saved and forgotten.
struct BackupDryRun: Sendable {
  let plan: BackupPlan
  let session: Session
  /// The set that would be made.
  let now: SetID

  func run() async throws -> ExitStatus {
    let configuration = session.configuration
    var table = TextTable(["PART", "WOULD BE SAVED"])
    if let files = configuration.files {
      table.add([
        "files", files.paths.isEmpty ? files.directory : files.paths.map { files.directory + "/" + $0 }.joined(separator: ", "),
      ])
    }
    if let database = configuration.database, let server = session.server {
      let program = try plan.clients.dump(server: server.major)
      for name in database.names {
        let size = try await server.session.number("SELECT pg_catalog.pg_database_size($1::name)", [name])
        table.add([
          "database \(name)", "\(Format.bytes(size)) on the server, by pg_dump \(program.major) from PostgreSQL \(server.major)",
        ])
      }
    }
    output(table.text)
    let excluded = [("files like", configuration.files?.excludes), ("rows of tables like", configuration.database?.excludedData)]
    for (what, patterns) in excluded {
      if let patterns, !patterns.isEmpty {
        output("would be left out: \(what) \(patterns.map(printable).joined(separator: " "))")
      }
    }
    let retention = ApplyRetention(invocation: session.invocation, repositories: session.invocation.repositories)
    let forgettable = try await retention.plan(plan.catalog, keeping: now)
    if let hold = forgettable.hold { log.warning("\(retention.words(for: hold, plan.catalog, now))") }
    let (sets, title) =
      forgettable.hold == nil ? (forgettable.sets, "would be forgotten: ") : (forgettable.held, "held back: ")
    output(sets.isEmpty ? "nothing would be forgotten" : title + sets.map(\.text).joined(separator: ", "))
    for id in plan.isForeign || session.busy != nil ? [] : try session.swap.unfinished() {
      output("restore \(id) is unfinished: backup finishes it first, where it was committed")
    }
    for entry in plan.catalog.of(session.invocation.repositories.host) where entry.doubted || !entry.gone.isEmpty {
      output("set \(entry.id) is \(entry.mark)")
    }
    if let busy = session.busy { log.info("\(busy): a backup would wait for it") }
    output("dry run: nothing was changed")
    return .done
  }
}
