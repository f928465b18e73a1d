import Foundation
import Support
import Testing

@testable import BackupRestore

/// What an application stored as text comes back as what it meant, and is never run.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct StoredWords {
  // MARK: Settings

  @Test(arguments: [
    "my-schema, public", "public;ALTER/**/ROLE/**/APP/**/SUPERUSER", "FOO,\"Bar\"", " a'b , $user", "\"\", \"a\"\"b\"",
  ]) func aSettingThatNobodyQuotedMeansTheSameAfterARestore(_ stored: String) async throws {
    let (site, app) = try await Staged.site()
    let schemas = ["my-schema", "public;alter/**/role/**/app/**/superuser", "foo", "Bar", "a'b", app, "a\"b"]
    for schema in schemas {
      try await Staged.run(site, as: app, "CREATE SCHEMA \(SQL.identifier(schema))")
    }
    let stored = stored.replacing("APP", with: app)
    let store = "SELECT set_config('search_path', \(SQL.literal(stored)), false);"
    try await Staged.run(site, as: app, "\(store) ALTER ROLE \(app) IN DATABASE \(site.database) SET search_path FROM CURRENT")
    try await Staged.run(site, as: app, "\(store) ALTER ROLE \(app) SET search_path FROM CURRENT")
    let means = { try await Staged.run(site, as: app, "SELECT current_schemas(false)").output }
    let before = try await means()
    try await Staged.succeed(site, "backup")
    try await Staged.succeed(site, "restore", "--drill")
    try await Staged.succeed(site, "restore")
    #expect(try await means() == before)
    // By the owner itself, who may set what is its own.
    try await site.cluster!.psql("postgres", "ALTER ROLE \(app) CREATEDB")
    try await Staged.succeed(site, "restore", with: ["POSTGRES_USER": app, "POSTGRES_PASSWORD": "app"])
    #expect(try await means() == before)
    // The role's own, where the role is made anew.
    for database in try await site.databases() {
      try await site.cluster!.psql("postgres", "DROP DATABASE \(SQL.identifier(database))")
    }
    try await site.cluster!.psql("postgres", "DROP ROLE \(app)")
    try await Staged.succeed(site, "restore")
    _ = try await site.sql("ALTER ROLE \(app) IN DATABASE \(site.database) RESET search_path")
    #expect(try await means() == before)
    #expect(try await !Staged.isSuperuser(site, app))
  }

  /// What 0.1 pasted into roles.sql runs as it was stored, not as it looks.
  @Test func theRolesOfAnOldSetAreMadeAndNothingElse() async throws {
    let cluster = try await Cluster.shared.value
    let role = "old_\(UInt32.random(in: 0...UInt32.max))"
    let settings = try Configuration(
      try await Site(cluster: cluster, database: "postgres").settings.merging(["POSTGRES_DB": "x"]) { $1 })
    let session = try await Connection(settings.database!, database: "postgres", waits: settings.waits)
    let body =
      "CREATE ROLE \"\(role)\" LOGIN;\nALTER ROLE \"\(role)\" SET \"search_path\" = public;ALTER/**/ROLE/**/\(role)/**/SUPERUSER;\n"
      + "ALTER ROLE \"\(role)\" SET \"work_mem\" = '9MB';\n"
    let script = "-- Roles the databases of this set refer to.\n" + RoleReader.unlessExists(role, body)
    try await session.transaction(RoleScript.statements(script))
    let made = try await session.query("SELECT rolsuper, rolconfig FROM pg_catalog.pg_roles WHERE rolname = $1", [role])
    #expect(
      made.map { [$0[0], $0[1]] } == [
        ["f", "{\"search_path=\\\"public;alter/**/role/**/\(role)/**/superuser\\\"\",work_mem=9MB}"]
      ])
    // Two statements in one message are an error, whatever they are.
    await #expect(throws: DatabaseError.self) { try await session.transaction(["SELECT 1; SELECT 2"]) }
  }

  /// It holds no row: a restore does without it, and says so.
  @Test func aSettingThatTheServerRefusesStopsNoRestore() async throws {
    let (site, app) = try await Staged.site()
    let role = "plain_\(site.database)"
    try await site.cluster!.psql(
      "postgres",
      "CREATE ROLE \(role) LOGIN CREATEDB PASSWORD 'app' IN ROLE \(app); ALTER DATABASE \(site.database) SET log_statement = 'all'"
    )
    try await Staged.succeed(site, "backup")
    let plain: [String: String?] = ["POSTGRES_USER": role, "POSTGRES_PASSWORD": "app"]
    let restored = try await Staged.succeed(site, "restore", with: plain)
    #expect(restored.output.contains("SET \"log_statement\" = 'all': permission denied"), "\(restored)")
    #expect(try await site.sql("SELECT v FROM t") == "saved")
  }

  // MARK: Roles

  @Test func whoLogsInByMembershipAloneComesBackWithWhatItMaySet() async throws {
    let (site, app) = try await Staged.site()
    let (login, team) = ("login_\(site.database)", "team_\(site.database)")
    try await site.cluster!.psql(
      "postgres",
      """
      CREATE ROLE \(team) IN ROLE \(app); CREATE ROLE \(login) LOGIN PASSWORD 'app' IN ROLE \(team); ALTER ROLE \(login) SET work_mem = '9MB';
      CREATE ROLE nobody_\(site.database) IN ROLE \(app); CREATE ROLE boss_\(site.database) LOGIN SUPERUSER IN ROLE \(app);
      GRANT SET ON PARAMETER log_min_messages TO \(app); GRANT SET, ALTER SYSTEM ON PARAMETER "my.own" TO \(login) WITH GRANT OPTION;
      """)
    let saved = try await Staged.succeed(site, "backup")
    #expect(saved.output.contains("left out: boss_\(site.database), superuser"), "\(saved)")
    let parameters = """
      SELECT parname, a.privilege_type, a.is_grantable, a.grantee::regrole FROM pg_parameter_acl, aclexplode(paracl) a
      WHERE a.grantee::regrole::text LIKE '%\(site.database)' ORDER BY 1, 2
      """
    let before = try await site.cluster!.psql("postgres", parameters).output
    #expect(before.split(separator: "\n").count == 3, "\(before)")
    try await site.cluster!.psql(
      "postgres",
      """
      DROP DATABASE \(site.database); REVOKE ALL ON PARAMETER log_min_messages, "my.own" FROM \(app), \(login);
      DROP ROLE \(login); DROP ROLE \(team); DROP ROLE \(app)
      """)
    try await Staged.succeed(site, "restore")
    #expect(try await Staged.run(site, as: login, "SELECT v FROM t; SHOW work_mem").output == "saved\n9MB\n")
    #expect(try await site.cluster!.psql("postgres", parameters).output == before)
    // The login role alone: the others are there.
    try await site.cluster!.psql("postgres", "REVOKE ALL ON PARAMETER \"my.own\" FROM \(login); DROP ROLE \(login)")
    // A drill needs none.
    try await Staged.succeed(site, "restore", "--drill")
    try await Staged.succeed(site, "restore")
    #expect(try await Staged.run(site, as: login, "SELECT v FROM t").output == "saved\n")
    // One that POSTGRES_USER cannot make is left out of the restore, and named.
    try await site.cluster!.psql(
      "postgres", "REVOKE ALL ON PARAMETER \"my.own\" FROM \(login); DROP ROLE \(login); ALTER ROLE \(app) CREATEDB")
    let plain = try await Staged.succeed(site, "restore", with: ["POSTGRES_USER": app, "POSTGRES_PASSWORD": "app"])
    #expect(plain.output.contains("left out: \(login)"), "\(plain)")
  }

  // MARK: Old dumps

  @Test func whatStandsInAnOldDumpIsNoCommandToPsql() async throws {
    let site = try await OldRepositories.site(["pg-database"], settings: ["FILES_DIRECTORY": ""])
    let planted = "sed -e '/^\\\\\\(un\\)*restrict/d' -e 's|^SET lock_timeout = 0;$|&\\n\\\\! touch \(site.root)/pwned|'"
    try await OldRepositories.saveDatabase(site, filter: planted)
    _ = try await site.sql("UPDATE t SET v = 'live'")
    let failed = try await site.run("restore")
    #expect(failed.code == 21 && failed.errors.contains("backslash commands are restricted"), "\(failed)")
    // Neither where a key is planted that its author knows.
    let known =
      "sed -e '/^\\\\\\(un\\)*restrict/d' -e 's|^SET lock_timeout = 0;$|&\\n\\\\restrict k\\n\\\\unrestrict k\\n\\\\! touch \(site.root)/pwned|'"
    try await OldRepositories.saveDatabase(site, filter: known)
    let again = try await site.run("restore")
    #expect(again.code == 21, "\(again)")
    #expect(try await site.sql("SELECT v FROM t") == "live")
    // One that has none at all is loaded.
    try await OldRepositories.saveDatabase(site, filter: "sed -e '/^\\\\\\(un\\)*restrict/d' -e s/live/old/")
    #expect(try await site.run("restore").code == 0)
    #expect(try await site.sql("SELECT v FROM t") == "old")
    #expect(!FileManager.default.fileExists(atPath: site.root + "/pwned"))
  }
}
