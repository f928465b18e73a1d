import FoundationEssentials
import Testing

@testable import BackupRestore

@Suite struct RecordTests {
  static let full = record(
    files: filesPart(entries: 3), databases: [databasePart("a", rows: 5), databasePart("b", rows: 6, snapshot: "d2")],
    doubts: ["fewer rows"])

  @Test(arguments: [full, record(), record(files: filesPart(entries: 0)), record(databases: [databasePart()])])
  func aRecordSurvivesItsRoundTrip(_ record: Record) throws {
    let document = try record.encoded()
    #expect(document.last == 0x0A)
    #expect(try Record(decoding: document, set: "x") == record)
  }

  @Test func aRecordOfANewerFormatIsRefusedWhateverElseItHolds() throws {
    let failure = failure { _ = try Record(decoding: Array(#"{"format":2,"id":7}"#.utf8), set: "20260101") }
    #expect(failure?.status == .refused)
    #expect(failure?.problems.first?.fact == "set 20260101 was saved by a newer toolkit (record format 2)")
  }

  @Test func aRecordMayHoldMoreThanIsKnown() throws {
    let text = String(decoding: try Self.full.encoded(), as: UTF8.self)
    let more = text.replacing(#""format" : 1"#, with: #""format" : 1, "later" : {"a": [1]}"#)
    #expect(more != text)
    #expect(try Record(decoding: Array(more.utf8), set: "x") == Self.full)
  }

  @Test(arguments: ["", "{}", "[]", "null", #"{"format":1}"#, "\u{FEFF}"]) func aRecordThatIsNoneIsRefused(_ text: String) {
    let failure = failure { _ = try Record(decoding: Array(text.utf8), set: "20260101") }
    #expect(failure?.status == .refused)
    #expect(failure?.problems.first?.fact.hasPrefix("the record of set 20260101 cannot be read") == true)
  }

  @Test func theTagsNamePartsAndNumbers() {
    #expect(
      Self.full.tags == [
        "kind=set", "set=20260101T230000Z", "files=f1", "file-count=3", "file-bytes=99", "database=d1", "database=d2", "tables=2",
        "rows=11", "dump-bytes=4096", "doubted=fewer rows",
      ])
    #expect(record(files: filesPart(entries: 0)).tags.suffix(3) == ["files=f1", "file-count=0", "file-bytes=99"])
  }

  @Test func whatTheTagsNameIsWhatTheCatalogFinds() throws {
    let parts = [snapshot("d1", ["set=\(SetID.day(1))"]), snapshot("d2", ["set=\(SetID.day(1))"])]
    let catalog = Catalog(
      files: [snapshot("f1", ["set=\(SetID.day(1))"])], databases: parts, sets: [snapshot("r", Self.full.tags)])
    let entry = try #require(catalog.entries.first)
    #expect(catalog.entries.count == 1)
    #expect(entry.parts.map(\.id) == ["f1", "d1", "d2"])
    #expect(entry.doubted)
    #expect(entry.number("rows") == 11)
  }

  @Test func filesEvidenceCountsByTypeAndBytesOfFilesOnly() {
    var evidence = FilesEvidence()
    evidence.count("file", size: 5, user: 1, group: 2)
    evidence.count("file", size: 6, user: 1, group: 2)
    evidence.count("symlink", size: 9, user: 0, group: 0)
    #expect(evidence == FilesEvidence(counts: ["file": 2, "symlink": 1], bytes: 11, owners: ["1:2", "0:0"]))
    #expect(evidence.entries == 3)
  }
}
