import SystemPackage

/// The way back of a swap whose files cannot be exchanged: new databases over old files are what rule 5 forbids, and no later run would
/// do better where a file system goes on refusing.
extension Swap {
  /// - Parameter error: why the files cannot be exchanged.
  /// - Returns: what there is to say: nothing live was changed in the end, or that it could not be taken back either.
  func takenBack(_ journal: SwapJournal, _ exchange: Exchange, _ server: Server?, _ error: any Error) async -> any Error {
    guard let cause = error as? FileError else { return error }
    do {
      try undo(journal, exchange)
      if let server, !journal.renames.isEmpty {
        let back = journal.reversed
        try await server.rename(back.renames, with: comments(back, server, withFiles: back.rollbackOf != nil, isTakenBack: true))
      }
      // Last: until now a run after a crash would finish the swap, or see by the OIDs that it never was.
      try exchange.work.remove(SwapJournal.name)
    } catch let second {
      log.error("the swap cannot be taken back either: \(second)")
      return unfinished(journal, cause, isElsewhere: false)
    }
    let databases = journal.renames.isEmpty ? "" : ", the databases have their names again"
    return Failure(
      .unexpected, "the files cannot be exchanged, and what was is back\(databases): \(cause)",
      hint: "mend what that names\(Self.pinned(cause)), then run it again")
  }

  /// The files as they were, whatever of them was exchanged.
  private func undo(_ journal: SwapJournal, _ exchange: Exchange) throws {
    try exchange.undo(journal.entries)
    if let root = journal.rootBefore { try exchange.directory.set(root) }
    guard let origin = journal.rollbackOf, let from = try self.exchange(origin), try exchange.hasTree, try !from.hasTree else {
      return
    }
    try exchange.work.rename(Exchange.treeName, to: from.work, Exchange.treeName)
  }
}

extension SwapJournal {
  /// What takes its renames back.
  var reversed: SwapJournal {
    SwapJournal(
      id: id, source: source, rollbackOf: rollbackOf, phase: phase,
      renames: renames.reversed().map { .init(from: $0.to, to: $0.from) }, paths: paths, entries: entries, root: rootBefore,
      rootBefore: root, safety: safety)
  }
}
