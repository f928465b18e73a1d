import FoundationEssentials
import SystemPackage

/// `set.json`: what a set holds and what was true at its dump's own moment.
struct Record: Codable, Equatable, Sendable {
  /// Raised when an older toolkit could no longer restore what a newer one saved.
  static let currentFormat = 1

  var format = Record.currentFormat
  let id: SetID
  let host: String
  let toolkit: String
  let restic: String
  let finished: String
  /// Why the set is doubted; empty when it is not.
  let doubts: [String]
  private(set) var files: FilesPart?
  private(set) var databases: [DatabasePart]
  /// What it was saved before, when not by the nightly backup: `in-place`. Never chosen unless named.
  var before: String?
  /// Whose container saved it, and would start again where it did not end with 0.
  var pod: String?

  var rows: Int { databases.reduce(0) { $0 + ($1.evidence?.rows ?? 0) } }
  var tables: Int { databases.reduce(0) { $0 + ($1.evidence?.tables.count ?? 0) } }

  /// What was left out because it is excluded, in words.
  var excluded: [String] {
    (files?.excluded.map { ["files like \(Format.some($0))"] } ?? [])
      + databases.compactMap { database in
        database.excluded.map { "rows of \(Format.some($0)) in database \(database.name)" }
      }
  }

  /// The record's tags: enough to list sets and to find their parts without opening each record.
  var tags: [String] {
    var tags = ["kind=set", "set=\(id)"]
    if let files {
      tags += ["files=\(files.snapshot)"]
      if let evidence = files.evidence { tags += ["file-count=\(evidence.entries)", "file-bytes=\(evidence.bytes)"] }
      if let unreadable = files.unreadable { tags.append("unreadable=\(unreadable.count)") }
    }
    for database in databases {
      tags += ["database=\(database.snapshot)"]
    }
    if !databases.isEmpty {
      tags += ["tables=\(tables)", "rows=\(rows)", "dump-bytes=\(databases.reduce(0) { $0 + $1.bytes })"]
    }
    // restic separates tags by commas.
    if !doubts.isEmpty { tags.append("doubted=" + doubts.joined(separator: "; ").replacing(",", with: "")) }
    if !excluded.isEmpty { tags.append("excluded=" + excluded.joined(separator: "; ").replacing(",", with: "")) }
    if let before { tags.append("before=\(before)") }
    if let pod { tags.append("pod=\(pod)") }
    return tags
  }
}

extension Record {
  /// With the parts' ids in the repository at hand: in a second one they are others.
  func located(at entry: Catalog.Entry) -> Record {
    var record = self
    if let files = entry.files { record.files?.snapshot = files.id }
    for index in databases.indices {
      if let there = entry.databases.first(where: { $0.isCalled(databases[index].snapshot) }) {
        record.databases[index].snapshot = there.id
      }
    }
    return record
  }
}

extension Record {
  /// The files as what lies below one of their directories, which restic names `ID:/path`.
  mutating func take(_ path: String, of all: FilesPart, _ root: FileAttributes, _ evidence: FilesEvidence) {
    let inside = FilePath(path)
    let below: [String] = all.paths.compactMap { name in
      var rest = FilePath(name)
      return rest.removePrefix(inside) && !rest.isEmpty ? rest.string : nil
    }
    let paths = all.paths.contains { inside.starts(with: FilePath($0)) } ? [] : below
    files = FilesPart(
      snapshot: "\(all.snapshot):/\(path)", directory: all.directory.map { $0 + "/" + path }, paths: paths, root: root,
      evidence: evidence, excluded: all.excluded, unreadable: all.unreadable)
  }
}

/// The files of a set. What only the record knows is nil where the record was lost.
struct FilesPart: Codable, Equatable, Sendable {
  fileprivate(set) var snapshot: String
  /// FILES_DIRECTORY at the time; the tree in the snapshot is relative to it.
  let directory: String?
  /// FILES_PATHS at the time; empty means all.
  let paths: [String]
  /// The directory's own owner and mode, which the relative tree does not hold.
  let root: FileAttributes?
  let evidence: FilesEvidence?
  /// FILES_EXCLUDE at the time; nil: nothing was left out.
  var excluded: [String]? = nil
  /// What could not be read and is not in the snapshot (FILES_ALLOW_UNREADABLE); nil: nothing.
  var unreadable: Unreadable?

  struct Unreadable: Codable, Equatable, Sendable {
    let count: Int
    /// The first of them.
    let names: [String]

    static let shown = 20

    init?(_ names: [String]) {
      if names.isEmpty { return nil }
      (count, self.names) = (names.count, Array(names.prefix(Self.shown)))
    }

    var text: String {
      Format.count(count, "unreadable file is", "unreadable files are") + " not in the set: "
        + names.map(printable).joined(separator: ", ") + (count > names.count ? ", …" : "")
    }
  }
}

extension Record {
  /// Of parts whose record is lost, or that never had one.
  init(_ id: SetID, host: String, restic: String, files: FilesPart?, databases: [DatabasePart]) {
    self.init(
      id: id, host: host, toolkit: Toolkit.version, restic: restic, finished: "", doubts: [], files: files, databases: databases)
  }
}

/// One database of a set. What only the record knows is nil where the record was lost.
struct DatabasePart: Codable, Equatable, Sendable {
  fileprivate(set) var snapshot: String
  let name: String
  /// The archive's path in the snapshot, and its size in bytes.
  let archive: String
  let bytes: Int
  /// Major version of the pg_dump that made it.
  let pgDump: Int?
  let properties: DatabaseProperties?
  let roles: [RoleUse]
  let evidence: DatabaseEvidence?
  /// Tables that are saved without their rows, by POSTGRES_EXCLUDE_TABLE_DATA; nil: none is.
  var excluded: [String]? = nil
  /// POSTGRES_EXCLUDE_TABLE_DATA at the time.
  var excludedBy: [String]? = nil
  /// Nil where nobody could be asked, and in older records.
  var rehearsed: Rehearsed? = nil
}

extension DatabasePart {
  /// A file name for a database whatever it is called: everything but letters, digits, `_`, `-` and `.` as `%XX`.
  static func archiveName(_ database: String) -> String { percentEncoded(database.utf8) + ".dump" }

  /// The database that an archive's path names; nil where it is not such a path.
  static func databaseName(archive path: String) -> String? {
    guard path.hasPrefix("/"), path.hasSuffix(".dump") else { return nil }
    return percentDecoded(path.dropFirst().dropLast(5)).map { String(decoding: $0, as: UTF8.self) }
  }

  /// A dump of which nothing is known but the dump.
  init(_ snapshot: Snapshot, name: String, archive: String) {
    self.init(
      snapshot: snapshot.id, name: name, archive: archive, bytes: snapshot.summary?.total_bytes_processed ?? 0, pgDump: nil,
      properties: nil, roles: [], evidence: nil)
  }
}

/// A role the database refers to.
struct RoleUse: Codable, Equatable, Sendable {
  let name: String
  /// Owns something, so that the dump names it in OWNER TO.
  let owns: Bool
  /// Named in grants, policies or settings.
  let granted: Bool

  /// Without it the database cannot be restored; the others log in as members of these.
  var isNeeded: Bool { owns || granted }
}

extension Record {
  func encoded() throws -> [UInt8] { try JSON.document(self) + [0x0A] }

  /// - Throws: `Failure` naming the set where the document cannot be read or is from a newer toolkit.
  init(decoding document: [UInt8], set: String) throws {
    struct Format: Decodable { let format: Int }
    let data = Data(document)
    if let newer = try? JSONDecoder().decode(Format.self, from: data).format, newer > Record.currentFormat {
      throw Failure(
        .refused, "set \(set) was saved by a newer toolkit (record format \(newer))", hint: "restore it with that version")
    }
    do {
      self = try JSONDecoder().decode(Record.self, from: data)
    } catch {
      throw Failure(.refused, "the record of set \(set) cannot be read: \(error)", hint: "choose another set")
    }
  }
}
