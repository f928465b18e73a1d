import SystemPackage

/// What restores left, as far as a backup is concerned: it finishes what was committed, and doubts a set of what is not complete.
struct EarlierRestores: Sendable {
  let session: Session

  private var swap: Swap { session.swap }

  /// The application could stop every backup with a name in its own directory.
  ///
  /// - Returns: whether something there is not the toolkit's.
  func finish(dryRun: Bool) async throws -> Bool {
    do {
      for swap in try [swap] + volumes().map(\.swap) {
        if dryRun { _ = try swap.unfinished() } else { try await swap.finishInterrupted(undoing: false) }
      }
      return false
    } catch let failure as Failure where failure.cause == .foreign {
      for problem in failure.problems {
        log.error(
          "\(problem.fact): no restore is finished or rolled back by it, and the set is saved without it\n  hint: \(problem.hint)"
        )
      }
      return true
    }
  }

  /// The other volumes below: a restore of one of them keeps its journal there.
  private func volumes() throws -> [(mount: Mount, swap: Swap)] {
    guard let directory = session.directory, let files = session.configuration.files else { return [] }
    let mounts = try Mount.below(directory, steps: files.paths).filter { mount in
      files.paths.isEmpty || files.paths.contains { mount.holds($0) || mount.lies(in: $0) }
    }
    return try mounts.compactMap { mount in
      try directory.directory(at: FilePath(mount.path)).map { (mount, Swap(directory: $0, server: session.server)) }
    }
  }

  /// An `--in-place` that never ended, and of what: what is live is not complete.
  func incomplete() throws -> (failure: Failure, source: String)? {
    if let journal = try swap.replacing() { return (swap.incomplete(journal), journal.restored) }
    for (mount, swap) in try volumes() {
      guard let journal = try swap.replacing() else { continue }
      let problem = swap.incomplete(journal).problems[0]
      let failure = Failure(.refused, problem.fact, hint: "with FILES_PATHS=\(Format.shell(mount.path)): \(problem.hint)")
      return (failure, journal.restored)
    }
    return nil
  }

  /// The night that a set is made, not on the day that it is needed.
  func tellVolumes() throws {
    let mounts = try volumes().map(\.mount)
    let own = mounts.filter { !$0.isSnapshots }
    if let first = own.first, let directory = session.directory {
      let names = own.map { printable($0.path) }.joined(separator: ", ")
      let command = "FILES_PATHS=\(Format.shell(first.path)) restore --only files"
      log.info(
        "\(names): mount points in \(printable(directory.path.string)), each restored by a run of its own: \(command)")
    }
    if mounts.contains(where: \.isSnapshots) { log.info(".snapshot is left out: the volume's own snapshots") }
  }
}
