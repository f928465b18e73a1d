import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// A PostgreSQL server that crashes, or whose disk somebody else fills, while it is saved or restored.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct PostgresServers {
  /// Its answer to a lost process: every session ends, and it recovers by itself.
  static func crash(_ broken: Broken) async throws {
    let pid = try await broken.cluster.psql(
      "postgres", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() LIMIT 1"
    ).output.trimming("\n")
    let parent = try #require(broken.cluster.pid)
    // Any process of the server will do where no session is there.
    let any = try await Shell.script("pgrep -P \(parent) | tail -n 1", in: "/").trimming("\n")
    let target = try #require(pid_t(pid) ?? pid_t(any))
    kill(target, SIGKILL)
  }

  static func untilAnswering(_ broken: Broken) async throws {
    for _ in 0..<3000 {
      if try await broken.cluster.psql("postgres", "SELECT 1", check: false).code == 0 { return }
      try await Task.sleep(for: .milliseconds(100))
    }
    throw Failure(.unexpected, "the server did not come back within five minutes", hint: "see \(broken.cluster.directory)/log")
  }

  @Test func aServerThatCrashesDuringABackupLeavesNoSetThatSeemsWholeAndTheNextRunSucceeds() async throws {
    let broken = try await Broken(cluster: try await Cluster(), megabytes: 1)
    for delay in [0.3, 0.8] + (0..<rounds).map({ _ in Double.random(in: 0...2) }) {
      let before = try await broken.site.sets().count
      async let run = broken.site.run("backup")
      try await Task.sleep(for: .seconds(delay))
      try await Self.crash(broken)
      let ended = try await run
      try await Self.untilAnswering(broken)
      let after = try await broken.site.sets().count
      if ended.code == 20, after > before {
        let list = try await broken.site.run("restore", ["--list"]).output.split(separator: "\n")
        #expect(list.contains { $0.contains("doubted: no database") }, "after \(delay) s: \(ended)")
      } else {
        #expect(after == before + (ended.code == 20 ? 0 : 1), "after \(delay) s: \(ended)")
      }
      #expect([0, 4, 20].contains(ended.code), "after \(delay) s: \(ended)")
      try await broken.succeed("backup")
      try await broken.expectPromises(["first first"], "a crash of the server after \(delay) s")
    }
  }

  /// Whatever was on its way: the databases are the old ones or the new ones, the files go with them, and the next run says which.
  @Test func aServerThatCrashesDuringARestoreLeavesTheOldStateOrTheNewOne() async throws {
    let broken = try await Broken(cluster: try await Cluster(), megabytes: 1)
    let set = try await broken.site.sets()[0]
    try await broken.write("second")
    let whole = try await broken.seconds("restore", set)
    for round in 0..<rounds * 3 {
      let word = "round-\(round)"
      try await broken.write(word)
      let delay = Double.random(in: 0.1...whole)
      let killed = round % 3 == 2
      let fault = "a crash of the server after \(delay) s of a restore\(killed ? ", which is killed too" : "")"
      async let ended = broken.interrupted("restore", [set], signal: killed ? SIGKILL : 0, after: delay)
      try await Task.sleep(for: .seconds(delay))
      try await Self.crash(broken)
      let run = try await ended
      try await Self.untilAnswering(broken)
      #expect(killed || [0, 20, 21, 22].contains(run.code), "\(fault): \(run)")
      let database = try await broken.site.sql("SELECT word FROM word")
      try await broken.succeed("backup")
      #expect(try await broken.live() == "\(database) \(database)", "\(fault): \(run)")
      #expect([word, "first"].contains(database), "\(fault)")
      try await broken.succeed("restore", set)
      #expect(try await broken.live() == "first first", "\(fault)")
      try await broken.expectTidy(fault)
      try await broken.discardKept()
    }
  }

  /// Somebody else fills the disk below the server while a restore loads: it says so, and what was live is as PostgreSQL left it.
  @Test func aServersDiskThatFillsUpDuringARestoreLeavesTheLiveDatabase() async throws {
    let cluster = try await Cluster(options: ["max_wal_size=64MB", "min_wal_size=32MB"], room: "400m")
    let broken = try await Broken(cluster: cluster, megabytes: 1)
    try await broken.write("second")
    // All but what a few more transactions of the live database need.
    let changes = try broken.beforeLoading(
      "head -c 1G /dev/zero >'\(cluster.directory)/theirs'; truncate -s -2M '\(cluster.directory)/theirs'")
    let failed = try await broken.site.run("restore", with: changes)
    #expect(failed.code == 20 || failed.code == 21 || failed.code == 22, "\(failed)")
    #expect(failed.errors.contains("No space left on device"), "\(failed.errors)")
    try await Shell.script("rm -f theirs", in: cluster.directory)
    // Where WAL found no room the server is down, and whoever runs it starts it again.
    if try await cluster.psql("postgres", "SELECT 1", check: false).code != 0 { try await cluster.start() }
    #expect(try await broken.live() == "second second")
    try await broken.succeed("backup")
    try await broken.succeed("restore", try await broken.site.sets()[0])
    #expect(try await broken.live() == "first first")
    try await broken.expectTidy("a full disk of the server")
  }

  /// A dump whose backend is ended by somebody: no set, and the reason.
  @Test func aBackendThatIsEndedFailsTheDump() async throws {
    let broken = try await Broken(cluster: try await Cluster(), megabytes: 1)
    // It waits for a table, and is ended there.
    let holder = Sessions.session(broken, "BEGIN; LOCK TABLE rest; SELECT pg_sleep(900)")
    let waiting = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'backup-restore%'"
    try await Sessions.until(broken, "EXISTS (SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL)")
    async let run = broken.site.run("backup")
    try await Sessions.until(broken, "EXISTS (SELECT \(waiting))")
    try await broken.cluster.psql("postgres", "SELECT pg_terminate_backend(pid) \(waiting)")
    let failed = try await run
    try await broken.cluster.psql(
      "postgres",
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(900)%' AND pid <> pg_backend_pid()")
    _ = try await holder.value
    #expect(failed.code == 20 && failed.errors.contains("terminating connection"), "\(failed)")
    #expect(try await broken.site.sets().count == 1)
    try await broken.succeed("backup")
  }

  /// pg_dump's own backend, in the middle of its work: restic saves nothing of what came before.
  @Test func aPgDumpWhoseBackendIsEndedSavesNoDatabase() async throws {
    let broken = try await Broken(cluster: try await Cluster(), megabytes: 1)
    // Enough for it to be seen at its COPY.
    _ = try await broken.site.sql("INSERT INTO rest SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 200000) g")
    let ending = Sessions.session(
      broken,
      """
      DO $$ BEGIN
        FOR i IN 1..10000 LOOP
          PERFORM pg_stat_clear_snapshot();
          PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'backup-restore pg_dump %' AND query LIKE 'COPY%';
          IF FOUND THEN RETURN; END IF;
          PERFORM pg_sleep(0.002);
        END LOOP;
        RAISE 'no dump came';
      END $$
      """)
    let failed = try await broken.site.run("backup")
    #expect(try await ending.value.code == 0)
    #expect(failed.code == 20 && failed.errors.contains("the dump failed"), "\(failed)")
    #expect(failed.errors.contains("is saved without database \(broken.site.database), is doubted"), "\(failed)")
    #expect(
      try await broken.site.restic("pg-database", ["snapshots", "--json"]).output.components(separatedBy: "short_id").count == 2)
    try await broken.succeed("backup")
    try await broken.expectPromises(["first first"], "an ended backend of pg_dump")
  }

  /// A partitioned table has no rows of its own to be counted, and is locked by pg_dump all the same.
  @Test(arguments: ["2", "0"]) func aPgDumpThatWaitsForALockGivesUpByLockWait(_ wait: String) async throws {
    let broken = try await Broken(["LOCK_WAIT": wait], megabytes: 1)
    _ = try await broken.site.sql("CREATE TABLE parent (id int) PARTITION BY RANGE (id)")
    let holder = Sessions.session(broken, "BEGIN; LOCK TABLE ONLY parent; SELECT pg_sleep(900)")
    try await Sessions.until(
      broken,
      "EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = '\(broken.site.database)' AND mode = 'AccessExclusiveLock')"
    )
    let begin = ContinuousClock().now
    let failed = try await broken.site.run("backup")
    #expect(failed.code == 20 && failed.errors.contains("raise LOCK_WAIT (\(wait) s)"), "\(failed)")
    #expect(failed.errors.contains("of role postgres (psql), which wants table public.parent for itself"), "\(failed)")
    #expect(ContinuousClock().now - begin < .seconds(300))
    try await broken.cluster.psql(
      "postgres",
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(900)%' AND pid <> pg_backend_pid()")
    _ = try await holder.value
    try await broken.succeed("backup")
  }

  @Test func whereArchivingFailsARestoreIsRefusedAndABackupIsNot() async throws {
    let cluster = try await Cluster(options: ["archive_mode=on"])
    let broken = try await Broken(cluster: cluster, megabytes: 1)
    try await cluster.psql("postgres", "ALTER SYSTEM SET archive_command = 'false'")
    try await cluster.psql("postgres", "SELECT pg_reload_conf(); SELECT pg_switch_wal()")
    try await Sessions.until(broken, "last_failed_wal IS NOT NULL FROM pg_stat_archiver")
    let refused = try await broken.site.run("restore")
    #expect(refused.code == 22 && refused.errors.contains("mend archive_command"), "\(refused)")
    try await broken.succeed("backup")
    try await cluster.psql("postgres", "ALTER SYSTEM SET archive_command = 'true'")
    try await cluster.psql("postgres", "SELECT pg_reload_conf()")
    // After three failures it waits a minute.
    try await Sessions.until(broken, "coalesce(last_archived_time > last_failed_time, false) FROM pg_stat_archiver", seconds: 300)
    try await broken.succeed("restore")
  }
}
