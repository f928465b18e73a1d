import Foundation
import Support
import Testing

@testable import BackupRestore

/// kill -9 between the steps of a swap, and what people do to what it leaves.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Swaps {
  static func preloaded(_ moment: String, _ value: String) throws -> [String: String?] {
    ["LD_PRELOAD": try Preloaded.library("Moment"), moment: value]
  }
  static func killed(at call: Int) throws -> [String: String?] { try preloaded("TEST_KILL_AT", String(call)) }
  static func killed(before statement: String) throws -> [String: String?] { try preloaded("TEST_KILL_BEFORE", statement) }

  /// A site whose newest set is `first first` and whose live state is `second second`.
  static func site() async throws -> Broken {
    let broken = try await Broken(megabytes: 1)
    try await broken.write("second")
    return broken
  }

  /// Runs `restore` until nothing kills it, `check` after each kill; before every second call where there is one round.
  static func killAtEachCall(_ broken: Broken, _ arguments: [String], _ check: (Int) async throws -> [String]?) async throws
    -> Int
  {
    var arguments = arguments
    var kills = 0
    for call in stride(from: rounds > 1 ? 1 : Int.random(in: 1...2), to: 200, by: rounds > 1 ? 1 : 2) {
      let run = try await broken.site.run("restore", arguments, with: try killed(at: call))
      if run.code == 0 { return kills }
      kills += 1
      #expect(run.code == 137, "call \(call): \(run)")
      arguments = try await check(call) ?? arguments
    }
    Issue.record("restore \(arguments) never got through")
    return 0
  }

  /// The databases say which state it is, and the next backup brings the files to it.
  func expectOneState(_ broken: Broken, _ words: Set<String>, _ call: Int) async throws -> String {
    let word = try await broken.site.sql("SELECT word FROM word")
    try await broken.succeed("backup", with: ["RESTIC_KEEP_LAST": "1", "RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0"])
    #expect(words.contains(word), "kill before call \(call)")
    #expect(try await broken.live() == "\(word) \(word)", "kill before call \(call)")
    return word
  }

  @Test func killedAtEachStepOfItsSwapARestoreIsFinishedOrUndone() async throws {
    let broken = try await Self.site()
    var set = try await broken.site.sets()[0]
    var words: [String] = []
    let kills = try await Self.killAtEachCall(broken, [set]) { call in
      words.append(try await expectOneState(broken, ["first", "second"], call))
      if words.last == "first" {
        try await broken.succeed("restore", "--rollback")
        #expect(try await broken.live() == "second second", "kill before call \(call)")
      } else {
        // The set that the backup has just taken is restored next, over another word.
        #expect(try await broken.site.run("restore", ["--discard-previous"]).code == 22)
      }
      try await broken.discardKept()
      try await broken.expectTidy("kill before call \(call)")
      try await broken.write("first")
      try await broken.succeed("backup")
      set = try await broken.site.sets().last!
      try await broken.write("second")
      return [set]
    }
    print("\(kills) kills in the swap of a restore: \(words)")
    #expect(kills > 5 && words.first == "second" && words.last == "first")
    #expect(words == words.sorted().reversed(), "once committed it stays so")
    #expect(try await broken.live() == "first first")
  }

  @Test func killedAtEachStepARollbackIsFinishedOrUndone() async throws {
    let broken = try await Self.site()
    try await broken.succeed("restore")
    var words: [String] = []
    let kills = try await Self.killAtEachCall(broken, ["--rollback"]) { call in
      words.append(try await expectOneState(broken, ["first", "second"], call))
      if words.last == "second" {
        try await broken.succeed("restore", "--rollback")
        #expect(try await broken.live() == "first first", "kill before call \(call)")
      }
      #expect(try await broken.kept().count == 1, "kill before call \(call)")
      return nil
    }
    print("\(kills) kills in a rollback: \(words)")
    #expect(kills > 5 && words.first == "first" && words.last == "second")
    #expect(try await broken.live() == "second second")
    try await broken.expectTidy("\(kills) kills of a rollback")
  }

  /// The answer never comes; what is true is asked through another session, which waits for the first one to end.
  @Test func aConnectionThatBreaksInTheSwapLosesNothingButTheAnswer() async throws {
    let broken = try await Self.site()
    let cut = try Self.preloaded("TEST_CUT_AFTER", "RENAME TO")
    let restored = try await broken.succeed("restore", with: cut)
    #expect(restored.errors.contains("the connection broke during the swap, but the databases are swapped"), "\(restored)")
    #expect(restored.output.contains("back again: restore --rollback"), "\(restored)")
    #expect(try await broken.live() == "first first")
    let back = try await broken.succeed("restore", "--rollback", with: cut)
    #expect(back.errors.contains("the connection broke") && back.output.contains("rolled back; what was live"), "\(back)")
    #expect(try await broken.live() == "second second")
    try await broken.expectTidy("a connection that breaks in the swap")
  }

  /// Typed again after a crash, it must not take itself back.
  @Test func aRollbackThatWasKilledAfterItsCommitIsFinishedByTheSameCommand() async throws {
    let broken = try await Self.site()
    try await broken.succeed("restore")
    for call in 1..<40 {
      #expect(try await broken.site.run("restore", ["--rollback"], with: try Swaps.killed(at: call)).code == 137)
      if try await broken.site.sql("SELECT word FROM word") == "second" { break }
    }
    let again = try await broken.succeed("restore", "--rollback")
    #expect(again.output.contains("was interrupted after its commit, and is finished now"), "\(again)")
    #expect(try await broken.live() == "second second")
  }

  /// What is left of a state that was being discarded is never taken for the whole.
  @Test func killedAtEachStepADiscardLeavesAllOrNothingToGoBackTo() async throws {
    let broken = try await Self.site()
    let set = try await broken.site.sets()[0]
    // Few files, because the removal of each is a step.
    let arrange = {
      try await broken.discardKept()
      try await broken.write("second")
      try await broken.site.script("rm -rf d big e; mkdir e; touch e/1 e/2 e/3")
      try await broken.succeed("restore", set)
    }
    try await arrange()
    var whole = 0
    let kills = try await Self.killAtEachCall(broken, ["--discard-previous"]) { call in
      #expect(try await broken.live() == "first first", "kill before call \(call)")
      let back = try await broken.site.run("restore", ["--rollback"])
      if back.code == 0 {
        whole += 1
        #expect(try await broken.live() == "second second", "kill before call \(call)")
        #expect(try await Shell.script("echo * e/*", in: broken.site.files) == "e word e/1 e/2 e/3\n", "kill before call \(call)")
      } else {
        #expect(back.code == 22 && back.errors.contains("no previous state"), "kill before call \(call): \(back)")
        #expect(try await broken.site.databases() == [broken.site.database], "kill before call \(call)")
        #expect(try await broken.live() == "first first", "kill before call \(call)")
      }
      try await broken.expectTidy("kill before call \(call)")
      try await arrange()
      return nil
    }
    print("\(kills) kills in a discard, \(whole) before its first word")
    #expect(kills > 3 && whole < kills && (rounds == 1 || whole > 0))
    #expect(try await broken.kept() == [])
  }
}
