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
      var journal = journal
      let exchange = journal.entries.isEmpty && journal.root == nil ? nil : exchange(journal.id)
      if let server, !journal.renames.isEmpty { journal.databases = try await server.identities() }
      if let exchange {
        try Tree.makeDirectory(exchange.work)
        try journal.write(in: exchange.work)
      }
      if !journal.renames.isEmpty { try await rename(journal, exchange) }
      guard let exchange else { return }
      do { try finish(journal, exchange) } catch let error as FileError {
        throw Failure(
          .unexpected, "the restore is committed, but its files are not all in place yet: \(error)",
          hint:
            "mend what the error names, then run restore --status and backup: that finishes it first, as the next restore does")
      }
    }.value
  }

  private func rename(_ journal: Journal, _ exchange: Exchange?) async throws {
    guard let server else { return }
    do {
      try await server.rename(journal.renames, comments: try await comments(journal, server, withFiles: exchange != nil))
    } catch {
      // The answer may be lost although the rename happened: the names tell.
      let truth: Bool
      do { truth = try await isCommitted(journal, try await server.answering(wait: .seconds(60))) } catch let unknown {
        throw Failure(
          .verificationFailed, "the swap's answer was lost (\(error)), and the server cannot be asked: \(unknown)",
          hint: "run restore --status when the server is back; the next restore finishes or undoes it")
      }
      if truth { return log.warning("the connection broke during the swap, but the databases are swapped") }
      if let exchange { try? Tree.remove(exchange.work.appending(Journal.name)) }
      throw error
    }
  }

  /// A database that is kept says what belongs to it, and one that comes back says it no more.
  private func comments(_ journal: Journal, _ server: Server, withFiles: Bool) async throws -> [String] {
    let comments = try await server.comments()
    let kept = journal.renames.filter { DatabaseName.isPrevious($0.to) }
    let mark = KeptMark(files: withFiles ? directory : nil, databases: kept.map(\.from), safety: journal.safety)
    return journal.renames.compactMap { rename in
      let comment = comments[rename.from] ?? nil
      if DatabaseName.isPrevious(rename.to) { return KeptMark.statement(rename.to, mark.added(to: comment)) }
      if DatabaseName.isPrevious(rename.from) { return KeptMark.statement(rename.to, KeptMark.removed(from: comment)) }
      return nil
    }
  }

  /// By the OIDs: the databases that come are live, or nothing has got another name. The names alone would not do: where somebody drops
  /// staging or renames the databases back, they look like those of a commit.
  ///
  /// - Throws: `Failure` 22 where neither is so.
  func isCommitted(_ journal: Journal, _ server: Server) async throws -> Bool {
    if journal.renames.isEmpty { return true }
    let now = try await server.identities()
    let hint =
      "look at the server's databases; what was staged or replaced is in \(directory ?? "FILES_DIRECTORY")/\(Tree.workDirectory)/\(journal.id)"
    guard let then = journal.databases, then.system == now.system else {
      throw Failure(
        .refused, "restore \(journal.id) is unfinished, and began on another server", hint: "set POSTGRES_HOST to that; \(hint)")
    }
    let moved = journal.renames.filter { rename in then.oids[rename.from].map { now.oids[rename.to] == $0 } ?? false }
    if journal.renames.filter({ !DatabaseName.isPrevious($0.to) }).allSatisfy(moved.contains) { return true }
    if moved.isEmpty { return false }
    throw Failure(
      .refused,
      "restore \(journal.id) is unfinished, and of its databases only \(moved.map(\.to).joined(separator: ", ")) is where the swap put it",
      hint: hint)
  }

  /// Whether what is live is neither the old state nor the new one as a whole: a commit whose files are not all in place yet, or an
  /// `--in-place` that never ended.
  func isMixed() async throws -> Bool {
    for journal in try unfinished().compactMap(journal) {
      if journal.phase == .replacing || journal.renames.isEmpty { return true }
      guard let server else { return true }
      if try await isCommitted(journal, try await server.answering()) { return true }
    }
    return false
  }

  /// Scales the application back, but only over the old state or the new one as a whole.
  ///
  /// - Returns: whether it is as it was.
  func resume(_ quiesce: Quiesce?) async -> Bool {
    guard let quiesce else { return true }
    // A task of its own: it is on the way out after SIGTERM too.
    let mixed = Task { try await isMixed() }
    switch await mixed.result {
    case .success(false): return await quiesce.resume()
    case .success(true):
      let problem = ((try? replacing()) ?? nil).map(incomplete)
      log.error(
        "the application stays down: \(problem?.description ?? "what is live is not whole yet\n  hint: mend what the lines above name, then run restore --resume-application, which finishes it first")"
      )
    case .failure(let error):
      log.error(
        "the application stays down: whether what is live is whole cannot be told (\(error))\n  hint: restore --resume-application, when that can be asked"
      )
    }
    return false
  }

  func finish(_ journal: Journal, _ exchange: Exchange) throws {
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
}
