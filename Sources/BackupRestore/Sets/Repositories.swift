/// The repositories below one base: the main ones, or the second ones.
struct Repositories: Sendable {
  let settings: RepositorySettings
  let waits: Waits
  /// What children see besides what a repository's own settings say.
  let environment: [String: String]
  /// As `Repository.pods`.
  var pods: (@Sendable () async -> Set<String>?)?

  /// Whose sets they hold.
  var host: String { settings.host }

  func repository(_ name: RepositoryName) -> Repository {
    Repository(name: name, settings: settings, waits: waits, base: environment, pods: pods)
  }

  var files: Repository { repository(.files) }
  var databases: Repository { repository(.database) }
  var sets: Repository { repository(.sets) }

  var all: [Repository] { RepositoryName.own.map(repository) }

  struct Snapshots: Sendable {
    let files: [Snapshot]
    let databases: [Snapshot]
    let sets: [Snapshot]
  }

  /// Every repository's snapshots at once: proves that all can be opened.
  func snapshots() async throws -> Snapshots {
    let opened = await opened(RepositoryName.own)
    try merge(opened)
    let list = { (name: RepositoryName) in try opened.snapshots(in: name) }
    return Snapshots(files: try list(.files), databases: try list(.database), sets: try list(.sets))
  }

  /// What the snapshots prove.
  func catalog() async throws -> Catalog { catalog(of: try await snapshots()) }

  /// What was saved under the default name of before counts as this application's, where its newest parts are of what is configured here:
  /// several applications may have had that name.
  func catalog(of found: Snapshots) -> Catalog {
    let former = settings.formerHost.flatMap { isOwn($0, found) ? $0 : nil }
    let named = { (all: [Snapshot]) in
      all.map { snapshot in
        var own = snapshot
        if former != nil, own.hostname == former { own.hostname = host }
        return own
      }
    }
    return Catalog(files: named(found.files), databases: named(found.databases), sets: named(found.sets), former: former)
  }

  /// Whether a snapshot of files of this path is of FILES_DIRECTORY.
  func isOfDirectory(_ path: String) -> Bool {
    settings.saves.directories.contains { path == $0 || path.hasPrefix($0 + "/") }
  }

  private func isOwn(_ former: String, _ found: Snapshots) -> Bool {
    guard found.sets.contains(where: { $0.tag("kind") == "set" && $0.hostname == former }) else { return false }
    let newest = { (all: [Snapshot]) in
      all.filter { $0.hostname == former && $0.tag("set") != nil }.max { $0.time < $1.time }?.paths?.first
    }
    let archives = settings.saves.databases.map { "/" + DatabasePart.archiveName($0) }
    return newest(found.databases).map(archives.contains) != false && newest(found.files).map(isOfDirectory) != false
  }

  /// The snapshots of each of these repositories, all opened at once.
  func opened(_ names: [RepositoryName]) async -> Opened {
    let results = await withTaskGroup { group in
      for name in names { group.addTask { (name, await settled { try await repository(name).snapshots() }) } }
      return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
    }
    return Opened(results: results)
  }

  /// What became of opening several.
  struct Opened: Sendable {
    fileprivate let results: [RepositoryName: Result<[Snapshot], any Error>]

    /// - Throws: why it could not be opened.
    func snapshots(in name: RepositoryName) throws -> [Snapshot] { try results[name]?.get() ?? [] }

    /// Whether there is no repository of that name.
    func isMissing(_ name: RepositoryName) -> Bool {
      if case .failure(let failure as Failure) = results[name] { return failure.status == .repositoryMissing }
      return false
    }

    /// Those that exist, whether or not they could be opened.
    var present: [RepositoryName] { results.keys.filter { !isMissing($0) }.sorted { $0.rawValue < $1.rawValue } }

    /// Why one that exists could not be opened.
    func error(of name: RepositoryName) -> (any Error)? {
      if case .failure(let error) = results[name], !isMissing(name) { return error }
      return nil
    }
  }

  /// Throws the problems of all of these that could not be opened, in one failure.
  ///
  /// - Parameter tolerant: whether one that does not exist is none.
  func merge(_ opened: Opened, ignoringMissing tolerant: Bool = false) throws {
    let names = RepositoryName.own.filter { !tolerant || !opened.isMissing($0) }
    let results = names.compactMap { opened.results[$0] }
    do {
      if let failure = common(names, opened) { throw failure }
      try Failure.merge(results)
    } catch { throw explained(error, results) }
  }

  /// What is wrong with several in the same way is said once.
  private func common(_ names: [RepositoryName], _ opened: Opened) -> Failure? {
    var (failed, failures): ([RepositoryName], [Failure]) = ([], [])
    for name in names {
      guard case .failure(let failure as Failure) = opened.results[name] else { continue }
      failed.append(name)
      failures.append(failure)
    }
    let all = RepositoryName.own.first.map { repository($0).shown.dropLast($0.rawValue.count) } ?? ""
    let place = "\(all){\(failed.map(\.rawValue).joined(separator: ","))}"
    let same = zip(failed, failures).map { name, failure in
      Failure(
        failure.status,
        failure.problems.map {
          Problem(
            $0.fact.replacing(repository(name).shown, with: place).replacing("/\(name.rawValue)/", with: "/…/"), hint: $0.hint)
        }, cause: failure.cause)
    }
    guard let first = same.first, same.count > 1, same.allSatisfy({ $0 == first }) else { return nil }
    return first
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
}
