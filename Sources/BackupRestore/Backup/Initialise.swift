import FoundationEssentials

/// `init`: creates what is missing among the repositories, and says what was there.
public struct Initialise: Sendable {
  let context: Context

  /// Nothing happens yet.
  public init(_ context: Context) { self.context = context }

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
    for context in context.withCopy {
      let opened = await context.opened(RepositoryName.own)
      for name in RepositoryName.own where name != made || !context.settings.prefix.isEmpty {
        let found = opened[name]!
        results.append(await settled { try await ensure(context.repository(name), found) })
      }
    }
    try Failure.merge(results)
  }

  /// For `backup --init`: creates what is missing where nothing was there before, as the predecessor's backup did each night.
  ///
  /// - Throws: `Failure` 22 where another repository of the same base, or the copy, exists: then a volume may have vanished. Only
  ///   `sets`, and what the predecessor had no use for, may be missing beside its own.
  public func runBeforeBackup() async throws {
    let opened = await context.opened(RepositoryName.own + [.roles, .oldDatabase])
    let missing = RepositoryName.own.filter { opened[$0]!.isMissing }
    if missing.isEmpty { return }
    try Failure.merge(RepositoryName.own.filter { !missing.contains($0) }.map { opened[$0]! })
    var present = opened.filter { !$0.value.isMissing }.map { context.repository($0.key) }
    let isOldStyle = opened.values.allSatisfy { (try? $0.get())?.contains { $0.tag("set") != nil } != true }
    if missing.contains(.sets), isOldStyle, !missing.contains(where: isInUse) { present = [] }
    if let copy = context.copy {
      present += await copy.opened(RepositoryName.own).filter { !$0.value.isMissing }.map { copy.repository($0.key) }
    }
    if present.isEmpty {
      let isFirst = opened.values.allSatisfy { (try? $0.get())?.isEmpty != false }
      let isBegun = isFirst && missing.contains(.sets)
      if isBegun { try await begin(opened[.sets]!) }
      return try await make(besides: isBegun ? .sets : nil)
    }
    throw Failure(
      .refused,
      "\(missing.map { context.repository($0).shown }.joined(separator: ", ")) is missing, while \(present[0].shown) exists",
      hint: "a volume may have vanished: check RESTIC_REPOSITORY and what is mounted; if it never existed, run init")
  }

  /// Before the others, so that no run finds all of them and not the mark: cut short here, the next one refuses. What was made by no
  /// operator may be in the place of a volume that is gone, and every night says so until one is accepted.
  private func begin(_ sets: Result<[Snapshot], any Error>) async throws {
    try await ensure(context.sets, sets)
    struct Made: Encodable { let made: String }
    let document = try JSONEncoder().encode(Made(made: Format.time(Date())))
    try await context.sets.write(["made.json": Array(document)], tags: ["kind=made"])
  }

  static func isMark(_ snapshot: Snapshot, of host: String) -> Bool {
    snapshot.tag("kind") == "made" && snapshot.hostname == host
  }

  static let doubt =
    "backup had to make the repositories (if it was not the first one, a volume is not mounted, or RESTIC_REPOSITORY is wrong)"

  private func isInUse(_ name: RepositoryName) -> Bool {
    switch name {
    case .files: context.configuration.files != nil
    case .database: context.configuration.database != nil
    default: false
    }
  }

  private func ensure(_ repository: Repository, _ found: Result<[Snapshot], any Error>) async throws {
    if found.isMissing {
      if repository.settings.prefix.isEmpty {
        try await repository.initialise()
      } else {
        try await repository.initialise(like: context.repository(repository.name))
      }
      output("\(repository.title): created")
    } else {
      let count = try found.get().count
      output("\(repository.title): was there, \(count) \(count == 1 ? "snapshot" : "snapshots")")
    }
  }
}
