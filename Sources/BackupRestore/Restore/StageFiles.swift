import SystemPackage

/// A tree beside the live one.
extension Restore {
  func stage(_ files: FilesPart, _ ready: Ready) async throws -> (FilesEvidence, [String]) {
    if ready.readsBack { return try await readBack(files, ready) }
    return try await stage(files, ready, in: try ready.commit.makeExchange(ready.plan.id))
  }

  func stage(_ files: FilesPart, _ ready: Ready, in exchange: Exchange) async throws -> (FilesEvidence, [String]) {
    try exchange.work.make(Exchange.treeName)
    if files.evidence?.entries == 0 { return (FilesEvidence(), []) }
    try await context.repository(ready.plan.source.filesIn).restore(
      files.snapshot, into: exchange.work, Exchange.treeName, include: ready.plan.paths, total: files.evidence?.bytes,
      part: "files")
    try await blocking { try giveOwner(below: exchange.tree) }
    let result = try await FilesVerification(
      directory: exchange.tree, paths: ready.plan.paths, owner: configuration.files?.owner, evidence: files.evidence
    ).run(context.repository(ready.plan.source.filesIn), snapshot: files.snapshot)
    try await blocking { try exchange.work.syncFileSystem() }
    return result
  }

  func giveOwner(below directory: FilePath) throws {
    guard let owner = configuration.files?.owner else { return }
    try Tree.walk(directory, skipping: Tree.reserved) { try give($0, $1, to: owner) }
  }

  func give(_ path: FilePath, _ status: FileStatus, to owner: FilesSettings.Owner) throws {
    let attributes = FileAttributes(user: owner.user, group: owner.group, mode: status.mode)
    if status.type == "symlink" { try path.own(attributes) } else { try path.set(attributes) }
  }
}
