import Foundation
import Support
import Testing

@testable import BackupRestore

/// COPY_*: the second repository.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct SecondRepository {
  static let password = "the copy's own: pass=word"

  static func site(_ settings: [String: String] = [:]) async throws -> Site {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
    try await site.script("mkdir d; for i in $(seq 1 20); do echo $i > d/file-$i; done")
    return site
  }

  static func copying(_ site: Site) -> [String: String?] {
    ["COPY_RESTIC_REPOSITORY": site.root + "/copy", "COPY_RESTIC_PASSWORD": password]
  }

  static func list(_ site: Site, _ arguments: String...) async throws -> [String] {
    let listed = try await site.run("restore", ["--list"] + arguments, with: copying(site))
    #expect(listed.code == 0, "\(listed.errors)")
    // Without the age, which passes.
    return listed.output.split(separator: "\n").filter { $0.hasPrefix("20") }.map { line in
      var cells = line.components(separatedBy: "  ").map { $0.trimming(" ") }.filter { !$0.isEmpty }
      cells.remove(at: 1)
      return cells.joined(separator: ", ")
    }
  }

  static func expectSameSets(_ site: Site, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let (main, copy) = (try await list(site), try await list(site, "--from-copy"))
    expectSame(main.joined(separator: "\n"), copy.joined(separator: "\n"), sourceLocation: sourceLocation)
  }

  @Test func everySetIsCopiedAndRestoredFromTheCopyAlone() async throws {
    let site = try await Self.site()
    let copying = Self.copying(site)
    #expect(try await site.run("init").code == 0)
    // Sets from before there was a second repository are copied too.
    #expect(try await site.run("backup").code == 0)
    let missing = try await site.run("backup", with: copying)
    #expect(missing.code == 4, "\(missing)")
    #expect(missing.errors.contains("is saved, but not copied") && missing.errors.contains("run init"), "\(missing.errors)")
    let made = try await site.run("init", with: copying)
    #expect(made.code == 0 && made.output.contains("copy of sets: created"), "\(made)")
    _ = try await site.sql("INSERT INTO t VALUES (1001)")
    let third = try await site.run("backup", with: copying)
    #expect(third.code == 0, "\(third)")
    let sets = try await site.sets()
    #expect(third.output.contains("second repository: copied \(sets.joined(separator: ", "))"), "\(third.output)")
    try await Self.expectSameSets(site)

    // The copy shares what is equal, and a copy of nothing new copies nothing.
    #expect(try await site.run("backup", with: copying.merging(["FILES_PATHS": "d"]) { $1 }).code == 0)
    let sizes = try await Shell.script("du -sk repository/files copy/files | cut -f 1", in: site.root).split(separator: "\n")
    #expect(try #require(Int(sizes[1])) < 2 * #require(Int(sizes[0])), "\(sizes)")

    // The disaster: the main repository is gone with everything else.
    let before = try await fingerprint(site.files)
    try await Shell.script("rm -rf repository files/d", in: site.root)
    _ = try await site.sql("DROP TABLE t")
    #expect(try await site.run("restore", with: copying).code == 10)
    let drill = try await site.run("restore", ["--drill", "--from-copy"], with: copying)
    #expect(drill.code == 0 && drill.output.contains("is proven"), "\(drill)")
    let restored = try await site.run("restore", ["--from-copy"], with: copying)
    #expect(restored.code == 0, "\(restored.errors)")
    expectSame(before, try await fingerprint(site.files))
    #expect(try await site.sql("SELECT count(*) FROM t") == "1001")
    #expect(try await site.run("restore", ["--status", "--from-copy"], with: copying).output.contains("last drill: set"))
    #expect(try await site.run("restore", ["--from-copy"]).code == 78)
  }

  @Test func retentionAndDoubtHoldThereToo() async throws {
    let site = try await Self.site()
    let copying = Self.copying(site).merging(["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1"])
    { $1 }
    #expect(try await site.run("init", with: copying).code == 0)
    for _ in 0..<2 { #expect(try await site.run("backup", with: copying).code == 0) }
    #expect(try await Self.list(site).count == 1)
    try await Self.expectSameSets(site)
    _ = try await site.sql("TRUNCATE t")
    let doubted = try await site.run("backup", with: copying)
    #expect(doubted.code == 4 && doubted.output.contains("second repository: copied"), "\(doubted)")
    #expect(try await Self.list(site, "--from-copy").count == 2)
    #expect(try await site.run("restore", ["--from-copy"], with: copying).code == 22)
    let set = try await site.sets()[1]
    #expect(try await site.run("backup", ["--accept", set], with: copying).code == 0)
    #expect(try await site.run("backup", with: copying).code == 0)
    #expect(try await Self.list(site, "--from-copy").count == 1)
    try await Self.expectSameSets(site)
  }

  @Test func aCopyThatFailsLeavesTheSetGood() async throws {
    let site = try await Self.site()
    let copying = Self.copying(site)
    #expect(try await site.run("init", with: copying).code == 0)
    let wrong = try await site.run("backup", with: copying.merging(["COPY_RESTIC_PASSWORD": "wrong"]) { $1 })
    #expect(wrong.code == 4 && wrong.errors.contains("check COPY_RESTIC_PASSWORD"), "\(wrong.errors)")
    let away = ["COPY_RESTIC_REPOSITORY": "rest:http://127.0.0.1:1/", "CONNECT_TIMEOUT": "3"]
    let dead = try await site.run("backup", with: copying.merging(away) { $1 })
    #expect(dead.code == 4 && dead.errors.contains("127.0.0.1:1"), "\(dead.errors)")
    #expect(try await site.sets().count == 2)
    #expect(try await site.run("backup", with: copying).code == 0)
    #expect(try await Self.list(site).count == 3)
    try await Self.expectSameSets(site)
  }

  /// Each time the toolkit is killed at the next step, before it and after it. A record in the copy never lacks a part, and in the
  /// end everything is there.
  @Test func aCopyThatIsKilledAtAnyStepIsFinishedByTheNextBackup() async throws {
    let site = try await Self.site()
    let copying = Self.copying(site)
    #expect(try await site.run("init", with: copying).code == 0)
    let trap = try Trap("restic", #"*" copy "*"#, in: site.root)
    let trapped = copying.merging(["PATH": trap.path(site.settings["PATH"]!)]) { $1 }
    var killed = 0
    for moment in [Trap.Moment.before, .after, .after] {
      try trap.arm(moment)
      let run = try await site.run("backup", with: trapped)
      #expect(run.code == 137 && !trap.isArmed, "\(run)")
      killed += 1
      let list = try await Self.list(site, "--from-copy")
      #expect(!list.contains { $0.contains("damaged") }, "\(list)")
      // Orphans of the killed run may still be at work.
      try await site.untilIdle()
    }
    // What --check reads, it locks first: locks of dead processes are gone then.
    let whole = try await site.run("backup", ["--check"], with: copying.merging(["CHECK_DAYS": "1"]) { $1 })
    #expect(whole.code == 0, "\(whole)")
    #expect(try await Self.list(site).count == killed + 1)
    try await Self.expectSameSets(site)
  }
}
