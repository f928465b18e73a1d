/// What a night could not do after its set was saved, because somebody else had a repository. The next one does it for both, so the first
/// is a good night; the second in a row is told.
///
/// The mark for that is a snapshot of its own in `sets`: nobody can change those that are there.
struct Postponement: Sendable {
  enum Work: String { case retention, check }

  let repositories: Repositories
  let work: Work

  /// The marks among what `sets` holds.
  func marks(_ snapshots: [Snapshot]) -> [Snapshot] {
    snapshots.filter { snapshot in
      // Before checks had any, a mark did not say of what it is.
      snapshot.tag("kind") == Self.kind && snapshot.hostname == repositories.host
        && (snapshot.tag("work") ?? Work.retention.rawValue) == work.rawValue
    }
  }

  private static let kind = "postponed"

  /// - Parameter halves: the sets of which parts are forgotten already.
  /// - Returns: false where the night before has left a mark, or none can be left.
  func begin(_ snapshots: [Snapshot], halves: [SetID] = []) async -> Bool {
    guard marks(snapshots).isEmpty else { return false }
    let tags = ["kind=\(Self.kind)", "work=\(work.rawValue)"] + halves.map { "half=\($0)" }
    return (try? await repositories.sets.write(["postponed.json": Array("{}\n".utf8)], tags: tags)) != nil
  }

  /// The sets that lack parts because retention was cut short, and not because the repository is damaged.
  func halves(_ snapshots: [Snapshot]) -> Set<String> {
    Set(marks(snapshots).flatMap { ($0.tags ?? []).compactMap { $0.hasPrefix("half=") ? String($0.dropFirst(5)) : nil } })
  }

  /// When it is done.
  func end(_ snapshots: [Snapshot]) async throws {
    let ids = marks(snapshots).map(\.id)
    if !ids.isEmpty { try await repositories.sets.forget(ids, prune: false) }
  }
}
