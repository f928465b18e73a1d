import Foundation
import Support
import Testing

@testable import BackupRestore

/// Others in the database: transactions, clients, slots.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Sessions {
  /// psql with `sql`, in the background until it ends by itself or is ended.
  static func session(_ broken: Broken, _ sql: String) -> Task<Shell.Result, any Error> {
    Task { try await broken.cluster.psql(broken.site.database, sql, check: false) }
  }

  static func until(_ broken: Broken, _ condition: String, seconds: Int = 300) async throws {
    for _ in 0..<seconds * 10 {
      if try await broken.cluster.psql("postgres", "SELECT \(condition)").output == "t\n" { return }
      try await Task.sleep(for: .milliseconds(100))
    }
    throw Failure(.unexpected, "after \(seconds) s: not \(condition)", hint: "look at the session")
  }

  /// Until a restore has created its staging database.
  static func untilStaging(_ broken: Broken) async throws {
    try await until(broken, "EXISTS (SELECT FROM pg_database WHERE datname LIKE '\(broken.site.database).staging.%')")
  }

  /// A writer in the middle of its transaction is no reason to wait, and what it has not committed is not saved.
  @Test func aLongTransactionDelaysNoBackupAndIsEndedByTheSwap() async throws {
    let broken = try await Broken(megabytes: 1)
    let writer = Self.session(broken, "BEGIN; UPDATE word SET word = 'never'; DELETE FROM rest; SELECT pg_sleep(900)")
    try await Self.until(
      broken,
      "EXISTS (SELECT FROM pg_stat_activity WHERE datname = '\(broken.site.database)' AND query LIKE '%pg_sleep(900)%' AND state = 'active')"
    )
    let begin = ContinuousClock().now
    try await broken.succeed("backup")
    try await broken.succeed("restore")
    #expect(ContinuousClock().now - begin < .seconds(300))
    #expect(try await writer.value.code != 0)
    #expect(try await broken.live() == "first first")
    try await broken.succeed("restore", "--rollback")
    #expect(try await broken.live() == "first first")
  }

  /// DDL that holds its lock: the dump gives up by LOCK_WAIT, and says what it waited for.
  @Test func anExclusiveLockEndsABackupInTimeAndTheSwapOfARestoreGoesOn() async throws {
    let broken = try await Broken(["LOCK_WAIT": "3"], megabytes: 1)
    let holder = Self.session(broken, "BEGIN; LOCK TABLE rest; SELECT pg_sleep(900)")
    try await Self.until(
      broken,
      "EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = '\(broken.site.database)' AND mode = 'AccessExclusiveLock')"
    )
    let begin = ContinuousClock().now
    let failed = try await broken.site.run("backup")
    #expect(failed.code == 20 && failed.errors.contains("LOCK_WAIT"), "\(failed)")
    #expect(ContinuousClock().now - begin < .seconds(300))
    // The files alone are saved.
    #expect(try await broken.site.run("restore", ["--list"]).output.contains("doubted: no database"))
    try await broken.succeed("restore", try await broken.site.sets()[0])
    #expect(try await holder.value.code != 0)
    try await broken.succeed("backup")
  }

  /// 300 clients that connect again as soon as they are thrown out.
  @Test func hundredsOfClientsThatReconnectDoNotStopTheSwapAndAllComeBack() async throws {
    let cluster = try await Cluster(options: ["max_connections=400"])
    let broken = try await Broken(cluster: cluster, megabytes: 1)
    // Without a password, because hashing it 300 times at once would be most of what this machine does.
    try await Shell.script("sed -i '1i host all client 127.0.0.1/32 trust' data/pg_hba.conf", in: cluster.directory)
    try await cluster.psql(
      "postgres", "CREATE ROLE client LOGIN; SELECT pg_reload_conf(); GRANT CONNECT ON DATABASE \(broken.site.database) TO client"
    )
    _ = try await broken.site.sql("GRANT SELECT ON word TO client")
    try await broken.succeed("backup")
    try await broken.write("second")
    let configuration = try Configuration(broken.site.settings.merging(["POSTGRES_USER": "client"]) { $1 })
    let words = Locked<[String: Int]>([:])
    let clients = Task {
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<300 {
          group.addTask {
            while !Task.isCancelled {
              guard
                let client = try? await Connection(
                  configuration.database!, database: broken.site.database, waits: configuration.waits),
                let word = try? await client.value("SELECT word FROM public.word, pg_sleep(1)")
              else { continue }
              words.change { $0[word, default: 0] += 1 }
            }
          }
        }
      }
    }
    let inside = "(SELECT count(*) FROM pg_stat_activity WHERE usename = 'client' AND datname = '\(broken.site.database)') > 200"
    try await Self.until(broken, inside)
    let restored = try await broken.site.run("restore")
    #expect(restored.code == 0, "\(restored)")
    #expect(try await broken.live() == "first first")
    let before = words.value["first"] ?? 0
    try await Self.until(broken, inside)
    for _ in 0..<3000 where (words.value["first"] ?? 0) < before + 100 { try await Task.sleep(for: .milliseconds(100)) }
    #expect((words.value["first"] ?? 0) >= before + 100, "\(words.value)")
    try await broken.succeed("restore", "--rollback")
    #expect(try await broken.live() == "second second")
    clients.cancel()
    await clients.value
  }

  /// What preflight did not see, because it came during the restore: nothing live changes, and the cause is named.
  @Test(arguments: ["a prepared transaction", "a superuser's session"])
  func whatComesInTheWayDuringARestoreStopsItAndChangesNothing(_ obstacle: String) async throws {
    let cluster = try await Cluster()
    let broken = try await Broken(cluster: cluster, megabytes: 1)
    let database = broken.site.database
    try await cluster.psql(
      "postgres",
      "CREATE ROLE app LOGIN CREATEDB PASSWORD 'app'; ALTER DATABASE \(database) OWNER TO app; GRANT pg_signal_backend TO app")
    _ = try await broken.site.sql(
      "ALTER TABLE word OWNER TO app; ALTER TABLE rest OWNER TO app; ALTER SCHEMA public OWNER TO app")
    let app: [String: String?] = ["POSTGRES_USER": "app", "POSTGRES_PASSWORD": "app"]
    try await broken.succeed("backup", with: app)
    try await broken.write("second")
    let sql =
      obstacle.contains("prepared")
      ? "BEGIN; UPDATE word SET word = 'pending'; PREPARE TRANSACTION 'late'" : "SELECT pg_sleep(600)"
    let connected =
      "PGPASSWORD=\"\(cluster.password)\" \(Cluster.binaries)/psql -XqAt -h 127.0.0.1 -p \(cluster.port) -U postgres"
    let psql = "\(connected) -d \(database) -c \"\(sql)\" >/dev/null 2>&1"
    // The restore goes on once it is there.
    let asked =
      obstacle.contains("prepared")
      ? "FROM pg_prepared_xacts WHERE gid = 'late'"
      : "FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"
    let isThere = "until [ \"$(\(connected) -d postgres -c \"SELECT count(*) \(asked)\")\" = 1 ]; do sleep 0.1; done"
    let begin = ContinuousClock().now
    // Once: a restore loads what has no rows first, as a rehearsal.
    let once = "[ -e '\(broken.site.root)/once' ] || { touch '\(broken.site.root)/once'; \(psql) & \(isThere); }"
    let stopped = try await broken.site.run(
      "restore", with: app.merging(["LOCK_WAIT": "10"]) { $1 }.merging(try broken.beforeLoading(once)) { $1 })
    #expect(stopped.code == 21 && stopped.errors.contains("could not be renamed"), "\(stopped)")
    #expect(ContinuousClock().now - begin < .seconds(500))
    #expect(try await broken.live() == "second second")
    if obstacle.contains("prepared") {
      #expect(stopped.errors.contains("prepared"), "\(stopped)")
      _ = try await broken.site.sql("ROLLBACK PREPARED 'late'")
    } else {
      try await cluster.psql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()")
    }
    try await broken.succeed("restore", with: app)
    #expect(try await broken.live() == "first first")
  }

  /// A slot of the live database that appears during the restore stays with it, and the swap does not lose its consumer's place unseen.
  @Test func aLogicalSlotIsRefusedUnlessItMayBeDropped() async throws {
    let cluster = try await Cluster()
    let broken = try await Broken(cluster: cluster, megabytes: 1)
    _ = try await broken.site.sql("SELECT pg_create_logical_replication_slot('consumer', 'pgoutput')")
    try await broken.write("second")
    // A backup has nothing to fear from it.
    try await broken.succeed("backup")
    let set = try #require(try await broken.site.sets().first)
    let refused = try await broken.site.run("restore", [set])
    #expect(refused.code == 22 && refused.errors.contains("--drop-slots"), "\(refused)")
    #expect(try await broken.live() == "second second")
    // Dropped before, it would be missing where the swap does not come.
    #expect(
      try await broken.site.run("restore", [set, "--drop-slots"], with: try Swaps.killed(before: "RENAME TO")).code == 137)
    #expect(try await cluster.psql("postgres", "SELECT slot_name FROM pg_replication_slots").output == "consumer\n")
    #expect(try await broken.live() == "second second")
    try await broken.succeed("restore", set, "--drop-slots")
    #expect(try await broken.live() == "first first")
    #expect(try await cluster.psql("postgres", "SELECT count(*) FROM pg_replication_slots").output == "0\n")
  }

  /// It keeps a database from being dropped, staging and previous alike.
  @Test func aSubscriptionComesBackDisabledAndKeepsNoDatabaseFromBeingDropped() async throws {
    let broken = try await Broken(megabytes: 1)
    _ = try await broken.site.sql(
      "CREATE SUBSCRIPTION \"s'ub\" CONNECTION 'host=127.0.0.1 port=1 dbname=none' PUBLICATION p WITH (connect = false, slot_name = 'sub')"
    )
    try await broken.succeed("backup")
    let subscriptions = "SELECT subname, subenabled FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE datname = "
    // Killed before its commit: the next restore drops staging with it.
    #expect(try await broken.site.run("restore", with: try Swaps.killed(before: "RENAME TO")).code == 137)
    try await broken.succeed("restore")
    try await broken.expectTidy("a subscription")
    #expect(try await broken.site.sql(subscriptions + "'\(broken.site.database)'") == "s'ub|f")
    try await broken.discardKept()
    #expect(try await broken.site.databases() == [broken.site.database])
    // One that works would go on filling the previous database.
    _ = try await broken.site.sql("ALTER SUBSCRIPTION \"s'ub\" ENABLE")
    let refused = try await broken.site.run("restore")
    #expect(refused.code == 22 && refused.errors.contains("ALTER SUBSCRIPTION \"s'ub\" DISABLE"), "\(refused)")
    _ = try await broken.site.sql("ALTER SUBSCRIPTION \"s'ub\" DISABLE; ALTER SUBSCRIPTION \"s'ub\" SET (slot_name = NONE)")
    try await broken.succeed("restore", "--only", "database")
    for action in ["ALTER SUBSCRIPTION \"s'ub\" SET (slot_name = NONE)", "DROP SUBSCRIPTION \"s'ub\""] {
      _ = try await broken.site.sql(action)
    }
    try await broken.discardKept()
  }
}
