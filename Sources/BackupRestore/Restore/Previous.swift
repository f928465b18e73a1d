/// What restores and rollbacks replaced and kept.
extension Commit {
  /// What a restore replaced and kept.
  struct Kept: Equatable, Sendable {
    let id: SetID
    /// (live name, name of the kept database)
    var databases: [Server.Rename] = []
    var files: Journal?
  }

  func kept() async throws -> [Kept] {
    var kept: [SetID: Kept] = [:]
    for id in try restores() {
      guard let exchange = exchange(id), let journal = try Journal.read(in: exchange.work), journal.phase == .done,
        try FileStatus.existing(exchange.tree) != nil
      else { continue }
      kept[id, default: Kept(id: id)].files = journal
    }
    if let server {
      for name in try await server.databases().sorted() {
        for live in server.settings.names {
          guard let (id, isStaging) = DatabaseName.parse(name, live: live), !isStaging else { continue }
          kept[id, default: Kept(id: id)].databases.append(.init(from: name, to: live))
        }
      }
    }
    return kept.values.sorted { $0.id < $1.id }
  }

  func discard(_ kept: Kept) async throws {
    for database in kept.databases { try await server?.drop(database.from) }
    if kept.files != nil, let exchange = exchange(kept.id) { try Tree.remove(exchange.work) }
  }
}
