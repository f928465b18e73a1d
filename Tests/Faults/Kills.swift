import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// Runs that are ended at random moments.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Kills {
  /// In order: gone with every child, within seconds on an idle machine, and nothing unfinished is left.
  @Test(arguments: ["backup", "restore"]) func stoppedAtAnyMomentARunIsGoneAndLeavesNothing(_ program: String)
    async throws
  {
    let broken = try await Broken()
    try await broken.write("second")
    let whole = try await broken.seconds(program)
    if program == "restore" {
      try await broken.succeed("restore", "--rollback")
      try await broken.discardKept()
    }
    for round in 0..<rounds {
      let delay = Double.random(in: 0...whole)
      let fault = "SIGTERM to \(program) after \(delay) s (round \(round))"
      let ended = try await broken.interrupted(program, signal: SIGTERM, after: delay)
      #expect(ended.seconds < 60, "\(fault)")
      #expect([0, 143].contains(ended.code), "\(fault): \(ended)")
      #expect(broken.children() == [], "\(fault)")
      let after = try await broken.live()
      // Stopped just after the commit it is 143 too.
      let isDone = program == "restore" && ended.code == 0
      let mayBe = isDone ? ["first first"] : program == "restore" ? ["first first", "second second"] : ["second second"]
      #expect(mayBe.contains(after), "\(fault): \(after)")
      for name in ["files", "pg-database", "sets"] {
        #expect(try await broken.site.restic(name, ["list", "locks", "--no-lock"]).output == "", "\(fault): \(name)")
      }
      try await broken.expectTidy(fault)
      if after == "first first" {
        try await broken.succeed("restore", "--rollback")
        try await broken.discardKept()
        try await broken.write("second")
      }
    }
    try await broken.succeed("backup")
    let sets = try await broken.site.sets()
    try await broken.succeed("restore", sets[0])
    #expect(try await broken.live() == "first first")
  }

  /// Without warning: what is live is the old state or the new one, in both places; the next run says which and goes on; rollback works.
  @Test func killedAtAnyMomentARestoreLeavesTheOldStateOrTheNewOne() async throws {
    let broken = try await Broken()
    let first = try await broken.site.sets()[0]
    try await broken.write("second")
    let whole = try await broken.seconds("restore", first)
    #expect(try await broken.live() == "first first")
    for round in 0..<rounds * 2 {
      try await broken.discardKept()
      let word = "round-\(round)"
      try await broken.write(word)
      let delay = Double.random(in: 0.3...whole * 1.1)
      let fault = "kill -9 of restore after \(delay) s (round \(round))"
      _ = try await broken.interrupted("restore", [first], signal: SIGKILL, after: delay)
      let database = try await broken.site.sql("SELECT word FROM word")
      let status = try await broken.site.status()
      let after = try await broken.live()
      // The files follow the databases' commit; until they do, status says that something is unfinished.
      if after != "\(word) \(word)", after != "first first" {
        #expect(database == "first" && status.output.contains("unfinished"), "\(fault): \(after) \(status.output)")
      }
      // Either of the next runs leaves one state, and the old one where the databases say so.
      if round % 2 == 0 { try await broken.succeed("backup") } else { try await broken.succeed("restore", first) }
      let then = try await broken.live()
      #expect(then == (round % 2 == 1 || database == "first" ? "first first" : "\(word) \(word)"), "\(fault): \(then)")
      if round % 2 == 1 || database == "first" {
        // New writes after the restore; rollback keeps those too.
        try await broken.write("written-since")
        try await broken.succeed("restore", "--rollback")
        let back = try await broken.live()
        #expect(["\(word) \(word)", "first first"].contains(back), "\(fault): \(back)")
        let kept = try await broken.kept()
        try await broken.succeed("restore", "--rollback", try #require(kept.last))
        #expect(try await broken.live() == "written-since written-since", "\(fault)")
      }
      if round % 2 == 0 { try await broken.succeed("restore", first) }
      try await broken.expectTidy(fault)
    }
  }

  /// restic or pg_dump dies alone: no record, and the next run succeeds.
  @Test(arguments: ["restic", "pg_dump"]) func aChildThatIsKilledLeavesNoSetThatSeemsWhole(_ child: String) async throws {
    let broken = try await Broken()
    let whole = try await broken.seconds("backup")
    var killed = 0
    for round in 0..<rounds * 10 where round < rounds || killed == 0 {
      let delay = Double.random(in: 0...whole)
      let fault = "kill -9 of \(child) after \(delay) s (round \(round))"
      let before = try await broken.site.sets().count
      // pg_dump is restic's child.
      let ended = try await broken.interrupted("backup", signal: SIGKILL, after: delay, child: child)
      let after = try await broken.site.sets().count
      // In retention the set is saved already; without its dump it says so.
      let lacks = ended.code == 20 && ended.errors.contains("is saved without database")
      #expect(ended.code == 0 || ended.code == 4 || lacks ? after == before + 1 : after == before, "\(fault): \(ended)")
      // 22: the first call of restic, which asks for its version.
      let isFirst = ended.code == 22 && ended.errors.contains("restic version failed (killed by signal 9)")
      #expect([0, 4, 20, 23].contains(ended.code) || isFirst, "\(fault): \(ended)")
      if ended.code != 0 { killed += 1 }
      #expect(broken.children() == [], "\(fault)")
      try await broken.expectPromises(["first first"], fault)
    }
    #expect(killed > 0)
    try await broken.succeed("backup")
    try await broken.succeed("restore")
  }

  /// As the restic of a toolkit that was killed may: what it leaves is stale only then.
  @Test func aLockWhoseHolderDiesWhileItIsWaitedForIsRemoved() async throws {
    let broken = try await Broken(megabytes: 1)
    let files = broken.site.repository + "/files"
    // Retention needs the repository for itself.
    let script = """
      sleep 900 | RESTIC_REPOSITORY=\(files) restic backup --stdin >/dev/null 2>&1 & holder=$!
      until [ -n "$(ls \(files)/locks)" ]; do sleep 0.1; done
      \(Site.products)/backup >output 2>errors & run=$!
      until grep -q 'is locked' errors; do sleep 0.1; done
      sleep 2; kill -KILL $holder; wait $run && code=0 || code=$?; pkill -P $$ sleep; echo $code
      """
    let gone = ["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1"]
    let code = try await Shell.script(script, in: broken.site.root, environment: broken.site.settings.merging(gone) { $1 })
    #expect(code == "0\n")
    #expect(try await broken.site.sets().count == 1)
    #expect(try await broken.site.restic("files", ["list", "locks", "--no-lock"]).output == "")
  }

  /// The toolkit dies and restic lives on, holding its lock: the next run is not in its way, and succeeds without a human.
  @Test func aToolkitThatIsKilledIsFollowedByARunThatSucceeds() async throws {
    let broken = try await Broken()
    let whole = try await broken.seconds("backup")
    var killed = 0
    for round in 0..<rounds * 10 where round < rounds || killed == 0 {
      let delay = Double.random(in: 0...whole)
      let ended = try await broken.interrupted("backup", signal: SIGKILL, after: delay)
      #expect([0, 137].contains(ended.code), "\(ended)")
      if ended.code == 137 { killed += 1 }
      try await broken.succeed("backup")
      try await broken.expectPromises(["first first"], "kill -9 of backup after \(delay) s (round \(round))")
    }
    #expect(killed > 0)
    try await broken.site.untilIdle()
    try await broken.succeed("backup", "--check", with: ["CHECK_DAYS": "1"])
    try await broken.succeed("restore")
  }
}
