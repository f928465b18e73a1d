import Support
import Testing

@testable import BackupRestore

/// Runs that meet.
@Suite(.serialized) struct Together {
  /// One after the other, by their locks: what is saved and what is live is one state.
  @Test func aBackupDuringARestoreWaitsAndSavesOneState() async throws {
    let broken = try await Broken(["LOCK_WAIT": "120"], megabytes: 1)
    // Both begin at once, whoever is first; and a backup begins while the restore is at work.
    for isUnderWay in [false, true] {
      try await broken.write("second")
      let set = try await broken.site.sets()[0]
      async let restoring = broken.site.run("restore", [set], with: try broken.beforeLoading("sleep 5"))
      if isUnderWay { try await Sessions.untilStaging(broken) }
      let saved = try await broken.site.run("backup")
      let restored = try await restoring
      #expect(saved.code == 0 && restored.code == 0, "\(saved) \(restored)")
      #expect(
        saved.errors.contains("is locked by restore") || restored.errors.contains("is locked by backup"), "\(saved) \(restored)")
      #expect(try await broken.live() == "first first")
      try await broken.discardKept()
      try await broken.write("third")
      try await broken.succeed("restore", try #require(try await broken.site.sets().last))
      #expect(["first first", "second second"].contains(try await broken.live()))
      try await broken.discardKept()
    }
    try await broken.expectTidy("a backup during a restore")
  }

  @Test func twoRestoresComeOneAfterTheOtherAndBothStatesComeBack() async throws {
    let broken = try await Broken(["LOCK_WAIT": "120"], megabytes: 1)
    try await broken.write("second")
    async let one = broken.site.run("restore")
    async let two = broken.site.run("restore")
    let (first, second) = try await (one, two)
    #expect(first.code == 0 && second.code == 0, "\(first) \(second)")
    #expect(try await broken.live() == "first first")
    let kept = try await broken.kept()
    #expect(kept.count == 2)
    try await broken.succeed("restore", "--rollback", kept[0])
    #expect(try await broken.live() == "second second")
    try await broken.expectTidy("two restores")
  }

  /// Who may not wait says who is there.
  @Test func aRestoreThatMayNotWaitNamesTheOneThatIsAtWork() async throws {
    let broken = try await Broken(megabytes: 1)
    try await broken.write("second")
    async let long = broken.site.run("restore", with: try broken.beforeLoading("sleep 8"))
    try await Sessions.untilStaging(broken)
    let refused = try await broken.site.run("restore", with: ["LOCK_WAIT": "0"])
    #expect(refused.code == 11 && refused.errors.contains("is in use by restore"), "\(refused)")
    #expect(try await long.code == 0)
    #expect(try await broken.live() == "first first")
  }
}
