import FoundationEssentials

/// What retention does in one night, given restic's answer: plain values, so that ten thousand nights are tried in a second.
struct RetentionPlan: Equatable, Sendable {
  /// A set as retention sees it.
  struct Night: Equatable, Sendable {
    /// Nil: no record names it.
    let record: Record?
    /// restic's policy would remove its record.
    var isRemoved = false

    struct Record: Equatable, Sendable {
      /// Whole, undoubted, and not what a restore replaced.
      var isSound = true
      /// The operator has looked at it.
      var isAccepted = false
      var isAhead = false
      /// The operator holds on to it.
      var isHeld = false
    }

    var isSound: Bool { record?.isSound == true }
  }

  /// Why nothing is forgotten.
  enum Hold: Equatable, Sendable {
    /// Tonight's set is not sound.
    case doubted
    /// A record lies ahead of the clock: "within 30 days" would be counted from the wrong day.
    case ahead
    /// So many of so many sound sets would go at once.
    case much(Int, of: Int)
  }

  let hold: Hold?
  /// Which of the nights the policy forgets, by index: only where there is no hold.
  let wanted: [Int]
  var forgotten: [Int] { hold == nil ? wanted : [] }

  /// - Parameters:
  ///   - nights: oldest first.
  ///   - tonight: the set that never goes; nil where it is not saved yet.
  init(_ nights: [Night], tonight: Int?, policy: Retention) {
    wanted = Self.wanted(nights, tonight, policy)
    hold = Self.hold(nights, tonight, wanted, policy)
  }

  private static func wanted(_ nights: [Night], _ tonight: Int?, _ policy: Retention) -> [Int] {
    var kept: Set<Int> = []
    // A set that is doubted, damaged or what a restore replaced must not stand for a month that has good ones: where restic keeps one,
    // the sound one before it stays too.
    var sound: Int?
    for (index, night) in nights.enumerated() {
      if night.isSound { sound = index } else if night.record != nil, !night.isRemoved, let sound { kept.insert(sound) }
    }
    // restic's own --keep-last counts the others as well: a week of doubted nights would leave none to go back to.
    var newest = policy.last
    for index in nights.indices.reversed() where newest > 0 && nights[index].isSound {
      kept.insert(index)
      newest -= 1
    }
    let first = nights.firstIndex { $0.record != nil } ?? nights.endIndex
    let last = nights.lastIndex { $0.record != nil } ?? nights.startIndex
    return nights.indices.filter { index in
      if index == tonight { return false }
      // Parts that no record names go only where a record older and one newer than them exist.
      guard let record = nights[index].record else { return first < index && index < last }
      return nights[index].isRemoved && !kept.contains(index) && !record.isHeld
    }
  }

  private static func hold(_ nights: [Night], _ tonight: Int?, _ wanted: [Int], _ policy: Retention) -> Hold? {
    if let tonight, !nights[tonight].isSound { return .doubted }
    if nights.contains(where: { $0.record?.isAhead == true }) { return .ahead }
    // What is older than a set that was accepted has been answered for.
    let released = nights.lastIndex { $0.record?.isAccepted == true } ?? -1
    let taken = wanted.count { $0 > released && nights[$0].isSound }
    let all = nights.count(where: \.isSound)
    return taken * 2 > all && taken > policy.atOnce ? .much(taken, of: all) : nil
  }

  /// The time since the last of these sound sets, where it is longer than the policy's night by night, else nil: sets that it keeps for
  /// days would all go at once. Who saves once a month sees no gap in a month.
  static func gap(before now: Date, after sound: [Date], policy: Retention) -> TimeInterval? {
    guard let last = sound.last else { return nil }
    let recent = sound.suffix(8)
    let intervals = zip(recent.dropFirst(), recent).map { $0.timeIntervalSince($1) }.sorted()
    let usual = intervals.isEmpty ? 0 : intervals[intervals.count / 2]
    let gap = now.timeIntervalSince(last)
    return gap > max(Double(policy.gapDays) * 86400, usual * 3) ? gap : nil
  }
}

extension Retention {
  /// Sets that may go in one night whatever their share: each rule lets go of one, and a night that failed before is caught up.
  var atOnce: Int { arguments.count / 2 + 1 }

  /// A longer time without a sound set is a gap.
  var gapDays: Int { min(max(days, 8), 31) }
}
