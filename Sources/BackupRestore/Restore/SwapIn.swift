import FoundationEssentials
import Glibc

/// The swap of what is staged with what is live.
extension Staging {
  struct Swapped: Sendable {
    /// With the session that answered last.
    let swap: Swap
    /// Whether nobody has to look at what it left on the server.
    let isTidy: Bool
  }

  /// - Parameter safety: the set that `--in-place` saved before.
  func swapIn(_ staged: Staged, safety: SetID?) async throws -> Swapped {
    let files = plan.files != nil && !plan.isInPlace ? try stagedFiles() : nil
    let root = files == nil || !plan.paths.isEmpty || configuration.files?.owner != nil ? nil : plan.files?.root
    let swap = try await session.swap.run(
      SwapJournal(
        id: id, source: plan.source.name, rollbackOf: nil, phase: .ready,
        renames: plan.databases.flatMap {
          Swap.renames(from: $0.staging(id), to: $0.live, keeping: $0.previous(id), live: found.live)
        }, paths: plan.paths, entries: try files.map { try $0.entries(from: $0.work, paths: plan.paths) } ?? [], root: root,
        rootBefore: root == nil ? nil : try files?.directory.status().attributes, safety: safety), files,
      opening: staged.opening)
    if plan.files != nil { try session.swap.endReplacing() }
    let server = swap.server
    // A task of its own: it is done.
    let isTidy = await Task {
      guard let server else { return true }
      for target in plan.databases { await (try? database(target, on: server))?.endRestoring() }
      return await leaveSlots(server)
    }.value
    return Swapped(swap: swap, isTidy: isTidy)
  }

  /// By its name once more: what is kept must be found under it.
  private func stagedFiles() throws -> Exchange {
    if let exchange = try session.swap.exchange(id), try exchange.hasTree { return exchange }
    throw Failure(
      .refused,
      "what was staged is not in \(Tree.workDirectory)/\(id) any more: somebody renamed \(Tree.workDirectory)",
      hint: "nothing live was changed; look in the top of FILES_DIRECTORY for a directory of user \(geteuid()) that holds "
        + "\(id), remove it, and run restore again while the application is down")
  }

  /// A slot follows the database it was made in, which is the previous one now; dropped before, it would be missing where the swap fails.
  private func leaveSlots(_ server: Server) async -> Bool {
    var isTidy = true
    for target in plan.databases {
      let slots = await settled {
        try await server.session.query(
          "SELECT slot_name, active_pid FROM pg_catalog.pg_replication_slots WHERE database = $1", [target.previous(id)]
        ).map { (name: try $0.text(0), user: $0[1]) }
      }
      if case .failure(let error) = slots {
        log.warning(
          "whether a replication slot stays on \(target.previous(id)) cannot be asked: \(error)\n  hint: look at pg_replication_slots: a slot that nobody reads retains WAL"
        )
        isTidy = false
      }
      for (slot, pid) in (try? slots.get()) ?? [] {
        guard plan.dropsSlots else {
          log.warning(
            "replication slot \(slot) was made meanwhile and stays on \(target.previous(id))\n  hint: drop it, or it retains WAL")
          isTidy = false
          continue
        }
        do {
          if let pid { _ = try await server.session.query("SELECT pg_catalog.pg_terminate_backend($1::int)", [pid]) }
          try await server.dropSlot(slot)
          log.warning("replication slot \(slot) of \(target.live) is dropped")
        } catch {
          log.error("replication slot \(slot) stays on \(target.previous(id))", error)
          isTidy = false
        }
      }
    }
    return isTidy
  }
}
