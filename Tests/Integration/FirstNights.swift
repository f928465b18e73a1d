import Foundation
import Support
import Testing

@testable import BackupRestore

/// A night that starts from nothing is never a good night.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct FirstNights {
  /// A first attempt that makes the repositories and then fails must not make a good night of the second.
  @Test func repositoriesThatABackupHadToMakeAreToldEveryNightUntilASetIsAccepted() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.script("echo 1 > a")
    try await site.createDatabase("CREATE TABLE t AS SELECT 1 AS id")
    #expect(try await site.run("backup", ["--init"], with: ["POSTGRES_DB": "nowhere"]).code == 20)
    for arguments in [["--init"], ["--init"], []] {
      let night = try await site.run("backup", arguments)
      #expect(night.code == 4, "\(night)")
      for word in ["backup had to make the repositories", "a volume is not mounted, or RESTIC_REPOSITORY is wrong", "--accept"] {
        #expect(night.errors.contains(word), "\(night)")
      }
    }
    let sets = try await site.sets()
    let refused = try await site.run("restore")
    #expect(refused.code == 22 && refused.errors.contains("restore \(sets[2])"), "\(refused)")
    #expect(try await site.run("backup", ["--accept", sets[0]]).code == 0)
    #expect(try await site.run("backup", ["--init"]).code == 0)
    #expect(try await site.run("restore").code == 0)
    // Another application's first night in the same repositories is its own.
    let other: [String: String?] = ["RESTIC_HOST": "other", "FILES_DIRECTORY": site.root + "/other", "POSTGRES_DB": nil]
    try await Shell.script("mkdir other; echo 1 >other/a", in: site.root)
    #expect(try await site.run("backup", with: other).code == 0)
  }

  /// A slip in RESTIC_HOST: what goes on under another name begins from nothing, and retention would forget by that.
  @Test func aNewNameForWhatIsSavedUnderAnotherIsDoubtedOnce() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value, settings: ["RESTIC_HOST": "jira"])
    try await site.createDatabase("CREATE TABLE t AS SELECT 1 AS id")
    try await site.script("echo 1 >a")
    for program in ["init", "backup", "backup"] { try await Staged.succeed(site, program) }
    let slip = ["RESTIC_HOST": "jria"] as [String: String?]
    let night = try await site.run("backup", with: slip)
    #expect(
      night.code == 4 && night.errors.contains("the first set of jria (there are sets of jira: RESTIC_HOST names"), "\(night)")
    #expect(try await site.run("restore", with: slip).code == 22)
    let set = try #require(try await site.sets().last)
    try await Staged.succeed(site, "backup", "--accept", set, with: slip)
    try await Staged.succeed(site, "backup", with: slip)
  }

  @Test func besideOldSnapshotsOfFilesNoneConfiguredIsRefusedWithTheirPath() async throws {
    let site = try await OldRepositories.site(["files", "pg-database", "pg-role"])
    try await OldRepositories.saveFiles(site)
    try await OldRepositories.saveDatabase(site)
    for (missing, words) in [
      ("FILES_DIRECTORY", ["holds files of \(site.files)", "set FILES_DIRECTORY=\(site.files)"]),
      ("POSTGRES_DB", ["holds a dump (/stdin)", "set POSTGRES_DB"]),
    ] {
      let refused = try await site.run("backup", ["--init"], with: [missing: nil])
      #expect(refused.code == 78, "\(refused)")
      for word in words { #expect(refused.errors.contains(word), "\(refused)") }
    }
    #expect(try await site.sets().isEmpty)
    #expect(try await site.run("backup", ["--init"]).code == 0)
    // From now on the sets say what belongs to them.
    #expect(try await site.run("backup", with: ["POSTGRES_DB": nil]).code == 4)
  }

  /// Also where the images before the last ones put them.
  @Test func besideOldDumpsOfTheFirstLayoutNoDatabaseConfiguredIsRefused() async throws {
    let site = try await OldRepositories.site(["db"])
    try await OldRepositories.saveDatabase(site, "db")
    try await site.script("echo 1 > a")
    #expect(try await site.run("init").code == 0)
    let refused = try await site.run("backup", with: ["POSTGRES_DB": nil])
    #expect(refused.code == 78 && refused.errors.contains("holds a dump"), "\(refused)")
  }

  @Test func aFirstSetThatIsEmptyIsDoubtedAndNoDrillProvesIt() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase()
    try await site.script("mkdir -p cache/deep; : > cache/placeholder")
    #expect(try await site.run("init").code == 0)
    let first = try await site.run("backup")
    #expect(first.code == 4, "\(first)")
    #expect(first.errors.contains("no file with content in \(site.files)") && first.errors.contains("no table in database"))
    let set = try await site.sets()[0]
    #expect(try await site.run("restore", ["--drill"]).code == 22)
    let drill = try await site.run("restore", ["--drill", set])
    #expect(drill.code == 4 && drill.errors.contains("proves nothing: no file with content"), "\(drill)")
    #expect(try await site.restic("sets", ["snapshots", "--json"]).output.contains("kind=drill") == false)
    // An application that is installed later needs nobody's word.
    _ = try await site.sql("CREATE TABLE t AS SELECT 1 AS id")
    try await site.script("echo 1 > a")
    #expect(try await site.run("backup").code == 0)
    #expect(try await site.run("restore", ["--drill"]).code == 0)
  }

  /// One that is empty for good, once somebody has said so.
  @Test func anEmptySetThatWasAcceptedIsNotAskedForAgain() async throws {
    let site = try await Site()
    #expect(try await site.run("init").code == 0)
    #expect(try await site.run("backup").code == 4)
    #expect(try await site.run("backup", ["--accept", "20"]).code == 0)
    #expect(try await site.run("backup").code == 0)
    #expect(try await site.run("restore", ["--drill"]).code == 0)
  }

  // MARK: Doubt weighs

  @Test func contentThatVanishesWhileEveryNameStaysIsDoubted() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase(
      """
      CREATE TABLE t AS SELECT g AS id, repeat(md5(g::text), 20) AS v FROM generate_series(1, 1000) g;
      SELECT lo_from_bytea(0, decode(repeat('ab', 100000), 'hex')) FROM generate_series(1, 3)
      """)
    try await site.script("for i in $(seq 20); do head -c 5000 /dev/urandom > f$i; done")
    #expect(try await site.run("init").code == 0)
    #expect(try await site.run("backup").code == 0)
    let sound = try await site.sets()[0]
    for (loss, repair, says) in [
      (
        "for i in $(seq 20); do mv f$i ../kept.$i; : > f$i; done", "for i in $(seq 20); do mv ../kept.$i f$i; done",
        "0 B in files"
      ),
      ("true", "true", "in large objects of database"), ("true", "true", "in the dump of database"),
    ] {
      try await site.script(loss)
      if says.contains("objects") { _ = try await site.sql(Self.truncate) }
      if says.contains("dump") { _ = try await site.sql("UPDATE t SET v = ''") }
      let doubted = try await site.run("backup")
      #expect(doubted.code == 4 && doubted.errors.contains(says) && doubted.errors.contains("set \(sound) had"), "\(doubted)")
      try await site.script(repair)
    }
  }

  private static let truncate =
    "SELECT lo_truncate(lo_open(oid, x'20000'::int), 10) FROM pg_largeobject_metadata"

  // MARK: Too much at once

  /// The policy is lowered, or a number mistyped: nothing goes before somebody has said that it is right, in no repository.
  @Test func aPolicyThatWouldTakeMostOfTheSetsAtOnceIsHeldUntilOneIsAccepted() async throws {
    let site = try await Site()
    try await site.script("echo 1 > a")
    let copying = ["COPY_RESTIC_REPOSITORY": site.root + "/copy", "COPY_RESTIC_PASSWORD": "the copy's"]
    #expect(try await site.run("init", with: copying).code == 0)
    for _ in 0..<5 { #expect(try await site.run("backup", with: copying).code == 0) }
    let lowered = copying.merging(
      ["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1"]
    ) { $1 }
    for night in 6...7 {
      let held = try await site.run("backup", with: lowered)
      #expect(held.code == 4 && held.errors.contains("would forget \(night - 1) of \(night) undoubted sets at once"), "\(held)")
      #expect(try await site.sets().count == night)
    }
    let dry = try await site.run("backup", ["--dry-run"], with: lowered)
    let first = try await site.sets()[0]
    #expect(dry.code == 0 && dry.output.contains("held back: \(first)"), "\(dry)")
    // It is undoubted all the same.
    #expect(try await site.run("restore", ["--dry-run"]).code == 0)
    #expect(try await site.run("backup", ["--accept", try await site.sets()[6]], with: lowered).code == 0)
    for _ in 0..<2 { #expect(try await site.run("backup", with: lowered).code == 0) }
    #expect(try await site.sets().count == 1)
    #expect(try await site.run("restore", ["--from-copy", "--list"], with: copying).output.split(separator: "\n").count == 2)
    #expect(
      try await site.run("backup", ["--accept", try await site.sets()[0]], with: lowered).output.contains("nothing to accept"))
  }
}
