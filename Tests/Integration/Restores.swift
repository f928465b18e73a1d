import Foundation
import Glibc
import Support
import SystemPackage
import Testing

@testable import BackupRestore

/// What `restore` promises.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Restores {
  /// A site with one saved set: table `t` holds 'saved', file `a` holds "saved".
  static func site(_ settings: [String: String] = [:], cluster: Cluster? = nil) async throws -> Site {
    let server = if let cluster { cluster } else { try await Cluster.shared.value }
    let site = try await Site(cluster: server, settings: settings)
    try await site.createDatabase("CREATE TABLE t AS SELECT 'saved'::text AS v")
    try await site.script("echo saved > a; mkdir d; echo saved > d/b")
    try await site.run("init")
    let saved = try await site.run("backup")
    #expect(saved.code == 0, "\(saved.errors)")
    return site
  }

  /// What is live: the table's value, the file's text.
  static func state(_ site: Site) async throws -> String {
    let file = (try? String(contentsOfFile: site.files + "/a", encoding: .utf8)) ?? "no file\n"
    return try await site.sql("SELECT v FROM t") + " " + file.trimming("\n")
  }

  static func change(_ site: Site, to text: String) async throws {
    _ = try await site.sql("UPDATE t SET v = '\(text)'")
    try await site.script("echo \(text) > a; echo \(text) > only-\(text)")
  }

  @Test func listShowsSetsAndTheyAreChosenByNameTimeAndPart() async throws {
    let site = try await Self.site()
    // A time between the two: when the first had been read, with seconds as the least that --at can tell apart.
    let between = Date().addingTimeInterval(2)
    try await site.until("[ $(date +%s) -gt \(Int(between.timeIntervalSince1970) + 1) ]")
    try await Self.change(site, to: "second")
    try await site.run("backup")
    let list = try await site.run("restore", ["--list"])
    #expect(list.code == 0)
    #expect(list.output.hasPrefix("SET ") && list.output.contains("files, 1 database"))
    let sets = try await site.sets()
    #expect(try await site.run("restore", ["--at", Format.time(between)]).code == 0)
    #expect(try await Self.state(site) == "saved saved")
    #expect(!FileManager.default.fileExists(atPath: site.files + "/only-second"), "what the set lacks is gone")
    try await Self.change(site, to: "changed")
    #expect(try await site.run("restore", ["--only", "files"]).code == 0)
    #expect(try await Self.state(site) == "changed second")
    #expect(try await site.run("restore", ["--only", "database", sets[0]]).code == 0)
    #expect(try await Self.state(site) == "saved second")
    for (arguments, code, said) in [
      (["19990101"], 22, "there is no set"), ([String(sets[0].prefix(4))], 22, "ambiguous"),
      (["--at", "2001-01-01T00:00:00Z"], 22, "no complete set"), (["--at", "yesterday"], 64, "zone"),
      (["--list", "--rollback"], 64, "do not go together"), (["--nonsense"], 64, "nonsense"),
    ] as [([String], Int32, String)] {
      let refused = try await site.run("restore", arguments)
      #expect(refused.code == code, "\(arguments): \(refused.errors)")
      #expect(refused.errors.contains(said), "\(refused.errors)")
    }
    #expect(try await Self.state(site) == "saved second")
  }

  @Test func aDryRunSaysWhatItWouldReplaceAndChangesNothing() async throws {
    let site = try await Self.site()
    try await Self.change(site, to: "live")
    let before = try await fingerprint(site.files)
    let dry = try await site.run("restore", ["--dry-run"])
    #expect(dry.code == 0, "\(dry.errors)")
    #expect(dry.output.contains(site.files) && dry.output.contains("database \(site.database)"))
    #expect(try await Self.state(site) == "live live")
    #expect(try await fingerprint(site.files) == before)
    #expect(try await site.databases() == [site.database])
    #expect(!FileManager.default.fileExists(atPath: site.work))
  }

  @Test func aDifferenceFromTheEvidenceEndsTheRestoreUnlessAccepted() async throws {
    let site = try await Self.site()
    // A record that claims one row more than there is: written as the toolkit writes records.
    let snapshot = try await site.restic("sets", ["snapshots", "--json"]).output
    let text = try await site.restic("sets", ["dump", "latest", "/set.json"]).output
    let forged = site.root + "/forged"
    try FileManager.default.createDirectory(atPath: forged, withIntermediateDirectories: true)
    let id = SetID(Date())
    try text.replacing("\"rows\" : 1", with: "\"rows\" : 2").replacing(try await site.sets()[0], with: id.text)
      .write(toFile: forged + "/set.json", atomically: false, encoding: .utf8)
    try await site.restic("sets", ["dump", "latest", "/roles.sql", "--target", forged + "/roles.sql"])
    let decoded = try JSONDecoder().decode([Snapshot].self, from: Data(snapshot.utf8))[0]
    let tags = (decoded.tags ?? []).map { $0.hasPrefix("set=") ? "set=\(id)" : $0 }
    _ = try await Shell.run(
      "restic", ["backup", "--host", "backup-restore", "--tag", tags.joined(separator: ","), "set.json", "roles.sql"],
      environment: site.settings.merging(["RESTIC_REPOSITORY": site.repository + "/sets"]) { $1 }, directory: forged)
    try await Self.change(site, to: "live")
    let failed = try await site.run("restore", [id.text])
    #expect(failed.code == 21, "\(failed.errors)")
    #expect(failed.errors.contains("table public.t has 1 rows instead of 2"))
    #expect(try await Self.state(site) == "live live")
    #expect(try await site.databases() == [site.database])
    #expect(try FilePath(site.work).entryNames().isEmpty)
    let accepted = try await site.run("restore", [id.text, "--accept-differences"])
    #expect(accepted.code == 0, "\(accepted.errors)")
    #expect(accepted.errors.contains("accepted: ") && accepted.output.contains("differences accepted"))
    #expect(try await Self.state(site) == "saved saved")
  }

  @Test func aSetWhosePartIsGoneIsRefusedAndASetWithoutRecordIsTakenByName() async throws {
    let site = try await Self.site()
    try await Self.change(site, to: "live")
    try await site.run("backup")
    let part = try JSONDecoder().decode(
      [Snapshot].self, from: Data(try await site.restic("pg-database", ["snapshots", "--json"]).output.utf8)
    ).max { $0.time < $1.time }!
    try await site.restic("pg-database", ["forget", part.id])
    let refused = try await site.run("restore")
    #expect(refused.code == 22)
    #expect(refused.errors.contains("damaged") && refused.errors.contains(part.short))
    #expect(try await site.run("restore", ["--list"]).output.contains("a part is gone"))
    #expect(try await Self.state(site) == "live live")
    // All records lost: the sets come back from the tags.
    let good = try await site.sets()[0]
    try await Shell.check("rm", ["-r", site.repository + "/sets"])
    try await site.run("init")
    #expect(try await site.run("restore").code == 22)
    let restored = try await site.run("restore", [good])
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(restored.output.contains("archive complete"))
    #expect(try await Self.state(site) == "saved saved")
  }

  @Test func withoutRoomInTMPDIRTheArchiveIsStreamed() async throws {
    let site = try await Self.site()
    let small = site.root + "/small"
    try FileManager.default.createDirectory(atPath: small, withIntermediateDirectories: true)
    try await Shell.check("mount", ["-t", "tmpfs", "-o", "size=140m", "tmpfs", small])
    defer { umount2(small, Int32(MNT_DETACH)) }
    try await Self.change(site, to: "live")
    let restored = try await site.run("restore", with: ["TMPDIR": small])
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(restored.errors.contains("streaming"))
    #expect(try await Self.state(site) == "saved saved")
    // A volume's limit is not seen in its file system: in Kubernetes going beyond it ends in eviction.
    let limited = try await site.run("restore", with: ["TMPDIR_BYTES": "200000000"])
    #expect(limited.code == 0 && limited.errors.contains("TMPDIR has 190.7 MiB free"), "\(limited.errors)")
  }

  /// Somebody else's set, by a slip of the keyboard: it does not go over this application.
  @Test func aSetOfAnotherApplicationIsRefusedUnlessItIsNamed() async throws {
    let site = try await Self.site()
    let theirs = site.root + "/theirs"
    try await Shell.script("mkdir theirs; echo theirs >theirs/a", in: site.root)
    let other: [String: String?] = ["RESTIC_HOST": "other", "FILES_DIRECTORY": theirs, "POSTGRES_DB": nil]
    #expect(try await site.run("backup", with: other).code == 0)
    let list = try await site.run("restore", ["--list"], with: other).output.split(separator: "\n")
    let set = try #require(list.first { $0.hasPrefix("20") && !$0.contains("of backup-restore") }?.prefix(16)).description
    for arguments in [[set], ["--drill", set], ["--dry-run", set], ["--only", "files", set]] {
      let refused = try await site.run("restore", arguments)
      #expect(refused.code == 22 && refused.errors.contains("RESTIC_HOST=other"), "\(arguments): \(refused)")
    }
    #expect(try await Self.state(site) == "saved saved")
    let meant = try await site.run("restore", ["--only", "files", set], with: ["RESTIC_HOST": "other"])
    #expect(meant.code == 0, "\(meant)")
    #expect(try await Self.state(site) == "saved theirs")
  }

  /// Somebody breaks a file while the night's backup is on its way to it, and wants it back as it was just before.
  @Test func aTimeAtWhichTheFilesWereStillToBeReadMeansTheSetBefore() async throws {
    let site = try await Self.site()
    let held = try site.fake(
      "restic",
      "PATH=${PATH#*:}\ncase \" $* \" in *\" kind=files \"*) touch '\(site.root)/held'; until [ -e '\(site.root)/go' ]; do sleep 0.05; done;; esac\nexec restic \"$@\""
    )
    try await site.until("[ $(date +%s) -gt \(Int(Date().timeIntervalSince1970) + 2) ]")
    let night = try site.start("backup", with: ["PATH": held])
    // The database has been read by now, and the files have not.
    try await site.until("[ -e held ] && [ $(ls repository/pg-database/snapshots | wc -l) = 2 ]")
    let before = Date().addingTimeInterval(1)
    try await site.until("[ $(date +%s) -gt \(Int(before.timeIntervalSince1970) + 1) ]")
    try await Self.change(site, to: "damaged")
    try await Shell.script("touch go", in: site.root)
    #expect(try await night.result.code == 0)
    let sets = try await site.sets()
    let restored = try await site.run("restore", ["--at", Format.time(before)])
    #expect(restored.code == 0 && restored.output.contains("FROM set \(sets[0])"), "\(restored)")
    #expect(restored.errors.contains("set \(sets[1]) is passed over"), "\(restored)")
    #expect(try await Self.state(site) == "saved saved")
    // Its dump shows the moment it began.
    let database = try await site.run("restore", ["--at", Format.time(before), "--only", "database", "--dry-run"])
    #expect(database.code == 0 && database.output.contains("FROM set \(sets[1])"), "\(database)")
  }

  /// restic itself would wait for ever.
  @Test(arguments: [1, 2]) func aRepositoryThatStandsStillInTheMiddleOfADumpIsGivenUp(time: Int) async throws {
    let site = try await Self.site()
    try await Self.change(site, to: "live")
    let path = try site.fake(
      "restic",
      """
      PATH=${PATH#*:}
      case " $* " in *" dump "*.dump*)
        echo >>'\(site.root)/dumps'
        [ $(wc -l <'\(site.root)/dumps') -lt \(time) ] || { restic "$@" | head -c 500; exec sleep 900; };;
      esac
      exec restic "$@"
      """)
    let begin = ContinuousClock().now
    // The first time is the rehearsal's; what comes after it is piped where TMPDIR is too small.
    let stuck = try await site.run(
      "restore", with: ["PATH": path, "STALL_TIMEOUT": "3", "LOCK_WAIT": "1", "TMPDIR_BYTES": time == 1 ? nil : "1"])
    // pg_restore, which waits for it, may be what is stopped.
    #expect(stuck.code == 23 || (time == 2 && stuck.code == 20), "\(stuck)")
    #expect(stuck.errors.contains("STALL_TIMEOUT"), "\(stuck)")
    #expect(begin.duration(to: .now) < .seconds(300))
    #expect(try await Self.state(site) == "live live")
  }

  /// The set that is saved first, in the middle of the restore, takes nothing away from it.
  @Test func inPlaceRestoresFilesAndDatabaseTogether() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase("CREATE TABLE t AS SELECT generate_series(1, 10) AS id")
    try await site.script("echo old > a")
    #expect(try await site.run("init").code == 0)
    #expect(try await site.run("backup").code == 0)
    _ = try await site.sql("INSERT INTO t VALUES (11)")
    try await site.script("echo new > a; echo new > b")
    let restored = try await site.run("restore", ["--in-place"])
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(try await site.sql("SELECT count(*) FROM t") == "10")
    #expect(try await Shell.script("cat *", in: site.files) == "old\n")
    #expect(!restored.errors.contains("left by"), "\(restored.errors)")
    let safety = try await site.sets()[1]
    #expect(try await site.run("restore", ["--in-place", safety]).code == 0)
    #expect(try await site.sql("SELECT count(*) FROM t") == "11")
    #expect(try await Shell.script("cat *", in: site.files) == "new\nnew\n")
  }
}

extension FilePath {
  func entryNames() throws -> [String] { try Tree.entries(self).map(\.string) }
}
