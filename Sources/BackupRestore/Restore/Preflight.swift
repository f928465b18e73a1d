import CLinux
import FoundationEssentials
import Glibc
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
    /// Roles that are missing and cannot be made; what they owned goes to POSTGRES_USER.
    let missingRoles: Set<String>
    let scratch: Scratch
    let lock: DirectoryLock?
    let catalog: Catalog
    let sets: [Snapshot]
  }

  func preflight() async throws -> Ready {
    if !configuration.quiesceDeployments.isEmpty, !options.dryRun, !options.drill {
      throw Failure(
        .refused, "QUIESCE_DEPLOYMENTS is set, and this version does not scale deployments",
        hint: "scale them to 0 by hand and unset it for this run")
    }
    async let clients = context.clients()
    let (catalog, sets, old) = try await context.restorable()
    let source = try await source(catalog, old)
    var plan = try plan(source, SetID(Date()))
    let server = plan.databases.isEmpty ? nil : try await Server.connect(configuration.database!, configuration.waits)
    try await server?.lock(plan.databases.map(\.live))
    // The volume is locked also where only databases are restored: finishing an earlier restore may touch it.
    let directory = configuration.files?.directory
    let lock = try await lockDirectory(directory, required: plan.files != nil)
    let commit = Commit(directory: lock == nil ? nil : directory, server: server)
    if options.drill { try refuseUnfinished(commit) }
    if !options.dryRun { try await finishEarlier(commit) }
    plan = try self.plan(source, try await commit.newID())
    // A drill replaces nothing, so nothing live can be in its way.
    let live = options.drill ? [] : try await server?.databases() ?? []
    var problems: [Problem] = []
    if options.dryRun { problems += try await unfinished(commit) }
    let found = await clients
    var missing: Set<String> = []
    if let server {
      let check = DatabasePreflight(server: server, plan: plan, live: live, options: options)
      problems += try await check.problems(clients: found)
      if problems.isEmpty { missing = try await check.unmakeableOwners() }
    }
    if let files = plan.files, let directory {
      problems += try await pathProblems(files, plan)
      problems += try filesProblems(files, directory, plan.paths)
    }
    try Failure.collect(.refused, problems)
    return Ready(
      plan: plan, commit: commit, server: server, live: live, clients: found, missingRoles: missing,
      scratch: try Scratch(context.base), lock: lock, catalog: catalog, sets: sets)
  }

  private func lockDirectory(_ directory: String?, required: Bool) async throws -> DirectoryLock? {
    guard let directory else { return nil }
    guard try FileStatus.existing(FilePath(directory))?.isDirectory == true else {
      if !required { return nil }
      throw Failure(
        .refused, "\(directory) does not exist or is not a directory",
        hint: "mount the volume there, create it with mkdir, or restore with --only database")
    }
    return try await DirectoryLock.take(directory, waits: configuration.waits)
  }

  /// Whole, also where this run restores files only: the databases' names tell whether an earlier restore was committed.
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

  private func plan(_ source: Source, _ id: SetID) throws -> Plan {
    let record = source.record
    let wantsFiles = source.only != .database
    let wantsDatabases = source.only != .files
    let files = wantsFiles ? record.files : nil
    var problems: [Problem] = []
    if wantsFiles, files == nil, configuration.files != nil || source.only == .files {
      problems.append(Problem("\(source.title) has no files", hint: "restore with --only database, or choose another set"))
    }
    if files != nil, configuration.files == nil {
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
    _ source: Source, _ id: SetID, _ problems: [Problem]
  ) -> ([Target], [Problem]) {
    var problems = problems
    let parts = source.record.databases
    guard let names = configuration.database?.names else {
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

  // MARK: Files

  /// A path that the set lacks would restore nothing and call it verified.
  private func pathProblems(_ files: FilesPart, _ plan: Plan) async throws -> [Problem] {
    if plan.paths.isEmpty { return [] }
    let missing = Locked(Set(plan.paths.map { "/" + $0 }))
    let top = Locked(Set<String>())
    if files.evidence?.entries != 0 {
      try await context.repository(plan.source.filesIn).list(files.snapshot) { node in
        guard let path = node.path else { return }
        missing.change { $0.remove(path) }
        if path.dropFirst().firstIndex(of: "/") == nil { top.change { if $0.count < 10 { $0.insert(String(path.dropFirst())) } } }
      }
    }
    return missing.value.sorted().map {
      Problem(
        "\(plan.source.title) does not hold \(printable(String($0.dropFirst())))",
        hint: "correct FILES_PATHS; it holds \(top.value.sorted().map(printable).joined(separator: ", "))")
    }
  }

  private func filesProblems(_ files: FilesPart, _ directory: String, _ paths: [String]) throws -> [Problem] {
    var problems: [Problem] = []
    let work = FilePath(directory).appending(Tree.workDirectory)
    do {
      if access(directory, W_OK) != 0 { throw FileError("access", directory) }
      if !options.dryRun { try Tree.makeDirectory(work) }
    } catch {
      return [
        Problem(
          "\(directory) cannot be written: \(error)", hint: "mount the volume writable, and run as a user that may write to it")
      ]
    }
    if !options.drill { problems += try linkProblems(directory, paths) + moveProblems(FilePath(directory), paths) }
    if !options.inPlace {
      let free = try Tree.free(directory)
      let bytes = files.evidence?.bytes ?? 0
      let entries = files.evidence?.entries ?? 0
      if bytes > free.bytes {
        problems.append(
          Problem(
            "the files need \(Format.bytes(bytes)) beside the live ones, and \(directory) has \(Format.bytes(free.bytes)) free",
            hint: "make room, discard what is kept (restore --status), or use --in-place"))
      }
      if let inodes = free.inodes, entries > inodes {
        problems.append(
          Problem("the files need \(entries) inodes, and \(directory) has \(inodes) free", hint: "make room, or use --in-place"))
      }
      if !options.drill { problems += try mountProblems(directory, paths) }
    }
    return problems + ownerProblems(files, directory)
  }

  /// What the swap moves aside.
  private func liveEntries(_ directory: FilePath, _ paths: [String]) throws -> [FilePath] {
    if !paths.isEmpty { return paths.map { directory.appending(FilePath($0).components) } }
    return try Tree.entries(directory).filter { !Tree.reserved.contains($0.string) }.map { directory.appending($0) }
  }

  /// A directory is moved aside only by who may write to it, because its `..` changes (measured: EACCES in the middle of a swap);
  /// and out of a sticky directory only by an owner.
  private func moveProblems(_ directory: FilePath, _ paths: [String]) throws -> [Problem] {
    try liveEntries(directory, paths).compactMap { path in
      guard let status = try FileStatus.existing(path) else { return nil }
      let parent = path.removingLastComponent()
      let above = try parent.status()
      let isHeld = above.mode & 0o1000 != 0 && ![above.user, status.user].contains(geteuid()) && !Capabilities.canRestoreOwners
      let writable = { (path: FilePath) in path.withPlatformString { access($0, W_OK) } == 0 }
      if writable(parent), !status.isDirectory || writable(path), !isHeld { return nil }
      return Problem(
        "\(printable(path.string)) belongs to \(status.user):\(status.group), and user \(geteuid()) cannot move it aside",
        hint: "run as its owner, or as root with the capabilities CHOWN, FOWNER and DAC_OVERRIDE; or chown it first")
    }
  }

  /// `a/b` where `a` is a link would be exchanged somewhere else.
  private func linkProblems(_ directory: String, _ paths: [String]) throws -> [Problem] {
    var problems: [Problem] = []
    for path in paths {
      var parent = FilePath(directory)
      for component in FilePath(path).components.dropLast() {
        parent.append(component)
        if let status = try FileStatus.existing(parent), !status.isDirectory {
          problems.append(
            Problem(
              "\(printable(parent.string)) on the way to \(path) is not a directory", hint: "name in FILES_PATHS where it leads"))
          break
        }
      }
    }
    return problems
  }

  /// A mount point cannot be exchanged (EBUSY, measured): better said now than after staging.
  private func mountProblems(_ directory: String, _ paths: [String]) throws -> [Problem] {
    let mounts = try String(decoding: Data(contentsOf: URL(filePath: "/proc/self/mountinfo")), as: UTF8.self)
      .split(separator: "\n").compactMap { $0.split(separator: " ").dropFirst(4).first.map { MountInfo.unescaped(String($0)) } }
    // The list can lack an entry while others come and go (measured, beside containers that start), so what is moved is asked itself.
    let moved = try liveEntries(FilePath(directory), paths).filter { $0.withPlatformString { linux_is_mount_point($0) } == 1 }
    let listed = mounts.filter { mount in
      mount.hasPrefix(directory + "/")
        && (paths.isEmpty
          || paths.contains { (directory + "/" + $0 + "/").hasPrefix(mount + "/") || mount.hasPrefix(directory + "/" + $0 + "/") })
    }
    return Set(moved.map(\.string) + listed).sorted().map {
      Problem(
        "\(printable($0)) is a mount point inside what is restored, and cannot be exchanged",
        hint: "name what to restore in FILES_PATHS without it, or use --in-place")
    }
  }

  /// restic alone says nothing when it cannot set owners (measured), so it is tried beforehand. As root it fails where it may not
  /// give files away, whatever FILES_OWNER says: it sets the saved owner first (measured, 0.19.1).
  private func ownerProblems(_ files: FilesPart, _ directory: String) -> [Problem] {
    let own = "\(geteuid()):\(getegid())"
    let saved = files.evidence?.owners ?? []
    let wanted = configuration.files?.owner.map { ["\($0.user):\($0.group)"] } ?? saved
    let isHarmless = { (owners: Set<String>) in owners == [own] || (owners.isEmpty && files.evidence != nil) }
    if Capabilities.canRestoreOwners || isHarmless(geteuid() == 0 ? saved.union(wanted) : wanted) { return [] }
    let shown = wanted.union(saved).sorted().prefix(5).joined(separator: ", ")
    let user = geteuid() == 0 ? "run as the files' own user with FILES_OWNER=UID:GID of it" : "set FILES_OWNER=\(own)"
    return [
      Problem(
        "the files belong to \(shown.isEmpty ? "others" : shown), and user \(own) may not give files away",
        hint: "\(user), or run as root with the capabilities CHOWN, FOWNER and DAC_OVERRIDE")
    ]
  }
}

extension Commit {
  /// Restores whose journal says they are not done.
  func unfinished() throws -> [SetID] {
    guard let directory else { return [] }
    let work = FilePath(directory).appending(Tree.workDirectory)
    guard try FileStatus.existing(work) != nil else { return [] }
    return try Tree.entries(work).compactMap { SetID($0.string) }.filter { id in
      try Journal.read(in: work.appending(id.text))?.phase != .done
    }.sorted()
  }
}

/// What the kernel lets this process do.
enum Capabilities {
  /// CHOWN, DAC_OVERRIDE and FOWNER: with CHOWN alone, mode and time came out wrong without an error (measured).
  static var canRestoreOwners: Bool {
    guard let status = try? String(decoding: Data(contentsOf: URL(filePath: "/proc/self/status")), as: UTF8.self),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("CapEff:") }),
      let mask = UInt64(line.dropFirst(7).trimming(" \t"), radix: 16)
    else { return geteuid() == 0 }
    let needed: UInt64 = 1 << 0 | 1 << 1 | 1 << 3
    return mask & needed == needed
  }
}

enum MountInfo {
  /// proc(5) writes space, tab, newline and backslash as three octal digits.
  static func unescaped(_ text: String) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")].reduce(text) { $0.replacing($1.0, with: $1.1) }
  }
}
