import CLinux
import FoundationEssentials
import Glibc
import SystemPackage

/// What would keep the volume from taking a restore.
extension Restore {
  /// A path that the set lacks would restore nothing and call it verified.
  func pathProblems(_ files: FilesPart, _ plan: Plan) async throws -> [Problem] {
    if plan.paths.isEmpty { return [] }
    let missing = Locked(Set(plan.paths.map { "/" + $0 }))
    let top = Locked(Set<String>())
    if files.evidence?.entries != 0 {
      try await context.repository(plan.source.filesIn).list(files.snapshot) { node in
        guard let path = node.path else { return }
        missing.change { $0.remove(path) }
        if path.dropFirst().firstIndex(of: "/") == nil { top.change { if $0.count < 10 { $0.insert(String(path.dropFirst())) } } }
      }
    }
    return missing.value.sorted().map {
      Problem(
        "\(plan.source.title) does not hold \(printable(String($0.dropFirst())))",
        hint: "correct FILES_PATHS; it holds \(top.value.sorted().map(printable).joined(separator: ", "))")
    }
  }

  func filesProblems(_ files: FilesPart, _ commit: Commit, _ directory: String, _ plan: Plan) throws -> [Problem] {
    let paths = plan.paths
    var problems: [Problem] = []
    if let open = commit.directory {
      let mounts = try mountProblems(open, plan)
      // Each is its own volume, whatever this one is.
      if !options.drill, !mounts.isEmpty { return mounts }
      if !mounts.isEmpty {
        log.warning("this set goes back by one restore for each volume: \(Failure(.refused, mounts))")
      }
    }
    do {
      if access(directory, W_OK) != 0 { throw FileError("access", directory) }
      if options.dryRun { _ = try commit.work() } else { try commit.makeWork() }
    } catch let failure as Failure { return failure.problems } catch {
      return [
        Problem(
          "\(directory) cannot be written: \(error)", hint: "mount the volume writable, and run as a user that may write to it")
      ]
    }
    if !options.drill { problems += try linkProblems(directory, paths) + moveProblems(FilePath(directory), paths) }
    if !options.drill, let open = commit.directory { problems += try Self.pinnedProblems(open, paths, deep: options.inPlace) }
    if !options.inPlace {
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
    }
    if options.inPlace, !options.acceptDifferences, problems.isEmpty, let open = commit.directory {
      problems += try roomProblems(files, commit, open, paths)
    }
    return problems + ownerProblems(files, directory)
  }

  /// In place there is what is free and what becomes free: where that is too little, it would end with neither state.
  private func roomProblems(_ files: FilesPart, _ commit: Commit, _ directory: Directory, _ paths: [String]) throws -> [Problem] {
    var room = try Tree.free(directory.reached.string).bytes
    // What an interrupted one has built goes first.
    if let journal = try commit.replacing() {
      try commit.exchange(journal.id)?.work.directory(Exchange.treeName)?.walk { room += $2.allocated }
    }
    for path in try directory.selected(paths) {
      room += try directory.existing(at: path)?.allocated ?? 0
      try directory.directory(at: path)?.walk { room += $2.allocated }
    }
    // Of some entries the set's evidence is not asked.
    let bytes = Set(paths) == Set(files.paths) ? files.evidence?.bytes ?? 0 : 0
    if bytes <= room { return [] }
    return [
      Problem(
        "the files need \(Format.bytes(bytes)), and \(printable(directory.path.string)) has \(Format.bytes(room)) without what is live",
        hint: "enlarge the volume; files with holes or several names need less: --accept-differences tries it"
      )
    ]
  }

  /// What the volume does with the set's owners, modes, times and attributes, tried on scratch files; what can be done without is told.
  func probe(_ files: FilesPart, _ commit: Commit, _ plan: Plan) async throws -> FilesProbe.Found {
    guard let work = try commit.makeWork(), let directory = commit.directory, files.evidence?.entries != 0 else { return .init() }
    var evidence = files.evidence ?? FilesEvidence()
    if evidence.kinds == nil {
      evidence = try await context.repository(plan.source.filesIn).evidence(of: files.snapshot)
      evidence.attributes = files.evidence?.attributes
    }
    let above = Set(plan.paths.map { FilePath($0).removingLastComponent() }.filter { !$0.isEmpty })
    let nested = try above.compactMap { try directory.parent(of: $0.appending("entry")) }
    let probe = FilesProbe(work: work, owner: configuration.files?.owner, evidence: evidence)
    var found = try await blocking { try probe.run(parents: options.drill ? [] : [directory] + nested) }
    for line in found.limits.lines(entries: evidence.entries) { log.warning("\(line.fact)\n  hint: \(line.hint)") }
    if options.acceptDifferences {
      for problem in found.problems { log.warning("accepted: \(problem.fact)") }
      found.problems = []
    }
    return found
  }

  /// restic alone says nothing when it cannot set owners (measured), so it is tried beforehand. As root it fails where it may not
  /// give files away, whatever FILES_OWNER says: it sets the saved owner first (measured, 0.19.1).
  private func ownerProblems(_ files: FilesPart, _ directory: String) -> [Problem] {
    let own = "\(geteuid()):\(getegid())"
    let saved = files.evidence?.owners ?? []
    let wanted = configuration.files?.owner.map { ["\($0.user):\($0.group)"] } ?? saved
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
