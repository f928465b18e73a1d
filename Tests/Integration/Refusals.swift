import Foundation
import Support
import Testing

/// PostgreSQL refuses what its own dump holds: everything is tried again, all that stays refused is named, and the rows come first.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Refusals {
  /// Rows that break what the schema says, as a damaged index, disabled triggers and a changed function leave them.
  static let broken = """
    CREATE TABLE client (mail text); CREATE UNIQUE INDEX client_mail ON client (mail); INSERT INTO client VALUES ('m');
    UPDATE pg_index SET indisunique = false WHERE indexrelid = 'client_mail'::regclass;
    \\c
    INSERT INTO client VALUES ('m'); UPDATE pg_index SET indisunique = true WHERE indexrelid = 'client_mail'::regclass;
    CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE sale (item int REFERENCES item); ALTER TABLE sale DISABLE TRIGGER ALL;
    INSERT INTO sale VALUES (7); ALTER TABLE sale ENABLE TRIGGER ALL;
    CREATE FUNCTION small(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 < 100';
    CREATE TABLE checked (v int, CONSTRAINT is_small CHECK (small(v)));
    INSERT INTO checked VALUES (50); CREATE OR REPLACE FUNCTION small(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 < 10';
    """

  static func site(
    _ sql: String, files: Bool = false, cluster: Cluster? = nil, as user: User = .superuser
  ) async throws -> Site {
    var shared = cluster
    if shared == nil { shared = try await Cluster.shared.value }
    let site = try await Site(cluster: shared!, as: user, files: files)
    try await site.createDatabase(sql)
    try await Staged.succeed(site, "init")
    return site
  }

  @Test(arguments: [true, false]) func allThatIsRefusedIsNamedAndTheRowsGoInWhereTheOperatorAcceptsIt(_ files: Bool) async throws
  {
    let site = try await Self.site(Self.broken, files: files)
    if files { try await site.script("echo a >a") }
    try await Staged.succeed(site, "backup")
    _ = try await site.sql("CREATE TABLE live (a int)")
    let refused = try await site.run("restore")
    #expect(refused.code == 21, "\(refused)")
    let errors = refused.errors.split(separator: "\n").filter { $0.contains(" error: database ") }
    for name in [
      "INDEX public client_mail: could not create unique", "sale_item_fkey: insert", "TABLE DATA public checked: new row",
    ] {
      #expect(errors.contains { $0.contains(name) }, "\(name): \(refused)")
    }
    #expect(errors.count == 3 && refused.errors.contains("restore --accept-differences"), "\(refused)")
    #expect(try await site.sql("SELECT count(*) FROM live") == "0")
    let accepted = try await Staged.succeed(site, "restore", "--accept-differences")
    #expect(accepted.errors.contains("accepted: database \(site.database): INDEX public client_mail"), "\(accepted)")
    let counts = "SELECT (SELECT count(*) FROM client), (SELECT count(*) FROM sale), (SELECT count(*) FROM checked)"
    #expect(try await site.sql(counts) == "2|1|1")
    // New rows are held to both.
    for row in ["INSERT INTO sale VALUES (8)", "INSERT INTO checked VALUES (11)"] {
      #expect(try await site.cluster!.psql(site.database, row, check: false).code == 3)
    }
    try await Self.mend(site, accepted, files: files)
  }

  /// What was left out is there as statements, which succeed when the rows are mended.
  private static func mend(_ site: Site, _ accepted: Shell.Result, files: Bool) async throws {
    for statement in ["CREATE UNIQUE INDEX client_mail", "VALIDATE CONSTRAINT sale_item_fkey", "VALIDATE CONSTRAINT is_small"] {
      #expect(accepted.output.contains(statement), "\(accepted)")
    }
    _ = try await site.sql(
      "DELETE FROM client WHERE ctid = (SELECT min(ctid) FROM client); INSERT INTO item VALUES (7); UPDATE checked SET v = 5")
    let kept = try FileManager.default.subpathsOfDirectory(atPath: files ? site.work : site.root).filter { $0.hasSuffix(".sql") }
    #expect(kept.count == (files ? 1 : 0))
    guard let file = kept.first else { return }
    #expect(accepted.output.contains("-f \(site.work)/\(file)"), "\(accepted)")
    try await site.cluster!.psql(site.database, try String(contentsOfFile: site.work + "/" + file, encoding: .utf8))
    let whole = "SELECT count(*) FROM pg_constraint WHERE NOT convalidated"
    #expect(try await site.sql(whole) == "0")
    #expect(try await site.sql("SELECT 'client_mail'::regclass") == "client_mail")
    try await Staged.succeed(site, "restore", "--discard-previous")
    #expect(try FileManager.default.subpathsOfDirectory(atPath: site.work).allSatisfy { !$0.hasSuffix(".sql") })
  }

  /// Spooled and streamed: what functions find by the database's own search_path, and rows that want another table's rows.
  @Test(
    arguments: [true, false],
    [(User.superuser, "DATABASE"), (.superuser, "ROLE USER IN DATABASE"), (.owner, "ROLE USER IN DATABASE")])
  func whatWantsAnotherSearchPathOrOtherRowsFirstIsRestored(_ spooled: Bool, _ setting: (user: User, whose: String)) async throws
  {
    let site = try await Self.site(
      """
      CREATE SCHEMA "My app"; SET search_path = "My app", public;
      CREATE FUNCTION inner_key(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
      CREATE FUNCTION outer_key(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN inner_key($1); END';
      CREATE DOMAIN word AS text CHECK (outer_key(VALUE) <> '');
      CREATE TABLE a (v text CHECK (outer_key(v) IS NOT NULL), g text GENERATED ALWAYS AS (outer_key(v)) STORED, w word);
      INSERT INTO a VALUES ('X', DEFAULT, 'W'); CREATE INDEX a_key ON a (outer_key(v));
      CREATE MATERIALIZED VIEW m AS SELECT outer_key(v) FROM a;
      CREATE FUNCTION known(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN EXISTS (SELECT FROM z WHERE z.v = $1); END';
      CREATE TABLE z (v int); INSERT INTO z SELECT generate_series(1, 1000);
      CREATE TABLE b (v int CHECK (known(v))); INSERT INTO b VALUES (1);
      """, as: setting.user)
    let whose = setting.whose.replacing("USER", with: site.user)
    try await site.cluster!.psql("postgres", "ALTER \(whose) \(site.database) SET search_path = 'My app', public")
    let schema = try await site.cluster!.schema(site.database)
    try await Staged.succeed(site, "backup")
    _ = try await site.sql("DROP SCHEMA \"My app\" CASCADE")
    let restored = try await Staged.succeed(site, "restore", with: spooled ? [:] : ["TMPDIR_BYTES": "1"])
    #expect(restored.errors.contains("streaming instead") == !spooled)
    #expect(restored.output.contains("rows and content, definitions"), "\(restored)")
    expectSame(schema, try await site.cluster!.schema(site.database))
    #expect(try await site.sql("SELECT g FROM \"My app\".a") == "x")
  }

  /// A pod's /dev/shm has 64 MB, and every parallel worker wants some of it.
  @Test func withoutRoomInSharedMemoryARestoreGetsByWithoutParallelWorkers() async throws {
    let cluster = try await Cluster(
      options: ["work_mem=96MB", "min_parallel_table_scan_size=0", "parallel_setup_cost=0", "parallel_tuple_cost=0"],
      memory: "12m")
    let site = try await Self.site(
      """
      CREATE TABLE a AS SELECT i, repeat(md5(i::text), 4) AS t FROM generate_series(1, 150000) i; CREATE TABLE b AS SELECT * FROM a; ANALYZE;
      SET max_parallel_workers_per_gather = 0; CREATE MATERIALIZED VIEW m AS SELECT a.i, a.t AS x, b.t AS y FROM a JOIN b USING (i)
      """, cluster: cluster)
    try await Staged.succeed(site, "backup")
    let restored = try await Staged.succeed(site, "restore")
    #expect(restored.errors.contains("could not resize shared memory segment"), "the fault never happened: \(restored)")
    #expect(try await site.sql("SELECT count(*) FROM m") == "150000")
  }
}
