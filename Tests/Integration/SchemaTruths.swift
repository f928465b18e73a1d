import Support
import Testing

@testable import BackupRestore

/// What a database defines is compared object by object.
@Suite(.servers, .timeLimit(.minutes(45))) struct SchemaTruths {
  static func session(_ site: Site) async throws -> Connection {
    let configuration = try Configuration(site.settings)
    return try await Connection(configuration.database!, database: site.database, waits: configuration.waits)
  }

  static func read(_ site: Site) async throws -> DatabaseEvidence {
    try await EvidenceReader(connection: try await session(site)).read()
  }

  /// A site with everything that POSTGRES_USER can make, and the role some of it belongs to.
  static func site(_ user: User, database: String? = nil) async throws -> (Site, role: String) {
    let cluster = try await Cluster.shared.value
    let site = try await Site(cluster: cluster, as: user, database: database)
    let role = "schema \(UInt32.random(in: 0...UInt32.max))"
    try await cluster.psql("postgres", "CREATE ROLE \"\(role)\" LOGIN")
    if user == .owner { try await cluster.psql("postgres", "GRANT \"\(role)\" TO \(site.user)") }
    try await site.createDatabase("BEGIN; \(Self.definitions(role, by: site.user)); COMMIT")
    try await site.run("init")
    return (site, role)
  }

  @Test(arguments: User.allCases) func everyKindOfDefinitionIsTheSameInARestoredCopy(_ user: User) async throws {
    let (site, role) = try await Self.site(user)
    var kinds = Self.kinds
    if user == .superuser {
      _ = try await site.sql("\(Self.takenBack); \(Self.sql(Self.ofSuperusers, role, site.user))")
      kinds += Self.kindsOfSuperusers
    }
    let schema = try #require(try await Self.read(site).schema)
    #expect(schema.unread == nil)
    for kind in kinds {
      #expect(schema.objects[kind]?.isEmpty == false, "\(kind)")
    }
    #expect(!schema.objects.values.joined().contains { $0.name.contains("hstore_") }, "members of extensions are the extension's")
    let saved = try await site.run("backup")
    #expect(saved.code == 0 && !saved.errors.contains("warning"), "\(saved)")
    let proven = try await site.run("restore", ["--drill"])
    #expect(proven.code == 0 && proven.output.contains("rows and content, definitions"), "\(proven)")
    try await site.cluster!.psql("postgres", "DROP DATABASE \(site.database)")
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored)")
    #expect(try await Self.read(site).schema == schema)
  }

  static let kinds = [
    "aggregate", "cast", "collation", "comment", "conversion", "default acl", "default value", "domain constraint", "function",
    "grant",
    "index", "materialized view", "operator", "policy", "procedure", "publication", "publication relation", "rule", "schema",
    "sequence",
    "statistics object", "table", "table constraint", "text search configuration", "text search dictionary", "trigger", "type",
    "view",
  ]
  static let kindsOfSuperusers = [
    "access method", "event trigger", "foreign table", "operator class", "operator family", "publication namespace", "server",
  ]

  static let changes: [(sql: String, differences: [String])] = [
    ("CREATE VIEW v AS SELECT a FROM t", ["view public.v was not there"]),
    ("CREATE OR REPLACE VIEW v AS SELECT a FROM t WHERE a > 1", ["view public.v is defined otherwise"]),
    ("DROP VIEW v", ["view public.v is missing"]),
    (
      "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'", ["function public.f() was not there"]
    ),
    (
      "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
      ["function public.f() is defined otherwise"]
    ),
    ("ALTER FUNCTION f() SECURITY DEFINER", ["function public.f() is defined otherwise"]),
    ("CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", ["trigger g on public.t was not there"]),
    ("ALTER TABLE t DISABLE TRIGGER g", ["trigger g on public.t is defined otherwise"]),
    ("CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING", ["rule r on public.t was not there"]),
    ("CREATE INDEX i ON t (b)", ["index public.i was not there"]),
    ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)", ["table constraint c on public.t was not there"]),
    (
      "ALTER TABLE t DROP CONSTRAINT c; ALTER TABLE t ADD CONSTRAINT c CHECK (a > 1) NOT VALID",
      ["table constraint c on public.t is defined otherwise"]
    ),
    ("CREATE POLICY p ON t USING (true)", ["policy p on public.t was not there"]),
    ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", ["table public.t is defined otherwise"]),
    (
      "ALTER TABLE t DISABLE ROW LEVEL SECURITY; ALTER TABLE t ALTER a SET DEFAULT 5",
      ["default value for public.t.a was not there", "table public.t is defined otherwise"]
    ),
    ("ALTER TABLE t ALTER b TYPE varchar(9)", ["table public.t is defined otherwise"]),
    ("GRANT SELECT ON t TO PUBLIC", ["grant table public.t was not there"]),
    ("GRANT UPDATE (a) ON t TO PUBLIC", ["grant table column public.t.a was not there"]),
    (
      "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO pg_monitor",
      ["grant function pg_catalog.pg_read_file(pg_catalog.text) was not there"]
    ),
    ("ALTER TABLE t OWNER TO pg_monitor", ["grant table public.t is defined otherwise"]),
    (
      "CREATE PUBLICATION p FOR TABLE t",
      ["publication p was not there", "publication relation public.t in publication p was not there"]
    ),
    ("COMMENT ON COLUMN t.a IS 'x'", ["comment table column public.t.a was not there"]),
    ("CREATE STATISTICS s ON a, b FROM t", ["statistics object public.s was not there"]),
    ("CREATE TYPE e AS ENUM ('x')", ["type public.e was not there"]),
    ("ALTER TYPE e ADD VALUE 'y'", ["type public.e is defined otherwise"]),
    ("CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'", ["function public.e() was not there"]),
    ("CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION e()", ["event trigger et was not there"]),
    ("ALTER EVENT TRIGGER et DISABLE", ["event trigger et is defined otherwise"]),
    ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", ["default acl for role postgres on tables was not there"]),
    ("CREATE SEQUENCE q", ["sequence public.q was not there"]),
    ("ALTER SEQUENCE q INCREMENT 2", ["sequence public.q is defined otherwise"]),
    (
      "CREATE VIEW v1 AS SELECT 1; CREATE VIEW v2 AS SELECT 2; CREATE VIEW v3 AS SELECT 3; CREATE VIEW v4 AS SELECT 4; CREATE VIEW v5 AS SELECT 5",
      ["view public.v1, public.v2, public.v3 and 2 more were not there"]
    ),
  ]

  /// One after the other, each held against what was before. The owner of the database reads the same.
  @Test func whatIsPlantedLostOrChangedIsNamedByItsKind() async throws {
    let cluster = try await Cluster.shared.value
    let site = try await Site(cluster: cluster)
    let owner = try await Site(cluster: cluster, as: .owner, database: site.database)
    // Most belong to whom most belongs, whatever is changed here.
    try await site.createDatabase(
      "CREATE TABLE public.t (a int, b varchar); INSERT INTO t VALUES (2, 'x'); CREATE TABLE public.x (); CREATE TABLE public.y ()"
    )
    try await cluster.psql("postgres", "ALTER DATABASE \(site.database) OWNER TO \(owner.user)")
    let reader = try await Self.session(owner)
    try await reader.execute("BEGIN")
    var before = try await Self.read(site)
    for change in Self.changes {
      _ = try await site.sql(change.sql)
      let after = try await Self.read(site)
      // A new default privilege is in the grants of what is made after it.
      #expect(before.differences(in: after).filter { !$0.hasPrefix("grant view") } == change.differences, "\(change.sql)")
      #expect(try await SchemaReader(connection: reader).read() == after.schema, "\(change.sql)")
      before = after
    }
  }

  /// What pg_dump saved of an object that changed meanwhile nobody knows.
  @Test func whatChangesWhileItIsDumpedIsNotCompared() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase(
      "CREATE TABLE public.t (a int); CREATE VIEW public.v AS SELECT a FROM t; CREATE VIEW public.w AS SELECT 1")
    let connection = try await Self.session(site)
    let reader = SchemaReader(connection: connection)
    try await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    let before = try await reader.read()
    #expect(try await reader.settled(before) == before)
    _ = try await site.sql("ALTER TABLE public.t RENAME a TO b; DROP VIEW public.w; CREATE VIEW public.z AS SELECT 1")
    let settled = try await reader.settled(before)
    #expect(Set(settled.objects["view"]!.map(\.name)) == ["public.v", "public.w"])
    #expect(settled.objects["view"]!.allSatisfy { $0.hash == nil })
    #expect(settled.objects["schema"] == before.objects["schema"])
  }
}
