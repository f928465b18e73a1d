import FoundationEssentials
import Testing

@testable import BackupRestore

@Suite struct RetentionTests {
  typealias Day = CatalogTests.Day

  func plan(
    _ days: [Day], removing removed: Set<String>, marks: [Snapshot] = [], foreign: [Snapshot] = [], keeping: Int = 31,
    last: Int = 0, now: Date? = SetID.day(31).date
  ) -> Catalog.Forgettable {
    CatalogTests.catalog(days, marks: marks, foreign: foreign).forgettable(
      records: removed, marks: marks, host: "app", keeping: .day(keeping), policy: Retention(last: last, days: 30),
      now: now ?? .distantPast)
  }

  @Test func aRecordGoesWithItsPartsAndMarks() {
    let marks = [
      snapshot("accept1", ["kind=accept", "set=\(SetID.day(1))"]), snapshot("hold1", ["kind=release", "set=\(SetID.day(1))"]),
      snapshot("accept2", ["kind=accept", "set=\(SetID.day(2))"]),
      snapshot("elsewhere", host: "other", ["kind=drill", "set=\(SetID.day(1))"]),
    ]
    let plan = plan([Day(day: 1), Day(day: 2)], removing: ["r1"], marks: marks)
    #expect(plan == .init(records: ["r1", "accept1", "hold1"], files: ["f1"], databases: ["d1"], sets: [.day(1)]))
  }

  /// What was proven, and when, is asked for when the set is long gone.
  @Test func whatDrillsFoundOutlivesTheSetForMoreThanAYear() {
    let drills = ["drill", "failed-drill"].map { snapshot($0, ["kind=\($0)", "set=\(SetID.day(1))"]) }
    let (days, later) = ([Day(day: 1), Day(day: 2)], { (days: Double) in SetID.day(1).date?.addingTimeInterval(days * 86400) })
    #expect(plan(days, removing: ["r1"], marks: drills).records == ["r1"])
    #expect(plan(days, removing: [], marks: drills, now: later(399)).records.isEmpty)
    #expect(plan(days, removing: [], marks: drills, now: later(402)).records == ["drill", "failed-drill"])
  }

  @Test func aSetThatIsHeldStays() {
    let marks = [
      snapshot("h1", ["kind=hold", "set=\(SetID.day(1))"]),
      snapshot("h2", ["kind=hold", "set=\(SetID.day(2))"], time: "2026-01-05T01:00:00+02:00"),
      snapshot("h3", ["kind=release", "set=\(SetID.day(2))"], time: "2026-01-04T23:00:01Z"),
    ]
    #expect(plan([Day(day: 1), Day(day: 2), Day(day: 3)], removing: ["r1", "r2"], marks: marks).sets == [.day(2)])
  }

  @Test func nothingGoesWhereResticRemovesNothing() {
    #expect(plan([Day(day: 1), Day(day: 2)], removing: []) == .init())
  }

  /// At the end of a month the doubted one would be what is left of it.
  @Test func whereADoubtedSetIsKeptTheSoundOneBeforeItIsToo() {
    let doubted = Day(day: 3, tags: ["doubted=yes"])
    let days = [Day(day: 1), Day(day: 2), doubted, Day(day: 4)]
    #expect(plan(days, removing: ["r1", "r2"]).sets == [.day(1)])
    #expect(plan(days, removing: ["r1", "r2", "r3"]).sets == [.day(1), .day(2), .day(3)])
    let accepted = [snapshot("accept3", ["kind=accept", "set=\(SetID.day(3))"])]
    #expect(plan(days, removing: ["r1", "r2"], marks: accepted).sets == [.day(1), .day(2)])
  }

  /// What a restore replaced is a state that nobody wanted.
  @Test func whereWhatARestoreReplacedIsKeptTheSoundOneBeforeItIsToo() {
    let replaced = Day(day: 3, tags: ["before=in-place"])
    #expect(plan([Day(day: 1), Day(day: 2), replaced, Day(day: 4)], removing: ["r1", "r2"]).sets == [.day(1)])
  }

  @Test(arguments: [1, 2, 3]) func theKeptSetNeverGoes(_ day: Int) {
    let plan = plan((1...3).map { Day(day: $0) }, removing: ["r1", "r2", "r3"], keeping: day)
    #expect(plan.sets == [1, 2, 3].filter { $0 != day }.map { .day($0) })
    #expect(!plan.records.contains("r\(day)") && !plan.files.contains("f\(day)") && !plan.databases.contains("d\(day)"))
  }

  @Test func partsWithoutARecordGoOnlyBetweenAnOlderAndANewerRecord() {
    let orphan = { Day(day: $0, record: false) }
    let between = plan([orphan(1), Day(day: 2), orphan(3), Day(day: 4), orphan(5)], removing: [])
    #expect(between == .init(records: [], files: ["f3"], databases: ["d3"], sets: [.day(3)]))
    #expect(plan([orphan(1), orphan(2), orphan(3)], removing: []) == .init())
    #expect(plan([orphan(1), Day(day: 2), orphan(3)], removing: []) == .init())
  }

  /// A backup that began since, on a node whose clock is behind, looks like one that never ended.
  @Test func partsThatWereNotThereWhenTheRunBeganStay() {
    let days = [Day(day: 1), Day(day: 2, record: false), Day(day: 3, record: false), Day(day: 4)]
    let plan = CatalogTests.catalog(days).forgettable(
      records: [], marks: [], host: "app", keeping: .day(4), policy: Retention(last: 1, days: 30),
      unrecorded: CatalogTests.catalog(Array(days[..<2])).unrecorded("app")
    )
    #expect(plan == .init(records: [], files: ["f2"], databases: ["d2"], sets: [.day(2)]))
  }

  @Test func recordsOfAnotherHostDoNotMakePartsForgettable() {
    let days = [Day(day: 1, host: "other"), Day(day: 2, record: false), Day(day: 3, host: "other")]
    #expect(plan(days, removing: []) == .init())
  }

  @Test func otherHostsAndForeignSnapshotsNeverGo() {
    let foreign = [snapshot("x", ["daily"]), snapshot("y", ["set=never"]), snapshot("z", [])]
    let days = [Day(day: 1), Day(day: 1, host: "other"), Day(day: 2)]
    let plan = plan(days, removing: ["r1", "r1other", "x", "y", "z"], foreign: foreign)
    #expect(plan == .init(records: ["r1"], files: ["f1"], databases: ["d1"], sets: [.day(1)]))
  }

  @Test func ofADamagedSetWhatIsLeftGoes() {
    let plan = plan([Day(day: 1, files: false), Day(day: 2)], removing: ["r1"])
    #expect(plan == .init(records: ["r1"], files: [], databases: ["d1"], sets: [.day(1)]))
  }

  @Test func aRecordOverAnHourAheadHoldsRetention() throws {
    let now = try #require(SetID.day(2).date)
    let record = { (time: String) in
      Catalog(
        files: [], databases: [], sets: [snapshot("s", ["kind=set", "set=\(SetID.day(1))"], time: time)], now: now)
    }
    #expect(record("2026-01-03T00:00:00Z").ahead("app") == nil)
    #expect(record("2026-01-03T00:00:01Z").ahead("app")?.record?.id == "s")
    #expect(record("2026-01-03T05:30:00.999999999+05:30").ahead("app") == nil)
    #expect(record("2026-01-03T05:30:01.1+05:30").ahead("app")?.record?.id == "s")
    let plan = record("2026-01-03T00:00:01Z").forgettable(
      records: ["s"], marks: [], host: "app", keeping: .day(31), policy: Retention(last: 1, days: 30))
    #expect(plan.hold == .ahead && plan.sets.isEmpty && plan.records.isEmpty)
  }

  // MARK: Too much at once

  /// 10 sets, of which a policy that somebody lowered would leave two.
  @Test func wherePolicyWouldTakeMoreThanHalfOfTheSoundSetsNothingGoesUntilOneIsAccepted() {
    let days = (1...10).map { Day(day: $0) }
    let removed = Set((1...8).map { "r\($0)" })
    let held = plan(days, removing: removed, keeping: 10)
    #expect(held.hold == .much(8, of: 10) && held.sets.isEmpty && held.records.isEmpty && held.files.isEmpty)
    #expect(held.held == (1...8).map { .day($0) })
    let accepted = [snapshot("accept", ["kind=accept", "set=\(SetID.day(10))"])]
    let plan = plan(days, removing: removed, marks: accepted, keeping: 10)
    #expect(plan.hold == nil && plan.sets == held.held)
  }

  /// What was accepted answers for what is older, not for what comes.
  @Test func anAcceptedSetReleasesTheOlderOnesOnly() {
    let days = (1...10).map { Day(day: $0) }
    let accepted = [snapshot("accept", ["kind=accept", "set=\(SetID.day(2))"])]
    let removed = Set((1...8).map { "r\($0)" })
    #expect(plan(days, removing: removed, marks: accepted, keeping: 10).hold == .much(6, of: 10))
  }

  @Test func doubtedSetsAreNotCountedAndHalfMayGo() {
    let days = (1...6).map { Day(day: $0, tags: ["doubted=yes"]) } + (7...10).map { Day(day: $0) }
    let plan = plan(days, removing: Set((1...8).map { "r\($0)" }), keeping: 10)
    #expect(plan.sets == (1...8).map { .day($0) })
  }

  /// restic's --keep-last counts doubted sets as well.
  @Test func theNewestSoundSetsStayWhateverResticSays() {
    let days = [1, 2, 3, 8].map { Day(day: $0) } + [4, 5, 6, 7].map { Day(day: $0, tags: ["doubted=yes"]) }
    #expect(plan(days, removing: ["r1", "r2", "r3", "r4"], keeping: 8, last: 3).sets == [.day(1), .day(4)])
  }

  // MARK: Gaps

  @Test(
    arguments: [
      ([0], 30, 29.0, false), ([0], 30, 31, true), ([0], 0, 7, false), ([0], 0, 9, true), ([0], 365, 32, true),
      ([], 30, 400, false), ([0, 31, 62], 30, 31 * 2.9, false), ([0, 31, 62], 30, 31 * 3.1, true),
      // One gap is not the usual interval.
      ([0, 400, 401, 402], 30, 31, true),
    ] as [([Int], Int, Double, Bool)])
  func aLongerTimeThanThePolicysWithoutASoundSetIsAGap(sound: [Int], days: Int, later: Double, isGap: Bool) {
    let day = { (number: Double) in Date(timeIntervalSince1970: 1_700_000_000 + number * 86400) }
    let now = day(Double(sound.last ?? 0) + later)
    let gap = RetentionPlan.gap(
      before: now, after: sound.map { day(Double($0)) }, policy: Retention(last: 7, days: days))
    #expect((gap != nil) == isGap)
  }
}
