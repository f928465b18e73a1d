import FoundationEssentials
import Glibc
import SystemPackage

/// The swap of a restore or rollback, and what a run after a crash does about it.
struct Swap: Sendable {
  /// FILES_DIRECTORY; nil: databases only.
  let directory: Directory?
  let server: Server?

  /// `.backup-restore`; nil where there is none.
  ///
  /// - Throws: `Failure` 22, `.foreign`, where it is not the toolkit's, here as in all that follows.
  func work() throws -> Directory? { try directory?.own(Tree.workName) }

  @discardableResult
  func makeWork() throws -> Directory? { try directory?.makeOwn(Tree.workName) }

  /// Of a restore that left something on the volume; nil where it did not.
  func exchange(_ id: RestoreID) throws -> Exchange? {
    guard let directory, let work = try work()?.own(id.name) else { return nil }
    return Exchange(directory: directory, work: work)
  }

  /// Of a restore that begins.
  func makeExchange(_ id: RestoreID) throws -> Exchange {
    guard let directory, let work = try makeWork()?.makeOwn(id.name) else {
      throw Failure(.refused, "there is no FILES_DIRECTORY", hint: "set it, or restore with --only database")
    }
    return Exchange(directory: directory, work: work)
  }

  /// Everything that a restore left on the volume.
  func remove(_ id: RestoreID) throws { try work()?.remove(id.name) }

  /// Swaps. The renaming of the databases is the commit point; for files alone the journal is.
  ///
  /// Runs to its end even when the task is cancelled: it takes well under a second, and half of it would have to be finished
  /// by the next run.
  ///
  /// - Parameters:
  ///   - staged: where the files were staged; nil: what comes is there already, or no files do.
  ///   - opening: what makes the databases that come the application's: before, they are closed, and no run finds them half open.
  /// - Returns: itself, with the session that answered last.
  @discardableResult
  func run(_ journal: SwapJournal, _ staged: Exchange? = nil, opening: [String] = []) async throws -> Swap {
    try await Task {
      var journal = journal
      journal.swapped = Format.time(Date())
      let exchange = journal.entries.isEmpty && journal.root == nil ? nil : try staged ?? makeExchange(journal.id)
      if let server, !journal.renames.isEmpty { journal.databases = try await server.identities(of: journal.renames.map(\.from)) }
      try exchange.map { try journal.write(in: $0.work) }
      let answering = journal.renames.isEmpty ? server : try await rename(journal, exchange, opening)
      if let exchange {
        do { try finish(journal, exchange) } catch { throw await takenBack(journal, exchange, answering, error) }
      }
      return Swap(directory: directory, server: answering)
    }.value
  }

  /// Out of the way first, then in.
  static func renames(from: String, to: String, keeping previous: String, live: Set<String>) -> [Server.Rename] {
    (live.contains(to) ? [.init(from: to, to: previous)] : []) + [.init(from: from, to: to)]
  }

  /// - Throws: `Failure` where the files cannot be exchanged now.
  func finishOrExplain(_ journal: SwapJournal, _ exchange: Exchange) throws {
    do { try finish(journal, exchange) } catch let error as FileError {
      throw unfinished(journal, error, isElsewhere: [EROFS, EACCES, EPERM].contains(error.number))
    }
  }

  /// - Parameter isElsewhere: another pod may do better than this one.
  func unfinished(_ journal: SwapJournal, _ error: FileError, isElsewhere: Bool) -> Failure {
    Failure(
      isElsewhere ? .refused : .unexpected,
      "restore \(journal.id) is committed, but its files are not all in place yet: \(error)",
      hint: isElsewhere
        ? "run backup or restore in the backup-restore pod, which mounts the volume writable: either finishes it first\(Self.pinned(error))"
        : "mend what the error names\(Self.pinned(error)), then run backup: that finishes it first, as the next restore does")
  }

  /// What root itself may not, chattr(1) has forbidden, most likely.
  static func pinned(_ error: FileError) -> String {
    error.number == EPERM ? " (lsattr shows what is immutable or append-only; chattr -i -a ends that)" : ""
  }

  /// - Returns: the server, through another session where that one broke.
  private func rename(_ journal: SwapJournal, _ exchange: Exchange?, _ opening: [String]) async throws -> Server? {
    guard let server else { return nil }
    do {
      let comments = try await comments(journal, server, withFiles: exchange != nil)
      try await server.rename(journal.renames, with: comments + opening)
      return server
    } catch {
      // The answer may be lost although the rename happened: the server tells.
      do {
        let other = try await server.answering(wait: .seconds(60))
        if try await isCommitted(journal, other) {
          log.warning("the connection broke during the swap, but the databases are swapped")
          return other
        }
      } catch let unknown {
        throw Failure(
          .unexpected, "the swap's answer was lost (\(error)), and the server cannot be asked: \(unknown)",
          hint: "run restore --status when the server is back; the next restore finishes or undoes it")
      }
      if let exchange { try? exchange.work.remove(SwapJournal.name) }
      throw error
    }
  }

  /// A database that is kept says what belongs to it, and one that comes back says it no more.
  func comments(_ journal: SwapJournal, _ server: Server, withFiles: Bool, isTakenBack: Bool = false) async throws -> [String] {
    let kept = journal.renames.filter { DatabaseName.isPrevious($0.to) }
    let mark = RestoreMarker(
      files: withFiles ? directory?.path.string : nil, databases: kept.map(\.from), safety: journal.safety,
      source: isTakenBack ? nil : journal.source, rollbackOf: isTakenBack ? nil : journal.rollbackOf,
      swapped: isTakenBack ? nil : journal.swapped)
    var statements: [String] = []
    for rename in journal.renames {
      let comment = try await server.comment(rename.from)
      if DatabaseName.isPrevious(rename.to) { statements.append(RestoreMarker.statement(rename.to, mark.added(to: comment))) }
      if DatabaseName.isPrevious(rename.from) {
        statements.append(RestoreMarker.statement(rename.to, RestoreMarker.removed(from: comment)))
      }
    }
    return statements
  }

  /// By the OIDs: the databases that come are live, or nothing has got another name. The names alone would not do: where somebody drops
  /// staging or renames the databases back, they look like those of a commit.
  ///
  /// - Throws: `Failure` 22 where neither is so.
  func isCommitted(_ journal: SwapJournal, _ server: Server) async throws -> Bool {
    if journal.renames.isEmpty { return true }
    let (then, system) = (journal.databases, try await server.system())
    guard let then, then.system == nil || system == nil || then.system == system else {
      throw Failure(
        .refused, "restore \(journal.id) is unfinished, and began on another server",
        hint: "set POSTGRES_HOST to that; \(wayOut(journal.id))")
    }
    var moved: [Server.Rename] = []
    for rename in journal.renames {
      guard let oid = then.oids[rename.from], let name = try await server.name(ofDatabase: oid) else { continue }
      // What came may have been replaced since, where the volume was not mounted.
      if name == rename.to || (name != rename.from && DatabaseName.isPrevious(name)) { moved.append(rename) }
    }
    if journal.renames.filter({ !DatabaseName.isPrevious($0.to) }).allSatisfy(moved.contains) { return true }
    if moved.isEmpty { return false }
    throw Failure(
      .refused,
      "restore \(journal.id) is unfinished, and of its databases only \(moved.map(\.to).joined(separator: ", ")) is where the swap put it",
      hint: wayOut(journal.id))
  }

  /// For what no run can decide: never a dead end.
  func wayOut(_ id: RestoreID) -> String {
    let work = "\(directory.map { printable($0.path.string) } ?? "FILES_DIRECTORY")/\(Tree.workDirectory)/\(id)"
    return
      "where that cannot be: look at the databases and the files, take from \(work)/tree what the files lack, and move \(work) away"
  }

  /// Whether what is live is neither the old state nor the new one as a whole: a commit whose files are not all in place yet, or an
  /// `--in-place` that never ended.
  ///
  /// - Parameter ignoringForeign: what is not the toolkit's own says nothing: no name that the application plants keeps it down every night.
  func isMixed(ignoringForeign: Bool = false) async throws -> Bool {
    let journals: [SwapJournal]
    do { journals = try unfinished().compactMap(journal) } catch let failure as Failure
      where failure.cause == .foreign && ignoringForeign
    { return false }
    for journal in journals {
      if journal.phase == .replacing || journal.renames.isEmpty { return true }
      guard let server else { return true }
      if try await isCommitted(journal, try await server.answering()) { return true }
    }
    return false
  }

  func finish(_ journal: SwapJournal, _ exchange: Exchange) throws {
    if let origin = journal.rollbackOf, let from = try self.exchange(origin), try from.hasTree {
      try from.work.rename(Exchange.treeName, to: exchange.work, Exchange.treeName)
    }
    try exchange.apply(journal.entries)
    if let root = journal.root {
      do { try exchange.directory.set(root) } catch { log.warning("owner and mode not set: \(error)") }
    }
    var done = journal
    done.phase = .done
    try done.write(in: exchange.work)
    if let origin = journal.rollbackOf { try remove(origin) }
  }
}

extension RestoreID {
  /// Of its directory.
  var name: Directory.Name { Directory.Name(made: text) }
}
