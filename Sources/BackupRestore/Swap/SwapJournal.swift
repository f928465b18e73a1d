import FoundationEssentials
import SystemPackage

/// What a restore is about to exchange, written to the volume before it does: with it, a run after a crash knows what is
/// left to do. The inodes are the truth about how far it came, so nothing has to be written between two exchanges.
struct SwapJournal: Codable, Equatable, Sendable {
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
  let id: RestoreID
  /// What it restores, as the command line names it; nil for a rollback.
  let source: RestoreSource.Name?
  /// For a rollback the restore whose previous state it takes back.
  let rollbackOf: RestoreID?
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
  /// When the swap began, RFC 3339; nil in those of before.
  var swapped: String?

  /// A name below FILES_DIRECTORY, percent-encoded because names need not be UTF-8.
  struct Entry: Codable, Equatable, Sendable {
    let path: String
    /// Of what comes; nil: nothing comes, what is live goes.
    let staged: Identity?
    /// Of what goes; nil: nothing was there.
    let live: Identity?

    /// Decoded; nil where it is no such name.
    var name: FilePath? {
      guard let bytes = percentDecoded(path), Tree.isEntry(bytes) else { return nil }
      return FilePath(bytes: bytes)
    }
  }

  /// The inode alone: everything lies on one file system, whose device number changes when the volume is mounted again or
  /// on another node. With it, what was already exchanged would look as if it were not, and be exchanged back.
  struct Identity: Codable, Equatable, Sendable {
    let inode: UInt64

    init(_ status: FileStatus) { inode = status.inode }
  }

  /// `source`, for a terminal.
  var restored: String { printable(source?.description ?? "") }

  static let name: Directory.Name = "journal.json"
  /// Enough for some 200,000 entries in the top of FILES_DIRECTORY.
  static let largest = 64 << 20

  func write(in work: Directory) throws {
    let bytes = try JSON.document(self)
    if bytes.count > Self.largest {
      throw Failure(
        .refused, "\(entries.count) entries in the top of FILES_DIRECTORY are more than a swap can hold",
        hint: "move them into a directory below it, or use --in-place; nothing live was changed")
    }
    try work.write(bytes, to: Self.name)
  }

  /// Nil where there is none.
  ///
  /// - Throws: `Failure` 22 where it cannot be read, is not the toolkit's, or not this restore's.
  static func read(in work: Directory, of id: RestoreID) throws -> SwapJournal? {
    guard let bytes = try work.readOwn(name, limit: largest) else { return nil }
    let path = printable(work.path.appending(name).string)
    let journal: SwapJournal
    do { journal = try JSONDecoder().decode(SwapJournal.self, from: Data(bytes)) } catch {
      throw Failure(
        .refused, "the journal \(path) cannot be read, so it is unknown whether that restore was finished", hint: wayOut(work))
    }
    let wrong =
      if journal.id != id { "the id \(journal.id)" } else if let entry = journal.entries.first(where: { $0.name == nil }) {
        "the path \(printable(entry.path))"
      } else { journal.paths.first { !Tree.isEntry($0.utf8) }.map { "the path \(printable($0))" } }
    if let wrong {
      throw Failure(foreign: Problem("the journal \(path) has \(wrong), which no restore wrote there", hint: wayOut(work)))
    }
    return journal
  }

  private static func wayOut(_ work: Directory) -> String {
    let shown = printable(work.path.string)
    return "if the files in \(printable(work.path.removingLastComponent().removingLastComponent().string)) are complete, move "
      + "\(shown) away (its tree is the state before that restore) and run again; else take what is missing from its tree first"
  }
}
