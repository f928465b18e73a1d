import Support
import Testing

@testable import BackupRestore

/// What pg_dump alone loses, and everything that is easily lost with it.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct DatabaseTruths {
  /// Names as hostile as PostgreSQL allows.
  static let name = #"Jira "prod" = it's; --x \ ü"#

  static func definition(_ site: Site, owner: String, reader: String) -> String {
    """
    CREATE EXTENSION pg_trgm; CREATE EXTENSION hstore; CREATE EXTENSION citext;
    CREATE SCHEMA "Odd Schema"; CREATE SCHEMA owned AUTHORIZATION "\(owner)";
    CREATE TYPE mood AS ENUM ('sad', 'ok'); ALTER TYPE mood ADD VALUE 'between' BEFORE 'ok';
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE TYPE pair AS (a int, b text);
    CREATE TABLE "Odd Schema"."Select "" from; --" ("a b" int PRIMARY KEY, "UPPER" text, "quote""d" text);
    INSERT INTO "Odd Schema"."Select "" from; --" VALUES (1, 'x', E'tab\\t newline\\n quote '' backslash \\\\ \\x01'), (2, NULL, '');
    CREATE TABLE everything (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, doubled bigint GENERATED ALWAYS AS (n * 2) STORED, n int, p positive,
      m money, by bytea, j json, jb jsonb, arr int[][], ts timestamptz, iv interval, f float8, nu numeric, t text, mo mood,
      co pair, ci citext, hs hstore, u uuid, inet inet, r int4range, bi bit varying(9), x xml, tsv tsvector, oid oid);
    INSERT INTO everything (n, p, m, by, j, jb, arr, ts, iv, f, nu, t, mo, co, ci, hs, u, inet, r, bi, x, tsv, oid)
      SELECT g, g, g * 1.5, decode(md5(g::text), 'hex'), '{"b": 1,  "a":2}', '{"b":1}', ARRAY[[g, 1], [2, NULL]],
        '2020-01-01 00:00:00.000001+02'::timestamptz + g * interval '1 hour', '1 mon 2 days 03:04:05.678', g / 3.0::float8, g / 7.0,
        E'odd \\u2028 \\x7f ' || chr(g + 32), 'between', ROW(g, 'x,"y'::text)::pair, 'CaSe', 'a=>1', md5(g::text)::uuid, '::1', '[1,5)', B'101',
        '<?xml version="1.0" encoding="UTF-8"?><a>1</a>', 'a b c', g FROM generate_series(1, 200) g;
    INSERT INTO everything (n, f, nu, ts) VALUES (-1, 'NaN', 'NaN', 'infinity'), (-2, '-Infinity', 1.0, '-infinity'), (-3, -0.0, 1.00, NULL);
    CREATE TABLE measured (at date NOT NULL, dropped int, v int) PARTITION BY RANGE (at);
    ALTER TABLE measured DROP COLUMN dropped;
    CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE TABLE measured_2 (v int, at date NOT NULL); ALTER TABLE measured ATTACH PARTITION measured_2 DEFAULT;
    INSERT INTO measured SELECT '2020-01-01'::date + g, g FROM generate_series(1, 1000) g;
    CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent);
    INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3);
    CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; CREATE TABLE empty (a int);
    CREATE UNLOGGED TABLE unlogged (a int); INSERT INTO unlogged VALUES (1);
    CREATE TABLE secured (who text); INSERT INTO secured VALUES ('a'), ('b'); ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON secured TO "\(reader)" USING (who = current_user);
    CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM everything; CREATE MATERIALIZED VIEW unseen AS SELECT 1 WITH NO DATA;
    CREATE VIEW looks AS SELECT * FROM everything; CREATE INDEX ON everything USING gin (t gin_trgm_ops);
    CREATE SEQUENCE down INCREMENT -5 MAXVALUE 1000 START 900; SELECT nextval('down'), nextval('down');
    CREATE SEQUENCE untouched START 42; SELECT setval('untouched', 77, false);
    CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
    CREATE FUNCTION tick() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER ticks BEFORE INSERT ON empty FOR EACH ROW EXECUTE FUNCTION tick();
    SELECT lo_from_bytea(4711, decode(repeat('00ff', 5000), 'hex')); COMMENT ON LARGE OBJECT 4711 IS 'large';
    CREATE TABLE owned.things (a int); ALTER TABLE owned.things OWNER TO "\(owner)";
    GRANT SELECT ON everything TO "\(reader)" WITH GRANT OPTION; GRANT USAGE ON SCHEMA "Odd Schema" TO PUBLIC;
    ALTER DEFAULT PRIVILEGES IN SCHEMA owned GRANT SELECT ON TABLES TO "\(reader)";
    """
  }

  /// What PostgreSQL forbids to the database's owner, and what a restore does: it leaves it out, and says so.
  static let settingsOfSuperusers = [
    (
      #"ALTER DATABASE DB SET my.setting = 'a = ''b'''"#, #"SET "my"."setting" = 'a = ''b''': permission denied to set parameter"#
    ),
    ("ALTER DATABASE DB SET log_statement = 'ddl'", #"SET "log_statement" = 'ddl': permission denied to set parameter"#),
    (
      #"ALTER ROLE "READER" IN DATABASE DB SET statement_timeout = '5min'"#,
      #"SET "statement_timeout" = '5min': permission denied"#
    ),
  ]

  @Test(arguments: User.allCases) func aDatabaseWithEveryTruthComesBackTheSame(_ user: User) async throws {
    let cluster = try await Cluster.shared.value
    let site = try await Site(cluster: cluster, as: user, database: Self.name + (user == .owner ? " of its owner's" : ""))
    let part = String(site.root.suffix(6))
    // Who owns a part of it, and a superuser's database, too.
    let other = "Owner 'o\" \(part)".replacing("\"", with: "\"\"")
    let (owner, reader) = (user == .superuser ? other : site.user, "reader \(part)")
    let db = SQL.identifier(site.database)
    let settings = Self.settingsOfSuperusers.map { $0.0.replacing("DB", with: db).replacing("READER", with: reader) }
      .joined(separator: "; ")
    try await cluster.psql(
      "postgres",
      """
      CREATE ROLE "\(other)" LOGIN PASSWORD 'x' CONNECTION LIMIT 7; CREATE ROLE "group \(reader)"; CREATE ROLE "\(reader)" NOINHERIT;
      GRANT "group \(reader)" TO "\(reader)" WITH ADMIN OPTION; ALTER ROLE "\(reader)" SET work_mem = '9MB';
      COMMENT ON ROLE "\(reader)" IS 'reads';
      CREATE DATABASE \(db) TEMPLATE template0 OWNER "\(owner)" ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LOCALE 'C.UTF-8';
      COMMENT ON DATABASE \(db) IS 'it''s "the" one'; ALTER DATABASE \(db) CONNECTION LIMIT 55;
      ALTER DATABASE \(db) SET search_path = "$user", public, 'Odd Schema'; ALTER DATABASE \(db) SET work_mem = '7MB';
      \(user == .owner ? "GRANT \"\(other)\" TO \(site.user)" : settings);
      REVOKE ALL ON DATABASE \(db) FROM PUBLIC; GRANT CONNECT, TEMP ON DATABASE \(db) TO "\(reader)" WITH GRANT OPTION;
      """)
    try await site.own("SET search_path = public; " + Self.definition(site, owner: other, reader: reader))
    let schema = try await cluster.schema(site.database)
    let roles = try await Self.roles(cluster, like: part)
    let hashes = try await Self.hashes(site)
    if user == .owner { try await cluster.psql("postgres", settings) }
    #expect(try await site.run("init").code == 0)
    let saved = try await site.run("backup")
    #expect(saved.code == 0, "\(saved.errors)")

    // Everything is lost, the roles too.
    try await cluster.psql("postgres", "DROP DATABASE \(db); DROP ROLE \"\(reader)\"; DROP ROLE \"group \(reader)\"")
    if user == .superuser {
      try await cluster.psql("postgres", "DROP ROLE \"\(other)\"")
    } else {
      // Another one has to make them.
      let refused = try await site.run("restore")
      #expect(refused.code == 22, "\(refused)")
      let words =
        "role \(reader) is named in grants, is missing, and \(site.user) cannot create it: permission denied to create role"
      #expect(refused.errors.contains(words), "\(refused)")
      try await cluster.psql("postgres", "CREATE ROLE \"\(reader)\"")
    }
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
    expectSame(schema, try await cluster.schema(site.database))
    #expect(try await Self.hashes(site) == hashes)
    if user == .owner {
      for (_, words) in Self.settingsOfSuperusers { #expect(restored.output.contains(words), "\(restored)") }
      return
    }
    #expect(try await Self.roles(cluster, like: part) == roles)

    // And once more, over the live one, with the roles there.
    let again = try await site.run("restore")
    #expect(again.code == 0, "\(again.errors)")
    expectSame(schema, try await cluster.schema(site.database))
    #expect(try await site.databases().count == 2, "live and previous")
  }

  /// Attributes, settings, comments and memberships, without passwords' salt.
  static func roles(_ cluster: Cluster, like part: String) async throws -> String {
    try await cluster.psql(
      "postgres",
      """
      SELECT r.*, a.rolpassword, shobj_description(a.oid, 'pg_authid'), (SELECT string_agg(p.rolname || m.admin_option, ',')
        FROM pg_auth_members m JOIN pg_roles p ON p.oid = m.roleid WHERE m.member = a.oid)
      FROM pg_authid a JOIN (SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolconnlimit, rolconfig
        FROM pg_roles) r USING (rolname) WHERE rolname LIKE '%\(part)%' ORDER BY 1
      """
    ).output
  }

  /// Every table's rows by PostgreSQL itself, independent of the evidence's own query.
  static func hashes(_ site: Site) async throws -> String {
    let tables = try await site.sql(
      """
      SELECT format('SELECT %L, count(*), md5(string_agg(t::text, E''\\n'' ORDER BY t::text COLLATE "C")) FROM %I.%I t;', c.oid::regclass, n.nspname, c.relname)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'm') AND c.relispopulated AND n.nspname !~ '^pg_|^information_schema' ORDER BY n.nspname, c.relname
      """)
    return try await site.sql(
      tables + "\nSELECT loid, md5(string_agg(data, '' ORDER BY pageno)) FROM pg_largeobject GROUP BY 1;"
        + "SELECT last_value, is_called FROM public.down; SELECT last_value, is_called FROM public.untouched")
  }

  @Test(arguments: User.allCases) func anEmptyDatabaseComesBack(_ user: User) async throws {
    let site = try await Site(cluster: try await Cluster.shared.value, as: user)
    try await site.createDatabase()
    try await site.run("init")
    // It may be the wrong one, until somebody says that it is not.
    #expect(try await site.run("backup").code == 4)
    #expect(try await site.run("backup", ["--accept", "20"]).code == 0)
    try await site.cluster!.psql("postgres", "DROP DATABASE \(site.database)")
    #expect(try await site.run("restore").code == 0)
    #expect(try await site.databases() == [site.database])
  }

  @Test(arguments: [#"p'a"s:s\w=o r;d$HOME`x`%41@/ü☃"#, " leading and trailing "])
  func aPasswordWithEveryOddCharacterWorks(_ password: String) async throws {
    let cluster = try await Cluster.shared.value
    let user = "odd user \(UInt32.random(in: 0...UInt32.max))"
    try await cluster.psql(
      "postgres", "CREATE ROLE \(SQL.identifier(user)) LOGIN CREATEDB PASSWORD \(SQL.literal(password))")
    let site = try await Site(
      cluster: cluster, files: false,
      settings: ["POSTGRES_USER": user, "POSTGRES_PASSWORD": password, "RESTIC_PASSWORD": password])
    try await cluster.psql("postgres", "CREATE DATABASE \(site.database) OWNER \(SQL.identifier(user))")
    _ = try await site.sql("SET ROLE \(SQL.identifier(user)); CREATE TABLE public.t AS SELECT 1 AS a")
    let initialised = try await site.run("init")
    #expect(initialised.code == 0)
    let saved = try await site.run("backup")
    #expect(saved.code == 0, "\(saved.errors)")
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
    for text in [initialised, saved, restored].flatMap({ [$0.output, $0.errors] }) {
      #expect(!text.contains(password.trimming(" ")))
    }
  }

  @Test(arguments: User.allCases) func severalDatabasesAreSwappedTogether(_ user: User) async throws {
    let cluster = try await Cluster.shared.value
    let first = "multi_a_\(UInt32.random(in: 0...UInt32.max))"
    let second = "multi, b \(first)"
    let site = try await Site(cluster: cluster, as: user, database: first)
    // A comma separates names, so the second one cannot have it.
    let other = second.replacing(",", with: "")
    for name in [first, other] {
      try await cluster.psql("postgres", "CREATE DATABASE \(SQL.identifier(name)) OWNER \(site.user)")
      try await cluster.psql(
        name, "SET SESSION AUTHORIZATION \(site.user); CREATE TABLE public.t AS SELECT \(SQL.literal(name))::text AS name")
    }
    let both = ["POSTGRES_DB": "\(first), \(other)"]
    try await site.run("init", with: both)
    #expect(try await site.run("backup", with: both).code == 0)
    for name in [first, other] { try await cluster.psql(name, "DROP TABLE t") }
    let restored = try await site.run("restore", with: both)
    #expect(restored.code == 0, "\(restored.errors)")
    for name in [first, other] { #expect(try await cluster.psql(name, "SELECT name FROM t").output == name + "\n") }
    // One name alone of a set that holds two.
    #expect(try await site.run("restore", with: ["POSTGRES_DB": other]).code == 0)
    #expect(try await site.run("restore", with: ["POSTGRES_DB": "neither, \(other)"]).code == 22)
  }

  /// The state is verified; statistics can be made later.
  @Test(arguments: User.allCases) func aFailingAnalyzeIsToldAndStopsNoRestore(_ user: User) async throws {
    let site = try await Site(cluster: try await Cluster.shared.value, as: user)
    try await site.createDatabase(
      """
      CREATE FUNCTION public.picky(v int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('application_name') = 'backup-restore restore' THEN RAISE 'not today'; END IF;
        RETURN v;
      END $$;
      CREATE TABLE t AS SELECT generate_series(1, 1000) AS v; CREATE INDEX ON t (public.picky(v))
      """)
    try await site.run("init")
    #expect(try await site.run("backup").code == 0)
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored)")
    #expect(restored.errors.contains("ANALYZE failed: not today"), "\(restored)")
    #expect(restored.output.contains("rows and content"))
  }

  /// pg_restore runs with an empty search_path, and so does what an index calls.
  @Test(arguments: User.allCases) func aFunctionThatNeedsASearchPathIsRestored(_ user: User) async throws {
    let site = try await Site(cluster: try await Cluster.shared.value, as: user)
    try await site.createDatabase(
      """
      CREATE FUNCTION helper(v int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT v';
      CREATE FUNCTION public.lazy(v int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN helper(v); END $$;
      CREATE TABLE t AS SELECT generate_series(1, 10) AS v; CREATE INDEX ON t (public.lazy(v))
      """)
    try await site.run("init")
    #expect(try await site.run("backup").code == 0)
    let restored = try await site.run("restore")
    #expect(restored.code == 0 && restored.output.contains("rows and content, definitions"), "\(restored)")
    #expect(!restored.errors.contains("ANALYZE failed"), "\(restored)")
  }
}
