import Glibc
import SystemPackage

/// The files' side of a swap: entries of FILES_DIRECTORY change places with those of a tree beside them.
///
/// Entry by entry, always: FILES_DIRECTORY is usually a mount point, which cannot be renamed (EBUSY), and keeping the directory
/// itself keeps its lock, its mount and the application's open handle on it. Each by a name in directories that are held open: whatever
/// the application does to the path meanwhile, nothing is reached through a link of its.
struct Exchange: Sendable {
  let directory: Directory
  /// `.backup-restore/ID`.
  let work: Directory
  /// False where tests want to see the way of file systems that cannot exchange (NFS).
  var exchanges = true

  static let treeName: Directory.Name = "tree"

  /// Where programs and calls that take a path find the tree, whoever renames or replaces what leads to it.
  var tree: FilePath { work.reached.appending(Self.treeName) }

  var hasTree: Bool { get throws { try work.existing(Self.treeName) != nil } }

  /// What has to be exchanged so that `paths` (or everything) below the directory becomes what the tree of `source` holds.
  func entries(from source: Directory, paths: [String]) throws -> [SwapJournal.Entry] {
    let tree = try source.directory(Self.treeName)
    let names: [FilePath]
    if paths.isEmpty {
      let all = try (tree?.entries() ?? []) + directory.entries()
      // What is mounted there is no entry to be moved: a read-only volume stays as it is, others are refused beforehand.
      let unreserved = Set(
        all.filter { !Tree.reserved.contains($0.string) && !directory.isMountPoint($0) }.map { FilePath(root: nil, [$0]) })
      names = unreserved.sorted { $0.encoded < $1.encoded }
    } else {
      names = paths.map { FilePath($0) }
    }
    return try names.compactMap { name in
      let staged = try tree?.existing(at: name).map(SwapJournal.Identity.init)
      let live = try directory.existing(at: name).map(SwapJournal.Identity.init)
      return staged == nil && live == nil ? nil : SwapJournal.Entry(path: name.encoded, staged: staged, live: live)
    }
  }

  private static func held(_ index: Int) -> Directory.Name { Directory.Name(made: "held.\(index)") }

  /// Whether nothing of them was carried out: none that comes is live, none that goes is aside.
  func isUntouched(_ entries: [SwapJournal.Entry]) throws -> Bool {
    let tree = try work.directory(Self.treeName)
    return try entries.enumerated().allSatisfy { index, entry in
      guard let name = entry.name else { return true }
      if try work.existing(Self.held(index)) != nil { return false }
      guard let staged = entry.staged else { return try tree?.existing(at: name) == nil }
      return try directory.existing(at: name).map(SwapJournal.Identity.init) != staged
    }
  }

  /// Carries out what is left; safe to run again after any interruption.
  func apply(_ entries: [SwapJournal.Entry]) throws {
    if !entries.isEmpty {
      try work.make(Self.treeName)
      let tree = try work.open(Self.treeName)
      for (index, entry) in entries.enumerated() {
        guard let name = entry.name else { continue }
        try apply(entry, name, tree, held: Self.held(index))
      }
    }
    try directory.syncFileSystem()
  }

  /// Brings back what was, whatever of `entries` was carried out.
  func undo(_ entries: [SwapJournal.Entry]) throws {
    guard let tree = try work.directory(Self.treeName) else { return }
    for (index, entry) in entries.enumerated() {
      guard let path = entry.name, let name = path.lastComponent else { continue }
      // Between the two renames of an exchange what goes is in neither place.
      if try work.existing(Self.held(index)) != nil {
        let isMissing = try directory.existing(at: path) == nil
        let place = isMissing ? try parent(of: path, in: directory, like: tree) : try parent(of: path, in: tree, like: directory)
        try Directory.moving([(work, Self.held(index))]) { try work.rename(Self.held(index), to: place, name) }
      }
      try apply(SwapJournal.Entry(path: entry.path, staged: entry.live, live: entry.staged), path, tree, held: Self.held(index))
    }
    try directory.syncFileSystem()
  }

  private func apply(_ entry: SwapJournal.Entry, _ path: FilePath, _ tree: Directory, held: Directory.Name) throws {
    guard let name = path.lastComponent else { return }
    let present = try directory.existing(at: path).map(SwapJournal.Identity.init)
    if let staged = entry.staged {
      if present != staged {
        let live = try parent(of: path, in: directory, like: tree)
        let aside = try parent(of: path, in: tree, like: directory)
        if present != nil {
          try exchange(aside, live, name, held: held)
        } else {
          try Directory.moving([(aside, name)]) { try aside.rename(name, to: live, name) }
        }
      }
      // The second half of an exchange by two renames.
      if try work.existing(held) != nil {
        let aside = try parent(of: path, in: tree, like: directory)
        try Directory.moving([(work, held)]) { try work.rename(held, to: aside, name) }
      }
    } else if let gone = entry.live, present == gone {
      let aside = try parent(of: path, in: tree, like: directory)
      let live = try parent(of: path, in: directory, like: tree)
      try Directory.moving([(live, name)]) { try live.rename(name, to: aside, name) }
    }
  }

  private func exchange(_ aside: Directory, _ live: Directory, _ name: Directory.Name, held: Directory.Name) throws {
    let byRenames = {
      try Directory.moving([(live, name)]) { try live.rename(name, to: work, held) }
      try Directory.moving([(aside, name)]) { try aside.rename(name, to: live, name) }
    }
    if !exchanges { return try byRenames() }
    try Directory.moving([(aside, name), (live, name)]) { try aside.exchange(name, with: live, name, unsupported: byRenames) }
  }

  private static let made: Directory.Name = "parent"

  /// The directory above a nested FILES_PATHS entry: made where it is missing, with the other side's owner and mode.
  private func parent(of path: FilePath, in side: Directory, like other: Directory) throws -> Directory {
    var (place, model) = (side, Optional(other))
    for component in path.components.dropLast() {
      model = try model?.directory(component)
      if try place.existing(component) == nil {
        // Made where nobody else comes and moved in: what has the name in the live tree a moment later may be another's.
        try work.make(Self.made)
        let new = try work.open(Self.made)
        try work.rename(Self.made, to: place, component)
        if let status = try model?.status() { try? new.set(status.attributes) }
      }
      place = try place.open(component)
    }
    return place
  }
}
