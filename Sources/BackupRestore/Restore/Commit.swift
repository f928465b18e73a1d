import FoundationEssentials
import Glibc
import SystemPackage

/// The swap of a restore or rollback, and what a run after a crash does about it.
struct Commit: Sendable {
  /// FILES_DIRECTORY; nil: databases only.
  let directory: String?
  let server: Server?

  func exchange(_ id: SetID) -> Exchange? {
    directory.map { Exchange(directory: FilePath($0), work: FilePath($0).appending(Tree.workDirectory).appending(id.text)) }
  }

  /// Swaps. The renaming of the databases is the commit point; for files alone the journal is.
  ///
  /// Runs to its end even when the task is cancelled: it takes well under a second, and half of it would have to be finished
  /// by the next run.
  func run(_ journal: Journal) async throws {
    try await Task {
      let exchange = journal.entries.isEmpty && journal.root == nil ? nil : exchange(journal.id)
      if let exchange {
        try Tree.makeDirectory(exchange.work)
        try journal.write(in: exchange.work)
      }
      if !journal.renames.isEmpty { try await rename(journal, exchange) }
      guard let exchange else { return }
      do { try finish(journal, exchange) } catch let error as FileError {
        throw Failure(
          .unexpected, "the restore is committed, but its files are not all in place yet: \(error)",
          hint: "mend what the error names, then run backup or restore: either finishes it first")
      }
    }.value
  }

  private func rename(_ journal: Journal, _ exchange: Exchange?) async throws {
    guard let server else { return }
    do {
      try await server.rename(journal.renames)
    } catch {
      // The answer may be lost although the rename happened: the names tell.
      let truth: Bool
      do { truth = try await isCommitted(journal, try await server.reconnected()) } catch let unknown {
        throw Failure(
          .verificationFailed, "the swap's answer was lost (\(error)), and the server cannot be asked: \(unknown)",
          hint: "run restore --status when the server is back; the next restore finishes or undoes it")
      }
      if truth { return log.warning("the connection broke during the swap, but the databases are swapped") }
      if let exchange { try? Tree.remove(exchange.work.appending(Journal.name)) }
      throw error
    }
  }

  /// While the decisive rename's `from` exists, nothing is committed.
  private func isCommitted(_ journal: Journal, _ server: Server) async throws -> Bool {
    guard let decisive = journal.renames.last else { return true }
    let names = try await server.databases()
    if names.contains(decisive.from) { return false }
    if names.contains(decisive.to) { return true }
    throw Failure(
      .refused, "restore \(journal.id) is unfinished, and neither \(decisive.from) nor \(decisive.to) exists",
      hint: "look at the server's databases; the files are untouched in \(directory ?? "")/\(Tree.workDirectory)/\(journal.id)")
  }

  private func finish(_ journal: Journal, _ exchange: Exchange) throws {
    if let origin = journal.rollbackOf, let from = self.exchange(origin), try FileStatus.existing(from.tree) != nil {
      try Tree.rename(from.tree, exchange.tree)
    }
    try exchange.apply(journal.entries)
    if let root = journal.root {
      do { try exchange.directory.set(root) } catch { log.warning("\(exchange.directory): owner and mode not set: \(error)") }
    }
    var done = journal
    done.phase = .done
    try done.write(in: exchange.work)
    if let origin = journal.rollbackOf, let from = self.exchange(origin) { try Tree.remove(from.work) }
  }

  // MARK: After a crash

  /// Finishes every restore that was committed. Of those that were not, removes what they staged when `undoing`.
  ///
  /// - Throws: `Failure` 22 where it would have to write to a volume that is read-only.
  func finishInterrupted(undoing: Bool) async throws {
    for id in try restores() {
      guard let exchange = exchange(id) else { continue }
      guard let journal = try Journal.read(in: exchange.work) else {
        if undoing {
          log.info("restore \(id) never got to its swap: removing what it staged")
          try Tree.remove(exchange.work)
        }
        continue
      }
      if journal.phase == .replacing {
        if !undoing { throw incomplete(journal) }
        continue
      }
      if journal.phase == .done {
        // A rollback took its tree, or a discard was interrupted: nothing is kept here any more.
        if undoing, try FileStatus.existing(exchange.tree) == nil { try Tree.remove(exchange.work) }
        continue
      }
      if !journal.renames.isEmpty, server == nil {
        throw Failure(
          .refused, "restore \(id) of files and databases is unfinished, and no database is configured",
          hint: "set POSTGRES_DB and what goes with it, so that it can be finished")
      }
      if let server, try await !isCommitted(journal, server) {
        if undoing {
          log.info("restore \(id) was not committed: removing what it staged; nothing live was changed")
          try Tree.remove(exchange.work)
        }
        continue
      }
      do {
        try finish(journal, exchange)
        log.warning("restore \(id) was interrupted after its commit: finished now, the new state is complete")
      } catch let error as FileError where [EROFS, EACCES, EPERM].contains(error.number) {
        throw Failure(
          .refused, "restore \(id) was interrupted after its commit, and its files cannot be finished here: \(error)",
          hint: "run backup or restore in the backup-restore pod, which mounts the volume writable: either finishes it first")
      }
    }
    if undoing { try await dropStaging() }
  }

  /// An `--in-place` that never ended: the live files are neither the old ones nor the new ones.
  func incomplete(_ journal: Journal) -> Failure {
    let before = journal.safety.map { "; what was live before is set \($0)" } ?? ""
    return Failure(
      .refused, "\(directory ?? "") is incomplete: restore --in-place of \(journal.source ?? "") was interrupted",
      hint: "restore --in-place \(journal.source ?? "") finishes it\(before)")
  }

  func journal(_ id: SetID) throws -> Journal? { try exchange(id).flatMap { try Journal.read(in: $0.work) } }

  /// The newest `--in-place` that never ended.
  func replacing() throws -> Journal? { try unfinished().compactMap(journal).last { $0.phase == .replacing } }

  /// The files are whole again.
  func endReplacing() throws {
    while let journal = try replacing(), let exchange = exchange(journal.id) { try Tree.remove(exchange.work) }
  }

  private func dropStaging() async throws {
    guard let server else { return }
    for name in try await server.databases().sorted()
    where server.settings.names.contains(where: { DatabaseName.parse(name, live: $0)?.isStaging == true }) {
      log.info("dropping \(name), left by a restore that was not committed; nothing live was changed")
      try await server.drop(name)
    }
  }

  /// The second it is, unless a restore or rollback of that second left something: then the next one.
  func newID() async throws -> SetID {
    while true {
      let id = SetID(Date())
      let names = try await server?.databases() ?? []
      let taken = names.contains { name in server!.settings.names.contains { DatabaseName.parse(name, live: $0)?.id == id } }
      if !taken, try !restores().contains(id) { return id }
      try await Task.sleep(for: .milliseconds(100))
    }
  }

  /// The restores that left something on the volume, oldest first.
  private func restores() throws -> [SetID] {
    guard let directory else { return [] }
    let work = FilePath(directory).appending(Tree.workDirectory)
    guard try FileStatus.existing(work) != nil else { return [] }
    return try Tree.entries(work).compactMap { SetID($0.string) }.sorted()
  }

  // MARK: Previous states

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

extension Server {
  func drop(_ name: String) async throws {
    do {
      try await session.execute("ALTER DATABASE \(SQL.identifier(name)) IS_TEMPLATE false")
      try await session.execute("DROP DATABASE IF EXISTS \(SQL.identifier(name)) WITH (FORCE)")
    } catch let error as DatabaseError where error.state == "55000" || error.state == "3D000" {
      // An interrupted DROP leaves a database that can only be dropped (datconnlimit -2).
      try await session.execute("DROP DATABASE IF EXISTS \(SQL.identifier(name))")
    }
  }

  /// The same server through a new session, for a question after the old one broke.
  func reconnected() async throws -> Server {
    var last: any Error = CancellationError()
    for _ in 0..<10 {
      do { return try await Server.connect(settings, waits) } catch { last = error }
      try await Task.sleep(for: .seconds(1))
    }
    throw last
  }
}
