import SystemPackage

/// For volumes too full for two copies: what is live is saved as a set first, then replaced where it is.
extension Restore {
  func saveLive(_ ready: Ready) async throws -> SetID? {
    if let journal = try ready.commit.replacing() {
      let saved = ready.catalog.entries.first { $0.id == journal.safety }
      if !ready.plan.databases.isEmpty, saved?.databases.isEmpty != false {
        throw Failure(
          .refused, "an earlier --in-place was interrupted, and saved \(saved == nil ? "a set that is gone" : "the files alone")",
          hint: "restore --in-place --only files \(journal.restored) finishes it; then restore the database")
      }
      log.warning("an earlier --in-place was interrupted: what is live is incomplete and is not saved")
      return journal.safety
    }
    log.warning("--in-place: the files are replaced where they are; saving what is live first")
    let backup = Backup(context)
    let server = ready.server
    let saved = try await backup.saveSet(
      Backup.Ready(
        catalog: ready.catalog, sets: ready.sets, clients: ready.clients, server: server,
        commit: ready.commit, directory: ready.commit.directory, quiesce: nil,
        names: server == nil ? [] : ready.plan.databases.map(\.live).filter { ready.live.contains($0) }), before: "in-place")
    output(saved.text)
    if let unreadable = saved.record.files?.unreadable {
      throw Failure(
        .refused,
        "\(unreadable.names.map(printable).joined(separator: ", ")) cannot be read, so set \(saved.record.id) would not bring it back",
        hint: "run as a user who may read it, or leave it out with FILES_PATHS; nothing was replaced")
    }
    return saved.record.id
  }

  /// The live files go first, for room; what replaces them is built where the application cannot reach it all the same. restic's own way
  /// into a live directory goes by paths, in which a link put at the right moment leads it anywhere.
  func overwrite(_ files: FilesPart, _ ready: Ready, _ staged: Staged, safety: SetID?) async throws -> Staged {
    let commit = ready.commit
    // What an interrupted one has built is in the way.
    for id in try commit.unfinished() where try commit.journal(id)?.phase == .replacing {
      try commit.exchange(id)?.work.remove(Exchange.treeName)
    }
    let exchange = try commit.makeExchange(ready.plan.id)
    let journal = Journal(
      id: ready.plan.id, source: ready.plan.source.named, rollbackOf: nil, phase: .replacing, renames: [],
      paths: ready.plan.paths, entries: [], root: nil, rootBefore: nil, safety: safety)
    try journal.write(in: exchange.work)
    do { return try await replace(files, exchange, ready, staged) } catch {
      let failure = commit.incomplete(journal)
      log.error("\(failure)")
      // A link on the way to what is replaced, or a full volume.
      if let error = error as? FileError { throw Failure(.unexpected, "\(error)", hint: failure.problems[0].hint) }
      throw error
    }
  }

  private func replace(_ files: FilesPart, _ exchange: Exchange, _ ready: Ready, _ staged: Staged) async throws -> Staged {
    let (paths, directory) = (ready.plan.paths, exchange.directory)
    try await blocking {
      for path in try directory.selected(paths) {
        try directory.parent(of: path)?.remove(path.lastComponent!)
      }
    }
    let built = try await stage(files, ready, in: exchange)
    // What differs, too: what was live before is gone.
    try await blocking { try exchange.apply(try exchange.entries(from: exchange.work, paths: paths)) }
    var staged = staged
    staged.take(built)
    return staged
  }
}
