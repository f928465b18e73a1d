import Foundation
import Glibc
import Support
import SystemPackage
import Testing

@testable import BackupRestore

/// What `restore` promises.
@Suite(.serialized) struct Restores {
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

  @Test func filesAndDatabaseThatWereReplacedTogetherGoBackTogether() async throws {
    let site = try await Self.site()
    try await Self.change(site, to: "live")
    #expect(try await site.run("restore").code == 0)
    for (option, changes) in [("--rollback", ["POSTGRES_DB": nil]), ("--discard-previous", ["POSTGRES_DB": "elsewhere"])]
      as [(String, [String: String?])]
    {
      let refused = try await site.run("restore", [option], with: changes)
      #expect(refused.code == 22 && refused.errors.contains("replaced database \(site.database) too"), "\(refused.errors)")
      #expect(try await Self.state(site) == "saved saved")
    }
    #expect(try await site.run("restore", ["--rollback"]).code == 0)
    #expect(try await Self.state(site) == "live live")
    #expect(try await site.run("restore", ["--discard-previous"]).code == 0)
    // Where there was no database before, none can come back, and it is said.
    try await site.cluster!.psql("postgres", "DROP DATABASE \(site.database)")
    #expect(try await site.run("restore").code == 0)
    let back = try await site.run("restore", ["--rollback"])
    #expect(back.code == 0 && back.output.contains("database \(site.database) stays as it is"), "\(back.output)\(back.errors)")
    // --in-place saves what is live first: without the records' repository it is refused before a part is saved.
    try await Shell.check("mv", [site.repository + "/sets", site.root + "/sets"])
    let parts = try await site.restic("files", ["snapshots", "--json"]).output
    #expect(try await site.run("restore", ["--in-place", "20"]).code == 10)
    #expect(try await site.restic("files", ["snapshots", "--json"]).output == parts)
  }

  @Test func listShowsSetsAndTheyAreChosenByNameTimeAndPart() async throws {
    let site = try await Self.site()
    try await Self.change(site, to: "second")
    try await Task.sleep(for: .seconds(1.1))
    try await site.run("backup")
    let list = try await site.run("restore", ["--list"])
    #expect(list.code == 0)
    #expect(list.output.hasPrefix("SET ") && list.output.contains("files, 1 database"))
    let sets = try await site.sets()
    let first = SetID(sets[0])!
    #expect(try await site.run("restore", ["--at", Format.time(first.date!)]).code == 0)
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

  @Test func whatWasLiveIsKeptRolledBackAndDiscarded() async throws {
    let site = try await Self.site()
    try await Self.change(site, to: "one")
    #expect(try await site.run("restore").code == 0)
    try await Self.change(site, to: "two")
    try await Task.sleep(for: .seconds(1.1))
    #expect(try await site.run("restore").code == 0)
    let status = try await site.run("restore", ["--status"])
    #expect(status.code == 0)
    #expect(status.output.components(separatedBy: ".previous.").count == 3)
    let kept = try await Self.kept(site)
    #expect(kept.count == 2)
    // Two are kept, so discarding wants a name; rolling back takes the newest.
    #expect(try await site.run("restore", ["--discard-previous"]).code == 22)
    let rolled = try await site.run("restore", ["--rollback"])
    #expect(rolled.code == 0, "\(rolled.errors)")
    #expect(try await Self.state(site) == "two two")
    #expect(FileManager.default.fileExists(atPath: site.files + "/only-two"))
    // The older one by name, after new writes.
    try await Self.change(site, to: "three")
    try await Task.sleep(for: .seconds(1.1))
    #expect(try await site.run("restore", ["--rollback", kept[0]]).code == 0)
    #expect(try await Self.state(site) == "one one")
    // What each rollback replaced is kept as well.
    let after = try await Self.kept(site)
    #expect(after.count == 2)
    for id in after { #expect(try await site.run("restore", ["--discard-previous", id]).code == 0) }
    #expect(try await site.databases() == [site.database])
    #expect(try FilePath(site.work).entryNames().isEmpty)
    #expect(try await site.run("restore", ["--rollback"]).code == 22)
    #expect(try await Self.state(site) == "one one")
  }

  static func kept(_ site: Site) async throws -> [String] {
    try await site.databases().compactMap { DatabaseName.parse($0, live: site.database) }.filter { !$0.isStaging }.map(\.id.text)
      .sorted()
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
    try await Task.sleep(for: .seconds(1.1))
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

  @Test func aSetMovesToAnotherNameAndAnEmptyServer() async throws {
    let site = try await Self.site()
    let other = try await Cluster()
    let target = "moved \(site.database)"
    let there: [String: String?] = [
      "POSTGRES_DB": target, "POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "\(other.port)", "POSTGRES_PASSWORD": other.password,
      "FILES_DIRECTORY": site.root + "/elsewhere",
    ]
    try FileManager.default.createDirectory(atPath: site.root + "/elsewhere", withIntermediateDirectories: true)
    let restored = try await site.run("restore", with: there)
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(restored.output.contains("(new)"))
    #expect(try await other.psql(target, "SELECT v FROM t").output == "saved\n")
    #expect(try String(contentsOfFile: site.root + "/elsewhere/a", encoding: .utf8) == "saved\n")
    #expect(try await site.databases() == [site.database], "the old server is as it was")
  }

  @Test func clientsThatKeepComingBackDoNotStopTheSwap() async throws {
    let site = try await Self.site()
    try await Self.change(site, to: "live")
    let clients = Task {
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<6 {
          group.addTask {
            while !Task.isCancelled {
              _ = try? await site.cluster!.psql(site.database, "SELECT pg_sleep(0.05) FROM t", check: false)
            }
          }
        }
      }
    }
    let restored = try await site.run("restore")
    clients.cancel()
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(try await Self.state(site) == "saved saved")
    await clients.value
  }

  @Test func whatStandsInTheWayIsRefusedBeforeAnythingChanges() async throws {
    // A cluster of its own: an inactive slot would stop every other test's restore.
    let cluster = try await Cluster()
    let site = try await Self.site(cluster: cluster)
    try await Self.change(site, to: "live")
    let before = try await fingerprint(site.files)
    _ = try await site.sql(
      "SELECT pg_create_logical_replication_slot('slot', 'pgoutput'); BEGIN; UPDATE t SET v = v; PREPARE TRANSACTION 'pending'")
    let refused = try await site.run("restore", with: ["POSTGRES_FREE_BYTES": "1000000"])
    #expect(refused.code == 22)
    for said in ["prepared transaction pending", "slot slot belongs to", "retains WAL", "POSTGRES_FREE_BYTES", "--drop-slots"] {
      #expect(refused.errors.contains(said), "\(said) not in: \(refused.errors)")
    }
    #expect(try await fingerprint(site.files) == before)
    _ = try await site.sql("ROLLBACK PREPARED 'pending'")
    let restored = try await site.run("restore", ["--drop-slots"])
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(try await Self.state(site) == "saved saved")
    // Any other inactive slot retains WAL as well.
    try await cluster.psql("postgres", "SELECT pg_create_physical_replication_slot('standby', true)")
    #expect(try await site.run("restore").errors.contains("standby"))
  }

  @Test func aRoleWithoutSuperuserRestoresWhatItOwns() async throws {
    let cluster = try await Cluster.shared.value
    let role = "app_\(UInt32.random(in: 0...UInt32.max))"
    try await cluster.psql("postgres", "CREATE ROLE \(role) LOGIN PASSWORD 'app''s own'; CREATE ROLE \(role)_reader")
    let site = try await Site(
      cluster: cluster, files: false, settings: ["POSTGRES_USER": role, "POSTGRES_PASSWORD": "app's own"])
    try await cluster.psql("postgres", "CREATE DATABASE \(site.database) OWNER \(role)")
    _ = try await site.sql(
      "SET ROLE \(role); CREATE TABLE public.t AS SELECT 'saved'::text AS v; GRANT SELECT ON public.t TO \(role)_reader")
    try await site.run("init")
    let saved = try await site.run("backup")
    #expect(saved.code == 0, "\(saved.errors)")
    #expect(saved.errors.contains("without password hashes"))
    let refused = try await site.run("restore")
    #expect(refused.code == 22)
    #expect(refused.errors.contains("CREATEDB"))
    try await cluster.psql("postgres", "ALTER ROLE \(role) CREATEDB")
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
    // A superuser's session inside cannot be ended by it.
    let inside = try await Connection(
      try Configuration(try await Site(cluster: cluster, database: site.database).settings).database!, database: site.database,
      waits: try Configuration(site.settings).waits)
    let blocked = try await site.run("restore")
    #expect(blocked.code == 22)
    #expect(blocked.errors.contains("sessions of postgres"))
    _ = try await inside.value("SELECT 1")
    // A role that grants name is missing and cannot be created.
    let elsewhere = try await Cluster()
    try await elsewhere.psql("postgres", "CREATE ROLE \(role) LOGIN CREATEDB PASSWORD 'app''s own'")
    let there = ["POSTGRES_HOST": "127.0.0.1:\(elsewhere.port)"]
    let missing = try await site.run("restore", with: there)
    #expect(missing.code == 22)
    #expect(missing.errors.contains("CREATE ROLE \"\(role)_reader\""))
    try await elsewhere.psql("postgres", "CREATE ROLE \(role)_reader")
    let moved = try await site.run("restore", with: there)
    #expect(moved.code == 0, "\(moved.errors)")
  }

  @Test func aMissingOwnerThatCannotBeCreatedBecomesTheUser() async throws {
    let cluster = try await Cluster.shared.value
    let owner = "owner_\(UInt32.random(in: 0...UInt32.max))"
    try await cluster.psql("postgres", "CREATE ROLE \(owner)")
    let site = try await Site(cluster: cluster, files: false)
    try await cluster.psql("postgres", "CREATE DATABASE \(site.database) OWNER \(owner)")
    _ = try await site.sql("SET ROLE \(owner); CREATE TABLE public.t AS SELECT 1 AS v")
    try await site.run("init")
    #expect(try await site.run("backup").code == 0)
    let elsewhere = try await Cluster()
    try await elsewhere.psql("postgres", "CREATE ROLE plain LOGIN CREATEDB PASSWORD 'app'")
    let moved = try await site.run(
      "restore", with: ["POSTGRES_HOST": "127.0.0.1:\(elsewhere.port)", "POSTGRES_USER": "plain", "POSTGRES_PASSWORD": "app"])
    #expect(moved.code == 0, "\(moved.errors)")
    #expect(moved.errors.contains("will belong to plain"))
    #expect(try await elsewhere.psql(site.database, "SELECT tableowner FROM pg_tables WHERE tablename = 't'").output == "plain\n")
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

  @Test func anInterruptedRestoreIsFinishedOrUndoneByTheNextRun() async throws {
    let site = try await Self.site()
    try await Self.change(site, to: "live")
    var outcomes: Set<String> = []
    for delay in [600, 1200, 1800, 2200, 2600, 3000, 3400, 4000, 5000] {
      let process = Process()
      process.executableURL = URL(filePath: Site.products + "/restore")
      process.environment = site.settings
      process.standardError = FileHandle.nullDevice
      process.standardOutput = FileHandle.nullDevice
      try process.run()
      try await Task.sleep(for: .milliseconds(delay))
      kill(process.processIdentifier, SIGKILL)
      process.waitUntilExit()
      // The orphans of a killed run end by themselves; a person would wait that long too.
      try await Task.sleep(for: .milliseconds(1500))
      let next = try await site.run("restore", ["--only", "files", "--dry-run"])
      #expect([0, 22].contains(next.code))
      #expect(try await site.run("backup").code != 1, "backup finishes what was committed")
      let state = try await Self.state(site)
      #expect(["live live", "saved saved"].contains(state), "never a mixture: \(state)")
      outcomes.insert(state)
      if state == "saved saved" { try await Self.change(site, to: "live") }
    }
    let first = try await site.sets()[0]
    let last = try await site.run("restore", [first])
    #expect(last.code == 0, "\(last.errors)")
    #expect(try await Self.state(site) == "saved saved")
    #expect(try await site.databases().allSatisfy { !$0.contains(".staging.") })
  }

  @Test func aCrashBetweenTheCommitAndTheFilesIsFinishedByBackupToo() async throws {
    let site = try await Self.site()
    try await Self.change(site, to: "live")
    // The state that kill -9 leaves right after the databases were renamed: staged files, a ready journal, new names.
    let id = SetID(Date())
    let exchange = Exchange(
      directory: FilePath(site.files), work: FilePath(site.work).appending(id.text))
    try FileManager.default.createDirectory(atPath: exchange.tree.string, withIntermediateDirectories: true)
    try await Shell.script("echo saved > a", in: exchange.tree.string)
    let staging = DatabaseName.staging(site.database, id)
    try await site.cluster!.psql("postgres", "CREATE DATABASE \(SQL.identifier(staging)) TEMPLATE \(site.database)")
    try await site.cluster!.psql(staging, "UPDATE t SET v = 'saved'")
    let renames = [
      Server.Rename(from: site.database, to: DatabaseName.previous(site.database, id)),
      Server.Rename(from: staging, to: site.database),
    ]
    var oids: [String: String] = [:]
    for name in renames.map(\.from) {
      let oid = "SELECT oid FROM pg_database WHERE datname = \(SQL.literal(name))"
      oids[name] = try await site.cluster!.psql("postgres", oid).output.trimming("\n")
    }
    let system = try await site.cluster!.psql("postgres", "SELECT system_identifier FROM pg_control_system()").output
    let journal = Journal(
      id: id, source: nil, rollbackOf: nil, phase: .ready, renames: renames, paths: ["a"],
      entries: try exchange.entries(from: exchange.tree, paths: ["a"]), root: nil, rootBefore: nil,
      databases: Server.Identities(system: system.trimming("\n"), oids: oids))
    try journal.write(in: exchange.work)
    // Before the rename: backup leaves it, and the live state is the old one.
    #expect(try await site.run("restore", ["--status"]).output.contains("unfinished: restore \(id)"))
    #expect(try await site.run("backup").code == 0)
    #expect(try await Self.state(site) == "live live")
    for rename in renames {
      try await site.cluster!.psql(
        "postgres", "ALTER DATABASE \(SQL.identifier(rename.from)) RENAME TO \(SQL.identifier(rename.to))")
    }
    let finishing = try await site.run("backup")
    #expect(finishing.code == 0, "\(finishing.errors)")
    #expect(finishing.errors.contains("restore \(id) was interrupted after its commit: finished now"))
    #expect(try await Self.state(site) == "saved saved")
    #expect(try await site.run("restore", ["--rollback", id.text]).code == 0)
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
  fileprivate func entryNames() throws -> [String] { try Tree.entries(self).map(\.string) }
}
