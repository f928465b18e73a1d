import Foundation
import Support
import Testing

@testable import BackupRestore

/// The server that is restored into: another one, a busy one, one with fewer roles and rights.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct TargetServers {
  @Test func aSetMovesToAnotherNameAndAnEmptyServer() async throws {
    let site = try await Restores.site()
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
    let site = try await Restores.site()
    try await Restores.change(site, to: "live")
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
    #expect(try await Restores.state(site) == "saved saved")
    await clients.value
  }

  /// The worker belongs to no role, and `DROP DATABASE … WITH (FORCE)` refuses a plain one all it may not end.
  @Test func aDatabaseThatIsBeingVacuumedIsDroppedByAPlainRole() async throws {
    // A worker that stays for minutes.
    let cluster = try await Cluster(
      options: ["autovacuum_naptime=1s", "autovacuum_vacuum_cost_delay=100ms", "autovacuum_vacuum_cost_limit=1"])
    let site = try await Site(cluster: cluster, as: .owner)
    try await site.createDatabase("CREATE TABLE t AS SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g")
    #expect(try await site.run("init").code == 0)
    #expect(try await site.run("backup").code == 0)
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
    let previous = try #require(try await site.databases().first { $0 != site.database })
    try await cluster.psql(previous, "DELETE FROM t WHERE g % 2 = 0")
    let workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND datname = '\(previous)'"
    while try await cluster.psql("postgres", workers).output == "0\n" { try await Task.sleep(for: .milliseconds(50)) }
    let discarded = try await site.run("restore", ["--discard-previous"])
    #expect(discarded.code == 0, "\(discarded.errors)")
    #expect(try await site.databases() == [site.database])
  }

  @Test func whatStandsInTheWayIsRefusedBeforeAnythingChanges() async throws {
    // A cluster of its own: an inactive slot would stop every other test's restore.
    let cluster = try await Cluster()
    let site = try await Restores.site(cluster: cluster)
    try await Restores.change(site, to: "live")
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
    #expect(try await Restores.state(site) == "saved saved")
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
    // It was a member of another role when the set was saved, and is not any more: that is the operator's business.
    try await cluster.psql("postgres", "CREATE ROLE \(role)_staff; GRANT \(role)_staff TO \(role)")
    #expect(try await site.run("backup").code == 0)
    try await cluster.psql("postgres", "DROP ROLE \(role)_staff")
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
    // A superuser's session inside cannot be ended by it.
    let inside = try await Connection(
      try Configuration(try await Site(cluster: cluster, database: site.database).settings).database!, database: site.database,
      waits: try Configuration(site.settings).waits)
    let blocked = try await site.run("restore")
    #expect(blocked.code == 22)
    #expect(blocked.errors.contains("of postgres in database"))
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
}
