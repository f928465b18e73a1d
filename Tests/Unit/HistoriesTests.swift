import FoundationEssentials
import Support
import Testing

@testable import BackupRestore

/// Random years of nights, restic's answer worked out beside it: whatever happens, and nobody says that it is right, retention takes no
/// more than it would night by night.
@Suite struct HistoriesTests {
  static let day = 86400

  /// One operator's years.
  struct History {
    var random: SplitMix64
    var expected: Expected
    let policy: Retention
    let interval: Int
    var now = 1_577_920_200
    var skew = 0
    var (skewed, doubted) = (0, 0)
    /// What happened, so that a history in which nothing does is noticed.
    var (nights, forgotten, held, gaps) = (0, 0, 0, 0)

    init(seed: Int, last: Int = 7, interval: Int? = nil) {
      random = SplitMix64(state: UInt64(seed))
      let pick = { (values: [Int], random: inout SplitMix64) in values.randomElement(using: &random)! }
      let chosen = Expected.Policy(
        last: last, days: pick([0, 3, 7, 14, 30, 30], &random), weeks: pick([0, 0, 4, 8], &random),
        months: pick([0, 4, 12, 12], &random), years: pick([0, 0, 0, 3], &random))
      policy = Retention(
        last: chosen.last, days: chosen.days, weeks: chosen.weeks, months: chosen.months, years: chosen.years)
      expected = Expected(chosen)
      self.interval = interval ?? pick([day / 4, day, day, day, 7 * day], &random)
    }

    /// What this toolkit does with the same sets and the same answer of restic.
    func plan(_ tonight: String) -> RetentionPlan {
      let index = expected.sets.firstIndex { $0.id == tonight }!
      let nights = zip(expected.sets, Expected.removed(expected.sets, expected.policy)).map { set, isRemoved in
        let isAhead = set.time > expected.sets[index].time + 3600
        return RetentionPlan.Night(
          record: .init(isSound: set.isSound && !isAhead, isAccepted: set.isAccepted, isAhead: isAhead), isRemoved: isRemoved)
      }
      return RetentionPlan(nights, tonight: index, policy: policy)
    }

    func sound(at time: Int) -> [Expected.Saved] { expected.sets.filter { $0.isSound && $0.time <= time + 3600 } }
  }

  // MARK: Histories in which everything happens

  @Test(arguments: 1...12)
  func noHistoryLosesTheNewestSevenSoundSetsOrMoreThanTheNightsOfOnePeriod(seed: Int) {
    var history = History(seed: seed)
    for _ in 0..<1000 { history.pass() }
    #expect(history.forgotten > 0 && history.held > 10 && history.gaps > 0, "\(history)")
  }

  // MARK: Histories in which nothing does

  /// Every policy, night by night or week by week, minutes early and late: never held.
  @Test(arguments: 1...6) func whereEveryNightSavesASetNothingIsEverHeld(seed: Int) {
    for (interval, last) in [(Self.day, 7), (Self.day, 1), (7 * Self.day, 7), (Self.day / 4, 3)] {
      var history = History(seed: seed, last: last, interval: interval)
      for night in 0..<200 {
        history.now += interval
        let time = history.now + Int.random(in: -600...600, using: &history.random)
        history.expected.save("\(night)", at: time)
        let plan = history.plan("\(night)")
        #expect(
          plan.hold == nil && !history.expected.sets.last!.isDoubted, "night \(night) of \(history.policy), every \(interval) s")
        history.expected.retain("\(night)")
      }
    }
  }
}

extension HistoriesTests.History {
  mutating func pass() {
    let day = HistoriesTests.day
    now += interval + Int.random(in: -600...600, using: &random)
    nights += 1
    if random.chance(1) { now += Int.random(in: 1...600, using: &random) * day }
    if random.chance(10) { return }
    if skewed == 0, random.chance(2) {
      (skew, skewed) = (Int.random(in: -900...900, using: &random) * day, Int.random(in: 1...3, using: &random))
    }
    let time = now + (skewed > 0 ? skew : 0)
    skewed = max(0, skewed - 1)
    if doubted == 0, random.chance(3) { doubted = Int.random(in: 1...12, using: &random) }
    save(time, isDoubted: doubted > 0)
    doubted = max(0, doubted - 1)
    // Somebody looks, now and then: what lies in the future is forgotten by hand, what is doubted or held is accepted.
    guard random.chance(8) else { return }
    expected.sets.removeAll { $0.time > now + 3600 }
    if let newest = expected.sets.indices.last, doubted == 0 { expected.sets[newest].isAccepted = true }
  }

  /// Saves a set, lets retention do its work, and holds what it did against what must never happen.
  private mutating func save(_ time: Int, isDoubted: Bool) {
    let id = "\(nights)"
    if expected.sets.contains(where: { $0.time == time }) { return }
    let before = expected
    let times = sound(at: time).map { Date(timeIntervalSince1970: Double($0.time)) }
    let gap = RetentionPlan.gap(before: Date(timeIntervalSince1970: Double(time)), after: times, policy: policy)
    expected.save(id, at: time, isDoubted: isDoubted)
    #expect((gap != nil || isDoubted) == expected.sets.first { $0.id == id }!.isDoubted)
    if gap != nil { gaps += 1 }

    let plan = plan(id)
    let sets = expected.sets
    let sound = sound(at: time)
    let lost = expected.retain(id)
    #expect(plan.forgotten.map { sets[$0].id } == lost.map(\.id), "night \(id) of \(policy)")
    if plan.hold != nil { held += 1 }
    forgotten += lost.count
    if lost.isEmpty { return }

    let newest = sound.count < 7 ? Int.min : sound[sound.count - 7].time
    #expect(!lost.contains { $0.isSound && $0.time >= newest }, "night \(id) of \(policy)")
    let released = sets.last { $0.isAccepted }?.time ?? .min
    let taken = lost.filter { $0.isSound && $0.time > released }
    #expect(taken.count * 2 <= sound.count || taken.count <= before.policy.atOnce, "night \(id) of \(policy)")
    // Where a night is as any other, nothing has to be proven.
    guard let (last, limit) = before.limit(at: time), time - last >= interval, time - last > 3 * interval / 2 || taken.count > 2
    else { return }
    #expect(
      Set(taken.map(\.id)).isSubset(of: nightByNight(before, since: last, for: limit)), "night \(id) of \(policy)")
  }

  /// What the policy takes if one good night follows the other for that long.
  private func nightByNight(_ before: Expected, since last: Int, for limit: Int) -> Set<String> {
    var world = before
    world.sets.removeAll { $0.time > last + 3600 && $0.isSound }
    for night in 1...(limit / interval + 1) { world.sets.append(.init(id: "good", time: last + night * interval)) }
    world.sets.sort { $0.time < $1.time }
    return Set(zip(world.sets, world.wanted(keeping: nil)).filter(\.1).map(\.0.id))
  }
}
