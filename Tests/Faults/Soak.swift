import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// Two hundred nights: data that changes, faults, restores, and a clock that is wrong some nights.
@Suite struct Soak {
  /// What must be kept, worked out on its own: restic's documented rules over a plain list of times.
  struct Expected {
    struct Saved {
      let time: time_t
      var isDoubted = false
    }
    var sets: [String: Saved] = [:]

    static let policy: [String: String] = [
      "RESTIC_KEEP_LAST": "1", "RESTIC_DAYS_TO_KEEP": "7", "RESTIC_WEEKS_TO_KEEP": "4", "RESTIC_MONTHS_TO_KEEP": "4",
    ]

    /// Nothing goes while a record lies ahead of the clock, or tonight's set is doubted.
    func isHeld(_ tonight: String) -> Bool {
      sets[tonight]!.isDoubted || sets.values.contains { $0.time > sets[tonight]!.time + 3600 }
    }

    mutating func retain(_ tonight: String) {
      if isHeld(tonight) { return }
      let newest = sets.values.map(\.time).max()!
      let since = { (days: Int32, months: Int32) -> time_t in
        var parts = tm()
        var time = newest
        gmtime_r(&time, &parts)
        parts.tm_mday -= days
        parts.tm_mon -= months
        return timegm(&parts)
      }
      let name = { (time: time_t, format: String) -> String in
        var (parts, time) = (tm(), time)
        gmtime_r(&time, &parts)
        var text = [CChar](repeating: 0, count: 32)
        return String(decoding: text[..<strftime(&text, 32, format, &parts)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
      }
      var kept: Set<String> = [tonight]
      var buckets: Set<String> = []
      let ordered = sets.sorted { $0.value.time > $1.value.time }
      for (index, (id, set)) in ordered.enumerated() {
        var keep = index == 0 || set.time > since(7, 0)
        for (bucket, limit) in [("week %G %V", since(28, 0)), ("month %Y %m", since(0, 4))] where set.time > limit {
          // The oldest of all stands for the time before it, as long as it lies within (restic's own rule, measured).
          if buckets.insert(name(set.time, bucket)).inserted || index == ordered.count - 1 { keep = true }
        }
        if keep { kept.insert(id) }
      }
      // A doubted set never stands alone for good ones.
      for (index, (id, set)) in ordered.enumerated() where set.isDoubted && kept.contains(id) {
        if let sound = ordered[index...].first(where: { !$0.value.isDoubted }) { kept.insert(sound.key) }
      }
      sets = sets.filter { kept.contains($0.key) }
    }
  }

  static let library = Site.products + "/libTestClock.so"

  /// Sets the clock of a backup, and the time restic gives to snapshots. Restores, PostgreSQL and the kernel keep theirs.
  static func clock(_ broken: Broken, _ time: time_t) async throws -> [String: String?] {
    let text = try await Shell.script("date -u -d @\(time) '+%Y-%m-%d %H:%M:%S'", in: "/").trimming("\n")
    let path = try broken.site.fake(
      "restic",
      """
      PATH=${PATH#*:}
      if [ "$2" = backup ]; then
        json=$1; shift 2; exec restic "$json" backup --time '\(text)' "$@"
      fi
      exec restic "$@"
      """)
    return ["LD_PRELOAD": library, "TEST_CLOCK_AHEAD": String(time - Glibc.time(nil)), "PATH": path]
  }

  /// Everything that is live, as a text: two states are the same when their texts are.
  static func state(_ broken: Broken) async throws -> String {
    let tables = try await broken.site.sql(
      "SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM rest t UNION ALL SELECT word FROM word")
    return tables + "\n" + (try await fingerprint(broken.site.files))
  }

  static func change(_ broken: Broken, _ night: Int) async throws {
    _ = try await broken.site.sql(
      """
      UPDATE rest SET text = text || '\(night)' WHERE id % 97 = \(night % 97); DELETE FROM rest WHERE id = \(night);
      INSERT INTO rest VALUES (\(100_000 + night), 'night \(night)')
      """)
    try await broken.write("night-\(night)")
    try await broken.site.script(
      "echo \(night) >>d/\(night % 200 + 1); echo \(night) >new.\(night); rm -f new.\(night - 20); head -c 20000 /dev/urandom >big.\(night % 5)"
    )
  }

  /// Runs a backup that something happens to. Where it does not matter when, it happens at a random moment.
  static func fault(_ broken: Broken, _ number: Int, _ clock: [String: String?]) async throws -> Int {
    let delay = Double.random(in: 0...1.5)
    switch number {
    case 0: return try await broken.interrupted("backup", signal: SIGKILL, after: delay, with: clock).code
    case 1: return try await broken.interrupted("backup", signal: SIGTERM, after: delay, with: clock).code
    case 2: return try await broken.interrupted("backup", signal: SIGKILL, after: delay, child: "restic", with: clock).code
    case 3: return try await broken.interrupted("backup", signal: SIGKILL, after: delay, child: "pg_dump", with: clock).code
    case 4: return try await Int(broken.site.run("backup", with: clock.merging(["TMPDIR": "/nowhere"]) { $1 }).code)
    case 5: return try await Int(broken.site.run("backup", with: clock.merging(["RESTIC_PASSWORD": "wrong"]) { $1 }).code)
    case 6: return try await Int(broken.site.run("backup", with: clock.merging(["POSTGRES_HOST": "127.0.0.1:1"]) { $1 }).code)
    default:
      async let run = broken.site.run("backup", with: clock)
      try await Task.sleep(for: .seconds(delay))
      try await broken.cluster.psql(
        "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '\(broken.site.database)'")
      return try await Int(run.code)
    }
  }

  @Test func afterTwoHundredNightsExactlyTheSetsOfThePolicyAreKeptAndEveryOneRestores() async throws {
    let broken = try await Broken(Expected.policy, megabytes: 1)
    let site = broken.site
    // The set of before lies in another time.
    try await Shell.script("rm -rf repository", in: site.root)
    try await broken.succeed("init")
    var expected = Expected()
    var states: [String: String] = [:]
    var story: [String] = []
    var (faults, skewed, doubted, restored) = (0, 0, 0, 0)
    // 2020-03-01 23:10:00 UTC: to restic, whose clock is right, what lies in the future is not the newest (measured).
    let begin: time_t = 1_583_104_200
    for night in 0..<200 * rounds {
      try await Self.change(broken, night)
      // The first night is a good one: parts before the first record are kept. Some nights the clock is five days ahead or two
      // behind, each by half an hour more so that no two sets are of one time, and nothing else happens then.
      let luck = night == 0 ? 50 : Int.random(in: 0..<100)
      let skew: time_t = luck < 2 ? 5 * 86400 + 1800 : luck < 4 ? -2 * 86400 - 1800 : 0
      let time = begin + night * 86400 + skew
      let clock = try await Self.clock(broken, time)
      let before = Set(expected.sets.keys)
      let isFault = skew == 0 && luck < 30
      let isLoss = !isFault && skew == 0 && luck < 33 && !before.isEmpty
      if isLoss { try await site.script("mv d ../lost") }
      let state = try await Self.state(broken)
      let kind = isFault ? Int.random(in: 0..<8) : -1
      let code: Int
      var now = before
      if isFault {
        faults += 1
        code = try await Self.fault(broken, kind, clock)
        try await site.untilIdle()
      } else {
        let run = try await site.run("backup", with: clock)
        code = Int(run.code)
        #expect([0, 4].contains(run.code), "night \(night): \(run)")
        if let saved = run.output.firstMatch(of: /set (\d{8}T\d{6}Z) saved/) { now.insert(String(saved.1)) }
      }
      // Every fourth night somebody looks, and after everything out of the ordinary.
      let isLookedAt = isFault || isLoss || skew != 0 || night % 4 == 0
      var list = ""
      var (damaged, orphaned): (Set<String>, Set<String>) = ([], [])
      if isLookedAt {
        let run = try await site.run("restore", ["--list"])
        #expect(run.code == 0, "night \(night), \(code): \(run)")
        list = run.output
        let ids = { (isThere: (Substring) -> Bool) in
          Set(list.split(separator: "\n").filter { $0.hasPrefix("20") && isThere($0) }.map { String($0.prefix(16)) })
        }
        damaged = ids { $0.contains("damaged") }
        orphaned = ids { $0.contains("no record") }
        now = ids { !$0.contains("no record") && !$0.contains("damaged") }
      }
      // Against all that were ever seen: where retention was cut short, what it meant to forget is still there.
      let new = now.subtracting(states.keys)
      if let set = new.first {
        #expect(new.count == 1, "night \(night): \(new)")
        states[set] = state
        expected.sets[set] = .init(time: time, isDoubted: isLoss)
        let isHeld = expected.isHeld(set)
        if !isFault { #expect(code == (isHeld ? 4 : 0), "night \(night)") }
        if code == 0 || code == 4 { expected.retain(set) }
      } else {
        #expect(isFault && code != 0 && code != 4, "night \(night): no set, and \(code)")
      }
      // Where retention is cut short, what it was forgetting waits for the next night.
      if isFault, let newest = expected.sets.max(by: { $0.value.time < $1.value.time })?.key {
        var next = expected
        next.retain(newest)
        #expect(damaged.isDisjoint(with: next.sets.keys), "night \(night), \(code): \(list)")
      } else {
        #expect(damaged.isEmpty, "night \(night), \(code): \(list)")
      }
      if isLookedAt, !isFault {
        let wrong = now.symmetricDifference(expected.sets.keys)
        #expect(wrong.isEmpty, "night \(night): \(wrong) \(story.suffix(12)) \(list)")
        // What has no record stays until there is a newer one.
        #expect(code == 4 || orphaned.allSatisfy { $0 > new.first ?? "" }, "night \(night): \(list)")
      }
      story.append("\(night): luck \(luck), \(kind), exit \(code)")
      if isLoss {
        doubted += 1
        try await site.script("mv ../lost d")
      }
      if skew != 0 { skewed += 1 }
      if luck >= 90, let set = expected.sets.keys.randomElement() {
        restored += 1
        let live = try await Self.state(broken)
        try await broken.succeed("restore", set)
        expectSame(states[set]!, try await Self.state(broken))
        try await broken.succeed("restore", "--rollback")
        expectSame(live, try await Self.state(broken))
        try await broken.discardKept()
      }
    }
    // A last night without a fault, ahead of every clock that was wrong; then each set.
    let clock = try await Self.clock(broken, begin + (200 * rounds + 10) * 86400)
    try await broken.succeed("backup", with: clock)
    let last = try await site.sets()
    let tonight = try #require(last.last)
    states[tonight] = try await Self.state(broken)
    expected.sets[tonight] = .init(time: begin + (200 * rounds + 10) * 86400)
    expected.retain(tonight)
    #expect(Set(last) == Set(expected.sets.keys))
    let list = try await site.run("restore", ["--list"])
    #expect(!list.output.contains("no record"), "\(list.output)")
    for set in last {
      try await broken.succeed("restore", set)
      expectSame(states[set]!, try await Self.state(broken))
      try await broken.discardKept()
    }
    try await broken.succeed("backup", "--check", with: clock.merging(["CHECK_DAYS": "1"]) { $1 })
    try await broken.expectTidy("\(faults) faults")
    print(
      "soak: \(200 * rounds) nights, \(faults) faults, \(skewed) wrong clocks, \(doubted) losses, \(restored) restores, \(last.count) sets kept"
    )
  }
}
