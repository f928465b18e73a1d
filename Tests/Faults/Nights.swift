import Glibc
import Support
import Testing

@testable import BackupRestore

/// What happens in a night.
struct Night {
  /// 2020-03-01 23:10:00 UTC: to restic, whose clock is right, what lies in the future is not the newest (measured).
  static let begin: time_t = 1_583_104_200

  let number: Int
  /// Of a hundred.
  let luck: Int
  /// How far the clock is off. By half an hour more each, so that no two sets are of one time; nothing else happens then.
  let skew: time_t
  /// Which fault; nil for none.
  let fault: Int?

  /// The first night is a good one: parts before the first record are kept.
  init(_ number: Int) {
    self.number = number
    luck = number == 0 ? 50 : Int.random(in: 0..<100)
    skew = luck < 2 ? 5 * 86400 + 1800 : luck < 4 ? -2 * 86400 - 1800 : 0
    fault = skew == 0 && luck < 30 ? Int.random(in: 0..<8) : nil
  }

  var time: time_t { Self.begin + number * 86400 + skew }
  /// A directory is not there.
  var isLoss: Bool { number > 0 && (30..<33).contains(luck) }
  /// Every fourth night somebody looks, and after everything out of the ordinary.
  var isLookedAt: Bool { fault != nil || isLoss || skew != 0 || number % 4 == 0 }
  /// Somebody wants an old set back, and then not.
  var isRestored: Bool { luck >= 90 }
}

/// The nights that have passed, and what is known of them.
struct Nights {
  let broken: Broken
  var expected = Expected(Soak.policy)
  /// What was live when each set was saved.
  var states: [String: String] = [:]
  /// Sets of which a part could not be saved.
  private(set) var lacking: Set<String> = []
  var (faults, skewed, doubted, restored) = (0, 0, 0, 0)
  private var story: [String] = []

  init(broken: Broken) { self.broken = broken }

  mutating func pass(_ night: Night) async throws {
    try await Soak.change(broken, night.number)
    if night.isLoss { try await broken.site.script("mv d ../lost") }
    let state = try await Soak.state(broken)
    let (code, saved) = try await save(night)
    let seen = try await look(night, code) ?? Seen(whole: saved.union(expected.ids))
    let new = learn(night, code, seen, state)
    judge(night, code, seen, new)
    story.append("\(night.number): luck \(night.luck), \(night.fault.map(String.init) ?? "no fault"), exit \(code)")
    if night.fault != nil { faults += 1 }
    if night.skew != 0 { skewed += 1 }
    if night.isLoss {
      doubted += 1
      try await broken.site.script("mv ../lost d")
    }
    if night.isRestored { try await goBackAndForth() }
  }

  /// The exit code, and the set that the run says it saved.
  private func save(_ night: Night) async throws -> (code: Int, saved: Set<String>) {
    let clock = try await Soak.clock(broken, night.time)
    if let fault = night.fault {
      let code = try await Soak.fault(broken, fault, clock)
      try await broken.site.untilIdle()
      return (code, [])
    }
    let run = try await broken.site.run("backup", with: clock)
    #expect([0, 4].contains(run.code), "night \(night.number): \(run)")
    let set = run.output.firstMatch(of: /set (\d{8}T\d{6}Z) saved/).map { String($0.1) }
    return (Int(run.code), Set(set.map { [$0] } ?? []))
  }

  /// What `restore --list` shows.
  private struct Seen {
    var list = ""
    let whole: Set<String>
    var damaged: Set<String> = []
    var orphaned: Set<String> = []
  }

  /// Nil where nobody looks.
  private func look(_ night: Night, _ code: Int) async throws -> Seen? {
    if !night.isLookedAt { return nil }
    let run = try await broken.site.run("restore", ["--list"])
    #expect(run.code == 0, "night \(night.number), \(code): \(run)")
    let ids = { (isThere: (Substring) -> Bool) in
      Set(run.output.split(separator: "\n").filter { $0.hasPrefix("20") && isThere($0) }.map { String($0.prefix(16)) })
    }
    return Seen(
      list: run.output, whole: ids { !$0.contains("no record") && !$0.contains("damaged") },
      damaged: ids { $0.contains("damaged") }, orphaned: ids { $0.contains("no record") })
  }

  /// The set of this night. Against all that were ever seen: where retention was cut short, what it meant to forget is still there.
  private mutating func learn(_ night: Night, _ code: Int, _ seen: Seen, _ state: String) -> String? {
    let new = seen.whole.subtracting(states.keys)
    guard let set = new.first else {
      #expect(night.fault != nil && code != 0 && code != 4, "night \(night.number): no set, and \(code)")
      return nil
    }
    #expect(new.count == 1, "night \(night.number): \(new)")
    states[set] = state
    // A source that failed beside another: what is saved of it is not whole.
    let line = seen.list.split(separator: "\n").first { $0.hasPrefix(set) } ?? ""
    let lacks = line.contains("doubted: no database") || line.contains("doubted: no files")
    if lacks {
      #expect(code == 20, "night \(night.number): \(line)")
      lacking.insert(set)
    }
    expected.save(set, at: night.time, isDoubted: night.isLoss || lacks)
    let isHeld = expected.isHeld(set)
    if night.fault == nil { #expect(code == (isHeld ? 4 : 0), "night \(night.number)") }
    if code == 0 || code == 4 { expected.retain(set) }
    return set
  }

  private func judge(_ night: Night, _ code: Int, _ seen: Seen, _ new: String?) {
    // Where retention is cut short, what it was forgetting waits for the next night.
    if night.fault != nil, let newest = expected.sets.last?.id {
      var next = expected
      next.retain(newest)
      #expect(seen.damaged.isDisjoint(with: next.ids), "night \(night.number), \(code): \(seen.list)")
    } else {
      #expect(seen.damaged.isEmpty, "night \(night.number), \(code): \(seen.list)")
    }
    if night.isLookedAt, night.fault == nil {
      let wrong = seen.whole.symmetricDifference(expected.ids)
      #expect(wrong.isEmpty, "night \(night.number): \(wrong) \(story.suffix(12)) \(seen.list)")
      // What has no record stays until there is a newer one.
      #expect(code == 4 || seen.orphaned.allSatisfy { $0 > new ?? "" }, "night \(night.number): \(seen.list)")
    }
  }

  private mutating func goBackAndForth() async throws {
    guard let set = expected.sets.filter({ !lacking.contains($0.id) }).randomElement()?.id else { return }
    restored += 1
    let live = try await Soak.state(broken)
    try await broken.succeed("restore", set)
    expectSame(states[set]!, try await Soak.state(broken))
    try await broken.succeed("restore", "--rollback")
    expectSame(live, try await Soak.state(broken))
    try await broken.discardKept()
  }

  /// Saves once more. - Returns: the sets that are kept: exactly those of the policy.
  mutating func end(_ time: time_t) async throws -> [String] {
    let clock = try await Soak.clock(broken, time)
    try await broken.succeed("backup", with: clock)
    let last = try await broken.site.sets()
    let tonight = try #require(last.last)
    states[tonight] = try await Soak.state(broken)
    expected.save(tonight, at: time)
    expected.retain(tonight)
    #expect(Set(last) == expected.ids)
    let list = try await broken.site.run("restore", ["--list"])
    #expect(!list.output.contains("no record"), "\(list.output)")
    return last
  }
}
