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

  func filesProblems(_ files: FilesPart, _ commit: Commit, _ directory: String, _ paths: [String]) throws -> [Problem] {
    var problems: [Problem] = []
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
    if !options.drill { problems += try mountProblems(directory, paths) }
    return problems + ownerProblems(files, directory)
  }

  /// What the swap moves aside.
  private func liveEntries(_ directory: FilePath, _ paths: [String]) throws -> [FilePath] {
    if !paths.isEmpty { return paths.map { directory.appending(FilePath($0).components) } }
    return try Tree.entries(directory).filter { !Tree.reserved.contains($0.string) }.map { directory.appending($0) }
  }

  /// A directory is moved aside only by who may write to it, because its `..` changes (measured: EACCES in the middle of a swap);
  /// and out of a sticky directory only by an owner.
  private func moveProblems(_ directory: FilePath, _ paths: [String]) throws -> [Problem] {
    try liveEntries(directory, paths).compactMap { path in
      guard let status = try FileStatus.existing(path) else { return nil }
      let parent = path.removingLastComponent()
      let above = try parent.status()
      let isHeld = above.mode & 0o1000 != 0 && ![above.user, status.user].contains(geteuid()) && !Capabilities.canRestoreOwners
      let writable = { (path: FilePath) in path.withPlatformString { access($0, W_OK) } == 0 }
      if writable(parent), !status.isDirectory || writable(path), !isHeld { return nil }
      return Problem(
        "\(printable(path.string)) belongs to \(status.user):\(status.group), and user \(geteuid()) cannot move it aside",
        hint: "run as its owner, or as root with the capabilities CHOWN, FOWNER and DAC_OVERRIDE; or chown it first")
    }
  }

  /// `a/b` where `a` is a link would be exchanged somewhere else.
  private func linkProblems(_ directory: String, _ paths: [String]) throws -> [Problem] {
    try paths.compactMap { path in
      try Tree.obstacle(onTheWayTo: path, below: FilePath(directory)).map {
        Problem(
          "\(printable($0.string)) on the way to \(printable(path)) is not a directory",
          hint: "name in FILES_PATHS where it leads")
      }
    }
  }

  /// A mount point can neither be exchanged nor removed (EBUSY, measured): better said now than after staging, or with its content gone.
  private func mountProblems(_ directory: String, _ paths: [String]) throws -> [Problem] {
    let mounts = try String(decoding: Data(contentsOf: URL(filePath: "/proc/self/mountinfo")), as: UTF8.self)
      .split(separator: "\n").compactMap { $0.split(separator: " ").dropFirst(4).first.map { MountInfo.unescaped(String($0)) } }
    // The list can lack an entry while others come and go (measured, beside containers that start), so what is moved is asked itself.
    let moved = try liveEntries(FilePath(directory), paths).filter {
      $0.withPlatformString { linux_is_mount_point(AT_FDCWD, $0) } == 1
    }
    let listed = mounts.filter { mount in
      mount.hasPrefix(directory + "/")
        && (paths.isEmpty
          || paths.contains { (directory + "/" + $0 + "/").hasPrefix(mount + "/") || mount.hasPrefix(directory + "/" + $0 + "/") })
    }
    return Set(moved.map(\.string) + listed).sorted().map {
      Problem(
        "\(printable($0)) is a mount point inside what is restored, and cannot be replaced",
        hint: "name what to restore in FILES_PATHS without it, or unmount it")
    }
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

enum MountInfo {
  /// proc(5) writes space, tab, newline and backslash as three octal digits.
  static func unescaped(_ text: String) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")].reduce(text) { $0.replacing($1.0, with: $1.1) }
  }
}
