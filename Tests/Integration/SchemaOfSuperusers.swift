import Support
import Testing

@testable import BackupRestore

/// What PostgreSQL forbids to a role that owns the database and is no superuser, by name. It is told, and nothing of it gets lost in silence.
extension SchemaTruths {
  struct OfSuperusers: Sendable {
    let name: String
    /// `ROLE` and `OWNER` stand for the two roles.
    let sql: String
    /// The server's words to the owner, each with what it refuses.
    let refused: [String]
  }

  /// PostgreSQL lets superusers alone make these: they run as the server does, or see what is not the database's.
  static let ofSuperusers = [
    OfSuperusers(
      name: "an extension that is not trusted", sql: "create extension earthdistance cascade",
      refused: ["EXTENSION earthdistance: permission denied to create extension"]),
    OfSuperusers(
      name: "a foreign server, where its extension is not trusted",
      sql: """
        create extension postgres_fdw;
        create server srv type 'x' version '1' foreign data wrapper postgres_fdw options (host 'h', dbname 'd');
        create user mapping for "ROLE" server srv options (user 'u', password 'secret');
        create foreign table ft (a int options (column_name 'q') default 5, b varchar check (b in ('a','b'))) server srv
          options (table_name 't');
        grant usage on foreign server srv to "ROLE"; alter foreign table ft owner to "OWNER";
        comment on server srv is 'srv'; comment on foreign table ft is 'ft'; comment on column ft.a is 'ft'
        """,
      refused: [
        "EXTENSION postgres_fdw: permission denied to create extension", "SERVER srv: foreign-data wrapper",
        "FOREIGN TABLE a ft: server \"srv\" does not exist", "USER MAPPING ",
      ]),
    OfSuperusers(
      name: "a base type, of which a shell is the beginning", sql: "create type shell",
      refused: ["TYPE a shell: must be superuser to create a base type"]),
    OfSuperusers(
      name: "a function in C or internal", sql: "create function quick(text) returns text language internal as 'upper'",
      refused: ["FUNCTION a quick(text): permission denied for language internal"]),
    OfSuperusers(
      name: "a publication of all tables, or of a schema",
      sql: "create publication pall for all tables; create publication psch for tables in schema a",
      refused: [
        "PUBLICATION pall: must be superuser to create FOR ALL TABLES publication",
        "PUBLICATION TABLES IN SCHEMA a psch a: must be superuser",
      ]),
    OfSuperusers(
      name: "an event trigger",
      sql: """
        create event trigger et on ddl_command_end when tag in ('CREATE TABLE', 'DROP TABLE') execute function et();
        alter event trigger et enable always; comment on event trigger et is 'et'
        """,
      refused: ["EVENT TRIGGER et: permission denied to create event trigger"]),
    OfSuperusers(
      name: "an operator family or class",
      sql: """
        create operator family of using btree;
        create operator class oc for type int4 using btree family of as operator 1 <, function 1 btint4cmp(int4,int4);
        comment on operator class oc using btree is 'oc'
        """,
      refused: [
        "OPERATOR FAMILY a of: must be superuser to create an operator family",
        "OPERATOR CLASS a oc: must be superuser to create an operator class",
      ]),
    OfSuperusers(
      name: "an access method",
      sql: """
        create access method hh type table handler heap_tableam_handler; comment on access method hh is 'hh';
        create table usesam using hh as select 1 as a; alter table usesam owner to "OWNER"
        """,
      refused: ["ACCESS METHOD hh: permission denied to create access method", "TABLE a usesam: invalid value for parameter"]),
    OfSuperusers(
      name: "a right to a function of the server's",
      sql: "grant execute on function pg_catalog.pg_ls_waldir() to \"ROLE\"",
      refused: ["permission denied for function pg_ls_waldir"]),
    OfSuperusers(
      name: "what belongs to a role that the owner is no member of",
      sql: "create table theirs as select 1 as a; alter table theirs owner to postgres; grant select on theirs to \"OWNER\"",
      refused: ["TABLE a theirs: must be member of role \"postgres\""]),
  ]

  /// PostgreSQL warns, goes on, and nothing is taken back.
  static let takenBack = """
    revoke execute on function pg_catalog.pg_sleep(float8) from public; revoke execute on function public.hstore(text,text) from public
    """

  static func sql(_ all: [OfSuperusers], _ role: String, _ owner: String) -> String {
    let text = all.map(\.sql).joined(separator: ";\n") + ";"
    return "set search_path = a, public; "
      + text.replacing("ROLE", with: role).replacing("OWNER", with: owner.replacing("\"", with: "\"\""))
  }

  @Test func whatPostgreSQLForbidsToTheOwnerIsToldAndOnlyThatIsLost() async throws {
    let cluster = try await Cluster.shared.value
    // A word of PostgreSQL's refusals, which is not what they are about.
    let (site, role) = try await Self.site(.owner, database: "permission")
    let before = try #require(try await Self.read(site).schema)
    // What is refused in silence is found by what it leaves.
    _ = try await site.sql(Self.takenBack)
    let silent =
      "grant function pg_catalog.pg_sleep(double precision), function public.hstore(pg_catalog.text,pg_catalog.text) are missing"
    let warned = try await site.run("backup")
    #expect(warned.code == 4 && warned.errors.contains("could not be restored: \(silent)"), "\(warned)")
    _ = try await site.sql(Self.sql(Self.ofSuperusers, role, site.user))
    let saved = try await site.run("backup")
    #expect(saved.code == 4 && saved.errors.contains("could not be restored: "), "\(saved)")
    let sets = try await site.sets()
    for (set, code, words) in [(sets[0], 21, [silent]), (sets[1], 22, Self.ofSuperusers.flatMap(\.refused))] {
      let refused = try await site.run("restore", [set])
      #expect(refused.code == code, "\(refused)")
      for word in words {
        #expect(refused.errors.contains("error: database \(site.database): ") && refused.errors.contains(word), "\(word)")
      }
    }
    try await cluster.psql("postgres", "DROP DATABASE \(site.database)")
    let restored = try await site.run("restore", [sets[1], "--accept-differences"])
    #expect(restored.code == 0, "\(restored)")
    for words in Self.ofSuperusers.flatMap(\.refused) { #expect(restored.errors.contains(words), "\(words)") }
    // All else is there; and what PostgreSQL makes, as whom it made it.
    let after = try #require(try await Self.read(site).schema)
    #expect(
      before.differences(in: after, owners: true) == [
        "publication psch was not there", "table a.theirs, a.usesam were not there",
      ])
    #expect(try await site.own("SELECT a FROM a.theirs; SELECT a FROM a.usesam") == "1\n1")
  }

  /// pg_dump, too, reads no row of these.
  @Test(arguments: [
    ("rows that a policy may hide from the owner, too", "ALTER TABLE t FORCE ROW LEVEL SECURITY", "row-level security policy"),
    ("a table of another role's", "ALTER TABLE t OWNER TO postgres", "permission denied for table t"),
    ("a schema of another role's", "CREATE SCHEMA theirs CREATE TABLE u ()", "permission denied for schema theirs"),
  ]) func whatPostgreSQLDoesNotShowTheOwnerIsNotSavedAndTold(_ name: String, _ sql: String, _ words: String) async throws {
    let site = try await Site(cluster: try await Cluster.shared.value, as: .owner)
    try await site.createDatabase("CREATE TABLE public.t AS SELECT 1 AS a; ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    try await Staged.succeed(site, "init")
    _ = try await site.sql(sql)
    let refused = try await site.run("backup")
    #expect(
      refused.code == 20 && refused.errors.contains(words) && refused.errors.contains("owns all that is in it"),
      "\(name): \(refused)")
    #expect(try await site.sets().isEmpty)
  }
}
