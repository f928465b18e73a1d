import Support
import Testing

@testable import BackupRestore

/// Runs that meet.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Together {
  /// One after the other, by their locks: what is saved and what is live is one state.
  @Test func aBackupDuringARestoreWaitsAndSavesOneState() async throws {
    let broken = try await Broken(["LOCK_WAIT": "600"], megabytes: 1)
    // Both begin at once, whoever is first; and a backup begins while the restore is at work. It goes on once the other one waits.
    for isUnderWay in [false, true] {
      try await broken.write("second")
      let set = try await broken.site.sets()[0]
      try await Shell.script("rm -f go", in: broken.site.root)
      let restore = try broken.site.start("restore", [set], with: try broken.heldBeforeLoading())
      if isUnderWay { try await Sessions.untilStaging(broken) }
      let backup = try broken.site.start("backup")
      try await Shell.Running.until(anyOf: restore, backup, says: "is locked by")
      try await Shell.script("touch go", in: broken.site.root)
      let (saved, restored) = try await (backup.result, restore.result)
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
    let broken = try await Broken(["LOCK_WAIT": "600"], megabytes: 1)
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

  /// The night's set is saved, and what comes then can take hours: it is no reason to wait in an emergency. Another backup waits.
  @Test(arguments: [("forget", true), ("copy", false), ("check", true)])
  func aRestoreNeedNotWaitForRetentionCopyOrCheckAndAnotherBackupDoes(_ verb: String, _ withDatabase: Bool) async throws {
    let broken = try await Broken(megabytes: 1)
    let copy = ["COPY_RESTIC_REPOSITORY": broken.site.root + "/copy", "COPY_RESTIC_PASSWORD": "c"]
    // Another host's sets never had a database.
    let changes = copy.merging(withDatabase ? [:] : ["POSTGRES_DB": "", "RESTIC_HOST": "files alone"]) { $1 }
    try await broken.succeed("init", with: copy)
    _ = try await broken.site.run("backup", with: changes)
    try await broken.succeed("backup", "--accept", try #require(try await broken.site.sets().last), with: changes)
    let held = "touch '\(broken.site.root)/held'; until [ -e '\(broken.site.root)/go' ]; do sleep 0.05; done"
    let path = try broken.site.fake(
      "restic", "PATH=${PATH#*:}\ncase \" $* \" in *\" \(verb) \"*) \(held) ;; esac\nexec restic \"$@\"")
    async let night = broken.site.run("backup", ["--check"], with: changes.merging(["PATH": path]) { $1 })
    try await broken.site.until("[ -e held ]")
    try await broken.write("second")
    try await broken.succeed("restore", with: changes.merging(["LOCK_WAIT": "0"]) { $1 })
    #expect(try await broken.live() == (withDatabase ? "first first" : "second first"))
    if withDatabase {
      let status = try await broken.site.status()
      #expect(status.output.contains("in progress: retention, copy or check of "), "\(status)")
    }
    let another = try await broken.site.run("backup", with: changes.merging(["LOCK_WAIT": "1"]) { $1 })
    #expect(another.code == 4 && another.errors.contains("are left to the next backup"), "\(another)")
    #expect(another.errors.contains("the retention, copy and check of"), "\(another)")
    try await Shell.script("touch go", in: broken.site.root)
    let ended = try await night
    #expect(ended.code == 0 && ended.output.contains("the structure is whole"), "\(ended)")
    try await broken.succeed("backup", with: changes)
  }

  /// Who may not wait says who is there.
  @Test func aRestoreThatMayNotWaitNamesTheOneThatIsAtWork() async throws {
    let broken = try await Broken(megabytes: 1)
    try await broken.write("second")
    let long = try broken.site.start("restore", with: try broken.heldBeforeLoading())
    try await Sessions.untilStaging(broken)
    let refused = try await broken.site.run("restore", with: ["LOCK_WAIT": "0"])
    #expect(refused.code == 11 && refused.errors.contains("is in use by restore"), "\(refused)")
    try await Shell.script("touch go", in: broken.site.root)
    #expect(try await long.result.code == 0)
    #expect(try await broken.live() == "first first")
  }
}
