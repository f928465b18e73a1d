import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// Nights on end: data that changes, faults, restores, and a clock that is wrong some nights.
@Suite(.servers, .timeLimit(.minutes(180))) struct Soak {
  static let policy = Expected.Policy(last: 7, days: 7, weeks: 4, months: 4)
  /// SOAK_NIGHTS=200 for the long run.
  static let nights = ProcessInfo.processInfo.environment["SOAK_NIGHTS"].flatMap { Int($0) } ?? 20

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

  @Test func afterTwentyNightsExactlyTheSetsOfThePolicyAreKeptAndEveryOneRestores() async throws {
    let broken = try await Broken(Self.policy.variables, megabytes: 1)
    // The set of before lies in another time.
    try await Shell.script("rm -rf repository", in: broken.site.root)
    try await broken.succeed("init")
    var nights = Nights(broken: broken)
    for number in 0..<Self.nights { try await nights.pass(Night(number)) }
    // A last night without a fault, ahead of every clock that was wrong; then each set.
    let last = try #require(nights.expected.sets.last).time + 86400
    let kept = try await nights.end(last)
    for set in kept where !nights.lacking.contains(set) {
      try await broken.succeed("restore", set)
      expectSame(nights.states[set]!, try await Self.state(broken))
      try await broken.discardKept()
    }
    try await broken.succeed("backup", "--check", with: Self.clock(broken, last).merging(["CHECK_DAYS": "1"]) { $1 })
    try await broken.expectTidy("\(nights.faults) faults")
    print(
      "soak: \(Self.nights) nights, \(nights.faults) faults, \(nights.skewed) wrong clocks, \(nights.doubted) losses, \(nights.restored) restores, \(kept.count) sets kept"
    )
  }
}
