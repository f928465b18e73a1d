import FoundationEssentials
import Testing

@testable import BackupRestore

@Suite struct SchemaEvidenceTests {
  static func schema(_ objects: [String: [String: String?]], major: Int = 15, unread: String? = nil) -> SchemaEvidence {
    SchemaEvidence(
      major: major, objects: objects.mapValues { $0.map { SchemaObject(name: $0.key, hash: $0.value) } }, unread: unread)
  }

  static let one = schema(["view": ["public.a": "1", "public.b": "2"], "grant": ["table public.a": "3"]])

  @Test func anEqualCopyHasNoDifferences() {
    #expect(Self.one.differences(in: Self.one, owners: true) == [])
  }

  @Test func onAnotherMajorNamesAreComparedAlone() {
    let copy = Self.schema(["view": ["public.a": "9", "public.c": "2"]], major: 18)
    #expect(Self.one.differences(in: copy, owners: true) == ["view public.b is missing", "view public.c was not there"])
  }

  /// Of sets of before, too.
  @Test(arguments: [1, nil]) func aDefaultOfNullIsNone(hashing: Int?) {
    var saved = Self.schema(["default value": ["for public.t.a": "fb329000228cc5a2", "for public.t.b": "1"]])
    if hashing == nil { saved.hashing = nil }
    let without = Self.schema(["default value": ["for public.t.b": "1"]])
    #expect(saved.differences(in: without, owners: true) == [] && without.differences(in: saved, owners: true) == [])
    #expect(saved.differences(in: Self.schema([:]), owners: true) == ["default value for public.t.b is missing"])
  }

  @Test func whatWasHashedInAnotherWayIsComparedByNames() {
    var old = Self.one
    old.hashing = nil
    #expect(old.differences(in: Self.schema(["view": ["public.a": "7", "public.b": "7"]]), owners: true) == [])
    #expect(old.differences(in: Self.schema(["view": ["public.a": "1"]]), owners: true) == ["view public.b is missing"])
  }

  @Test func whereAnOwnerWasReplacedGrantsAreNotCompared() {
    let copy = Self.schema(["view": ["public.a": "1", "public.b": "2"]])
    #expect(Self.one.differences(in: copy, owners: false) == [])
    #expect(Self.one.differences(in: copy, owners: true) == ["grant table public.a is missing"])
  }

  @Test func whatChangedWhileItWasDumpedIsNeitherMissingNorExtra() {
    let uncertain = Self.one.settled(
      with: Self.schema(["view": ["public.a": "8", "public.c": "2"], "grant": ["table public.a": "3"]]))
    #expect(uncertain.differences(in: Self.schema(["grant": ["table public.a": "3"]]), owners: true) == [])
    #expect(
      uncertain.differences(
        in: Self.schema(["view": ["public.a": "7", "public.b": "7", "public.c": "7", "public.d": "1"]]), owners: false)
        == ["view public.d was not there"])
  }

  @Test func whatCouldNotBeReadAtTheBackupIsNotComparedAndAtTheRestoreIsADifference() {
    let unread = Self.schema([:], unread: "no such luck")
    #expect(unread.differences(in: Self.one, owners: true) == [])
    #expect(Self.one.differences(in: unread, owners: true) == ["definitions could not be read: no such luck"])
    #expect(Self.one.settled(with: unread) == unread)
  }

  @Test func aTableThatIsMissingIsToldOnce() {
    let (full, empty) = (Self.schema(["table": ["public.t": "1", "public.p": "1"]]), Self.schema([:]))
    var (saved, copy) = (evidence(tables: [EvidenceTests.table("public.t")]), evidence())
    (saved.schema, copy.schema) = (full, empty)
    #expect(saved.differences(in: copy) == ["table public.t is missing", "table public.p is missing"])
  }

  @Test func namesThatOnlyUnicodeCallsEqualAreTwoObjects() {
    let both = SchemaEvidence(
      major: 15, objects: ["view": [.init(name: "caf\u{E9}", hash: "1"), .init(name: "cafe\u{301}", hash: "2")]])
    let single = SchemaEvidence(major: 15, objects: ["view": [.init(name: "caf\u{E9}", hash: "1")]])
    #expect(both.differences(in: both, owners: true) == [])
    #expect(both.differences(in: single, owners: true) == ["view cafe\u{301} is missing"])
  }

  @Test func namesFromTheDatabaseArePrintedHarmlessly() {
    var (saved, copy) = (evidence(), evidence())
    (saved.schema, copy.schema) = (Self.schema([:]), Self.schema(["view": ["public.\"\u{1B}[2J\"": "1"]]))
    #expect(saved.differences(in: copy) == ["view public.\"\\u{1B}[2J\" was not there"])
  }

  @Test(arguments: ["public.v", "a b  c", "", "x\ny"]) func anObjectIsReadAsItWasWritten(name: String) throws {
    for object in [SchemaObject(name: name, hash: "00ff"), SchemaObject(name: name, hash: nil)] {
      #expect(try JSONDecoder().decode(SchemaObject.self, from: try JSONEncoder().encode(object)) == object)
    }
  }

  /// As the toolkit wrote it before there was any evidence of definitions.
  @Test func anOlderRecordHasNoneAndIsNotCompared() throws {
    let old = #"{"tables":[],"sequences":[],"materializedViews":[],"extensions":[],"largeObjects":{"count":0,"hashed":true}}"#
    let saved = try JSONDecoder().decode(DatabaseEvidence.self, from: Data(old.utf8))
    var copy = evidence()
    copy.schema = Self.one
    #expect(saved.differences(in: copy) == [])
    #expect(saved.proof(by: copy) == "rows")
  }

  @Test(arguments: [
    (15, nil, "rows and content, definitions"), (18, nil, "rows and content, names of what is defined"),
    (15, "x", "rows and content"),
  ])
  func theProofSaysWhatWasCompared(major: Int, unread: String?, proof: String) {
    var (saved, copy) = (evidence(), evidence())
    (saved.schema, copy.schema) = (Self.schema([:]), Self.schema([:], major: major, unread: unread))
    #expect(saved.proof(by: copy) == proof)
  }

  @Test func aTableThatCouldNotBeReadIsComparedByItsNameAlone() {
    let unread = evidence(tables: [TableEvidence(name: "a", rows: 0, hash: nil, hashed: false, unread: true)])
    #expect(unread.differences(in: evidence(tables: [EvidenceTests.table("a", 5)])) == [])
    #expect(unread.differences(in: evidence()) == ["table a is missing"])
  }

  @Test func whatWasTooLargeForAnOlderToolkitToHashIsNoDifference() {
    var old = evidence(tables: [EvidenceTests.table("a", 2, nil, hashed: false)])
    old.method = "chain of hashtextextended over the columns, 1"
    #expect(old.differences(in: evidence(tables: [EvidenceTests.table("a", 2)])) == [])
    #expect(old.differences(in: evidence(tables: [EvidenceTests.table("a", 3)])) == ["table a has 3 rows instead of 2"])
  }
}

@Suite struct RowSumTests {
  static func hash(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { RowSum.hash($0) } }

  static func sum(_ rows: [String]) -> RowSum {
    var sum = RowSum()
    for row in rows { Array(row.utf8).withUnsafeBytes { sum.add($0) } }
    return sum
  }

  @Test func theOrderOfRowsDoesNotMatterAndTheirNumberDoes() {
    #expect(Self.sum(["a\t1", "b\t2", ""]) == Self.sum(["", "b\t2", "a\t1"]))
    #expect(Self.sum(["a", "a"]) != Self.sum(["a"]))
    #expect(Self.sum(["a", "bc"]).sum != Self.sum(["ab", "c"]).sum)
    #expect(Self.sum([]) == RowSum())
  }

  /// Every single bit, at every place of a word and of the rest, and zeroes at the end.
  @Test func everyBitAndEveryLengthCounts() {
    for count in 0...40 {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37) }
      var seen: Set<UInt64> = [Self.hash(bytes), Self.hash(bytes + [0])]
      #expect(seen.count == 2)
      for bit in 0..<count * 8 {
        var other = bytes
        other[bit / 8] ^= 1 << (bit % 8)
        #expect(seen.insert(Self.hash(other)).inserted, "bit \(bit) of \(count) bytes")
      }
    }
  }

  /// What is stored in sets is compared for ever: a change of these wants another `DatabaseEvidence.method`.
  @Test(arguments: [
    ("", 0x0000000000000000), ("a", 0x76D1A8F4829DFA21), ("1\tx\t\\N", 0x1091AE4ACA90C810),
    ("The quick brown fox jumps over the lazy dog", 0xC94E8026973C1C6A),
  ])
  func aHashStaysWhatItIs(row: String, hash: UInt64) {
    #expect(Self.hash(Array(row.utf8)) == hash)
  }
}
