import Testing

@testable import BackupRestore

@Suite struct EvidenceTests {
  static func table(_ name: String, _ rows: Int = 1, _ hash: String? = "1", hashed: Bool = true) -> TableEvidence {
    TableEvidence(name: name, rows: rows, hash: hash, hashed: hashed)
  }

  static func sequence(_ name: String, _ before: Int, _ after: Int, called: Bool = true, cycles: Bool = false) -> SequenceEvidence
  {
    SequenceEvidence(
      name: name, before: .init(last: before, called: called), after: .init(last: after, called: true), cycles: cycles)
  }

  @Test func anEqualCopyHasNoDifferences() {
    let one = evidence(
      tables: [Self.table("a"), Self.table("b", 0, nil)], sequences: [Self.sequence("s", 1, 1)],
      views: [.init(name: "v", populated: true)], extensions: ["x"], objects: .init(count: 2, hash: "3", hashed: true))
    #expect(one.differences(in: one) == [])
  }

  /// By a hash of what is counted anew, a row belongs to another partition in a copy.
  @Test func rowsMayMoveBetweenThePartitionsOfOneTable() {
    func table(_ name: String, _ rows: Int, _ hash: String?, of root: String? = "shirt") -> TableEvidence {
      TableEvidence(name: name, rows: rows, hash: hash, hashed: true, root: root)
    }
    let saved = evidence(tables: [table("s0", 2, "18446744073709551615"), table("s1", 1, "5")])
    #expect(saved.differences(in: evidence(tables: [table("s0", 0, nil), table("s1", 3, "4")])) == [])
    for other in [[table("s0", 1, "1"), table("s1", 3, "3")], [table("s0", 0, nil), table("s1", 3, "5")]] {
      #expect(saved.differences(in: evidence(tables: other)).count == 2)
    }
    let alone = evidence(tables: [table("s0", 2, "1", of: nil), table("s1", 1, "5", of: nil)])
    #expect(alone.differences(in: evidence(tables: [table("s0", 1, "5", of: nil), table("s1", 2, "1", of: nil)])).count == 2)
  }

  struct Case: Sendable, CustomTestStringConvertible {
    let original: DatabaseEvidence
    let copy: DatabaseEvidence
    let difference: String
    var testDescription: String { difference }
  }

  @Test(arguments: [
    Case(original: evidence(tables: [table("a")]), copy: evidence(), difference: "table a is missing"),
    Case(original: evidence(), copy: evidence(tables: [table("a")]), difference: "table a was not there"),
    Case(
      original: evidence(tables: [table("a", 2)]), copy: evidence(tables: [table("a", 1)]),
      difference: "table a has 1 rows instead of 2"),
    Case(
      original: evidence(tables: [table("a", 2, "1")]), copy: evidence(tables: [table("a", 2, "2")]),
      difference: "table a has other content in its 2 rows"),
    Case(
      original: evidence(tables: [table("a", 2, "1")]), copy: evidence(tables: [table("a", 2, nil)]),
      difference: "table a has other content in its 2 rows"),
    Case(
      original: evidence(tables: [table("a", 2, nil, hashed: false)]), copy: evidence(tables: [table("a", 2)]),
      difference: "table a could be hashed only once"),
    Case(
      original: evidence(sequences: [sequence("s", 1, 1)]), copy: evidence(), difference: "sequence s is missing"),
    Case(
      original: evidence(sequences: [sequence("s", 1, 3)]), copy: evidence(sequences: [sequence("s", 4, 4)]),
      difference: "sequence s is at 4 instead of 1 to 3"),
    Case(
      original: evidence(views: [.init(name: "v", populated: true)]), copy: evidence(views: [.init(name: "v", populated: false)]),
      difference: "materialised view v is missing or not populated any more"),
    Case(
      original: evidence(views: [.init(name: "v", populated: false)]), copy: evidence(),
      difference: "materialised view v is missing or not empty any more"),
    Case(original: evidence(extensions: ["x", "y"]), copy: evidence(extensions: ["x"]), difference: "extension y is missing"),
    Case(
      original: evidence(objects: .init(count: 2, hash: "1", hashed: true)),
      copy: evidence(objects: .init(count: 1, hash: "1", hashed: true)),
      difference: "large objects differ: 1 instead of 2, or other content"),
    Case(
      original: evidence(objects: .init(count: 2, hash: "1", hashed: true)),
      copy: evidence(objects: .init(count: 2, hash: "2", hashed: true)),
      difference: "large objects differ: 2 instead of 2, or other content"),
    Case(original: evidence(tables: [table("a\u{1B}[2J")]), copy: evidence(), difference: "table a\\u{1B}[2J is missing"),
  ]) func aDifferenceIsNamed(_ difference: Case) {
    #expect(difference.original.differences(in: difference.copy) == [difference.difference])
  }

  @Test func rowsThatCouldNotBeHashedAreComparedByCount() {
    let counted = evidence(tables: [Self.table("a", 2, nil, hashed: false)])
    #expect(counted.differences(in: counted) == [])
    #expect(counted.differences(in: evidence(tables: [Self.table("a", 3, nil, hashed: false)])).count == 1)
  }

  @Test func namesThatOnlyUnicodeCallsEqualAreTwoTables() {
    let both = evidence(
      tables: [Self.table("caf\u{E9}", 1), Self.table("cafe\u{301}", 2)],
      sequences: [Self.sequence("\u{E9}", 1, 1), Self.sequence("e\u{301}", 2, 2)])
    #expect(both.differences(in: both) == [])
    #expect(evidence(tables: [Self.table("caf\u{E9}")]).differences(in: evidence(tables: [Self.table("cafe\u{301}")])).count == 2)
  }

  @Test(arguments: [
    (sequence("s", 5, 5), 5, true, true), (sequence("s", 5, 5), 4, true, false), (sequence("s", 5, 5), 6, true, false),
    (sequence("s", 5, 5), 5, false, false), (sequence("s", 1, 1, called: false), 1, true, true),
    (sequence("s", 1, 1, called: false), 1, false, true), (sequence("s", 1, 1, called: false), 2, true, false),
    (sequence("s", 5, 8), 5, true, true), (sequence("s", 5, 8), 7, true, true), (sequence("s", 5, 8), 9, true, false),
    (sequence("s", 5, 8), 4, true, false), (sequence("s", -5, -8), -7, true, true), (sequence("s", -5, -8), -9, true, false),
    (sequence("s", 9, 2, cycles: true), 10, true, true), (sequence("s", 9, 9, cycles: true), 10, true, false),
    (sequence("s", Int.min, Int.max), 0, true, true),
  ]) func aSequenceAdmitsWhatLiesBetweenItsReadings(sequence: SequenceEvidence, last: Int, called: Bool, admitted: Bool) {
    #expect(sequence.admits(.init(last: last, called: called)) == admitted)
  }

  @Test func sequencesOfBothReadingsAreJoined() {
    let value = { (last: Int) in (SequenceEvidence.Value(last: last, called: true), cycles: false) }
    let joined = SequenceEvidence.joined(
      ["b": value(1), "gone": value(2), "a": value(3)], ["a": value(4), "b": value(1), "new": value(9)])
    #expect(joined.map(\.name) == ["a", "b"])
    #expect(joined.map(\.before.last) == [3, 1])
    #expect(joined.map(\.after.last) == [4, 1])
  }
}
