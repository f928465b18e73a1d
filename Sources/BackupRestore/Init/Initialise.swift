import FoundationEssentials

/// `init`: creates what is missing among the repositories, and says what was there.
public struct Initialise: Sendable {
  let invocation: Invocation

  private var main: Repositories { invocation.repositories }

  /// Nothing happens yet.
  public init(_ invocation: Invocation) { self.invocation = invocation }

  /// Each repository on its own: a wrong password is never answered with a new repository, and never hidden by another
  /// repository's success.
  ///
  /// - Throws: `Failure` with the problems of all of them; its status is the first one's.
  public func run() async throws -> ExitStatus {
    try await make()
    return .done
  }

  /// `made`: the one that exists already.
  private func make(besides made: RepositoryName? = nil) async throws {
    var results: [Result<Void, any Error>] = []
    // One after the other: two at once would both make the bucket of an object store, and one of them fail (seen with SeaweedFS).
    for repositories in invocation.withCopy {
      let opened = await repositories.opened(RepositoryName.own)
      for name in RepositoryName.own where name != made || !repositories.settings.prefix.isEmpty {
        results.append(await settled { try await ensure(repositories.repository(name), opened) })
      }
    }
    try Failure.merge(results)
  }

  /// For `backup --init`: creates what is missing where nothing was there before, as the predecessor's backup did each night.
  ///
  /// - Throws: `Failure` 22 where another repository of the same base, or the copy, exists: then a volume may have vanished. Only
  ///   `sets`, and what the predecessor had no use for, may be missing beside its own.
  public func runBeforeBackup() async throws {
    let opened = await main.opened(RepositoryName.own + [.roles, .oldDatabase])
    let missing = RepositoryName.own.filter(opened.isMissing)
    if missing.isEmpty { return }
    try main.merge(opened, ignoringMissing: true)
    var present = opened.present.map(main.repository)
    let all = opened.present.flatMap { (try? opened.snapshots(in: $0)) ?? [] }
    let isLegacy = !all.contains { $0.tag("set") != nil }
    if missing.contains(.sets), isLegacy, !missing.contains(where: isInUse) { present = [] }
    if let copy = invocation.copy { present += await copy.opened(RepositoryName.own).present.map(copy.repository) }
    if present.isEmpty {
      let isBegun = all.isEmpty && missing.contains(.sets)
      if isBegun { try await begin(opened) }
      return try await make(besides: isBegun ? .sets : nil)
    }
    throw Failure(
      .refused,
      "\(missing.map { main.repository($0).shown }.joined(separator: ", ")) is missing, while \(present[0].shown) exists",
      hint: "a volume may have vanished: check RESTIC_REPOSITORY and what is mounted; if it never existed, run init")
  }

  /// Before the others, so that no run finds all of them and not the mark: cut short here, the next one refuses. What was made by no
  /// operator may be in the place of a volume that is gone, and every night says so until one is accepted.
  private func begin(_ opened: Repositories.Opened) async throws {
    try await ensure(main.sets, opened)
    struct Made: Encodable { let made: String }
    let document = try JSON.encoded(Made(made: Format.time(Date())))
    try await main.sets.write(["made.json": document], tags: ["kind=made"])
  }

  static func isMark(_ snapshot: Snapshot, of host: String) -> Bool {
    snapshot.tag("kind") == "made" && snapshot.hostname == host
  }

  static let doubt =
    "backup had to make the repositories (if it was not the first one, a volume is not mounted, or RESTIC_REPOSITORY is wrong)"

  private func isInUse(_ name: RepositoryName) -> Bool {
    switch name {
    case .files: invocation.configuration.files != nil
    case .database: invocation.configuration.database != nil
    default: false
    }
  }

  private func ensure(_ repository: Repository, _ opened: Repositories.Opened) async throws {
    if opened.isMissing(repository.name) {
      if repository.settings.prefix.isEmpty {
        try await repository.initialise()
      } else {
        try await repository.initialise(like: main.repository(repository.name))
      }
      output("\(repository.title): created")
    } else {
      let snapshots = try opened.snapshots(in: repository.name)
      let sets = snapshots.count { $0.tag("kind") == "set" }
      let content =
        repository.name == .sets
        ? Format.count(sets, "set", "sets") : Format.count(snapshots.count, "snapshot", "snapshots")
      output("\(repository.title): exists, \(content)")
    }
  }
}
