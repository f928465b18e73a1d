import SystemPackage

/// What was restored, how it differs from what was saved, and what of it the volume does not keep.
struct StagedFiles: Sendable {
  var evidence = FilesEvidence()
  var differences: [String] = []
  var limits = FilesLimits()
}

/// A tree beside the live one.
extension Staging {
  func stage(_ files: FilesPart) async throws -> StagedFiles {
    if plan.strategy == .readBack { return try await readBack(files) }
    return try await stage(files, in: try session.swap.makeExchange(id))
  }

  func stage(_ files: FilesPart, in exchange: Exchange) async throws -> StagedFiles {
    try exchange.work.make(Exchange.treeName)
    if files.evidence?.entries == 0 { return StagedFiles() }
    let limits = try await restoreTree(files, in: exchange)
    try await blocking { try giveOwner(below: exchange.tree) }
    let (evidence, differences) = try await FilesVerification(
      directory: exchange.tree, paths: plan.paths, isWhole: Set(plan.paths) == Set(files.paths),
      owner: configuration.files?.owner, evidence: files.evidence, limits: limits
    ).run(trees, snapshot: files.snapshot)
    try await blocking { try exchange.work.syncFileSystem() }
    return StagedFiles(evidence: evidence, differences: differences, limits: limits)
  }

  /// A set of before says nothing about its attributes, and no probe tries every value: what is refused only now is left out as well, and
  /// restic told to begin again. It reads what is there, and fetches no file twice.
  private func restoreTree(_ files: FilesPart, in exchange: Exchange) async throws -> FilesLimits {
    var limits = found.limits
    // Owners that are given afterwards are none of restic's business.
    let forgives = configuration.files?.owner != nil || plan.acceptsDifferences
    for _ in 1...Self.mostRounds {
      let (refusals, written) = try await trees.restore(
        files.snapshot, into: exchange.work, Exchange.treeName, include: plan.paths, without: limits.excluded,
        total: files.evidence?.bytes, part: "files")
      if refusals.count == 0 { return limits }
      if refusals.owners > 0, !forgives {
        throw Failure(
          .refused, "the volume refuses the owners of \(Format.count(refusals.owners, "entry", "entries"))",
          hint:
            "set FILES_OWNER=UID:GID of the application's user, or restore onto a volume that takes owners (NFS: no_root_squash)")
      }
      if refusals.nodes > 0, !plan.acceptsDifferences {
        throw Failure(
          .refused, "the volume refuses \(Format.count(refusals.nodes, "link or special file", "links or special files"))",
          hint: "restore onto a volume that takes them, or restore --accept-differences, which leaves them out")
      }
      let new = FilesLimits(attributes: refusals.attributes.filter { limits.attributes[$0.key] == nil })
      for line in new.lines(entries: 0) { log.warning("\(line.fact)\n  hint: \(line.hint)") }
      limits.attributes.merge(new.attributes) { $1 }
      // After an error restic verifies nothing; where a run finds nothing to write, it has found every byte right.
      if new.attributes.isEmpty, written == 0 { return limits }
    }
    throw Failure(
      .unexpected, "restic still finds something to write after \(Self.mostRounds) runs into the same tree",
      hint: "look at the volume (dmesg, its server's log): what is written there does not stay")
  }

  /// Each finds one more attribute of a file, at most.
  private static let mostRounds = 20

  private func giveOwner(below directory: FilePath) throws {
    guard let owner = configuration.files?.owner else { return }
    try Tree.walk(directory, skipping: Tree.reserved) { try give($0, $1, to: owner) }
  }

  private func give(_ path: FilePath, _ status: FileStatus, to owner: FilesSettings.Owner) throws {
    // On a volume that gives everything to one user not even that one may be named.
    let attributes = FileAttributes(user: owner.user, group: owner.group, mode: status.mode)
    if status.attributes.belongs(like: attributes) { return }
    if status.type == "symlink" { return try path.own(attributes) }
    // chown(2) takes it away.
    let capability = try ExtendedAttribute.value("security.capability", of: path)
    try path.set(attributes)
    if let capability { try ExtendedAttribute(name: "security.capability", value: capability).set(path) }
  }

  private var trees: Repository { invocation.repositories.repository(plan.source.filesIn) }

  /// Every file of the snapshot, decrypted and its hash verified by restic, and what is listed held against the evidence.
  private func readBack(_ files: FilesPart) async throws -> StagedFiles {
    if files.evidence?.entries == 0 { return StagedFiles() }
    let repository = trees
    let nowhere = try FileDescriptor.open("/dev/null", .writeOnly, options: .closeOnExec)
    try await repository.dump("/", of: files.snapshot, into: nowhere)
    let found = try await repository.evidence(of: files.snapshot)
    let isSame = files.evidence.map { $0.counts == found.counts && $0.bytes == found.bytes } ?? true
    return StagedFiles(evidence: found, differences: isSame ? [] : ["the snapshot holds other counts than its record says"])
  }
}
