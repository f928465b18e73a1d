import FoundationEssentials
import Testing

@testable import BackupRestore

@Suite struct CatalogTests {
  /// One day's set: files, one database and its record.
  struct Day {
    var day: Int
    var host = "app"
    var tags: [String] = []
    var record = true
    var files = true
    var database = true

    var id: SetID { .day(day) }
    func name(_ kind: String) -> String { "\(kind)\(day)\(host == "app" ? "" : host)" }
  }

  static func catalog(_ days: [Day], marks: [Snapshot] = [], foreign: [Snapshot] = [], now: Date = Date()) -> Catalog {
    let part = { (day: Day, kind: String) in snapshot(day.name(kind), host: day.host, ["set=\(day.id)", "kind=\(kind)"]) }
    return Catalog(
      files: foreign + days.filter(\.files).map { part($0, "f") }, databases: days.filter(\.database).map { part($0, "d") },
      sets: marks
        + days.filter(\.record).map {
          snapshot(
            $0.name("r"), host: $0.host,
            ["kind=set", "set=\($0.id)", "files=\($0.name("f"))", "database=\($0.name("d"))"] + $0.tags)
        }, now: now)
  }

  func refusal(_ catalog: Catalog, _ choice: Catalog.Choice, host: String = "app") -> String {
    let failure = failure { _ = try catalog.choose(choice, host: host) }
    #expect(failure == nil || failure?.status == .refused)
    return failure?.description ?? "nothing was refused"
  }

  // MARK: Choosing

  @Test func theNewestSetOfTheOwnHostIsChosen() throws {
    let catalog = Self.catalog([Day(day: 2), Day(day: 3, host: "other"), Day(day: 1)])
    let entry = try catalog.choose(.newest, host: "app")
    #expect(entry.id == .day(2))
    #expect(entry.parts.map(\.id) == ["f2", "d2"])
    #expect(entry.record?.id == "r2")
    #expect(entry.sound)
    #expect(entry.mark == "")
  }

  @Test func aUniqueBeginningNamesASetOfAnyHost() throws {
    let catalog = Self.catalog([Day(day: 1), Day(day: 2), Day(day: 13, host: "other")])
    #expect(try catalog.choose(.named("20260102"), host: "app").id == .day(2))
    #expect(try catalog.choose(.named("2026011"), host: "other").host == "other")
    #expect(refusal(catalog, .named("2026011")).contains("is of other, and RESTIC_HOST is app"))
    #expect(refusal(catalog, .named("202601")).contains("202601 is ambiguous: 20260101T230000Z"))
    #expect(refusal(catalog, .named("2025\u{1B}[2J")).contains("there is no set 2025\\u{1B}[2J"))
  }

  @Test func theSameSecondOnTwoHostsMeansTheOwn() throws {
    let catalog = Self.catalog([Day(day: 1), Day(day: 1, host: "other"), Day(day: 2)])
    #expect(try catalog.choose(.named("20260101"), host: "other").host == "other")
    #expect(try catalog.choose(.named("20260101T230000Z"), host: "app").host == "app")
    #expect(refusal(catalog, .named("20260101"), host: "third").contains("is ambiguous"))
  }

  @Test func atATimeMeansTheNewestAtOrBeforeIt() throws {
    let catalog = Self.catalog([Day(day: 1), Day(day: 2), Day(day: 3, tags: ["doubted=yes"])])
    let second = try #require(SetID.day(2).date)
    #expect(try catalog.choose(.at(second), host: "app").id == .day(2))
    #expect(try catalog.choose(.at(second.addingTimeInterval(-1)), host: "app").id == .day(1))
    #expect(
      refusal(catalog, .at(second.addingTimeInterval(-90000))).contains(
        "there is no complete set of app read by 2026-01-01T22:00:00Z"))
    #expect(refusal(catalog, .at(second.addingTimeInterval(90000))).contains("is doubted"))
  }

  /// Begun before the time and read until after it: the damage of the time in between may be in it.
  @Test func aSetThatWasStillBeingReadAtTheTimeIsPassedOver() throws {
    let part = { (id: SetID, kind: String, ended: String?) in
      Snapshot(
        id: kind + id.text, time: "2026-01-0\(id == .day(1) ? 1 : 2)T23:00:05Z", hostname: "app", paths: nil,
        tags: ["set=\(id)", "kind=\(kind)"],
        summary: ended.map {
          .init(total_bytes_processed: nil, data_added_packed: nil, backup_start: "2020-01-01T00:00:00.1Z", backup_end: $0)
        })
    }
    let catalog = Catalog(
      files: [part(.day(1), "files", "2020-01-01T00:00:04.123+00:00"), part(.day(2), "files", "2020-01-01T02:29:55.999+01:00")],
      databases: [part(.day(1), "database", nil), part(.day(2), "database", nil)],
      sets: [SetID.day(1), .day(2)].map {
        snapshot("r\($0)", host: "app", ["kind=set", "set=\($0)", "files=files\($0)", "database=database\($0)"])
      })
    let midnight = try #require(SetID("20260103T000000Z")?.date)
    for (seconds, only, chosen, passed) in [
      (0, nil, SetID.day(1), SetID.day(2)), (1799, nil, .day(1), .day(2)), (1800, nil, .day(1), .day(2)),
      (1801, nil, .day(2), nil),
      // Its dump shows the moment it began.
      (0, .database, .day(2), nil), (-3500, .database, .day(2), nil), (-3595, .database, .day(1), .day(2)),
      (-3500, .files, .day(1), .day(2)),
    ] as [(Double, Only?, SetID, SetID?)] {
      let time = midnight.addingTimeInterval(seconds)
      #expect(try catalog.choose(.at(time), host: "app", only: only).id == chosen, "\(seconds)")
      #expect(catalog.beingRead(at: time, host: "app", only: only)?.id == passed, "\(seconds)")
    }
  }

  @Test func aDoubtedNewestSetIsRefusedNamingBoth() throws {
    let catalog = Self.catalog([Day(day: 1), Day(day: 2, tags: ["doubted=yes"])])
    let text = refusal(catalog, .newest)
    #expect(text.contains("the newest set 20260102T230000Z is doubted"))
    #expect(text.contains("restore 20260101T230000Z or restore 20260102T230000Z"))
    #expect(try catalog.choose(.named("20260102"), host: "app").doubted)
    #expect(catalog.lastSound("app")?.id == .day(1))
  }

  @Test func onlyDoubtedSetsAreRefusedToo() {
    #expect(refusal(Self.catalog([Day(day: 1, tags: ["doubted=yes"])]), .newest).contains("there is no undoubted one"))
  }

  @Test func anAcceptedSetIsTrustedAgain() throws {
    let accept = snapshot("m", ["kind=accept", "set=\(SetID.day(2))"])
    let days = [Day(day: 1), Day(day: 2, tags: ["doubted=yes"])]
    let entry = try Self.catalog(days, marks: [accept]).choose(.newest, host: "app")
    #expect(entry.id == .day(2))
    #expect(entry.mark == "accepted")
    let foreignAccept = snapshot("m", host: "other", ["kind=accept", "set=\(SetID.day(2))"])
    #expect(refusal(Self.catalog(days, marks: [foreignAccept]), .newest).contains("is doubted"))
  }

  @Test func aDoubtedSetOlderThanTheNewestSoundOneIsNoObstacle() throws {
    let catalog = Self.catalog([Day(day: 1, tags: ["doubted=yes"]), Day(day: 2)])
    #expect(try catalog.choose(.newest, host: "app").id == .day(2))
  }

  // MARK: Dated in the future

  /// A night whose clock was two days ahead, then a right one.
  @Test func aSetDatedInTheFutureIsDoubtedAndPassedOver() throws {
    let now = try #require(SetID.day(2).date)
    let catalog = Self.catalog([Day(day: 1), Day(day: 2), Day(day: 4)], now: now)
    #expect(try catalog.choose(.newest, host: "app").id == .day(2))
    #expect(try catalog.choose(.at(try #require(SetID.day(9).date)), host: "app").id == .day(2))
    #expect(catalog.lastSound("app")?.id == .day(2))
    #expect(catalog.entries.last?.mark == "doubted: dated in the future")
    // Accepting does not make it newer than what is saved meanwhile; a name is the operator's choice.
    let accept = snapshot("m", ["kind=accept", "set=\(SetID.day(4))"])
    let accepted = Self.catalog([Day(day: 2), Day(day: 4)], marks: [accept], now: now)
    #expect(accepted.entries.last?.doubted == true)
    #expect(try catalog.choose(.named("20260104"), host: "app").isAhead)
    #expect(
      refusal(Self.catalog([Day(day: 4)], now: now), .newest).contains("doubted: dated in the future; there is no undoubted one"))
    // Days later it is a set as any other.
    #expect(
      try Self.catalog([Day(day: 2), Day(day: 4)], now: try #require(SetID.day(5).date)).choose(.newest, host: "app").id
        == .day(4))
  }

  @Test func aDamagedNewestSetIsRefusedAndNeverSteppedOver() {
    let catalog = Self.catalog([Day(day: 1), Day(day: 2, database: false)])
    #expect(refusal(catalog, .newest).contains("set 20260102T230000Z is damaged: its part d2 is gone"))
    #expect(refusal(catalog, .named("20260102")).contains("is damaged"))
    #expect(catalog.entries.last?.mark == "damaged: a part is gone")
    #expect(catalog.lastSound("app")?.id == .day(1))
  }

  @Test func anIncompleteSetIsSteppedOverAndRefusedByName() throws {
    let catalog = Self.catalog([Day(day: 1), Day(day: 2, record: false)])
    #expect(try catalog.choose(.newest, host: "app").id == .day(1))
    #expect(refusal(catalog, .named("20260102")).contains("is incomplete: it has no record"))
    #expect(catalog.entries.last?.mark == "incomplete: no record, its backup never finished")
  }

  @Test func setsAreRebuiltFromTagsWhenTheRecordsOfTheirHostAreLostAndTakenByNameOnly() throws {
    let lost = [Day(day: 1, record: false), Day(day: 2, record: false), Day(day: 3, host: "other")]
    let catalog = Self.catalog(lost)
    #expect(refusal(catalog, .newest).contains("no set of app has a record"))
    let entry = try catalog.choose(.named("20260102"), host: "app")
    #expect(entry.rebuilt)
    #expect(entry.mark == "no record: lost, or never finished")
    #expect(entry.parts.map(\.id) == ["f2", "d2"])
    #expect(catalog.lastSound("app") == nil)
    // The next night's record does not take them away.
    let next = Self.catalog(lost + [Day(day: 4)])
    #expect(try next.choose(.named("20260101"), host: "app").rebuilt)
    #expect(try next.choose(.newest, host: "app").id == .day(4))
  }

  @Test func otherHostsAreNamedWhereTheOwnHasNothing() {
    #expect(
      refusal(Self.catalog([Day(day: 1, host: "other")]), .newest).contains(
        "there are sets of other: set RESTIC_HOST to the one you want"))
    #expect(refusal(Self.catalog([]), .newest).contains("run backup first"))
  }

  @Test func foreignAndMalformedSnapshotsAreNoSets() {
    let foreign = [snapshot("x", ["daily"]), snapshot("y", ["set=yesterday"]), snapshot("z", ["set=20260230T000000Z"])]
    let records = [snapshot("b", ["kind=set"]), snapshot("c", ["kind=set", "set=never"])]
    let catalog = Self.catalog([], marks: records, foreign: foreign)
    #expect(catalog.entries.isEmpty)
    #expect(LegacySnapshots([(.files, foreign)]).items.map(\.snapshot.id) == ["x", "y", "z"])
  }

  @Test func theNewestDrillIsKnown() throws {
    let drill = { (id: String, time: String) in snapshot(id, ["kind=drill", "set=\(SetID.day(1))"], time: time) }
    let marks = [drill("a", "2026-02-02T00:00:00Z"), drill("b", "2026-02-01T00:00:00Z")]
    #expect(Self.catalog([Day(day: 1)], marks: marks).entries.first?.drilled == "2026-02-02T00:00:00Z")
  }

  // MARK: The second repository

  /// `restic copy` gives each snapshot another id and keeps the first one as `original`; records keep naming that.
  @Test func aCopiedSetIsFoundByTheOriginalIdsOfItsParts() throws {
    let copied = { (id: String, original: String, tags: [String]) in
      var copy = snapshot(id, host: "app", tags)
      copy.original = original
      return copy
    }
    let set = SetID.day(1)
    let catalog = Catalog(
      files: [copied("cf", "f1", ["set=\(set)"])], databases: [copied("cd", "d1", ["set=\(set)"])],
      sets: [copied("cr", "r1", ["kind=set", "set=\(set)", "files=f1", "database=d1"])])
    #expect(catalog.entries.count == 1)
    let entry = try catalog.choose(.newest, host: "app")
    #expect(entry.files?.id == "cf" && entry.databases.map(\.id) == ["cd"])
    let record = record(files: filesPart(entries: 1), databases: [databasePart()]).located(at: entry)
    #expect(record.files?.snapshot == "cf" && record.databases.map(\.snapshot) == ["cd"])
    #expect(catalog.sets(with: ["cd"]) == [set.text] && catalog.sets(with: ["x"]).isEmpty)
  }
}
