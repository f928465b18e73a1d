import FoundationEssentials
import SystemPackage

/// Everything that can be known before anything changes, in one report.
extension Restore {
  struct Ready: Sendable {
    let plan: Plan
    let commit: Commit
    let server: Server?
    /// Names of the databases on the server.
    let live: Set<String>
    let clients: Clients
    /// The files of a drill that have no room: they are read back, not restored.
    let readsBack: Bool
    /// What the volume does not keep of the files.
    let limits: FilesLimits
    /// Why a restore where this drill runs would be refused.
    let refusals: [Problem]
    /// Roles that are missing and cannot be made; what they owned goes to POSTGRES_USER.
    let missingRoles: Set<String>
    let scratch: Scratch
    let quiesce: Quiesce?
    let catalog: Catalog
    let sets: [Snapshot]
    /// By the database's live name, where it was rehearsed.
    var keepsTablespaces: [String: Bool] = [:]
    /// What is restored without, in words.
    var leftOut: [String] = []
  }

  func preflight() async throws -> Ready {
    // A drill replaces nothing, so the application stays up.
    let quiesce = options.drill ? nil : try context.quiesce()
    // What is live is saved as a set first: without its repositories that would end half-way.
    if options.inPlace, !options.dryRun { _ = try await context.catalog() }
    async let clients = context.clients()
    let (catalog, sets, old) = try await context.restorable()
    let source = try await telling(catalog) { try await mounted(try await self.source(catalog, old)) }
    var plan = try plan(source, RestoreID(Date()))
    let server = plan.databases.isEmpty ? nil : try await Server.connect(database!, configuration.waits)
    try await server?.lock(plan.databases.map(\.live))
    // The volume is locked also where only databases are restored: finishing an earlier restore may touch it.
    let directory = try await lockFiles(required: plan.files != nil && !options.drill)
    let commit = Commit(directory: directory, server: server)
    if options.drill { try refuseUnfinished(commit) }
    do {
      if !options.dryRun {
        try await finishEarlier(commit)
        await dropRoles(server)
      }
      plan = try self.plan(source, try await commit.newID())
      // A drill replaces nothing, so nothing live can be in its way.
      let live = options.drill ? [] : try await server?.databases() ?? []
      let found = await clients
      let checked = try await check(plan, commit, server, live, found, quiesce)
      return Ready(
        plan: plan, commit: commit, server: server, live: live, clients: found, readsBack: checked.readsBack,
        limits: checked.limits, refusals: checked.refusals, missingRoles: checked.missingRoles,
        scratch: try Scratch(context.base), quiesce: quiesce, catalog: catalog, sets: sets)
    } catch {
      // An earlier run that was killed may have left the application down.
      if !options.dryRun { _ = await commit.resume(quiesce) }
      throw error
    }
  }

  private struct Checked {
    var missingRoles: Set<String> = []
    var readsBack = false
    var limits = FilesLimits()
    var refusals: [Problem] = []
  }

  /// Throws every problem at once.
  private func check(
    _ plan: Plan, _ commit: Commit, _ server: Server?, _ live: Set<String>, _ clients: Clients, _ quiesce: Quiesce?
  ) async throws -> Checked {
    var checked = Checked()
    var problems: [Problem] = []
    if options.dryRun { problems += try await unfinished(commit) }
    if let server {
      let check = DatabasePreflight(server: server, plan: plan, live: live, options: options)
      problems += try await check.problems(clients: clients, base: context.base)
      if problems.isEmpty { checked.missingRoles = try await check.unmakeableOwners() }
    }
    if let files = plan.files {
      problems += try await pathProblems(files, plan)
      let directory = configuration.files?.directory ?? FilesSettings.standardDirectory
      var obstacles = try filesProblems(files, commit, directory, plan)
      if obstacles.isEmpty, !options.dryRun {
        let found = try await probe(files, commit, plan)
        (obstacles, checked.limits) = (found.problems, found.limits)
        if options.drill, let directory = commit.directory {
          checked.refusals = try found.problems + Self.pinnedProblems(directory, plan.paths, deep: false)
        }
      }
      if options.drill, let obstacle = obstacles.first {
        log.warning("files are read back, not restored: \(obstacle.fact)")
        checked.readsBack = true
      } else {
        problems += obstacles
      }
    }
    if let quiesce {
      if case .failure(let error) = await settled({ try await quiesce.check() }) {
        guard let failure = error as? Failure else { throw error }
        problems += failure.problems
      }
    }
    try Failure.collect(.refused, problems)
    return checked
  }

  private func lockFiles(required: Bool) async throws -> Directory? {
    let locked = try await context.lockFiles()
    if required, locked == nil, let directory = configuration.files?.directory {
      throw Failure(
        .refused, "\(directory) does not exist or is not a directory",
        hint: "mount the volume there, create it with mkdir, or restore with --only database")
    }
    return locked
  }

  /// Whole, also where this run restores files only: the databases tell whether an earlier restore was committed.
  private func finishEarlier(_ commit: Commit) async throws {
    var whole = commit
    if commit.server == nil, let settings = configuration.database, try !commit.unfinished().isEmpty {
      let server = try await Server.connect(settings, configuration.waits)
      try await server.lock(settings.names)
      whole = Commit(directory: commit.directory, server: server)
    }
    try await whole.finishInterrupted(undoing: true)
  }

  private func unfinished(_ commit: Commit) async throws -> [Problem] {
    try commit.unfinished().map {
      Problem("restore \($0) is unfinished", hint: "run restore without --dry-run: it finishes or undoes that one first")
    }
  }

  // MARK: Plan

  private func plan(_ source: Source, _ id: RestoreID) throws -> Plan {
    let record = source.record
    let wantsFiles = source.only != .database
    let wantsDatabases = source.only != .files
    let files = wantsFiles ? record.files : nil
    var problems: [Problem] = []
    if wantsFiles, files == nil, configuration.files != nil || source.only == .files {
      problems.append(Problem("\(source.title) has no files", hint: "restore with --only database, or choose another set"))
    }
    if files != nil, configuration.files == nil, !options.drill {
      problems.append(
        Problem(
          "\(source.title) has files, but \(FilesSettings.standardDirectory) does not exist and FILES_DIRECTORY is not set",
          hint: "set FILES_DIRECTORY, or restore with --only database"))
    }
    var targets: [Target] = []
    if wantsDatabases { (targets, problems) = databaseTargets(source, id, problems) }
    var paths: [String] = []
    if let files, let settings = configuration.files {
      paths = settings.paths.isEmpty ? files.paths : settings.paths
      let saved = files.paths.map { FilePath($0) }
      for path in paths where !Tree.isEntry(path.utf8) {
        problems.append(
          Problem(
            "\(source.title) names \(printable(path)), which is no entry of a directory of files",
            hint: "its record or snapshot was made by something else: choose another set"))
      }
      for path in paths where !saved.isEmpty && !saved.contains(where: { FilePath(path).starts(with: $0) }) {
        problems.append(
          Problem(
            "\(source.title) does not hold \(path)", hint: "it holds \(files.paths.joined(separator: ", ")): correct FILES_PATHS")
        )
      }
    }
    try Failure.collect(.refused, problems)
    return Plan(id: id, source: source, files: files, paths: paths, databases: targets)
  }

  /// A single database goes into POSTGRES_DB whatever it was called; several match by name.
  private func databaseTargets(
    _ source: Source, _ id: RestoreID, _ problems: [Problem]
  ) -> ([Target], [Problem]) {
    var problems = problems
    let parts = source.record.databases
    guard let names = database?.names else {
      if !parts.isEmpty {
        problems.append(
          Problem("\(source.title) has a database, but POSTGRES_DB is not set", hint: "set it, or restore with --only files"))
      }
      return ([], problems)
    }
    if parts.isEmpty {
      problems.append(Problem("\(source.title) has no database", hint: "restore with --only files, or choose another set"))
      return ([], problems)
    }
    if parts.count == 1, names.count == 1 { return ([Target(part: parts[0], live: names[0], id: id)], problems) }
    var targets: [Target] = []
    for name in names {
      if let part = parts.first(where: { $0.name == name }) {
        targets.append(Target(part: part, live: name, id: id))
      } else {
        let held = parts.map(\.name).joined(separator: ", ")
        problems.append(Problem("\(source.title) has no database \(name): it holds \(held)", hint: "correct POSTGRES_DB"))
      }
    }
    return (targets, problems)
  }
}
