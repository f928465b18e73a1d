import Foundation
import Support
import Testing

@testable import BackupRestore

/// An application's role, in somebody else's hands, that owns the database a superuser backs up.
@Suite(.servers, .timeLimit(.minutes(45))) struct HostileRole {
  let site: Site
  let role: String
  /// Made by the server's superuser alone.
  let marker: String

  init() async throws {
    let cluster = try await Cluster.shared.value
    site = try await Site(cluster: cluster, files: false)
    role = "hostile_\(site.database)"
    marker = cluster.directory + "/" + site.database
    try await cluster.psql("postgres", "CREATE ROLE \(role); CREATE DATABASE \(site.database) OWNER \(role)")
    _ = try await own(
      """
      CREATE FUNCTION public.mark() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
          COPY (SELECT 1) TO PROGRAM 'touch \(marker)';
        END IF;
      END $$;
      CREATE FUNCTION public.evil(v int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM public.mark(); RETURN v; END $$;
      CREATE TABLE public.t (id int, v text); INSERT INTO public.t VALUES (1, 'old')
      """)
    #expect(try await site.run("init").code == 0)
  }

  /// As the application's role, which the session can be again, but no superuser.
  @discardableResult
  func own(_ sql: String) async throws -> String {
    try await site.sql("SET SESSION AUTHORIZATION \(role); " + sql)
  }

  func expectNothingRan() { #expect(!FileManager.default.fileExists(atPath: marker)) }

  @Test func theFunctionLeavesItsMarkWhereASuperuserCallsIt() async throws {
    try await own("SELECT public.evil(1)")
    expectNothingRan()
    _ = try await site.sql("SELECT public.evil(1)")
    #expect(FileManager.default.fileExists(atPath: marker))
  }

  /// Runs `sql` while a backup waits for the lock of `t`, and ends with it.
  func backup(meanwhile sql: String) async throws -> Shell.Result {
    let go = site.root + "/go"
    let holder = Task {
      try await own(
        "BEGIN; LOCK TABLE public.t;\n\\! touch \(site.root)/held; until [ -e \(go) ]; do sleep 0.05; done\n\(sql); COMMIT")
    }
    try await site.until("[ -e held ]")
    async let run = site.run("backup")
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'public.t'::regclass"
    while try await site.sql(waits) != "1" { try await Task.sleep(for: .milliseconds(50)) }
    try Data().write(to: URL(filePath: go))
    let result = try await run
    _ = try await holder.value
    return result
  }

  @Test func aViewThatTakesATablesPlaceRunsNothing() async throws {
    let failed = try await backup(
      meanwhile:
        "ALTER TABLE public.t RENAME TO hidden; CREATE VIEW public.t AS SELECT id, public.evil(id)::text AS v FROM public.hidden")
    expectNothingRan()
    // There is one table now, and the backup began again.
    #expect(failed.code == 0 && failed.errors.contains("was replaced while its lock was waited for"), "\(failed)")
    #expect(try await site.run("restore", ["--drill"]).code == 0)
  }

  @Test func aTableThatTakesATablesPlaceIsSavedAsItIs() async throws {
    let saved = try await backup(
      meanwhile:
        "ALTER TABLE public.t RENAME TO before; CREATE TABLE public.t (id int, v text); INSERT INTO public.t VALUES (2, 'new')")
    #expect(saved.code == 0, "\(saved)")
    try await own("DROP TABLE public.t")
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored)")
    #expect(try await site.sql("SELECT v FROM public.t") == "new")
  }

  /// The server folds what is constant in an index's expression, its predicate, or in statistics, whenever it plans a SELECT.
  @Test func noFunctionOfTheDatabaseRunsWhereRowsAreCounted() async throws {
    try await own(
      """
      CREATE INDEX ON public.t ((public.evil(1) + id)); CREATE INDEX ON public.t (id) WHERE public.evil(2) = 2;
      CREATE STATISTICS public.s ON (public.evil(3) + id) FROM public.t;
      CREATE TYPE public.kind AS ENUM ('x'); CREATE DOMAIN public.checked AS int CHECK (public.evil(VALUE) > 0);
      CREATE FUNCTION public.told(public.kind) RETURNS text LANGUAGE sql AS 'SELECT public.evil(4)::text';
      CREATE CAST (public.kind AS text) WITH FUNCTION public.told(public.kind);
      CREATE TABLE public.k (k public.kind, c public.checked, g int GENERATED ALWAYS AS (public.evil(5)) STORED);
      INSERT INTO public.k VALUES ('x', 1);
      CREATE VIEW public.seen AS SELECT public.evil(6);
      CREATE FUNCTION public.count(int) RETURNS bigint LANGUAGE sql AS 'SELECT public.evil(7)::bigint';
      ALTER DATABASE \(site.database) SET search_path = public, pg_catalog; CREATE SEQUENCE public.q
      """)
    #expect(try await site.run("backup").code == 0)
    expectNothingRan()
    let connection = try await Connection(
      try Configuration(site.settings).database!, database: site.database, waits: try Configuration(site.settings).waits)
    let evidence = try await EvidenceReader(connection: connection).read()
    #expect(evidence.tables.map(\.rows) == [1, 1] && evidence.schema?.unread == nil)
    expectNothingRan()
    await #expect(throws: DatabaseError.self) { try await connection.query("SELECT * FROM public.seen") }
    expectNothingRan()
  }

  /// Then a superuser would load it, and what planning evaluates would run as that, night after night.
  @Test func whatNoRoleOwnsWholeIsNotRehearsedByASuperuser() async throws {
    _ = try await site.sql("CREATE TABLE public.another AS SELECT 1 AS id")
    try await own("CREATE INDEX ON public.t (id) WHERE public.evil(2) = 2")
    try? FileManager.default.removeItem(atPath: marker)
    let saved = try await site.run("backup")
    #expect(saved.code == 0 && saved.errors.contains("is not rehearsed: no role owns all that is in it"), "\(saved)")
    expectNothingRan()
  }

  /// As if by somebody who came into the staging database.
  @Test func whatIsPlantedInStagingIsNoPartOfAVerifiedCopy() async throws {
    #expect(try await site.run("backup").code == 0)
    try site.cluster!.password.write(toFile: site.root + "/password", atomically: false, encoding: .utf8)
    let fake = try site.fake(
      "pg_restore",
      """
      \(Cluster.binaries)/pg_restore "$@" || exit
      export PGUSER=postgres PGPASSWORD="$(cat \(site.root)/password)"
      [ "$1" = --version ] || \(Cluster.binaries)/psql -XAtqc 'CREATE FUNCTION public.plant() RETURNS trigger LANGUAGE plpgsql AS \
      '"'BEGIN RETURN NEW; END'"'; CREATE TRIGGER planted BEFORE INSERT ON public.t EXECUTE FUNCTION public.plant()' >&2
      """)
    for name in ["pg_dump", "psql"] {
      try FileManager.default.createSymbolicLink(
        atPath: site.root + "/fake-pg_restore/" + name, withDestinationPath: Cluster.binaries + "/" + name)
    }
    let refused = try await site.run("restore", with: ["PATH": fake])
    #expect(refused.code == 21, "\(refused)")
    #expect(refused.errors.contains("trigger planted on public.t was not there"), "\(refused)")
    #expect(refused.errors.contains("function public.plant() was not there"), "\(refused)")
    #expect(try await site.databases() == [site.database])
    let accepted = try await site.run("restore", ["--accept-differences"], with: ["PATH": fake])
    #expect(accepted.code == 0 && accepted.errors.contains("accepted: database \(site.database): trigger planted"), "\(accepted)")
  }
}
