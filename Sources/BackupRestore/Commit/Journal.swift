import FoundationEssentials
import SystemPackage

/// What a restore is about to exchange, written to the volume before it does: with it, a run after a crash knows what is
/// left to do. The inodes are the truth about how far it came, so nothing has to be written between two exchanges.
struct Journal: Codable, Equatable, Sendable {
  enum Phase: String, Codable, Sendable {
    /// Staging is verified; with databases their OIDs tell whether it was committed, without them this is the commit.
    case ready
    /// `--in-place`: the live entries are being removed and written anew, and are not whole until it is over.
    case replacing
    /// Everything is exchanged: what lies in `tree` is the previous state.
    case done
    /// The previous state is being removed: what is left of it is whole no more.
    case discarding
  }

  /// The restore or rollback.
  let id: SetID
  /// What it restores, as the command line names it; nil for a rollback.
  let source: String?
  /// For a rollback the restore whose previous state it takes back.
  let rollbackOf: SetID?
  var phase: Phase
  /// Empty for files only.
  let renames: [Server.Rename]
  /// Which part of FILES_DIRECTORY is exchanged; empty means all.
  let paths: [String]
  let entries: [Entry]
  /// The directory's own owner and mode, after and before; nil: left alone.
  let root: FileAttributes?
  let rootBefore: FileAttributes?
  /// `--in-place`: the set that holds what was live before.
  var safety: SetID?
  /// What is renamed, as it was before; nil where nothing is.
  var databases: Server.Identities?

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
        .refused, "the journal \(path) cannot be read, so it is unknown whether that restore was finished",
        hint: "if the files in \(directory.removingLastComponent().removingLastComponent()) are complete, move \(directory) away "
          + "(its tree is the state before that restore) and run again; else take what is missing from its tree first")
    }
  }
}
