/// `init`: creates what is missing among the repositories, and says what was there.
public struct Initialise: Sendable {
  let context: Context

  public init(_ context: Context) { self.context = context }

  /// Each repository on its own: a wrong password is never answered with a new repository, and never hidden by another
  /// repository's success.
  public func run() async throws -> ExitStatus {
    var results: [Result<Void, any Error>] = []
    for name in Repository.Name.allCases {
      let repository = context.repository(name)
      results.append(await settled { try await ensure(repository) })
    }
    try Failure.merge(results)
    return .done
  }

  private func ensure(_ repository: Repository) async throws {
    do {
      let count = try await repository.snapshots().count
      output("\(repository.name.rawValue): was there, \(count) \(count == 1 ? "snapshot" : "snapshots")")
    } catch let failure as Failure where failure.status == .repositoryMissing {
      try await repository.initialise()
      output("\(repository.name.rawValue): created")
    }
  }
}
