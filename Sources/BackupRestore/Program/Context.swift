import SystemPackage

/// What every step works with: the configuration, the repositories and what of the environment children may see.
public struct Context: Sendable {
  let configuration: Configuration
  /// Which repositories: the main ones or the second ones.
  let settings: RepositorySettings
  let base: [String: String]
  let restic: String
  /// The API server of the cluster this pod is in; nil where it may not be asked.
  let apiServer: APIServer?
  /// What the run reports besides its text.
  let numbers: Locked<RunNumbers>

  static let oldestRestic = [0, 19]

  /// - Throws: `Failure` 78 for the configuration, 22 where restic is missing or too old.
  init(_ environment: [String: String], _ numbers: Locked<RunNumbers>) async throws {
    configuration = try Configuration(environment)
    settings = configuration.repository
    base = Command.baseEnvironment(environment)
    apiServer = APIServer(environment, base: base)
    self.numbers = numbers
    restic = try await Self.resticVersion(base)
    let transports = [settings, configuration.copy].compactMap { $0?.transportProblem(path: base["PATH"] ?? "") }
    try Failure.collect(.configuration, transports)
  }

  private init(_ other: Context, _ settings: RepositorySettings, _ configuration: Configuration? = nil) {
    (self.configuration, base, restic) = (configuration ?? other.configuration, other.base, other.restic)
    (apiServer, numbers) = (other.apiServer, other.numbers)
    self.settings = settings
  }

  /// The same with the second repositories in place of the main ones; nil where none are configured.
  var copy: Context? { configuration.copy.map { Context(self, $0) } }

  /// The same, where FILES_PATHS names what lies on another volume below FILES_DIRECTORY.
  func onMount() throws -> Context { Context(self, settings, try configuration.onMount()) }

  /// This one, and the one with the second repositories where they are configured.
  var withCopy: [Context] { [self] + (copy.map { [$0] } ?? []) }

  /// - Throws: `Failure` 78 where no second repository is configured.
  public func second() throws -> Context {
    if let copy { return copy }
    throw Failure(
      .configuration, "there is no second repository", hint: "set COPY_RESTIC_REPOSITORY and COPY_RESTIC_PASSWORD")
  }

  /// Nil where the application is not to be scaled down.
  ///
  /// - Throws: `Failure` 22 where this pod may not ask the API server.
  func quiesce() throws -> Quiesce? {
    if configuration.quiesceDeployments.isEmpty { return nil }
    guard var apiServer else {
      throw Failure(
        .refused, "QUIESCE_DEPLOYMENTS is set, and there is no service account's token in \(APIServer.account)",
        hint: APIServer.hint)
    }
    apiServer.deployments = configuration.quiesceDeployments
    return Quiesce(server: apiServer, names: configuration.quiesceDeployments, patience: configuration.waits.quiesce)
  }

  func repository(_ name: RepositoryName) -> Repository {
    Repository(name: name, settings: settings, waits: configuration.waits, base: base)
  }

  var files: Repository { repository(.files) }
  var databases: Repository { repository(.database) }
  var sets: Repository { repository(.sets) }
  var host: String { settings.host }

  var repositories: [Repository] { RepositoryName.own.map(repository) }

  /// What the repositories' snapshots prove.
  func catalog() async throws -> (catalog: Catalog, sets: [Snapshot]) {
    let (files, databases, sets) = try await snapshots()
    return (Catalog(files: files, databases: databases, sets: sets), sets)
  }

  /// Every repository's snapshots at once: proves that all can be opened.
  func snapshots() async throws -> (files: [Snapshot], databases: [Snapshot], sets: [Snapshot]) {
    let opened = await opened(RepositoryName.own)
    let results = RepositoryName.own.map { opened[$0]! }
    do { try Failure.merge(results) } catch { throw explained(error, results) }
    let lists = try results.map { try $0.get() }
    return (lists[0], lists[1], lists[2])
  }

  /// One password for all: where it opens some of them only, a rotation was cut short.
  private func explained(_ error: any Error, _ results: [Result<[Snapshot], any Error>]) -> any Error {
    guard let failure = error as? Failure, failure.status == .wrongPassword, results.contains(where: { (try? $0.get()) != nil })
    else { return error }
    let name = settings.prefix + "RESTIC_NEW_PASSWORD"
    let problem = Problem(
      "other repositories open with it: a rotation was cut short", hint: "set \(name) too, and run init --rotate-password again")
    return Failure(failure.status, failure.problems + [problem])
  }

  /// The snapshots of each of these repositories, all opened at once.
  func opened(_ names: [RepositoryName]) async -> [RepositoryName: Result<[Snapshot], any Error>] {
    await withTaskGroup { group in
      for name in names { group.addTask { (name, await settled { try await repository(name).snapshots() }) } }
      return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
    }
  }

  /// What can be restored: sets, and the predecessor's snapshots. A repository that does not exist holds nothing; where none
  /// exists, that is the failure.
  func restorable() async throws -> (catalog: Catalog, sets: [Snapshot], old: OldStyle) {
    let opened = await opened(RepositoryName.own + RepositoryName.old)
    let own = RepositoryName.own.map { opened[$0]! }
    do {
      try Failure.merge(opened.values.allSatisfy(\.isMissing) ? own : own.filter { !$0.isMissing })
    } catch {
      let error = explained(error, own)
      guard let failure = error as? Failure, copy != nil, settings.prefix.isEmpty else { throw error }
      let other = Problem(
        "there is a second repository, \(configuration.copy!.shown)", hint: "restore --from-copy --list shows what it holds")
      throw Failure(failure.status, failure.problems + [other])
    }
    let lists = opened.compactMapValues { try? $0.get() }
    for name in RepositoryName.old where !opened[name]!.isMissing {
      if case .failure(let error) = opened[name] { log.warning("old-style repository \(repository(name).shown): \(error)") }
    }
    let sets = lists[.sets] ?? []
    let catalog = Catalog(files: lists[.files] ?? [], databases: lists[.database] ?? [], sets: sets)
    for name in RepositoryName.own where opened[name]!.isMissing && !catalog.entries.isEmpty {
      log.warning("there is no repository at \(repository(name).shown): what it held is missing from the sets")
    }
    return (catalog, sets, OldStyle(([.files, .database] + RepositoryName.old).map { ($0, lists[$0] ?? []) }))
  }

  /// With the locks of everything that is configured, what restores left.
  ///
  /// - Throws: `Failure` 22 where FILES_DIRECTORY is not there: what it keeps cannot be seen, and must not be taken for nothing.
  func hold() async throws -> Commit {
    var server: Server?
    if let settings = configuration.database {
      server = try await Server.connect(settings, configuration.waits)
      try await server?.lock(settings.names)
    }
    let locked = try await lockFiles()
    if let directory = configuration.files?.directory, locked == nil {
      throw Failure(.refused, "\(directory) does not exist or is not a directory", hint: "mount the volume there")
    }
    return Commit(directory: locked, server: server)
  }

  /// FILES_DIRECTORY, locked; nil where no files are configured, or their directory is not there.
  func lockFiles() async throws -> Directory? {
    guard let directory = configuration.files?.directory, (try? FileStatus(directory))?.isDirectory == true else { return nil }
    if let outer = configuration.files?.outer { try await DirectoryLock.take(outer, waits: configuration.waits) }
    return try await DirectoryLock.take(directory, waits: configuration.waits)
  }

  /// The same, to be looked at only.
  func directory() throws -> Directory? {
    guard let directory = configuration.files?.directory, (try? FileStatus(directory))?.isDirectory == true else { return nil }
    return try Directory(FilePath(directory))
  }

  /// PostgreSQL's programs on this machine.
  func clients() async -> Clients {
    let base = base
    return await Clients.find(path: base["PATH"] ?? "") { await Clients.version(of: $0, base).first }
  }

  private static func resticVersion(_ base: [String: String]) async throws -> String {
    let hint = "install restic 0.19 or newer: older ones can hang for ever on a full disk"
    let outcome: Outcome
    let crash = Locked<ResticCrash?>(nil)
    do {
      outcome = try await Runner.run(
        Command("restic", ["version"], environment: base), output: .document(limit: 4096), deadline: .seconds(30),
        errors: { line in crash.change { $0 = $0 ?? ResticCrash(line) } })
    } catch let failure as Failure where failure.cause != .processLimit {
      throw Failure(.refused, failure.problems[0].fact, hint: hint)
    }
    let text = String(decoding: outcome.document, as: UTF8.self)
    let version = Version.numbers(text)
    if !outcome.ending.succeeded {
      throw Failure(
        .refused, "restic version failed (\(outcome.ending.text))", hint: crash.value?.hint ?? outcome.ending.hint(hint))
    }
    if version.lexicographicallyPrecedes(oldestRestic) || version.count < 2 {
      throw Failure(.refused, "restic is too old: \(printable(text.trimming(" \n")))", hint: hint)
    }
    return version.map(String.init).joined(separator: ".")
  }
}

extension Result where Success == [Snapshot], Failure == any Error {
  /// No repository there.
  var isMissing: Bool {
    if case .failure(let failure as BackupRestore.Failure) = self { return failure.status == .repositoryMissing }
    return false
  }
}
