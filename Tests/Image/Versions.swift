import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// A PostgreSQL server of any major on loopback: in a container of its own, 16 as PyPI has it.
final class ServerContainer: Sendable {
  let major: Int
  let port: Int
  private let container: Container?
  private let unpacked: Unpacked?

  /// A major that no Debian has, run by an unprivileged user from a directory that it may read.
  private final class Unpacked: Sendable {
    let root = "/tmp/backup-restore-postgresql.\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
    private let server: Daemon
    /// Beside the libraries, which the programs find by their own place.
    private let bin = "pgserver/pginstall/bin"

    init(port: Int, password: String) async throws {
      let packed = Engine.project + "/.build-python/lib/*/site-packages/pgserver"
      try await Shell.script(
        """
        mkdir '\(root)'; cp -a \(packed) \(packed).libs '\(root)'; chmod -R a+rX '\(root)'; chmod +x '\(root)/\(bin)/'*
        echo '\(password.replacing("'", with: "'\\''"))' >'\(root)/password'
        chown -R postgres '\(root)'
        setpriv --reuid=postgres --regid=postgres --clear-groups '\(root)/\(bin)/initdb' -D '\(root)/data' -A scram-sha-256 -U postgres \
          --pwfile '\(root)/password' >/dev/null
        """, in: "/tmp")
      server = Daemon(
        "setpriv",
        ["--reuid=postgres", "--regid=postgres", "--clear-groups", "\(root)/\(bin)/postgres", "-D", root + "/data"]
          + [
            "port=\(port)", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off",
          ].flatMap { ["-c", $0] }, log: root + "/log")
    }

    func remove() async throws {
      await server.stop()
      try FileManager.default.removeItem(atPath: root)
    }
  }
  static let password = "the server's own"

  /// - Parameter options: postgres' own, as `name=value`.
  init(_ major: Int, options: [String] = []) async throws {
    self.major = major
    port = try Cluster.freePort()
    unpacked = major == 16 ? try await Unpacked(port: port, password: Self.password) : nil
    container =
      major == 16
      ? nil
      : try await Container(
        ["--network", "host", "--env", "POSTGRES_PASSWORD=\(Self.password)"], image: "localhost/postgresql:\(major)",
        ["postgres"] + (["port=\(port)", "listen_addresses=127.0.0.1", "fsync=off"] + options).flatMap { ["-c", $0] })
    for _ in 0..<3000 {
      if try await psql("postgres", "SELECT 1", check: false).code == 0 { return }
      try await Task.sleep(for: .milliseconds(200))
    }
    let log = try await container?.logs() ?? String(contentsOfFile: unpacked!.root + "/log", encoding: .utf8)
    throw Failure(.unexpected, "PostgreSQL \(major) did not start: \(log)", hint: "see above")
  }

  func remove() async throws {
    try await container?.remove()
    try await unpacked?.remove()
  }

  /// With the client of the server's own major, or the next, from the image.
  @discardableResult
  func psql(_ database: String, _ sql: String, check: Bool = true) async throws -> Shell.Result {
    try await program("psql", ["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"], input: sql, check: check)
  }

  func program(_ name: String, _ arguments: [String], input: String? = nil, check: Bool = true) async throws -> Shell.Result {
    let environment = ["PGHOST=127.0.0.1", "PGPORT=\(port)", "PGUSER=postgres", "PGPASSWORD=\(Self.password)"]
    return try await Engine.run(
      ["run", "--rm", "--interactive", "--network", "host"] + environment.flatMap { ["--env", $0] } + [
        Engine.image, "/usr/lib/postgresql/\([15, 17, 18].first { $0 >= major }!)/bin/\(name)",
      ] + arguments, input: input, check: check)
  }

  var settings: [String: String?] {
    [
      "POSTGRES_DB": "app", "POSTGRES_HOST": "127.0.0.1:\(port)", "POSTGRES_USER": "postgres", "POSTGRES_PASSWORD": Self.password,
    ]
  }
}

/// Servers of five majors, each dumped with the client that fits.
@Suite(.serialized, .image, .timeLimit(.minutes(45))) struct Versions {
  /// What differs between majors: identity, generated columns, partitions, a large object, row security, a range, of which a server
  /// since 14 makes a multirange.
  static let schema = """
    CREATE ROLE reader;
    CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, v text, twice text GENERATED ALWAYS AS (v || v) STORED);
    INSERT INTO t (v) SELECT 'row ' || g FROM generate_series(1, 2000) g;
    CREATE TABLE p (day date, n numeric) PARTITION BY RANGE (day);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO p SELECT '2026-01-01'::date + g, g * 1.10 FROM generate_series(1, 300) g;
    CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM t;
    SELECT lo_from_bytea(0, 'large');
    GRANT SELECT ON t TO reader; ALTER TABLE t ENABLE ROW LEVEL SECURITY;
    CREATE POLICY mine ON t USING (id > 10); CREATE TYPE span AS RANGE (subtype = int4);
    CREATE FUNCTION plain(a int, VARIADIC b text[]) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE STATISTICS s ON id, v FROM t;
    CREATE VIEW w AS SELECT * FROM t WHERE v IN ('a', 'b'); CREATE PUBLICATION pub FOR TABLE t;
    ALTER DATABASE app SET work_mem = '8MB'; COMMENT ON DATABASE app IS 'kept';
    """
  static let state =
    "SELECT (SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t), (SELECT sum(n) FROM p), (SELECT count FROM m)"

  /// One site saved from `from` and restored into each of `into`.
  static func roundTrip(from: ServerContainer, into: [ServerContainer]) async throws {
    let site = try await PodSite()
    try await site.fill(initialised: true)
    try await from.psql("postgres", "CREATE DATABASE app TEMPLATE template0")
    try await from.psql("app", schema)
    let before = try await from.psql("app", state).output
    let saved = try await site.run(["backup.sh"], as: .backup, with: from.settings)
    #expect(saved.code == 0, "\(saved.errors)")
    for server in into {
      if server === from { try await server.psql("postgres", "DROP DATABASE app; ") }
      let restored = try await site.run(["restore.sh"], with: server.settings)
      #expect(restored.code == 0, "\(from.major) into \(server.major): \(restored.errors)")
      #expect(restored.output.contains("rows and content"))
      #expect(try await server.psql("app", state).output == before)
      let kept = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'app'"
      #expect(try await server.psql("app", kept + "; SHOW work_mem").output == "kept\n8MB\n")
      if server.major != 16 {
        #expect(!restored.errors.contains("transaction_timeout"), "the fitting client has no error to tolerate")
      }
      try await server.psql("postgres", "DROP DATABASE app")
      for name in try await server.psql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'app.%'").output.split(
        separator: "\n")
      { try await server.psql("postgres", "DROP DATABASE \"\(name)\"") }
    }
    if !into.contains(where: { $0 === from }) { try await from.psql("postgres", "DROP DATABASE app") }
  }

  @Test func eachMajorIsRestoredIntoTheSameAndIntoTheNext() async throws {
    let servers = try await [ServerContainer(15), ServerContainer(17), ServerContainer(18)]
    for server in servers { try await server.psql("postgres", "DROP ROLE IF EXISTS reader") }
    try await Self.roundTrip(from: servers[0], into: [servers[0], servers[1]])
    for server in servers { try await server.psql("postgres", "DROP ROLE IF EXISTS reader") }
    try await Self.roundTrip(from: servers[1], into: [servers[1], servers[2]])
    for server in servers { try await server.psql("postgres", "DROP ROLE IF EXISTS reader") }
    try await Self.roundTrip(from: servers[2], into: [servers[2]])
    for server in servers { try await server.remove() }
  }

  /// Servers whose own client the image lacks; those that the projects deploy move on to these.
  @Test func thirteenAndSixteenAreSavedAndRestoredIntoTheNextMajorOfTheImage() async throws {
    let servers = try await [ServerContainer(13), ServerContainer(15), ServerContainer(16), ServerContainer(18)]
    for server in servers { try await server.psql("postgres", "DROP ROLE IF EXISTS reader") }
    try await Self.roundTrip(from: servers[0], into: [servers[1]])
    try await Self.roundTrip(from: servers[2], into: [servers[2], servers[3]])
    for server in servers { try await server.remove() }
  }

  /// Chunks that the extension would make again, in a schema of its own where nobody but a superuser may make any.
  @Test func hypertablesAreSavedAndComeBackAndTheirOwnerAloneIsToldAtNightThatHeCannotRestoreThem() async throws {
    let server = try await ServerContainer(18, options: ["shared_preload_libraries=timescaledb"])
    let site = try await PodSite()
    try await site.fill(initialised: true)
    try await server.psql("postgres", "CREATE ROLE maker LOGIN CREATEDB PASSWORD 'maker'; CREATE DATABASE app OWNER maker")
    try await server.psql(
      "app",
      """
      CREATE EXTENSION timescaledb; SET ROLE maker; CREATE SCHEMA own;
      CREATE TABLE own.kind (id int PRIMARY KEY); INSERT INTO own.kind VALUES (1);
      CREATE TABLE own.measured (at timestamptz NOT NULL, value int, kind int REFERENCES own.kind);
      SELECT create_hypertable('own.measured', 'at');
      INSERT INTO own.measured SELECT '2026-01-01'::timestamptz + i * interval '1 hour', i, 1 FROM generate_series(1, 2000) i;
      """)
    let state = """
      SELECT md5(string_agg(m::text, ',' ORDER BY at)) FROM own.measured m;
      SELECT count(*) > 10 FROM timescaledb_information.chunks; SHOW timescaledb.restoring;
      """
    let before = try await server.psql("app", state).output
    let saved = try await site.run(["backup.sh"], as: .backup, with: server.settings)
    #expect(saved.code == 0, "\(saved.errors)")
    try await server.psql("app", "DELETE FROM own.measured WHERE value > 100")
    let restored = try await site.run(["restore.sh"], with: server.settings)
    #expect(restored.code == 0 && restored.output.contains("rows and content, definitions"), "\(restored.errors)")
    #expect(try await server.psql("app", state).output == before)
    // It works on: a new chunk, found by way of the table.
    try await server.psql("app", "INSERT INTO own.measured VALUES ('2030-01-01', 0, 1)")
    #expect(try await server.psql("app", "SELECT value FROM own.measured WHERE at > '2029-01-01'").output == "0\n")
    let owner = server.settings.merging(["POSTGRES_USER": "maker", "POSTGRES_PASSWORD": "maker"]) { $1 }
    let doubted = try await site.run(["backup.sh"], as: .backup, with: owner)
    #expect(doubted.code == 4 && doubted.errors.contains("permission denied for schema _timescaledb_internal"), "\(doubted)")
    try await server.remove()
  }

  @Test func anOlderServerWithoutItsOwnClientIsServedByANewerOne() async throws {
    let server = try await ServerContainer(15)
    let site = try await PodSite()
    try await site.fill(initialised: true)
    try await server.psql("postgres", "CREATE DATABASE app TEMPLATE template0")
    try await server.psql("app", Self.schema)
    let before = try await server.psql("app", Self.state).output
    // Directories of programs are hidden behind an empty one.
    try FileManager.default.createDirectory(atPath: site.root + "/empty", withIntermediateDirectories: true)
    let without = { (major: Int) in ["--volume", "\(site.root)/empty:/usr/lib/postgresql/\(major):ro"] }
    let saved = try await site.run(["backup.sh"], as: .backup, with: server.settings, without(15))
    #expect(saved.code == 0, "\(saved.errors)")
    try await server.psql("app", "TRUNCATE t")
    let restored = try await site.run(["restore.sh"], with: server.settings, without(15))
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(restored.errors.contains("pg_restore 17 set transaction_timeout, which server 15 does not know: harmless"))
    #expect(try await server.psql("app", Self.state).output == before)
    // What 17 wrote, 15 cannot read, and says so before anything changes; nor can 15 dump a newer server.
    let listed = try await site.run(
      ["restore.sh", "--dry-run"], with: server.settings,
      without(17) + without(18))
    #expect(listed.code == 22 && listed.errors.contains("the archive was made by pg_dump 17"), "\(listed.errors)")
    try await server.remove()
    let newer = try await ServerContainer(18)
    try await newer.psql("postgres", "CREATE DATABASE app TEMPLATE template0")
    let old = try await site.run(["backup.sh"], as: .backup, with: newer.settings, without(18))
    #expect(old.code == 20 && old.errors.contains("the newest pg_dump here is 17"), "\(old.errors)")
    try await newer.remove()
  }
}
