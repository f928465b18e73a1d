/// What a run saves, and what is known when it begins.
struct BackupPlan: Sendable {
  let catalog: Catalog
  let clients: Clients
  /// What it is saved before, when not by a night: `in-place`.
  var before: String? = nil
  let databases: [String]
  /// What lies in the place of the toolkit's own directory is not: the set is saved, and somebody has to look.
  var isForeign = false
  /// An `--in-place` that never ended, and of what: what is live is not complete.
  var incomplete: (failure: Failure, source: String)?

  /// A source that cannot be reached is a failed source; a pooler is none.
  static func asSource<T>(_ body: () throws -> T) throws -> T { do { return try body() } catch { throw asSource(error) } }

  static func asSource<T>(_ body: () async throws -> T) async throws -> T {
    do { return try await body() } catch { throw asSource(error) }
  }

  private static func asSource(_ error: any Error) -> any Error {
    guard let failure = error as? Failure, failure.cause != .pooler else { return error }
    return Failure(.sourceFailed, failure.problems)
  }
}
