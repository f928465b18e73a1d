import CLinux
import FoundationEssentials
import Glibc
import SystemPackage

/// What would keep the volume from taking a restore. Changes nothing.
struct FilesPreflight: Sendable {
  let plan: RestorePlan
  let files: FilesPart
  let session: Session

  private var repository: Repository { session.invocation.repositories.repository(plan.source.filesIn) }
  private var directory: String { session.configuration.files?.directory ?? FilesSettings.standardDirectory }

  /// A path that the set lacks would restore nothing and call it verified.
  func pathProblems() async throws -> [Problem] {
    if plan.paths.isEmpty { return [] }
    let missing = Locked(Set(plan.paths.map { "/" + $0 }))
    let top = Locked(Set<String>())
    if files.evidence?.entries != 0 {
      try await repository.list(files.snapshot) { node in
        guard let path = node.path else { return }
        missing.change { $0.remove(path) }
        if path.dropFirst().firstIndex(of: "/") == nil { top.change { if $0.count < 10 { $0.insert(String(path.dropFirst())) } } }
      }
    }
    return missing.value.sorted().map {
      Problem(
        "\(plan.source.title) does not hold \(printable(String($0.dropFirst())))",
        hint: "correct FILES_PATHS or --path; it holds \(top.value.sorted().map(printable).joined(separator: ", "))")
    }
  }

  /// For a restore: of what is live and of what is staged beside it.
  func problems() throws -> [Problem] {
    if let directory = session.directory {
      // Each is restored by a run of its own: nothing else is about this one.
      let mounts = try mountProblems(in: directory, leavingOut: \.isLeftOut)
      if !mounts.isEmpty { return mounts }
    }
    if let problem = try writingProblem() { return [problem] }
    let live = try swapProblems()
    return try live + (plan.isInPlace ? live.isEmpty ? roomInPlace() : [] : roomBeside()) + ownerProblems()
  }

  /// For what is staged alone.
  func stagingProblems() throws -> [Problem] {
    if let problem = try writingProblem() { return [problem] }
    return try roomBeside() + ownerProblems()
  }

  private func writingProblem() throws -> Problem? {
    do {
      if access(directory, W_OK) != 0 { throw FileError("access", directory) }
      _ = try session.swap.work()
      return nil
    } catch let failure as Failure where failure.problems.count == 1 { return failure.problems[0] } catch let error as FileError {
      return Self.unwritable(directory, error)
    }
  }

  static func unwritable(_ directory: String, _ error: any Error) -> Problem {
    Problem(
      "\(directory) cannot be written: \(error)", hint: "mount the volume writable, and run as a user that may write to it")
  }

  private func roomBeside() throws -> [Problem] {
    var problems: [Problem] = []
    let free = try Tree.free(directory)
    let bytes = files.evidence?.bytes ?? 0
    let entries = files.evidence?.entries ?? 0
    if bytes > free.bytes {
      problems.append(
        Problem(
          "the files need \(Format.bytes(bytes)) beside the live ones, and \(directory) has \(Format.bytes(free.bytes)) free",
          hint: "make room, discard what is kept (restore --status), or use --in-place"))
    }
    if let inodes = free.inodes, entries > inodes {
      problems.append(
        Problem("the files need \(entries) inodes, and \(directory) has \(inodes) free", hint: "make room, or use --in-place"))
    }
    return problems
  }

  /// What the volume does with the set's owners, modes, times and attributes, tried on scratch files; what can be done without is told.
  ///
  /// - Parameter swaps: whether what is staged is moved into place.
  func probe(swaps: Bool) async throws -> FilesProbe.Found {
    guard let directory = session.directory, files.evidence?.entries != 0 else { return .init() }
    let work: Directory?
    do { work = try session.swap.makeWork() } catch let error as FileError {
      return .init(problems: [Self.unwritable(directory.path.string, error)])
    }
    guard let work else { return .init() }
    var evidence = files.evidence ?? FilesEvidence()
    if evidence.kinds == nil {
      evidence = try await repository.evidence(of: files.snapshot)
      evidence.attributes = files.evidence?.attributes
    }
    let above = Set(plan.paths.map { FilePath($0).removingLastComponent() }.filter { !$0.isEmpty })
    let nested = try above.compactMap { try directory.parent(of: $0.appending("entry")) }
    let probe = FilesProbe(work: work, owner: session.configuration.files?.owner, evidence: evidence)
    var (found, refused): (FilesProbe.Found, Problem?) = (.init(), nil)
    do { found = try await blocking { try probe.run(parents: swaps ? [directory] + nested : []) } } catch let error as FileError {
      refused = Problem(
        "this volume refuses what a restore does to files: \(error)",
        hint: "mend what the error names, or restore onto another volume")
    }
    for line in found.limits.lines(entries: evidence.entries) { log.warning("\(line.fact)\n  hint: \(line.hint)") }
    if plan.acceptsDifferences {
      for problem in found.problems { log.warning("accepted: \(problem.fact)") }
      found.problems = []
    }
    // Nobody can accept what is not known.
    found.problems += refused.map { [$0] } ?? []
    return found
  }

  /// In place there is what is free and what becomes free: where that is too little, it would end with neither state.
  private func roomInPlace() throws -> [Problem] {
    guard !plan.acceptsDifferences, let directory = session.directory else { return [] }
    var room = try Tree.free(directory.reached.string).bytes
    // What an interrupted one has built goes first.
    if let journal = try session.swap.replacing() {
      try session.swap.exchange(journal.id)?.work.directory(Exchange.treeName)?.walk { room += $2.allocated }
    }
    for path in try directory.selected(plan.paths) {
      room += try directory.existing(at: path)?.allocated ?? 0
      try directory.directory(at: path)?.walk { room += $2.allocated }
    }
    // Of some entries the set's evidence is not asked.
    let bytes = Set(plan.paths) == Set(files.paths) ? files.evidence?.bytes ?? 0 : 0
    if bytes <= room { return [] }
    return [
      Problem(
        "the files need \(Format.bytes(bytes)), and \(printable(directory.path.string)) has \(Format.bytes(room)) without what is live",
        hint: "enlarge the volume; files with holes or several names need less: --accept-differences tries it"
      )
    ]
  }

  /// restic alone says nothing when it cannot set owners (measured), so it is tried beforehand. As root it fails where it may not
  /// give files away, whatever FILES_OWNER says: it sets the saved owner first (measured, 0.19.1).
  private func ownerProblems() -> [Problem] {
    let own = "\(geteuid()):\(getegid())"
    let saved = files.evidence?.owners ?? []
    let wanted = session.configuration.files?.owner.map { ["\($0.user):\($0.group)"] } ?? saved
    let isHarmless = { (owners: Set<String>) in owners == [own] || (owners.isEmpty && files.evidence != nil) }
    if Capabilities.canRestoreOwners || isHarmless(geteuid() == 0 ? saved.union(wanted) : wanted) { return [] }
    let shown = wanted.union(saved).sorted().prefix(5).joined(separator: ", ")
    let user = geteuid() == 0 ? "run as the files' own user with FILES_OWNER=UID:GID of it" : "set FILES_OWNER=\(own)"
    return [
      Problem(
        "the files belong to \(shown.isEmpty ? "others" : shown), and user \(own) may not give files away",
        hint: "\(user), or run as root with the capabilities CHOWN, FOWNER and DAC_OVERRIDE")
    ]
  }
}

/// What the kernel lets this process do.
enum Capabilities {
  /// CHOWN, DAC_OVERRIDE and FOWNER: with CHOWN alone, mode and time came out wrong without an error (measured).
  static var canRestoreOwners: Bool {
    guard let status = try? String(decoding: Data(contentsOf: URL(filePath: "/proc/self/status")), as: UTF8.self),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("CapEff:") }),
      let mask = UInt64(line.dropFirst(7).trimming(" \t"), radix: 16)
    else { return geteuid() == 0 }
    let needed: UInt64 = 1 << 0 | 1 << 1 | 1 << 3
    return mask & needed == needed
  }
}
