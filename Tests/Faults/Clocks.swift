import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// Clocks that are wrong, and nights that are missing, for longer than the policy.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Clocks {
  static let day = 86400

  static func site(_ settings: [String: String] = [:]) async throws -> Broken {
    let broken = try await Broken(settings, megabytes: 1)
    // The set of before lies in another time.
    try await Shell.script("rm -rf repository", in: broken.site.root)
    try await broken.succeed("init")
    return broken
  }

  static func night(_ broken: Broken, _ time: time_t, _ settings: [String: String] = [:]) async throws -> Shell.Result {
    try await broken.site.run("backup", with: Soak.clock(broken, time).merging(settings) { $1 })
  }

  /// Five weeks without a backup, or a year: whatever the policy, the sets of before are all there, until the operator accepts the night.
  @Test(
    arguments: [
      [:], ["RESTIC_MONTHS_TO_KEEP": "0"], ["RESTIC_DAYS_TO_KEEP": "7", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1"],
    ] as [[String: String]]) func aNightAfterALongGapForgetsNothingUntilItIsAccepted(_ policy: [String: String]) async throws
  {
    let broken = try await Self.site(policy)
    let begin = Glibc.time(nil) - 500 * Self.day
    for night in 0..<4 {
      let run = try await Self.night(broken, begin + night * Self.day)
      #expect(run.code == 0, "\(run)")
    }
    let before = try await broken.site.sets()
    for gap in [35, 400] {
      let run = try await Self.night(broken, begin + (3 + gap) * Self.day)
      #expect(run.code == 4 && run.errors.contains("\(gap) days after the last undoubted set"), "\(run)")
      #expect(try await broken.site.sets().prefix(4) == before[...])
    }
    // A week later still.
    #expect(try await Self.night(broken, begin + 410 * Self.day).code == 4)
    let newest = try #require(try await broken.site.sets().last)
    try await broken.succeed("backup", "--accept", newest, with: Soak.clock(broken, begin + 410 * Self.day))
    let next = try await Self.night(broken, begin + 411 * Self.day)
    #expect(next.code == 0, "\(next)")
    try await broken.succeed("restore")
  }

  /// For one night the node's clock is two years ahead.
  @Test func aClockThatIsAheadForANightForgetsNothingAndItsSetIsPassedOver() async throws {
    let broken = try await Self.site(["RESTIC_MONTHS_TO_KEEP": "0"])
    let now = Glibc.time(nil)
    for night in [3, 2, 1] { #expect(try await Self.night(broken, now - night * Self.day).code == 0) }
    let ahead = try await Self.night(broken, now + 700 * Self.day)
    #expect(ahead.code == 4, "\(ahead)")
    let future = try #require(try await broken.site.sets().last)
    try await broken.write("second")
    let tonight = try await broken.site.run("backup")
    #expect(tonight.code == 4 && tonight.errors.contains("set \(future) lies in the future"), "\(tonight)")
    #expect(try await broken.site.sets().count == 5)

    // Nobody takes it for the newest.
    try await broken.write("third")
    let status = try await broken.site.status().output
    #expect(status.contains("set \(future) is dated in the future") && !status.contains("last set: \(future)"), "\(status)")
    let list = try await broken.site.run("restore", ["--list"]).output
    #expect(
      list.split(separator: "\n").contains { $0.hasPrefix("\(future)  in ") && $0.hasSuffix("doubted: dated in the future") },
      "\(list)")
    let drill = try await broken.succeed("restore", "--drill")
    #expect(!drill.output.contains(future) && drill.errors.contains("\(future) is newer and doubted"), "\(drill)")
    let at = try await broken.site.run("restore", ["--at", "2199-01-01T00:00:00Z", "--dry-run"])
    #expect(at.code == 0 && !at.output.contains(future), "\(at)")
    let restored = try await broken.succeed("restore")
    #expect(restored.errors.contains("set \(future) is dated in the future and is passed over"), "\(restored)")
    #expect(try await broken.live() == "second second")

    // It cannot be made the measure of others; what the hint says is rid of it.
    let refused = try await broken.site.run("backup", ["--accept", future])
    #expect(refused.code == 22 && refused.errors.contains("restic -r"), "\(refused)")
    let commands = tonight.errors.matches(of: /restic -r (\S+) forget ([0-9a-f]{8})/)
    #expect(commands.count == 3, "\(tonight)")
    for command in commands {
      let name = String(command.1.split(separator: "/").last!)
      try await broken.site.restic(name, ["forget", String(command.2)])
    }
    try await broken.succeed("backup")
    #expect(try await !broken.site.sets().contains(future))
    #expect(try await !broken.site.run("restore", ["--list"]).output.contains(future))
  }
}
