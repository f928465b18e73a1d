import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// kill -9 just before and just after each call that a run makes to restic and to PostgreSQL's programs.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Steps {
  struct Step: Sendable, CustomTestStringConvertible {
    let program: String
    let pattern: String
    var testDescription: String { program + " " + pattern }
  }

  /// Everything of one program that a run calls, one call after the other, until the run goes through; in one round before and after by
  /// turns.
  ///
  /// - Returns: how many kills it took.
  static func killAtEachCall(
    _ broken: Broken, _ program: String, _ arguments: [String], of called: String, with changes: [String: String?] = [:],
    _ check: (String) async throws -> Void
  ) async throws -> Int {
    let trap = try Trap(called, "*", in: broken.site.root)
    for name in ["pg_dump", "pg_restore", "psql"] where called.hasPrefix("p") && name != called {
      try? FileManager.default.createSymbolicLink(
        atPath: trap.directory + "/" + name, withDestinationPath: Cluster.binaries + "/" + name)
    }
    var kills = 0
    for skip in 0..<60 {
      for moment in Trap.Moment.allCases where rounds > 1 || (skip % 2 == 0) == (moment == .after) {
        try trap.arm(moment, skipping: skip)
        let path = trap.path(Cluster.binaries + ":" + ((changes["PATH"] ?? nil) ?? broken.site.settings["PATH"]!))
        let run = try await broken.site.run(program, arguments, with: changes.merging(["PATH": path]) { $1 })
        if trap.isArmed {
          #expect(run.code == 0, "\(run)")
          return kills
        }
        kills += 1
        #expect(run.code == 137, "call \(skip), \(moment): \(run)")
        try await broken.site.untilIdle()
        try await check("kill -9 \(moment) call \(skip) of \(called)")
      }
    }
    Issue.record("\(program) never got through")
    return kills
  }

  /// The next backup succeeds by itself, and no set is without its parts.
  @Test func killedAtEachCallOfResticABackupIsFollowedByOneThatSucceeds() async throws {
    let broken = try await Broken(megabytes: 1)
    let nightly: [String: String?] = ["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "2"]
    let kills = try await Self.killAtEachCall(broken, "backup", [], of: "restic", with: nightly) { fault in
      try await broken.succeed("backup", with: nightly)
      try await broken.expectPromises(["first first"], fault)
      #expect(try await broken.site.sets().count == 2, "\(fault)")
    }
    print("\(kills) kills of backup at a call of restic")
    #expect(kills > 15)
    try await broken.succeed("restore")
    try await broken.expectTidy("\(kills) kills of backup")
  }

  /// Old or new, never both, in the databases and the files; the next run says which, and the old state comes back.
  @Test(arguments: ["restic", "pg_restore"])
  func killedAtEachCallARestoreLeavesTheOldStateOrTheNewOne(_ called: String) async throws {
    let broken = try await Broken(megabytes: 1)
    let set = try await broken.site.sets()[0]
    try await broken.write("second")
    let kills = try await Self.killAtEachCall(broken, "restore", [set], of: called) { fault in
      // None of them comes after the swap.
      #expect(try await broken.live() == "second second", "\(fault)")
      let next = try await broken.site.run("restore", [set])
      #expect(next.code == 0, "\(fault): \(next)")
      #expect(try await broken.live() == "first first", "\(fault)")
      try await broken.expectTidy(fault)
      try await broken.succeed("restore", "--rollback")
      #expect(try await broken.live() == "second second", "\(fault)")
      try await broken.discardKept()
    }
    print("\(kills) kills of restore at a call of \(called)")
    #expect(kills >= (called == "restic" ? 10 : 1))
    #expect(try await broken.live() == "first first")
  }

  /// Not the toolkit dies but restic, before or after its work: no set without its parts, nothing live changed, and the next run succeeds.
  @Test(arguments: ["backup", "restore"]) func aResticThatDiesAtAnyCallIsToldAndTheNextRunSucceeds(_ program: String) async throws
  {
    let broken = try await Broken(megabytes: 1)
    let nightly: [String: String?] = ["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1"]
    if program == "restore" { try await broken.write("second") }
    let live = try await broken.live()
    let path = try broken.site.fake(
      "restic",
      """
      PATH=${PATH#*:}
      number=1; until mkdir "$ROOT/calls/$number" 2>/dev/null; do number=$((number + 1)); done
      [ "$number" = "$(cat "$ROOT/at")" ] || exec restic "$@"
      [ "$(cat "$ROOT/moment")" = before ] || restic "$@"
      kill -KILL $$
      """.replacing("$ROOT", with: broken.site.root))
    for call in 1...40 {
      for moment in ["before", "after"] where rounds > 1 || (call % 2 == 0) == (moment == "after") {
        try await Shell.script("rm -rf calls; mkdir calls; echo \(call) >at; echo \(moment) >moment", in: broken.site.root)
        let before = try await broken.site.sets()
        let run = try await broken.site.run(program, with: nightly.merging(["PATH": path]) { $1 })
        let calls = Int(try await Shell.script("ls calls | wc -l", in: broken.site.root).trimming("\n")) ?? 0
        if calls < call {
          print("\(call - 1) calls killed of restic in a \(program)")
          #expect(run.code == 0 && call > 10, "\(run)")
          return
        }
        let fault = "restic killed \(moment) call \(call) of \(program)"
        #expect([0, 4, 20, 22, 23].contains(run.code), "\(fault): \(run)")
        #expect(broken.children() == [], "\(fault)")
        if program == "backup" {
          let after = try await broken.site.sets()
          // Killed when it has written the record, restic takes its success along: the set is there, and whole.
          let isSaved = after.last != before.last
          #expect(isSaved || run.code != 0 && run.code != 4 && after == before, "\(fault): \(run)")
          try await broken.succeed("backup", with: nightly)
          try await broken.expectPromises([live], fault)
        } else {
          let now = try await broken.live()
          #expect(now == (run.code == 0 ? "first first" : live), "\(fault): \(run)")
          if run.code == 0 { try await broken.succeed("restore", "--rollback") }
          try await broken.discardKept()
        }
      }
    }
    Issue.record("\(program) never got through")
  }

  /// Not before or after its work, but in the middle of it.
  @Test(arguments: ["forget", "prune", "restore"]) func aResticThatDiesInTheMiddleOfItsWorkIsFollowedByARunThatSucceeds(
    _ verb: String
  ) async throws {
    let broken = try await Broken(megabytes: 20)
    let nightly: [String: String?] = ["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1"]
    try await broken.write("second")
    let path = try broken.site.fake(
      "restic",
      """
      PATH=${PATH#*:}
      case " $* " in *" \(verb) "*) ;; *) exec restic "$@";; esac
      restic "$@" & restic=$!
      sleep "$(cat '\(broken.site.root)/delay')"
      kill -KILL $restic 2>/dev/null
      # One that has just ended can be killed, too, and nothing comes of it.
      wait $restic; code=$?
      [ $code -lt 128 ] || : >'\(broken.site.root)/killed'
      exit $code
      """)
    var killed = 0
    for round in 0..<rounds * 3 {
      let delay = Double(round % 3) * 0.1 + Double.random(in: 0.15...0.25)
      try await Shell.script("rm -f killed; echo \(delay) >delay", in: broken.site.root)
      let program = verb == "restore" ? "restore" : "backup"
      if program == "backup" { try await broken.site.script("head -c 15000000 /dev/urandom >big") }
      let live = try await broken.live()
      let run = try await broken.site.run(program, with: nightly.merging(["PATH": path]) { $1 })
      let fault = "restic \(verb) killed after \(delay) s"
      if try await Shell.script("ls", in: broken.site.root).contains("killed") {
        killed += 1
        #expect(run.code == (program == "backup" ? 4 : 23), "\(fault): \(run)")
        #expect(try await broken.live() == live, "\(fault)")
      }
      #expect(broken.children() == [], "\(fault)")
      try await broken.succeed("backup", with: nightly)
      try await broken.expectPromises(["first first", "second second"], fault)
      try await broken.discardKept()
    }
    #expect(killed > 0)
    try await broken.succeed("backup", "--check", with: nightly.merging(["CHECK_DAYS": "1"]) { $1 })
    try await broken.succeed("restore")
    try await broken.expectTidy("kills of restic \(verb)")
  }

  /// Each restore keeps what it replaced, new writes included, and each goes back by its own name.
  @Test func afterTwoRestoresInARowEveryStateComesBack() async throws {
    let broken = try await Broken(megabytes: 1)
    let first = try await broken.site.sets()[0]
    try await broken.write("second")
    try await broken.succeed("backup")
    let second = try await broken.site.sets()[1]
    try await broken.write("third")
    try await broken.succeed("restore", first)
    try await broken.write("first-and-more")
    try await broken.succeed("restore", second)
    #expect(try await broken.live() == "second second")
    let kept = try await broken.kept()
    #expect(kept.count == 2)
    try await broken.succeed("restore", "--rollback", kept[0])
    #expect(try await broken.live() == "third third")
    try await broken.write("third-and-more")
    try await broken.succeed("restore", "--rollback", kept[1])
    #expect(try await broken.live() == "first-and-more first-and-more")
    // What the rollbacks replaced is kept too.
    for word in ["third-and-more", "second"] {
      var found = false
      for id in try await broken.kept() where !found {
        try await broken.succeed("restore", "--rollback", id)
        found = try await broken.live() == "\(word) \(word)"
      }
      #expect(found, "\(word)")
    }
  }
}
