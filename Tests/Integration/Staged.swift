import Foundation
import Support
import Testing

@testable import BackupRestore

/// While it is built a database is nobody's, and what the application defined in it runs by no rights but its own.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Staged {
  /// A site whose database is owned by a role of its own, `app` and the rest of the site's name.
  static func site(_ sql: String = "", _ settings: [String: String] = [:]) async throws -> (site: Site, app: String) {
    let site = try await Site(cluster: try await Cluster.shared.value, files: false, settings: settings)
    let app = "app_\(site.database)"
    try await site.cluster!.psql("postgres", "CREATE ROLE \(app) LOGIN PASSWORD 'app'; CREATE ROLE \(app)_reader")
    try await site.cluster!.psql("postgres", "CREATE DATABASE \(site.database) OWNER \(app)")
    try await run(site, as: app, "CREATE TABLE public.t AS SELECT 'saved'::text AS v; \(sql)")
    #expect(try await site.run("init").code == 0)
    return (site, app)
  }

  @discardableResult
  static func run(_ site: Site, as role: String, in database: String? = nil, _ sql: String, check: Bool = true) async throws
    -> Shell.Result
  {
    let environment = site.cluster!.environment.merging(["PGUSER": role, "PGPASSWORD": "app"]) { $1 }
    return try await Shell.run(
      "\(Cluster.binaries)/psql", ["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database ?? site.database, "-c", sql],
      environment: environment, check: check)
  }

  @discardableResult
  static func succeed(
    _ site: Site, _ program: String, _ arguments: String..., with changes: [String: String?] = [:],
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> Shell.Result {
    let result = try await site.run(program, arguments, with: changes)
    #expect(result.code == 0, "\(program) \(arguments): \(result)", sourceLocation: sourceLocation)
    return result
  }

  static func isSuperuser(_ site: Site, _ role: String) async throws -> Bool {
    try await site.sql("SELECT rolsuper FROM pg_roles WHERE rolname = '\(role)'") == "t"
  }

  /// PATH with PostgreSQL's programs, of which pg_restore runs `script` before it loads anything.
  static func beforeLoading(_ site: Site, _ script: String) throws -> [String: String?] {
    let path = try site.fake(
      "pg_restore", "case \"$*\" in --dbname=*)\n\(script)\n;; esac >&2 </dev/null\nexec \(Cluster.binaries)/pg_restore \"$@\"")
    for name in ["pg_dump", "psql"] {
      try FileManager.default.createSymbolicLink(
        atPath: site.root + "/fake-pg_restore/" + name, withDestinationPath: Cluster.binaries + "/" + name)
    }
    return ["PATH": path]
  }

  // MARK: Who gets in

  /// Also where the staging database is somebody's who is not the application: its owner could open it from another one.
  @Test(arguments: ["a superuser", "a member of the owner"])
  func whileItIsBuiltAStagingDatabaseTakesNobodyElseAndThenBelongsToItsOwner(_ user: String) async throws {
    let (site, app) = try await Self.site()
    let role = user == "a superuser" ? "postgres" : "member_\(site.database)"
    var settings: [String: String?] = [:]
    if role != "postgres" {
      try await site.cluster!.psql("postgres", "CREATE ROLE \(role) LOGIN CREATEDB PASSWORD 'app' IN ROLE \(app)")
      settings = ["POSTGRES_USER": role, "POSTGRES_PASSWORD": "app"]
    }
    try await Self.run(site, as: app, "GRANT SELECT ON public.t TO \(app)_reader; GRANT CREATE ON SCHEMA public TO \(app)_reader")
    let state = """
      SELECT pg_get_userbyid(datdba), datconnlimit, coalesce(datacl, acldefault('d', datdba)) @> acldefault('d', datdba)
      FROM pg_database WHERE datname = current_database()
      """
    let (before, schema) = (try await site.sql(state), try await site.cluster!.schema(site.database))
    try await Self.succeed(site, "backup")
    let psql = "PGUSER=\(app) PGPASSWORD=app \(Cluster.binaries)/psql -XqAt -d"
    settings.merge(
      try Self.beforeLoading(
        site,
        """
        \(psql) "$PGDATABASE" -c 'SELECT 1' >\(site.root)/in 2>&1; echo $? >\(site.root)/code
        for to in 'CONNECTION LIMIT -1' 'OWNER TO \(app)'; do
          \(psql) postgres -c "ALTER DATABASE \\"$PGDATABASE\\" $to" >>\(site.root)/in 2>&1
        done
        \(psql) postgres -c "GRANT ALL ON DATABASE \\"$PGDATABASE\\" TO \(app)" >>\(site.root)/in 2>&1
        \(psql) "$PGDATABASE" -c 'SELECT 1' >>\(site.root)/in 2>&1; echo $? >>\(site.root)/code
        """)
    ) { $1 }
    try await Self.succeed(site, "restore", with: settings)
    let tried = try String(contentsOfFile: site.root + "/in", encoding: .utf8)
    #expect(try String(contentsOfFile: site.root + "/code", encoding: .utf8) == "2\n2\n", "\(tried)")
    #expect(
      tried.ranges(of: "must be owner of database").count == 2 && tried.contains("permission denied for database"), "\(tried)")
    #expect(try await site.sql(state) == before)
    expectSame(schema, try await site.cluster!.schema(site.database))
    #expect(try await Self.run(site, as: app, "SELECT v FROM t").output == "saved\n")
    #expect(try await site.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE '\(site.database)%'") == "0")
  }

  /// Verified, and never swapped: what is left is still closed, and the next run takes it away, the role that loaded it, too.
  @Test func killedBeforeItsSwapOrInItsLoadARestoreLeavesNothingOpen() async throws {
    let (site, app) = try await Self.site()
    try await Self.succeed(site, "backup")
    let state = "SELECT pg_get_userbyid(datdba), datconnlimit FROM pg_database WHERE datname LIKE '\(site.database).staging.%'"
    let killed = try await site.run(
      "restore", with: ["LD_PRELOAD": try Preloaded.library("Moment"), "TEST_KILL_BEFORE": "RENAME TO"])
    #expect(killed.code == 137, "\(killed)")
    #expect(try await site.sql(state) == "postgres|0")
    let roles = "SELECT count(*) FROM pg_roles WHERE rolname LIKE '\(site.database).staging.%'"
    #expect(try await site.sql(roles) == "0")
    let loading = try await site.run("restore", with: try Self.beforeLoading(site, "kill -KILL $PPID; sleep 1; exit 1"))
    #expect(loading.code == 137, "\(loading)")
    #expect(try await site.sql(roles) == "1")
    let staging = try await site.sql("SELECT datname FROM pg_database WHERE datname LIKE '\(site.database).staging.%'")
    #expect(try await Self.run(site, as: app, in: staging, "SELECT 1", check: false).code == 2)
    // Somebody drops the database alone.
    try await site.cluster!.psql("postgres", "DROP DATABASE \(SQL.identifier(staging)) WITH (FORCE)")
    try await Self.succeed(site, "restore")
    #expect(try await site.sql(roles) == "0")
    try await Self.succeed(site, "restore", "--rollback")
    #expect(try await Self.run(site, as: app, "SELECT v FROM t").output == "saved\n")
  }

  @Test func theRoleThatOwnsTheDatabaseSavesDrillsRestoresAndRollsBackAlone() async throws {
    let (site, app) = try await Self.site("CREATE EXTENSION citext SCHEMA public")
    try await site.cluster!.psql("postgres", "ALTER ROLE \(app) CREATEDB")
    let own: [String: String?] = ["POSTGRES_USER": app, "POSTGRES_PASSWORD": "app"]
    let schema = try await site.cluster!.schema(site.database)
    try await Self.succeed(site, "backup", with: own)
    try await Self.run(site, as: app, "UPDATE t SET v = 'live'")
    try await Self.succeed(site, "restore", "--drill", with: own)
    try await Self.succeed(site, "restore", with: own)
    #expect(try await Self.run(site, as: app, "SELECT v FROM t").output == "saved\n")
    expectSame(schema, try await site.cluster!.schema(site.database))
    try await Self.succeed(site, "restore", "--rollback", with: own)
    #expect(try await Self.run(site, as: app, "SELECT v FROM t").output == "live\n")
    try await Self.succeed(site, "restore", "--discard-previous", with: own)
  }

  // MARK: What runs while it is loaded

  /// It sets the role back to the session's, which must be nobody's who may more.
  static func check(_ app: String) -> String {
    """
    CREATE FUNCTION public.picky(v text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
      PERFORM set_config('role', 'none', false);
      IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE \(app) SUPERUSER'; END IF;
      RETURN true;
    END $$;
    CREATE EXTENSION citext SCHEMA public; CREATE TYPE public.mood AS ENUM ('ok');
    CREATE TABLE public.checked (v text CHECK (public.picky(v)), n int GENERATED ALWAYS AS IDENTITY, c public.citext,
      long bool GENERATED ALWAYS AS (v = 'x') STORED, mood public.mood);
    INSERT INTO public.checked VALUES ('x', DEFAULT, 'C', DEFAULT, 'ok');
    CREATE MATERIALIZED VIEW public.seen AS SELECT count(*) FROM public.checked; GRANT SELECT ON public.checked TO \(app)_reader;
    CREATE SCHEMA theirs; CREATE TABLE theirs.t AS SELECT 1 AS a; ALTER SCHEMA theirs OWNER TO pg_database_owner;
    ALTER TABLE theirs.t OWNER TO pg_database_owner; SELECT lo_from_bytea(0, 'x');
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO \(app)_reader
    """
  }

  @Test(arguments: ["", "ALTER SCHEMA public RENAME TO other", "GRANT ALL ON SCHEMA public TO APP, APP_reader WITH GRANT OPTION"])
  func whatTheApplicationDefinedRunsByItsOwnRightsAlone(_ change: String) async throws {
    let (site, app) = try await Self.site()
    try await Self.run(site, as: app, Self.check(app))
    if !change.isEmpty { try await Self.run(site, as: app, change.replacing("APP", with: app)) }
    let schema = try await site.cluster!.schema(site.database)
    try await Self.succeed(site, "backup")
    for options in [["--drill"], []] {
      let restored = try await site.run("restore", options)
      #expect(restored.code == 0 && restored.output.contains("rows and content"), "\(restored)")
      #expect(!restored.errors.contains("a superuser"), "\(restored)")
      #expect(try await !Self.isSuperuser(site, app))
    }
    expectSame(schema, try await site.cluster!.schema(site.database))
    #expect(try await site.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE '\(site.database)%'") == "0")
    // The operator's word: as before.
    try await Self.succeed(site, "restore", "--as-superuser")
    #expect(try await Self.isSuperuser(site, app))
  }

  /// It is told, because what is in it may be anybody's.
  @Test func whatOneRoleDoesNotOwnAloneIsLoadedAsPostgresUserAndSaysSo() async throws {
    let (site, app) = try await Self.site()
    _ = try await site.sql("CREATE TABLE public.ours AS SELECT 1 AS a")
    let schema = try await site.cluster!.schema(site.database)
    try await Self.succeed(site, "backup")
    let restored = try await Self.succeed(site, "restore")
    #expect(restored.errors.contains("is loaded as postgres, a superuser"), "\(restored)")
    expectSame(schema, try await site.cluster!.schema(site.database))
    #expect(try await Self.run(site, as: app, "SELECT v FROM t").output == "saved\n")
  }

  /// pg_hba.conf may admit no role but those it names.
  @Test func whereTheRoleThatLoadsIsNotLetInPostgresUserLoads() async throws {
    let cluster = try await Cluster()
    try await cluster.psql("postgres", "CREATE ROLE app LOGIN; CREATE DATABASE app OWNER app")
    let site = try await Site(cluster: cluster, database: "app", files: false)
    _ = try await site.sql("SET ROLE app; CREATE TABLE public.t AS SELECT 1 AS a")
    try await Self.succeed(site, "init")
    try await Self.succeed(site, "backup")
    try await Shell.script("sed -i 's/^host *all *all/host all postgres/' data/pg_hba.conf", in: cluster.directory)
    try await cluster.psql("postgres", "SELECT pg_reload_conf()")
    let restored = try await Self.succeed(site, "restore")
    #expect(restored.errors.contains("is not let in") && restored.errors.contains("pg_hba.conf"), "\(restored)")
    #expect(try await site.sql("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1") == "app\npostgres")
  }
}
