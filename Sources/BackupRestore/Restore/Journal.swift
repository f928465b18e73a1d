import FoundationEssentials
import Glibc
import SystemPackage

/// What a restore is about to exchange, written to the volume before it does: with it, a run after a crash knows what is
/// left to do. The inodes are the truth about how far it came, so nothing has to be written between two exchanges.
struct Journal: Codable, Equatable, Sendable {
  enum Phase: String, Codable, Sendable {
    /// Staging is verified; with databases their names tell whether it was committed, without them this is the commit.
    case ready
    /// Everything is exchanged: what lies in `tree` is the previous state.
    case done
  }

  /// The restore or rollback.
  let id: SetID
  /// The set it restores, or for a rollback the restore whose previous state it takes back.
  let set: SetID?
  let rollbackOf: SetID?
  var phase: Phase
  /// Empty for files only. The last one is the decisive one: while its `from` exists, nothing is committed.
  let renames: [Server.Rename]
  /// Which part of FILES_DIRECTORY is exchanged; empty means all.
  let paths: [String]
  let entries: [Entry]
  /// The directory's own owner and mode, after and before; nil: left alone.
  let root: FileAttributes?
  let rootBefore: FileAttributes?

  /// A name below FILES_DIRECTORY, percent-encoded because names need not be UTF-8.
  struct Entry: Codable, Equatable, Sendable {
    let path: String
    /// Of what comes; nil: nothing comes, what is live goes.
    let staged: Identity?
    /// Of what goes; nil: nothing was there.
    let live: Identity?
  }

  /// The inode alone: everything lies on one file system, whose device number changes when the volume is mounted again or
  /// on another node. With it, what was already exchanged would look as if it were not, and be exchanged back.
  struct Identity: Codable, Equatable, Sendable {
    let inode: UInt64

    init(_ status: FileStatus) { inode = status.inode }
  }

  static let name = "journal.json"

  func write(in directory: FilePath) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try Tree.writeDurably(Array(try encoder.encode(self)), to: directory.appending(Self.name))
  }

  /// Nil where there is none. - Throws: `Failure` 22 where it cannot be read.
  static func read(in directory: FilePath) throws -> Journal? {
    let path = directory.appending(name)
    guard try FileStatus.existing(path) != nil else { return nil }
    do {
      return try JSONDecoder().decode(Journal.self, from: try Data(contentsOf: URL(filePath: path.string)))
    } catch {
      throw Failure(
        .refused, "the journal \(path) cannot be read: \(error)",
        hint: "it is what tells how far a restore came; keep it, and exchange what is left by hand")
    }
  }
}

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

extension FilePath {
  /// Its bytes, percent-encoded, `/` kept.
  var encoded: String {
    components.map { component in component.withPlatformString { percentEncoded(bytes(of: $0)) } }.joined(separator: "/")
  }

  /// From bytes that need not be UTF-8.
  init(bytes: [UInt8]) {
    self = (bytes.map { CChar(bitPattern: $0) } + [0]).withUnsafeBufferPointer { FilePath(platformString: $0.baseAddress!) }
  }

  private func bytes(of string: UnsafePointer<CChar>) -> [UInt8] { (0..<strlen(string)).map { UInt8(bitPattern: string[$0]) } }

  /// chown(2) first: it clears setuid and setgid, which chmod(2) then sets.
  func set(_ attributes: FileAttributes) throws {
    try own(attributes)
    if withPlatformString({ chmod($0, mode_t(attributes.mode)) }) != 0 { throw FileError("chmod", string) }
  }

  /// lchown(2): a symbolic link itself, not what it points to.
  func own(_ attributes: FileAttributes) throws {
    if withPlatformString({ lchown($0, attributes.user, attributes.group) }) != 0 { throw FileError("chown", string) }
  }
}
