import SystemPackage

/// For volumes too full for two copies: what is live is saved as a set first, then replaced where it is.
extension Staging {
  /// - Returns: the set; nil where an earlier one that was interrupted saved none.
  func saveLive() async throws -> SetID? {
    try await session.pause()
    if let journal = try session.swap.replacing() {
      let saved = plan.source.catalog.entries.first { $0.id == journal.safety }
      if !plan.databases.isEmpty, saved?.databases.isEmpty != false {
        throw Failure(
          .refused, "an earlier --in-place was interrupted, and saved \(saved == nil ? "a set that is gone" : "the files alone")",
          hint: "restore --in-place --only files \(journal.restored) finishes it; then restore the database")
      }
      log.warning("an earlier --in-place was interrupted: what is live is incomplete and is not saved")
      return journal.safety
    }
    log.warning("--in-place: the files are replaced where they are; saving what is live first")
    let live = BackupPlan(
      catalog: plan.source.catalog, clients: found.clients, before: "in-place",
      databases: plan.databases.map(\.live).filter { found.live.contains($0) })
    let saved = try await SaveSet(plan: live, session: session).run()
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
  ///
  /// - Throws: `Failure` 21 where what is live now differs, unless the operator accepts that.
  func overwrite(_ staged: inout Staged, safety: SetID?) async throws {
    guard let files = plan.files else { return }
    let swap = session.swap
    // What an interrupted one has built is in the way.
    for id in try swap.unfinished() where try swap.journal(id)?.phase == .replacing {
      try swap.exchange(id)?.work.remove(Exchange.treeName)
    }
    let exchange = try swap.makeExchange(id)
    let journal = SwapJournal(
      id: id, source: plan.source.name, rollbackOf: nil, phase: .replacing, renames: [], paths: plan.paths, entries: [],
      root: nil,
      rootBefore: nil, safety: safety)
    try journal.write(in: exchange.work)
    session.onClose { failed in
      if failed, let journal = (try? swap.replacing()) ?? nil { log.error("\(swap.incomplete(journal))") }
    }
    let built: StagedFiles
    do { built = try await replace(files, exchange) } catch let error as FileError {
      // A link on the way to what is replaced, or a full volume.
      throw Failure(.unexpected, "\(error)", hint: swap.incomplete(journal).problems[0].hint)
    }
    // What differs is in place, too: what was live before is gone.
    var replaced = Staged()
    replaced.take(built)
    try verify(replaced)
    staged.take(built)
  }

  private func replace(_ files: FilesPart, _ exchange: Exchange) async throws -> StagedFiles {
    let (paths, directory) = (plan.paths, exchange.directory)
    try await blocking {
      for path in try directory.selected(paths) {
        if let name = path.lastComponent { try directory.parent(of: path)?.remove(name) }
      }
    }
    let built = try await stage(files, in: exchange)
    try await blocking { try exchange.apply(try exchange.entries(from: exchange.work, paths: paths)) }
    return built
  }
}
