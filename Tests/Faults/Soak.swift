import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// Two hundred nights: data that changes, faults, restores, and a clock that is wrong some nights.
@Suite(.servers, .timeLimit(.minutes(180))) struct Soak {
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
    return ["LD_PRELOAD": try Preloaded.library("Clock"), "TEST_CLOCK_AHEAD": String(time - Glibc.time(nil)), "PATH": path]
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
    // The set of before lies in another time.
    try await Shell.script("rm -rf repository", in: broken.site.root)
    try await broken.succeed("init")
    var nights = Nights(broken: broken)
    for number in 0..<200 * rounds { try await nights.pass(Night(number)) }
    // A last night without a fault, ahead of every clock that was wrong; then each set.
    let last = Night.begin + (200 * rounds + 10) * 86400
    let kept = try await nights.end(last)
    for set in kept {
      try await broken.succeed("restore", set)
      expectSame(nights.states[set]!, try await Self.state(broken))
      try await broken.discardKept()
    }
    try await broken.succeed("backup", "--check", with: Self.clock(broken, last).merging(["CHECK_DAYS": "1"]) { $1 })
    try await broken.expectTidy("\(nights.faults) faults")
    print(
      "soak: \(200 * rounds) nights, \(nights.faults) faults, \(nights.skewed) wrong clocks, \(nights.doubted) losses, \(nights.restored) restores, \(kept.count) sets kept"
    )
  }
}
