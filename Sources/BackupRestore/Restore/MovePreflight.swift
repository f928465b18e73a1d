import Glibc
import SystemPackage

/// What would keep the live files from being moved aside.
extension FilesPreflight {
  func swapProblems() throws -> [Problem] {
    guard let directory = session.directory else { return [] }
    return try linkProblems() + moveProblems() + Self.pinnedProblems(directory, plan.paths, deep: plan.isInPlace)
  }

  /// What the swap moves aside.
  private func liveEntries() throws -> [FilePath] {
    guard let directory = session.directory else { return [] }
    let names = plan.paths.isEmpty ? try directory.selected([]) : plan.paths.map { FilePath($0) }
    return names.map { directory.path.appending($0.components) }
  }

  /// A directory is moved aside only by its owner or who may write to it, because its `..` changes (measured: EACCES in the middle of a swap);
  /// and out of a sticky directory only by an owner.
  private func moveProblems() throws -> [Problem] {
    try liveEntries().compactMap { path in
      guard let status = try FileStatus.existing(path) else { return nil }
      let parent = path.removingLastComponent()
      let above = try parent.status()
      let isHeld = above.mode & 0o1000 != 0 && ![above.user, status.user].contains(geteuid()) && !Capabilities.canRestoreOwners
      let writable = { (path: FilePath) in path.withPlatformString { access($0, W_OK) } == 0 }
      if writable(parent), !status.isDirectory || status.user == geteuid() || writable(path), !isHeld { return nil }
      return Problem(
        "\(printable(path.string)) belongs to \(status.user):\(status.group), and user \(geteuid()) cannot move it aside",
        hint: "run as its owner, or as root with the capabilities CHOWN, FOWNER and DAC_OVERRIDE; or chown it first")
    }
  }

  /// `a/b` where `a` is a link would be exchanged somewhere else.
  private func linkProblems() throws -> [Problem] {
    guard let directory = session.directory else { return [] }
    return try plan.paths.compactMap { path in
      try Tree.obstacle(onTheWayTo: path, below: directory.path).map {
        Problem(
          "\(printable($0.string)) on the way to \(printable(path)) is not a directory",
          hint: "name in FILES_PATHS where it leads")
      }
    }
  }

  /// What chattr(1) has pinned (+i, +a) no rename moves, and the swap would stop in its middle; in place also what lies deeper would stay,
  /// and the rest be gone. Not every file system tells: where none does, the swap takes itself back.
  static func pinnedProblems(_ directory: Directory, _ paths: [String], deep: Bool) throws -> [Problem] {
    var pinned: [FilePath] = []
    let ask = { (place: Directory, name: Directory.Name) in
      if place.isPinned(name) { pinned.append(place.path.appending(name)) }
    }
    if directory.isPinned() { pinned.append(directory.path) }
    for path in try directory.selected(paths) {
      var place: Directory? = directory
      for name in path.components {
        guard let there = place else { break }
        ask(there, name)
        place = try there.directory(name)
      }
      if deep { try place?.walk { place, name, _ in ask(place, name) } }
    }
    if pinned.isEmpty { return [] }
    let shown = pinned.map { printable($0.string) }
    return [
      Problem(
        "\(shown.prefix(5).joined(separator: ", "))\(pinned.count > 5 ? " and \(pinned.count - 5) more" : "") cannot be moved: immutable or append-only (lsattr)",
        hint:
          "as root with the capability LINUX_IMMUTABLE, on the node where the pod has not: chattr -i -a \(pinned.prefix(5).map { Format.shell($0.string) }.joined(separator: " "))\(pinned.count > 5 ? " …" : ""); set it again afterwards"
      )
    ]
  }

  /// A mount point can neither be exchanged nor removed (EBUSY, measured): better said now than after staging, or with its content gone.
  /// What lies on it is restored by a run of its own, whose staging lies there, too.
  ///
  /// - Parameter isLeftOut: which of them stay as they are, where everything is restored.
  func mountProblems(in directory: Directory, leavingOut isLeftOut: (Mount) -> Bool) throws -> [Problem] {
    let mounts = try Mount.below(directory, steps: plan.paths).filter { mount in
      plan.paths.isEmpty || plan.paths.contains { mount.holds($0) || mount.lies(in: $0) }
    }
    let leftOut = plan.paths.isEmpty ? mounts.filter(isLeftOut) : []
    if !leftOut.isEmpty {
      log.warning(
        "\(leftOut.map { printable($0.path) }.joined(separator: ", ")): another volume, read-only or snapshots, and stays as it is"
      )
    }
    if mounts.count == leftOut.count { return [] }
    let paths = { (paths: [String]) in
      let outer = session.configuration.files?.mounted.map { $0 + "/" } ?? ""
      return "FILES_PATHS=" + Format.shell(paths.map { outer + $0 }.joined(separator: ","))
    }
    var problems = mounts.filter { !leftOut.contains($0) }.map { mount in
      Problem(
        "\(printable(directory.path.appending(FilePath(mount.path).components).string)) is a mount point inside what is restored, and cannot be replaced with the rest",
        hint: mount.isReadOnly
          ? "it is read-only: leave it out of FILES_PATHS"
          : "what the set has of it is restored by \(paths([mount.path])) restore --only files \(plan.source.name)")
    }
    let others = try directory.selected(plan.paths).map(\.string).filter { path in
      !mounts.contains { $0.holds(path) || $0.lies(in: path) }
    }
    if !others.isEmpty {
      problems.append(
        Problem(
          "\(Format.count(others.count, "entry is", "entries are")) on none of them",
          hint: "restored by \(paths(others.sorted())) restore --only files \(plan.source.name)"))
    }
    if !plan.databases.isEmpty {
      problems.append(
        Problem("the database goes with none of them", hint: "last: restore --only database \(plan.source.name)"))
    }
    return problems
  }
}
