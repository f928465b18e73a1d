import Foundation
import Support
import SystemPackage
import Testing

@testable import BackupRestore

/// What is stored, as 0.1.0 wrote it: every later version reads it, and writes the same of the same.
@Suite struct FrozenTests {
  static func bytes(_ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(filePath: Needs.project + "/Tests/Frozen/" + name)))
  }

  static func text(_ name: String) throws -> String { String(decoding: try bytes(name).dropLast(), as: UTF8.self) }

  @Test func theRecordOfASet() throws {
    let document = try Self.bytes("set.json")
    let record = try Record(decoding: document, set: "20261126T215506Z")
    expectSame(String(decoding: document, as: UTF8.self), String(decoding: try record.encoded(), as: UTF8.self))
    #expect(record.tags.joined(separator: "\n") == (try Self.text("tags.txt")))
    #expect(record.rows == 36 && record.files?.evidence?.entries == 9)
  }

  @Test(
    arguments: [
      ("restore", .done, 2, 3), ("rollback", .done, 2, 3), ("replacing", .replacing, 0, 0),
    ] as [(String, SwapJournal.Phase, Int, Int)])
  func theJournalOfA(_ name: String, _ phase: SwapJournal.Phase, renames: Int, entries: Int) throws {
    let document = try Self.bytes("journal-\(name).json")
    struct Named: Decodable { let id: RestoreID }
    let id = try JSONDecoder().decode(Named.self, from: Data(document)).id
    let directory = try Temporary()
    let work = try Directory(directory.path)
    try work.write(document, to: SwapJournal.name)
    let journal = try #require(try SwapJournal.read(in: work, of: id))
    #expect(journal.phase == phase && journal.renames.count == renames && journal.entries.count == entries)
    #expect((journal.rollbackOf != nil) == (name == "rollback") && (journal.safety != nil) == (name == "replacing"))
    let other = try Temporary()
    try journal.write(in: try Directory(other.path))
    #expect(try Data(contentsOf: URL(filePath: "\(other.path)/journal.json")) == Data(document))
  }

  @Test(arguments: ["restore", "in-place"]) func theCommentOfAKeptDatabase(_ name: String) throws {
    let comment = try Self.text("comment-\(name).txt")
    let mark = try #require(RestoreMarker(comment: comment))
    #expect(
      mark.databases == ["frozen"] && (mark.files != nil) == (name == "restore") && (mark.safety != nil) == (name == "in-place"))
    #expect(RestoreMarker.removed(from: comment) == "of the first format")
    #expect(mark.added(to: "of the first format") == comment)
  }

  @Test func theNamesAndMarksOfWhatARestoreMakes() throws {
    let id = try #require(RestoreID("20261126T215506Z"))
    let long = String(repeating: "name", count: 15)
    #expect(DatabaseName.staging("frozen", id) == "frozen.staging.20261126T215506Z")
    #expect(DatabaseName.previous("frozen", id) == "frozen.previous.20261126T215506Z")
    #expect(DatabaseName.previous(long, id) == "namenamenamenamenamenamename~9a284b66.previous.20261126T215506Z")
    #expect(DrillRoles.mark == "made by a drill of backup-restore" && Loader.mark == "made by a restore of backup-restore")
    #expect(Tree.workDirectory == ".backup-restore" && SwapJournal.name.string == "journal.json")
  }
}
