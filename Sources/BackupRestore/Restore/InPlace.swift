import SystemPackage

/// For volumes too full for two copies: what is live is saved as a set first, then replaced where it is.
extension Restore {
  func saveLive(_ ready: Ready) async throws -> SetID? {
    if let journal = try ready.commit.replacing() {
      let saved = ready.catalog.entries.first { $0.id == journal.safety }
      if !ready.plan.databases.isEmpty, saved?.databases.isEmpty != false {
        throw Failure(
          .refused, "an earlier --in-place was interrupted, and saved \(saved == nil ? "a set that is gone" : "the files alone")",
          hint: "restore --in-place --only files \(journal.source ?? "") finishes it; then restore the database")
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
        commit: ready.commit, quiesce: nil,
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

  /// The live files go first: restic's own `--delete` comes after the content, when a full volume has failed already.
  func overwrite(_ files: FilesPart, _ ready: Ready, _ staged: Staged, safety: SetID?) async throws -> Staged {
    let directory = FilePath(configuration.files!.directory)
    let paths = ready.plan.paths
    let marker = ready.commit.exchange(ready.plan.id)!
    try Tree.makeDirectory(marker.work)
    let journal = Journal(
      id: ready.plan.id, source: ready.plan.source.arguments, rollbackOf: nil, phase: .replacing, renames: [], paths: paths,
      entries: [],
      root: nil, rootBefore: nil, safety: safety)
    try journal.write(in: marker.work)
    do { return try await replace(files, directory, ready, staged) } catch {
      let failure = ready.commit.incomplete(journal)
      log.error("\(failure)")
      throw error
    }
  }

  private func replace(_ files: FilesPart, _ directory: FilePath, _ ready: Ready, _ staged: Staged) async throws -> Staged {
    let paths = ready.plan.paths
    try await blocking {
      let all = paths.isEmpty ? try Tree.entries(directory).filter { !Tree.reserved.contains($0.string) } : []
      for path in all.map({ directory.appending($0) }) + paths.map({ directory.appending(FilePath($0).components) }) {
        try Tree.remove(path)
      }
    }
    if files.evidence?.entries == 0 { return staged }
    try await context.repository(ready.plan.source.filesIn).restore(
      files.snapshot, to: directory.string, include: paths, total: files.evidence?.bytes, part: "files")
    try await blocking {
      if paths.isEmpty { return try giveOwner(below: directory) }
      for path in paths.map({ directory.appending(FilePath($0).components) }) {
        guard let owner = configuration.files?.owner, let status = try FileStatus.existing(path) else { continue }
        try give(path, status, to: owner)
        if status.isDirectory { try giveOwner(below: path) }
      }
    }
    let (evidence, differences) = try await FilesVerification(
      directory: directory, paths: paths, owner: configuration.files?.owner, evidence: files.evidence
    ).run(context.repository(ready.plan.source.filesIn), snapshot: files.snapshot)
    try await blocking { try Tree.syncFileSystem(directory) }
    var staged = staged
    staged.files = evidence
    staged.differences += differences.map { "files: " + $0 }
    return staged
  }
}
