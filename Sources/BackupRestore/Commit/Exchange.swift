import Glibc
import SystemPackage

/// The files' side of a swap: entries of FILES_DIRECTORY change places with those of a tree beside them.
///
/// Entry by entry, always: FILES_DIRECTORY is usually a mount point, which cannot be renamed (EBUSY), and keeping the directory
/// itself keeps its lock, its mount and the application's open handle on it.
struct Exchange: Sendable {
  let directory: FilePath
  /// `.backup-restore/ID`.
  let work: FilePath
  /// False where tests want to see the way of file systems that cannot exchange (NFS).
  var exchanges = true

  var tree: FilePath { work.appending("tree") }

  /// What has to be exchanged so that `paths` (or everything) below the directory becomes what `source` holds.
  func entries(from source: FilePath, paths: [String]) throws -> [Journal.Entry] {
    let names: [FilePath]
    if paths.isEmpty {
      let all = try (FileStatus.existing(source) == nil ? [] : Tree.entries(source)) + Tree.entries(directory)
      let unreserved = Set(all.filter { !Tree.reserved.contains($0.string) }.map { FilePath(root: nil, [$0]) })
      names = unreserved.sorted { $0.encoded < $1.encoded }
    } else {
      names = paths.map { FilePath($0) }
    }
    return try names.compactMap { name in
      let staged = try FileStatus.existing(source.appending(name.components)).map(Journal.Identity.init)
      let live = try FileStatus.existing(directory.appending(name.components)).map(Journal.Identity.init)
      return staged == nil && live == nil ? nil : Journal.Entry(path: name.encoded, staged: staged, live: live)
    }
  }

  /// Whether nothing of them was carried out: none that comes is live, none that goes is aside.
  func isUntouched(_ entries: [Journal.Entry]) throws -> Bool {
    try entries.enumerated().allSatisfy { index, entry in
      guard let bytes = percentDecoded(entry.path) else { return true }
      let name = FilePath(bytes: bytes).components
      if try FileStatus.existing(work.appending("held.\(index)")) != nil { return false }
      guard let staged = entry.staged else { return try FileStatus.existing(tree.appending(name)) == nil }
      return try FileStatus.existing(directory.appending(name)).map(Journal.Identity.init) != staged
    }
  }

  /// Carries out what is left; safe to run again after any interruption.
  func apply(_ entries: [Journal.Entry]) throws {
    for (index, entry) in entries.enumerated() {
      guard let bytes = percentDecoded(entry.path) else { continue }
      let name = FilePath(bytes: bytes)
      try apply(entry, name, held: work.appending("held.\(index)"))
    }
    try Tree.syncFileSystem(directory)
  }

  private func apply(_ entry: Journal.Entry, _ name: FilePath, held: FilePath) throws {
    let live = directory.appending(name.components)
    let aside = tree.appending(name.components)
    let present = try FileStatus.existing(live).map(Journal.Identity.init)
    if let staged = entry.staged {
      if present != staged {
        try prepareParents(of: name)
        if present != nil {
          try exchange(aside, live, held: held)
        } else {
          try Tree.rename(aside, live)
        }
      }
      // The second half of an exchange by two renames.
      if try FileStatus.existing(held) != nil { try Tree.rename(held, aside) }
    } else if let gone = entry.live, present == gone {
      try prepareParents(of: name, in: tree)
      try Tree.rename(live, aside)
    }
  }

  private func exchange(_ aside: FilePath, _ live: FilePath, held: FilePath) throws {
    let byRenames = {
      try Tree.rename(live, held)
      try Tree.rename(aside, live)
    }
    if exchanges { try Tree.exchange(aside, live, unsupported: byRenames) } else { try byRenames() }
  }

  /// Directories above a nested FILES_PATHS entry: made where they are missing, with the other side's owner and mode.
  private func prepareParents(of name: FilePath) throws { try prepareParents(of: name, from: tree, in: directory) }
  private func prepareParents(of name: FilePath, in side: FilePath) throws {
    try prepareParents(of: name, from: directory, in: side)
  }

  private func prepareParents(of name: FilePath, from other: FilePath, in side: FilePath) throws {
    var (path, model) = (side, other)
    try Tree.makeDirectory(side)
    for component in name.components.dropLast() {
      path.append(component)
      model.append(component)
      guard try FileStatus.existing(path) == nil else { continue }
      try Tree.makeDirectory(path)
      if let status = try FileStatus.existing(model) { try? path.set(status.attributes) }
    }
  }
}
