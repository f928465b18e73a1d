import Glibc

/// What must be kept, worked out on its own: restic's documented rules over a plain list of times, and this toolkit's on top of them.
public struct Expected: Sendable {
  public struct Policy: Sendable {
    public var last, days, weeks, months, years: Int

    public init(last: Int, days: Int = 0, weeks: Int = 0, months: Int = 0, years: Int = 0) {
      (self.last, self.days, self.weeks, self.months, self.years) = (last, days, weeks, months, years)
    }

    public var variables: [String: String] {
      [
        "RESTIC_KEEP_LAST": "\(last)", "RESTIC_DAYS_TO_KEEP": "\(days)", "RESTIC_WEEKS_TO_KEEP": "\(weeks)",
        "RESTIC_MONTHS_TO_KEEP": "\(months)", "RESTIC_YEARS_TO_KEEP": "\(years)",
      ]
    }

    /// What each rule lets go of in a night, and one more.
    public var atOnce: Int { 2 + [days, weeks, months, years].count { $0 > 0 } }
  }

  public struct Saved: Sendable {
    public let id: String
    public let time: time_t
    public var isDoubted: Bool
    public var isAccepted = false
    /// Of its week, month and year: whole numbers, because ten thousand nights ask for them again and again.
    let buckets: (week: Int, month: Int, year: Int)

    public init(id: String, time: time_t, isDoubted: Bool = false) {
      (self.id, self.time, self.isDoubted) = (id, time, isDoubted)
      let parts = Expected.parts(time)
      // The first of January 1970 was a Thursday.
      buckets = ((time / 86400 + 3) / 7, Int(parts.tm_year * 12 + parts.tm_mon), Int(parts.tm_year))
    }

    public var isSound: Bool { !isDoubted || isAccepted }
    func isAhead(of tonight: Saved) -> Bool { time > tonight.time + 3600 }
  }

  public let policy: Policy
  /// Oldest first.
  public var sets: [Saved] = []

  public init(_ policy: Policy) { self.policy = policy }

  public var ids: Set<String> { Set(sets.map(\.id)) }

  static func parts(_ time: time_t) -> tm {
    var (parts, time) = (tm(), time)
    gmtime_r(&time, &parts)
    return parts
  }

  /// A set that was saved. It is doubted where something was lost, and after a gap.
  public mutating func save(_ id: String, at time: time_t, isDoubted: Bool = false) {
    let isGap = limit(at: time).map { last, limit in time - last > limit } ?? false
    let index = sets.firstIndex { $0.time > time } ?? sets.endIndex
    sets.insert(Saved(id: id, time: time, isDoubted: isDoubted || isGap), at: index)
  }

  /// The newest sound set at `time`, and how much later the next one may begin: in seconds.
  public func limit(at time: time_t) -> (last: time_t, limit: time_t)? {
    let sound = sets.filter { $0.isSound && $0.time <= time + 3600 }.map(\.time).suffix(8)
    guard let last = sound.last else { return nil }
    let intervals = zip(sound.dropFirst(), sound).map { $0 - $1 }.sorted()
    return (last, max(min(max(policy.days, 8), 31) * 86400, intervals.isEmpty ? 0 : intervals[intervals.count / 2] * 3))
  }

  /// What restic's policy removes of these, which are sorted by time.
  public static func removed(_ sets: [Saved], _ policy: Policy) -> [Bool] {
    guard let newest = sets.last?.time else { return [] }
    let since = { (days: Int, months: Int) -> time_t in
      if days == 0, months == 0 { return .max }
      var parts = Self.parts(newest)
      parts.tm_mday -= Int32(days)
      parts.tm_mon -= Int32(months)
      return timegm(&parts)
    }
    let within = since(policy.days, 0)
    let (weekly, monthly) = (since(policy.weeks * 7, 0), since(0, policy.months))
    let yearly = since(0, policy.years * 12)
    var (week, month, year) = (Int.min, Int.min, Int.min)
    var removed = sets.map { _ in true }
    for (index, set) in sets.enumerated().reversed() {
      // The oldest of all stands for the time before it, as long as it lies within (restic's own rule, measured).
      let isOldest = index == 0
      var keep = sets.count - index <= policy.last || set.time > within
      if set.time > weekly, set.buckets.week != week || isOldest { (keep, week) = (true, set.buckets.week) }
      if set.time > monthly, set.buckets.month != month || isOldest { (keep, month) = (true, set.buckets.month) }
      if set.time > yearly, set.buckets.year != year || isOldest { (keep, year) = (true, set.buckets.year) }
      removed[index] = !keep
    }
    return removed
  }

  /// Which sets go where nothing holds, by their place: whole numbers and flags, because sets of names are ten times as slow.
  public func wanted(keeping tonight: Int?) -> [Bool] {
    var wanted = Self.removed(sets, policy)
    var (sound, left) = (Int?.none, policy.last)
    // A doubted set never stands alone for good ones.
    for index in sets.indices {
      if sets[index].isSound { sound = index } else if !wanted[index], let sound { wanted[sound] = false }
    }
    for index in sets.indices.reversed() where left > 0 && sets[index].isSound {
      wanted[index] = false
      left -= 1
    }
    if let tonight { wanted[tonight] = false }
    return wanted
  }

  /// Nothing goes while a record lies ahead of the clock, tonight's set is doubted, or too many would go at once.
  public func isHeld(_ tonight: String) -> Bool {
    let place = sets.firstIndex { $0.id == tonight }!
    return isHeld(place, wanted(keeping: place))
  }

  private func isHeld(_ tonight: Int, _ wanted: [Bool]) -> Bool {
    if !sets[tonight].isSound || sets[sets.count - 1].isAhead(of: sets[tonight]) { return true }
    var (taken, all) = (0, 0)
    for index in sets.indices {
      if sets[index].isAccepted { taken = 0 }
      guard sets[index].isSound else { continue }
      all += 1
      if wanted[index], !sets[index].isAccepted { taken += 1 }
    }
    return taken * 2 > all && taken > policy.atOnce
  }

  /// - Returns: what went.
  @discardableResult
  public mutating func retain(_ tonight: String) -> [Saved] {
    let place = sets.firstIndex { $0.id == tonight }!
    let wanted = wanted(keeping: place)
    if !wanted.contains(true) || isHeld(place, wanted) { return [] }
    var lost: [Saved] = []
    var kept: [Saved] = []
    for index in sets.indices {
      if wanted[index] { lost.append(sets[index]) } else { kept.append(sets[index]) }
    }
    sets = kept
    return lost
  }
}
