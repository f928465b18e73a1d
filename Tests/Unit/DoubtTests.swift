import Testing

@testable import BackupRestore

@Suite struct DoubtTests {
  @Test(arguments: [(100, 100, 0), (100, 50, 0), (100, 49, 1), (100, 0, 1), (0, 0, 0), (0, 100, 0), (1, 0, 1)])
  func aSetWithLessThanHalfIsDoubted(then: Int, now: Int, reasons: Int) {
    let rows = Doubt.reasons(
      files: nil, databases: [databasePart(rows: now)], since: record(databases: [databasePart(rows: then)]))
    let files = Doubt.reasons(files: filesPart(entries: now), databases: [], since: record(files: filesPart(entries: then)))
    #expect(rows.count == reasons)
    #expect(files.count == reasons)
  }

  @Test func aReasonSaysHowMuchIsLeftOfWhat() {
    let reasons = Doubt.reasons(
      files: filesPart(entries: 1), databases: [databasePart(rows: 2)],
      since: record(files: filesPart(entries: 1000), databases: [databasePart(rows: 5000)]))
    #expect(
      reasons == [
        "1 file or directory (set 20260101T230000Z had 1,000)", "2 rows in database app (set 20260101T230000Z had 5,000)",
      ])
  }

  @Test func aMissingPartIsDoubtedANewOneIsNot() {
    let last = record(files: filesPart(entries: 1), databases: [databasePart("a"), databasePart("b")])
    #expect(
      Doubt.reasons(files: nil, databases: [databasePart("b"), databasePart("c")], since: last)
        == ["no files (set 20260101T230000Z had them)", "no database a (set 20260101T230000Z had it)"])
    #expect(Doubt.reasons(files: filesPart(entries: 1), databases: [databasePart()], since: record()).isEmpty)
  }

  @Test func databasesAreComparedByName() {
    let last = record(databases: [databasePart("a", rows: 1000), databasePart("b", rows: 10)])
    let now = [databasePart("b", rows: 10), databasePart("a", rows: 1000)]
    #expect(Doubt.reasons(files: nil, databases: now, since: last).isEmpty)
  }
}
