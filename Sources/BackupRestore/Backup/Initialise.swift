/// `init`: creates what is missing among the repositories, and says what was there.
public struct Initialise: Sendable {
  let context: Context

  public init(_ context: Context) { self.context = context }

  /// Each repository on its own: a wrong password is never answered with a new repository, and never hidden by another
  /// repository's success.
  public func run() async throws -> ExitStatus {
    async let files = settled { try await ensure(context.files) }
    async let databases = settled { try await ensure(context.databases) }
    async let sets = settled { try await ensure(context.sets) }
    let results = await [files, databases, sets]
    for case .success(let line) in results { output(line) }
    try Failure.merge(results)
    return .done
  }

  private func ensure(_ repository: Repository) async throws -> String {
    do {
      let count = try await repository.snapshots().count
      return "\(repository.name.rawValue): was there, \(count) \(count == 1 ? "snapshot" : "snapshots")"
    } catch let failure as Failure where failure.status == .repositoryMissing {
      try await repository.initialise()
      return "\(repository.name.rawValue): created"
    }
  }
}
