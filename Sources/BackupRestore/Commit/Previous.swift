/// What restores and rollbacks replaced and kept.
extension Commit {
  /// What a restore replaced and kept.
  struct Kept: Equatable, Sendable {
    let id: RestoreID
    /// (name of the kept database, live name)
    var databases: [Server.Rename] = []
    var files: Journal?
    /// What a kept database says that belongs to it.
    var mark: KeptMark?
    /// Its swap was committed, and the files are not all exchanged.
    var isUnfinished = false

    /// Somebody began to remove it: what is left is no state to go back to.
    var isBeingDiscarded: Bool { files?.phase == .discarding || mark?.isBeingDiscarded == true }

    /// The live names of the databases that were replaced with the rest and are not found.
    var missingDatabases: [String] {
      let replaced = (files?.renames ?? []).filter { DatabaseName.isPrevious($0.to) }.map(\.from) + (mark?.databases ?? [])
      return Set(replaced).filter { name in !databases.contains { $0.to == name } }.sorted()
    }

    /// The directory whose files were replaced with the rest and are not found.
    var missingFiles: String? { files == nil && !isUnfinished ? mark?.files : nil }

    var isHalf: Bool { !missingDatabases.isEmpty || missingFiles != nil }
  }

  func kept() async throws -> [Kept] {
    var kept: [RestoreID: Kept] = [:]
    for id in try restores() {
      guard let exchange = try exchange(id), let journal = try Journal.read(in: exchange.work, of: id) else { continue }
      let isWhole = try journal.phase == .done && exchange.hasTree
      if isWhole || journal.phase == .discarding { kept[id, default: Kept(id: id)].files = journal }
    }
    if let server {
      for (name, comment) in try await server.comments() {
        for live in server.settings.names {
          guard let (id, isStaging) = DatabaseName.parse(name, live: live), !isStaging else { continue }
          kept[id, default: Kept(id: id)].databases.append(.init(from: name, to: live))
          if let mark = KeptMark(comment: comment) { kept[id]!.mark = mark }
        }
      }
    }
    for journal in try unfinished().compactMap(journal) { kept[journal.id]?.isUnfinished = true }
    return kept.values.sorted { $0.id < $1.id }
  }

  /// First everything says that it is being discarded, so that nobody goes back to half of it when this is interrupted.
  func discard(_ kept: Kept) async throws {
    if var journal = kept.files, let exchange = try exchange(kept.id) {
      journal.phase = .discarding
      try journal.write(in: exchange.work)
    }
    if let server, var mark = kept.mark {
      mark.isBeingDiscarded = true
      var statements: [String] = []
      for database in kept.databases {
        statements.append(KeptMark.statement(database.from, mark.added(to: try await server.comment(database.from))))
      }
      try await server.session.execute(statements.joined(separator: "; "))
    }
    for database in kept.databases { try await server?.drop(database.from) }
    if kept.files != nil { try remove(kept.id) }
  }
}
