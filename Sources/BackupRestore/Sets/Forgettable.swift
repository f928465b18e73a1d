import FoundationEssentials

extension Catalog {
  /// What to forget: records, and the parts and marks that go with them.
  struct Forgettable: Equatable, Sendable {
    var records: [String] = []
    var files: [String] = []
    var databases: [String] = []
    var sets: [SetID] = []
    /// Why it is nothing, and the sets that would go otherwise.
    var hold: RetentionPlan.Hold?
    var held: [SetID] = []
  }

  /// The sets of this host without a record.
  func unrecorded(_ host: String) -> Set<SetID> { Set(of(host).filter { $0.record == nil }.map(\.id)) }

  /// The snapshots that go when restic's retention would remove these records. The set `kept` never goes. `unrecorded`: of the sets
  /// without a record only these; nil: any.
  func forgettable(
    records removed: Set<String>, marks: [Snapshot], host: String, keeping kept: SetID, policy: Retention,
    unrecorded: Set<SetID>? = nil, now: Date = Date()
  ) -> Forgettable {
    let own = of(host)
    let nights = own.map { entry in
      RetentionPlan.Night(
        record: entry.record.map { _ in
          .init(isSound: entry.sound, isAccepted: entry.accepted, isAhead: entry.isAhead, isHeld: entry.held != nil)
        },
        isRemoved: entry.record.map { removed.contains($0.id) } == true)
    }
    let night = RetentionPlan(nights, tonight: own.lastIndex { $0.id == kept }, policy: policy)
    var plan = Forgettable(hold: night.hold, held: night.hold == nil ? [] : night.wanted.map { own[$0].id })
    // Drills are evidence of their own, for longer than most sets.
    if night.hold == nil { plan.records += DrillResult.expired(marks, of: host, now: now).map(\.id) }
    for entry in night.forgotten.map({ own[$0] }) where entry.record != nil || unrecorded?.contains(entry.id) != false {
      plan.sets.append(entry.id)
      plan.records += entry.record.map { [$0.id] } ?? []
      plan.records += marks.filter { mark in
        mark.tag("kind") != "set" && mark.tag("set") == entry.id.text && mark.hostname == host && !DrillResult.isOne(mark)
      }.map(\.id)
      plan.files += entry.files.map { [$0.id] } ?? []
      plan.databases += entry.databases.map(\.id)
    }
    return plan
  }

  /// A record of this host that lies ahead of the clock.
  func ahead(_ host: String) -> Entry? { of(host).last { $0.record != nil && $0.isAhead } }

  /// When the sound sets of this host began, oldest first.
  func soundTimes(_ host: String) -> [Date] { of(host).filter(\.trusted).compactMap(\.id.date) }
}
