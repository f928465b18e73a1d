import Foundation
import Support
import Testing

@testable import BackupRestore

/// A set that cannot be restored is told the night it is made, and before a restore loads anything.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Rehearsals {
  /// A site whose POSTGRES_USER is no superuser, and owns the database.
  static func site(
    _ cluster: Cluster, _ sql: String = "", asSuperuser: String = "", attributes: String = "CREATEDB"
  ) async throws -> Site {
    let clerk = "clerk_\(UInt32.random(in: 0...UInt32.max))"
    try await cluster.psql("postgres", "CREATE ROLE \(clerk) LOGIN \(attributes) PASSWORD 'app'")
    let site = try await Site(cluster: cluster, files: false, settings: ["POSTGRES_USER": clerk, "POSTGRES_PASSWORD": "app"])
    try await cluster.psql("postgres", "CREATE DATABASE \(site.database) OWNER \(clerk)")
    if !asSuperuser.isEmpty { _ = try await site.sql(asSuperuser.replacing("CLERK", with: clerk)) }
    try await Staged.run(site, as: clerk, "CREATE TABLE public.t AS SELECT 'saved'::text AS v; \(sql)")
    try await Staged.succeed(site, "init")
    return site
  }

  /// How often a scratch database was made for the site.
  static func made(_ site: Site) throws -> Int {
    let log = try String(contentsOfFile: site.cluster!.directory + "/log", encoding: .utf8)
    return log.components(separatedBy: "CREATE DATABASE \"\(site.database).staging.").count - 1
  }

  @Test func onlyANightThatChangedSomethingRehearses() async throws {
    let cluster = try await Cluster(options: ["log_statement=ddl"])
    let site = try await Self.site(cluster)
    try await Staged.succeed(site, "backup")
    #expect(try Self.made(site) == 1)
    _ = try await site.sql("INSERT INTO t VALUES ('more')")
    try await Staged.succeed(site, "backup")
    #expect(try Self.made(site) == 1)
    let changes = [
      "ALTER DATABASE \(site.database) SET work_mem = '9MB'", "CREATE ROLE reader; GRANT SELECT ON t TO reader",
      "SET ROLE \(site.settings["POSTGRES_USER"]!); CREATE VIEW w AS SELECT 1",
    ]
    for (index, change) in changes.enumerated() {
      _ = try await site.sql(change)
      for _ in 0..<2 { try await Staged.succeed(site, "backup") }
      #expect(try Self.made(site) == index + 2, "\(change)")
    }
    #expect(try await site.databases() == [site.database])
  }

  static let event = """
    CREATE FUNCTION public.note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
    CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION public.note()
    """

  @Test(arguments: [
    (event, "EVENT TRIGGER noted: permission denied to create event trigger"),
    ("CREATE PUBLICATION everything FOR ALL TABLES", "PUBLICATION everything: must be superuser"),
    (
      "CREATE FUNCTION public.quick(text) RETURNS text LANGUAGE internal AS 'upper'",
      "quick(text): permission denied for language internal"
    ),
  ]) func whatOnlyASuperuserCanMakeIsADoubtOfTheSetAndRefusedBeforeTheLoad(_ sql: String, _ words: String) async throws {
    let site = try await Self.site(try await Cluster.shared.value, asSuperuser: sql)
    let saved = try await site.run("backup")
    #expect(saved.code == 4 && saved.errors.contains("could not be restored: ") && saved.errors.contains(words), "\(saved)")
    #expect(try await site.run("backup").code == 4)
    let set = try await site.sets()[0]
    let before = try await site.databases()
    for options in [["--dry-run"], ["--drill"], []] {
      let refused = try await site.run("restore", [set] + options)
      #expect(refused.code == 22 && refused.errors.contains(words), "\(options): \(refused)")
      #expect(try await site.databases() == before)
    }
    try await Staged.succeed(site, "restore", set, "--accept-differences")
    #expect(try await site.sql("SELECT v FROM t") == "saved")
    // Who may make it, can.
    let superuser: [String: String?] = ["POSTGRES_USER": "postgres", "POSTGRES_PASSWORD": site.cluster!.password]
    try await Staged.succeed(site, "restore", set, with: superuser)
  }

  @Test func whoMayCreateNoDatabaseIsToldOnceAndSavesWithoutAlarm() async throws {
    let site = try await Self.site(try await Cluster.shared.value, attributes: "")
    let told = "is not rehearsed: role \(site.settings["POSTGRES_USER"]!) may not create databases"
    for time in 0..<2 {
      let saved = try await Staged.succeed(site, "backup")
      #expect(saved.errors.contains(told) == (time == 0), "\(saved)")
    }
  }

  @Test func aScratchDatabaseOfARunThatWasKilledIsTakenAwayByTheNext() async throws {
    let site = try await Self.site(try await Cluster.shared.value)
    let killed = try await site.run(
      "backup", with: ["LD_PRELOAD": try Preloaded.library("Moment"), "TEST_KILL_BEFORE": "DROP DATABASE"])
    #expect(killed.code == 137, "\(killed)")
    #expect(try await site.databases().count == 2)
    try await site.untilIdle()
    try await Staged.succeed(site, "backup")
    #expect(try await site.databases() == [site.database])
  }

  // MARK: What is done without

  @Test func theSettingOfASuperuserIsLeftOutAndTold() async throws {
    let site = try await Self.site(try await Cluster.shared.value)
    try await site.cluster!.psql(
      "postgres",
      "ALTER DATABASE \(site.database) SET log_min_duration_statement = 500; ALTER DATABASE \(site.database) SET work_mem = '9MB'"
    )
    try await Staged.succeed(site, "backup")
    let restored = try await Staged.succeed(site, "restore")
    #expect(
      restored.output.contains("left out: ALTER DATABASE \"\(site.database)\" SET \"log_min_duration_statement\""), "\(restored)")
    #expect(try await site.sql("SHOW work_mem") == "9MB")
  }

  @Test func aSchemaPublicThatBelongsToPostgresIsRestoredByTheOwnerOfTheDatabase() async throws {
    let site = try await Self.site(
      try await Cluster.shared.value, asSuperuser: "ALTER SCHEMA public OWNER TO postgres; GRANT ALL ON SCHEMA public TO PUBLIC")
    try await Staged.succeed(site, "backup")
    try await Staged.succeed(site, "restore", "--dry-run")
    try await Staged.succeed(site, "restore")
    #expect(try await site.sql("SELECT v FROM t") == "saved")
    #expect(try await site.sql("SELECT has_schema_privilege('public', 'public', 'CREATE')") == "t")
  }

  /// A role that is missing and cannot be made loses what it owned, and no other one does.
  @Test func ownersThatExistKeepWhatIsTheirsThoughOneIsMissing() async throws {
    let cluster = try await Cluster()
    try await cluster.psql("postgres", "CREATE ROLE gone; CREATE ROLE stays")
    let site = try await Self.site(
      cluster,
      asSuperuser: "GRANT gone, stays TO CLERK; ALTER SCHEMA public OWNER TO postgres; GRANT ALL ON SCHEMA public TO PUBLIC")
    _ = try await site.sql(
      """
      CREATE TABLE a (x int); ALTER TABLE a OWNER TO gone; CREATE TABLE b (x int); ALTER TABLE b OWNER TO stays; GRANT SELECT ON a TO stays;
      ALTER DEFAULT PRIVILEGES FOR ROLE gone GRANT SELECT ON TABLES TO stays
      """)
    try await Staged.succeed(site, "backup")
    let owners = "SELECT string_agg(tablename || '=' || tableowner, ' ' ORDER BY 1) FROM pg_tables WHERE tablename IN ('a', 'b')"
    try await Staged.succeed(site, "restore")
    #expect(try await site.sql(owners) == "a=gone b=stays")
    _ = try await site.sql("DROP OWNED BY gone")
    try await Staged.succeed(site, "restore", "--discard-previous")
    try await cluster.psql("postgres", "DROP ROLE gone")
    let restored = try await Staged.succeed(site, "restore")
    #expect(restored.errors.contains("gone is missing"), "\(restored)")
    #expect(try await site.sql(owners) == "a=\(site.settings["POSTGRES_USER"]!) b=stays")
  }

  @Test(arguments: [true, false]) func whatLayInATablespaceThatIsMissingLiesInTheDefaultOneAndIsTold(_ whole: Bool) async throws {
    let (cluster, other) = (try await Cluster(), try await Cluster())
    let site = try await Site(cluster: cluster, files: false)
    let place = cluster.directory + "/quick"
    try await Shell.check("install", ["-d", "-o", "postgres", place])
    try await cluster.psql("postgres", "CREATE TABLESPACE quick LOCATION '\(place)'")
    try await site.createDatabase()
    if whole { try await cluster.psql("postgres", "ALTER DATABASE \(site.database) SET TABLESPACE quick") }
    _ = try await site.sql(
      whole
        ? "CREATE TABLE t AS SELECT 1 AS a"
        : "CREATE TABLE t TABLESPACE quick AS SELECT 1 AS a; CREATE INDEX ON t (a) TABLESPACE quick")
    try await Staged.succeed(site, "init")
    try await Staged.succeed(site, "backup")
    let restored = try await Staged.succeed(
      site, "restore", with: ["POSTGRES_HOST": "127.0.0.1:\(other.port)", "POSTGRES_PASSWORD": other.password])
    #expect(restored.output.contains("left out: ") && restored.output.contains("quick"), "\(restored)")
    #expect(try await other.psql(site.database, "SELECT a FROM t").output == "1\n")
  }

  // MARK: What keeps everybody out, or in one place

  @Test(arguments: ["DATABASE", "ROLE app IN DATABASE"])
  func aDatabaseThatLetsNobodyInIsRefusedAndRestoredWithoutWhatKeepsThemOut(_ whose: String) async throws {
    let library = "/tmp/backup-restore-library.\(UInt32.random(in: 0...UInt32.max))"
    defer { try? FileManager.default.removeItem(atPath: library) }
    try FileManager.default.createDirectory(atPath: library, withIntermediateDirectories: true)
    try FileManager.default.copyItem(
      atPath: "/usr/lib/postgresql/15/lib/auto_explain.so", toPath: library + "/house_explain.so")
    let (cluster, other) = (try await Cluster(options: ["dynamic_library_path=$libdir:\(library)"]), try await Cluster())
    let site = try await Site(cluster: cluster, files: false)
    try await site.createDatabase("CREATE TABLE t AS SELECT 1 AS a; CREATE ROLE app LOGIN")
    _ = try await site.sql(
      "GRANT SELECT ON t TO app; ALTER \(whose) \(site.database) SET session_preload_libraries = 'house_explain'")
    try await Staged.succeed(site, "init")
    try await Staged.succeed(site, "backup")
    let there: [String: String?] = ["POSTGRES_HOST": "127.0.0.1:\(other.port)", "POSTGRES_PASSWORD": other.password]
    let refused = try await site.run("restore", with: there)
    #expect(refused.code == 22 && refused.errors.contains("could not access file \"house_explain\""), "\(refused)")
    try await Staged.succeed(site, "restore", "--accept-differences", with: there)
    #expect(try await other.psql(site.database, "SELECT a FROM t").output == "1\n")
    #expect(try await other.psql("postgres", "SELECT count(*) FROM pg_db_role_setting WHERE setdatabase <> 0").output == "0\n")
    try await Staged.succeed(site, "restore")
  }

  /// As pg_cron does.
  @Test func anExtensionThatLivesInOneDatabaseByNameIsRefusedBeforeTheLoadAndNoDoubtOfTheSet() async throws {
    let script =
      "DO $$ BEGIN IF current_database() <> 'shop' THEN RAISE 'can only create extension in database shop'; END IF; END $$;"
    let cluster = try await Cluster(added: [
      "bound.control": "default_version = '1'\nrelocatable = false\nschema = pg_catalog\n",
      "bound--1.sql": script + " CREATE TABLE public.jobs (a int); SELECT pg_extension_config_dump('public.jobs', '');",
    ])
    let site = try await Site(cluster: cluster, database: "shop", files: false)
    try await site.createDatabase("CREATE EXTENSION bound; INSERT INTO public.jobs VALUES (1); CREATE TABLE t AS SELECT 1 AS a")
    try await Staged.succeed(site, "init")
    let saved = try await Staged.succeed(site, "backup")
    #expect(saved.errors.contains("lives only under that name"), "\(saved)")
    let refused = try await site.run("restore")
    #expect(refused.code == 22 && refused.errors.contains("can only create extension in database shop"), "\(refused)")
    try await Staged.succeed(site, "restore", "--accept-differences")
    #expect(try await site.sql("SELECT a FROM t") == "1")
  }
}
