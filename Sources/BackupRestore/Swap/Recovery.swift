import FoundationEssentials
import SystemPackage

/// After a crash: what was committed is finished, what was not is undone.
extension Swap {
  /// Finishes every restore that was committed. Of those that were not, removes what they staged when `undoing`.
  ///
  /// - Parameter own: the restore that asks, and gives up.
  /// - Returns: what it finished.
  /// - Throws: `Failure` 22 where it would have to write to a volume that is read-only.
  @discardableResult
  func finishInterrupted(undoing: Bool, own: RestoreID? = nil) async throws -> [SwapJournal] {
    var finished: [SwapJournal] = []
    var foreign: Failure?
    for id in try restores() {
      do { if let journal = try await finishInterrupted(id, undoing: undoing, own: own) { finished.append(journal) } } catch let
        failure as Failure where failure.cause == .foreign && !undoing
      {
        // What is the toolkit's is finished all the same.
        foreign = foreign ?? failure
      }
    }
    if let foreign { throw foreign }
    if undoing { try await dropStaging(own: own) }
    if undoing { try await finishDiscards() }
    return finished
  }

  /// - Returns: its journal, where it was finished.
  private func finishInterrupted(_ id: RestoreID, undoing: Bool, own: RestoreID?) async throws -> SwapJournal? {
    guard let exchange = try exchange(id) else { return nil }
    guard let journal = try SwapJournal.read(in: exchange.work, of: id) else {
      if undoing {
        log.info(id == own ? "\(Self.undone)" : "restore \(id) never got to its swap: removing what it staged")
        try remove(id)
      }
      return nil
    }
    // Only another restore makes that whole; a backup saves what is there, and doubts it.
    if [.replacing, .discarding].contains(journal.phase) { return nil }
    if journal.phase == .done {
      // A rollback took its tree, or a discard was interrupted: nothing is kept here any more.
      if undoing, try !exchange.hasTree { try remove(id) }
      return nil
    }
    if !journal.renames.isEmpty, server == nil {
      throw Failure(
        .refused, "restore \(id) of files and databases is unfinished, and no database is configured",
        hint: "set POSTGRES_DB and what goes with it, so that it can be finished")
    }
    if let server, try await !isCommitted(journal, server) {
      try refuseTouched(journal, exchange)
      if undoing {
        log.info(
          id == own ? "\(Self.undone)" : "restore \(id) was not committed: removing what it staged; nothing live was changed")
        try remove(id)
      }
      return nil
    }
    try finishOrExplain(journal, exchange)
    log.warning("restore \(id) was interrupted after its commit: finished now, the new state is complete")
    return journal
  }

  /// What cannot be removed now stands in nobody's way.
  private func finishDiscards() async throws {
    for kept in try await kept() where kept.isBeingDiscarded {
      // Its databases are there, and not to be seen.
      if server == nil, kept.files?.renames.isEmpty == false { continue }
      log.info("previous \(kept.id) was being discarded: removing what is left of it")
      if case .failure(let error) = await settled({ try await discard(kept) }) {
        try Task.checkCancellation()
        log.warning("it could not be removed: \(error)")
      }
    }
  }

  /// Files can be exchanged without a commit only where somebody renamed the databases back.
  private func refuseTouched(_ journal: SwapJournal, _ exchange: Exchange) throws {
    let isMoved = try journal.rollbackOf != nil && exchange.hasTree
    if try !isMoved && exchange.isUntouched(journal.entries) { return }
    throw Failure(
      .refused,
      "restore \(journal.id) was committed and has exchanged files, and its databases have their old names again",
      hint:
        "name them as the swap did (\(journal.renames.map { "\($0.from) to \($0.to)" }.joined(separator: ", "))) and run it again: "
        + "that finishes it, and restore --rollback takes all of it back; \(wayOut(journal.id))")
  }

  private static let undone = "removing what was staged; nothing live was changed"

  /// An `--in-place` that never ended: the live files are neither the old ones nor the new ones.
  func incomplete(_ journal: SwapJournal) -> Failure {
    let before =
      journal.safety.map { "; what was live before is set \($0), and restore --only files --in-place \($0) brings that back" }
      ?? ""
    return Failure(
      .refused,
      "\(directory.map { printable($0.path.string) } ?? "") is incomplete: restore --in-place of \(journal.restored) was interrupted",
      hint: "restore --in-place \(journal.restored) finishes it, once what stopped it is mended\(before)")
  }

  func journal(_ id: RestoreID) throws -> SwapJournal? { try exchange(id).flatMap { try SwapJournal.read(in: $0.work, of: id) } }

  /// The newest `--in-place` that never ended.
  func replacing() throws -> SwapJournal? { try unfinished().compactMap(journal).last { $0.phase == .replacing } }

  /// The files are whole again.
  func endReplacing() throws {
    while let journal = try replacing() { try remove(journal.id) }
  }

  private func dropStaging(own: RestoreID?) async throws {
    guard let server else { return }
    for name in try await server.databases().sorted() {
      guard let (id, isStaging) = server.settings.names.lazy.compactMap({ DatabaseName.parse(name, live: $0) }).first, isStaging
      else { continue }
      let whose = id == own ? "" : ", left by a restore or drill that was not committed; nothing live was changed"
      log.info("dropping staging database \(name)\(whose)")
      try await server.drop(name)
    }
    // Those whose database is gone already.
    for role in try await server.session.roles(marked: Loader.mark)
    where server.settings.names.contains(where: { DatabaseName.parse(role, live: $0)?.isStaging == true }) {
      await server.dropLoader(role)
    }
  }

  /// The second it is, unless a restore or rollback of that second left something: then the next one.
  func newID() async throws -> RestoreID {
    while true {
      let id = RestoreID(Date())
      let live = server?.settings.names ?? []
      let taken = try await server?.databases().contains { name in live.contains { DatabaseName.parse(name, live: $0)?.id == id }
      }
      if taken != true, try !restores().contains(id) { return id }
      try await Task.sleep(for: .milliseconds(100))
    }
  }

  /// The restores that left something on the volume, oldest first.
  func restores() throws -> [RestoreID] {
    try work()?.entries().compactMap { RestoreID($0.string) }.sorted() ?? []
  }

  /// Those that got no further than their staging or the middle of their swap.
  func unfinished() throws -> [RestoreID] {
    try restores().filter { ![.done, .discarding].contains(try journal($0)?.phase) }
  }
}
