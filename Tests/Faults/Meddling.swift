import Foundation
import Support
import Testing

@testable import BackupRestore

/// People drop, rename and remove by hand what a restore left or kept: nothing is taken for what it is not.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Meddling {
  /// Dies before its databases are renamed, or before the statement.
  static func interrupted(_ broken: Broken, before statement: String) async throws {
    let run = try await broken.site.run("restore", with: try Swaps.killed(before: statement))
    #expect(run.code == 137, "\(run)")
  }

  static func rename(_ broken: Broken, _ from: String, _ to: String) async throws {
    try await broken.cluster.psql("postgres", "ALTER DATABASE \"\(from)\" RENAME TO \"\(to)\"")
  }

  @Test func stagingThatIsDroppedByHandIsNoCommit() async throws {
    let broken = try await Swaps.site()
    try await Self.interrupted(broken, before: "RENAME TO")
    let staging = try #require(try await broken.site.databases().first { $0.contains(".staging.") })
    try await broken.cluster.psql("postgres", "DROP DATABASE \"\(staging)\"")
    try await broken.succeed("backup")
    #expect(try await broken.live() == "second second")
    let set = try await broken.site.sets()[0]
    try await broken.succeed("restore", set)
    #expect(try await broken.live() == "first first")
    try await broken.succeed("restore", "--rollback")
    #expect(try await broken.live() == "second second")
    try await broken.expectTidy("a dropped staging database")
  }

  /// Killed after the rename, before and between the files' exchange.
  @Test(arguments: [false, true]) func databasesThatAreRenamedBackByHandAreNoCommitUnlessFilesWereExchanged(_ exchanged: Bool)
    async throws
  {
    let broken = try await Swaps.site()
    let live = broken.site.database
    let set = try await broken.site.sets()[0]
    for call in 1..<40 {
      let run = try await broken.site.run("restore", [set], with: try Swaps.killed(at: call))
      #expect(run.code == 137, "\(run)")
      let word = try await Shell.script("cat word", in: broken.site.files).trimming("\n")
      if try await broken.site.sql("SELECT word FROM word") == "first", (word == "first") == exchanged { break }
      // Finishes it, where there is something to finish.
      if try await broken.site.run("restore", ["--rollback"]).code == 0 { try await broken.discardKept() }
      #expect(try await broken.live() == "second second")
    }
    let previous = try #require(try await broken.site.databases().first { $0.contains(".previous.") })
    let id = String(previous.suffix(16))
    try await Self.rename(broken, live, "\(live).staging.\(id)")
    try await Self.rename(broken, previous, live)
    if exchanged {
      for program in ["backup", "restore"] {
        let run = try await broken.site.run(program)
        #expect(run.code == 22 && run.errors.contains("old names again"), "\(run)")
      }
      try await Self.rename(broken, live, previous)
      try await Self.rename(broken, "\(live).staging.\(id)", live)
      try await broken.succeed("backup")
      #expect(try await broken.live() == "first first")
      try await broken.succeed("restore", "--rollback")
    } else {
      try await broken.succeed("backup")
    }
    #expect(try await broken.live() == "second second")
    #expect(try await Shell.script("ls d | wc -l; wc -c <big", in: broken.site.files) == "200\n1048576\n")
  }

  @Test func anInterruptedSwapIsNotFinishedOnAnotherServer() async throws {
    let broken = try await Swaps.site()
    try await Self.interrupted(broken, before: "RENAME TO")
    let other = try await Cluster()
    try await other.psql("postgres", "CREATE DATABASE \(SQL.identifier(broken.site.database))")
    let run = try await broken.site.run("restore", with: ["POSTGRES_HOST": "127.0.0.1:\(other.port)"])
    #expect(run.code == 22 && run.errors.contains("another server"), "\(run)")
    try await broken.succeed("backup")
    #expect(try await broken.live() == "second second")
  }

  /// Another FILES_DIRECTORY, or what was kept in it removed by hand.
  @Test func databasesAreNotTakenBackWithoutTheFilesThatWereReplacedWithThem() async throws {
    let broken = try await Swaps.site()
    try await broken.succeed("restore")
    let id = try #require(try await broken.kept().first)
    let elsewhere = broken.site.root + "/elsewhere"
    try FileManager.default.createDirectory(atPath: elsewhere, withIntermediateDirectories: true)
    let other: [String: String?] = ["FILES_DIRECTORY": elsewhere]
    for option in ["--rollback", "--discard-previous"] {
      let run = try await broken.site.run("restore", [option], with: other)
      #expect(run.code == 22 && run.errors.contains("replaced the files of \(broken.site.files) too"), "\(run)")
    }
    #expect(try await broken.live() == "first first")
    try await broken.succeed("restore", "--rollback")
    #expect(try await broken.live() == "second second")
    try await broken.succeed("restore", "--rollback")
    #expect(try await broken.live() == "first first")
    try await Shell.script("rm -rf .backup-restore", in: broken.site.files)
    let status = try await broken.site.status().output
    #expect(status.contains("NOT FOUND: files of \(broken.site.files)") && !status.contains("back again"), "\(status)")
    let now = try #require(try await broken.kept().first)
    #expect(now != id)
    for arguments in [["--rollback"], ["--rollback", now], ["--discard-previous"]] {
      #expect(try await broken.site.run("restore", arguments).code == 22)
    }
    let discarded = try await broken.succeed("restore", "--discard-previous", now)
    #expect(discarded.errors.contains("it is not removed"), "\(discarded)")
    #expect(try await broken.site.databases() == [broken.site.database])
    #expect(try await broken.live() == "first first")
  }

  @Test func filesAreNotTakenBackWithoutTheDatabaseThatWasDroppedByHand() async throws {
    let broken = try await Swaps.site()
    try await broken.succeed("restore")
    let id = try #require(try await broken.kept().first)
    try await broken.cluster.psql("postgres", "DROP DATABASE \"\(DatabaseName.previous(broken.site.database, RestoreID(id)!))\"")
    let status = try await broken.site.status().output
    #expect(status.contains("NOT FOUND: database \(broken.site.database)"), "\(status)")
    for arguments in [["--rollback"], ["--rollback", id], ["--discard-previous"]] {
      let run = try await broken.site.run("restore", arguments)
      #expect(run.code == 22 && run.errors.contains("is not found"), "\(run)")
    }
    try await broken.succeed("restore", "--discard-previous", id)
    #expect(try await broken.kept() == [])
    #expect(try await broken.live() == "first first")
  }

  /// It is the database's own, whatever it says; what is kept says what it is.
  @Test func aCommentComesBackWithItsDatabase() async throws {
    let broken = try await Broken(megabytes: 1)
    let name = SQL.identifier(broken.site.database)
    let comment = "Größe 'n' \\ kept by backup-restore: {}\nzweite Zeile\n"
    try await broken.cluster.psql("postgres", "COMMENT ON DATABASE \(name) IS \(SQL.literal(comment))")
    let read = { (database: String) in
      try await broken.cluster.psql(
        "postgres",
        "SELECT shobj_description(oid, 'pg_database') || '|' FROM pg_database WHERE datname = \(SQL.literal(database))"
      ).output.trimming("\n")
    }
    try await broken.succeed("restore")
    #expect(try await read(broken.site.database) == "", "that of the set")
    let kept = try #require(try await broken.site.databases().first { $0.contains(".previous.") })
    #expect(try await read(kept).contains("\"files\":\"\(broken.site.files)\""))
    try await broken.succeed("restore", "--rollback")
    #expect(try await read(broken.site.database) == comment + "|")
    try await broken.succeed("restore", "--rollback")
    #expect(try await read(broken.site.database) == "")
  }

  /// Their files are in the set that was saved first.
  @Test func databasesOfAnInPlaceRestoreAreNotTakenBackAlone() async throws {
    let broken = try await Swaps.site()
    let set = try await broken.site.sets()[0]
    let restored = try await broken.succeed("restore", "--in-place", set)
    let safety = try #require(try await broken.site.sets().last)
    #expect(
      restored.output.contains("back again: restore --in-place \(safety)") && !restored.output.contains("--rollback"),
      "\(restored)")
    let run = try await broken.site.run("restore", ["--rollback"])
    #expect(run.code == 22 && run.errors.contains("restore --in-place \(safety)"), "\(run)")
    try await broken.succeed("restore", "--in-place", safety)
    #expect(try await broken.live() == "second second")
    try await broken.discardKept()
    #expect(try await broken.site.databases() == [broken.site.database])
  }
}
