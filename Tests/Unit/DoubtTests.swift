import FoundationEssentials
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

  // MARK: Bytes

  static func files(_ bytes: Int, entries: Int = 10) -> FilesPart {
    FilesPart(
      snapshot: "f1", directory: "/srv/app", paths: [], root: nil,
      evidence: FilesEvidence(counts: ["file": entries], bytes: bytes, owners: []))
  }

  static func database(bytes: Int, objects: LargeObjects) -> DatabasePart {
    DatabasePart(
      snapshot: "d1", name: "app", archive: "/app.dump", bytes: bytes, pgDump: 15, properties: nil, roles: [],
      evidence: evidence(tables: [TableEvidence(name: "public.t", rows: 5, hash: "7", hashed: true)], objects: objects))
  }

  static func objects(_ count: Int, _ bytes: Int?) -> LargeObjects {
    LargeObjects(count: count, hash: "1", hashed: true, bytes: bytes)
  }

  @Test func asManyFilesWithLessThanHalfTheBytesAreDoubted() {
    let last = record(files: Self.files(2_000_000))
    #expect(Doubt.reasons(files: Self.files(1_000_000), databases: [], since: last).isEmpty)
    #expect(
      Doubt.reasons(files: Self.files(999_999), databases: [], since: last)
        == ["976.6 KiB in files (set 20260101T230000Z had 1.9 MiB)"])
    // Once is enough.
    #expect(Doubt.reasons(files: Self.files(0, entries: 1), databases: [], since: last).count == 1)
  }

  @Test(
    arguments: [
      (5000, objects(4, 100), nil), (2499, objects(4, 100), "2.4 KiB in the dump of database app"),
      (5000, objects(1, 100), "1 large object in database app"), (5000, objects(4, 49), "49 B in large objects of database app"),
      // Not known how much: neither side is compared.
      (5000, objects(4, nil), nil),
    ] as [(Int, LargeObjects, String?)])
  func asManyRowsWithLessThanHalfTheBytesAreDoubted(bytes: Int, objects: LargeObjects, reason: String?) {
    let last = record(databases: [Self.database(bytes: 5000, objects: Self.objects(4, 100))])
    let reasons = Doubt.reasons(files: nil, databases: [Self.database(bytes: bytes, objects: objects)], since: last)
    #expect(reasons.map { String($0.prefix { $0 != "(" }).trimming(" ") } == (reason.map { [$0] } ?? []))
  }

  @Test func aRecordOfBeforeDoesNotSayHowLargeItsObjectsWere() throws {
    let last = record(databases: [Self.database(bytes: 5000, objects: Self.objects(4, nil))])
    let now = Self.database(bytes: 5000, objects: Self.objects(4, 1))
    #expect(Doubt.reasons(files: nil, databases: [now], since: last).isEmpty)
    #expect(last.databases[0].evidence?.largeObjects == now.evidence?.largeObjects, "nor is that a difference")
    let old = try JSONDecoder().decode(LargeObjects.self, from: Data(#"{"count": 4, "hash": "1", "hashed": true}"#.utf8))
    #expect(old.bytes == nil && old.count == 4)
  }

  // MARK: The first

  @Test func aFirstSetThatIsEmptyIsDoubted() {
    let bare = DatabasePart(
      snapshot: "d1", name: "app", archive: "/app.dump", bytes: 900, pgDump: 15, properties: nil, roles: [], evidence: evidence())
    #expect(
      Doubt.reasons(files: Self.files(0, entries: 3), databases: [bare], since: nil)
        == ["no file with content in /srv/app", "no table in database app"])
    #expect(Doubt.reasons(files: Self.files(1), databases: [databasePart(rows: 0)], since: nil).isEmpty)
    // A part that is new beside others, too; one that was accepted as empty is not asked again.
    #expect(Doubt.reasons(files: Self.files(0), databases: [], since: record()).count == 1)
    #expect(
      Doubt.reasons(files: Self.files(0), databases: [bare], since: record(files: Self.files(0), databases: [bare])).isEmpty)
  }
}

@Suite struct RehearsedTests {
  private func rehearsed(_ part: DatabasePart, user: String = "app", refused: [String] = []) throws -> Rehearsed {
    try Rehearsed(of: part, user: user, server: "db:5432", refused: refused)
  }

  @Test func rowsAndSizesAreNoReasonToRehearseAgain() throws {
    let night = try rehearsed(databasePart(rows: 5))
    #expect(try rehearsed(databasePart(rows: 9, snapshot: "d2")) == night)
    #expect(try rehearsed(databasePart(rows: 5), user: "other") != night)
    #expect(try rehearsed(databasePart(rows: 5), refused: ["no"]).fingerprint == night.fingerprint)
  }

  /// As every record since 0.2 holds it, and as those before do not.
  @Test func whatIsStoredIsReadForEver() throws {
    let stored = #"{"fingerprint":"b1d0fdfb2d01273c","refused":["INDEX public i: no"],"impossible":"the server is a standby"}"#
    let read = try JSONDecoder().decode(Rehearsed.self, from: Data(stored.utf8))
    #expect(read.fingerprint == "b1d0fdfb2d01273c" && read.impossible == "the server is a standby")
    #expect(read.doubt("a\u{1B}") == "database a\\u{1B} could not be restored: INDEX public i: no")
    #expect(try rehearsed(databasePart()).doubt("app") == nil)
    #expect(try rehearsed(databasePart(), refused: ["a", "b", "c", "d"]).doubt("app")!.hasSuffix("a; b; and 2 more"))
    #expect(!String(decoding: try record(databases: [databasePart()]).encoded(), as: UTF8.self).contains("rehearsed"))
  }

  @Test(arguments: [
    ("TABLE DATA public t app", true), ("BLOBS - BLOBS ", true), ("COMMENT - LARGE OBJECT 4711 app", true),
    ("MATERIALIZED VIEW DATA public m app", true), ("SEQUENCE SET public s app", true), ("TABLE public t app", false),
    ("FK CONSTRAINT public sale sale_item_fkey app", false), ("COMMENT - EXTENSION citext ", false),
  ]) func whatIsMadeOfRowsIsNotRehearsed(entry: String, isOfRows: Bool) {
    #expect(Rehearsal.isOfRows(entry) == isOfRows)
  }
}
