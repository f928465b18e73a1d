import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// Who is at work elsewhere is waited for, and named.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Locks {
  @Test func aSecondRunWaitsForTheFirstAndLeavesWhenItTakesTooLong() async throws {
    let site = try await Backups.site(["LOCK_WAIT": "2"])
    try await site.script("head -c 50000000 /dev/urandom > big")
    let lock = Process()
    lock.executableURL = URL(filePath: "/usr/bin/flock")
    lock.arguments = ["--no-fork", site.files, "sleep", "900"]
    try lock.run()
    try await site.until("! flock --nonblock files true")
    let locked = try await site.run("backup")
    #expect(locked.code == 11)
    #expect(locked.errors.contains(site.files) && locked.errors.contains("LOCK_WAIT"))
    // SIGTERM did not end it (measured: the test waited for the end of its sleep).
    kill(lock.processIdentifier, SIGKILL)
    lock.waitUntilExit()
    // Two at once on the same database: one waits for the other.
    async let one = site.run("backup", with: ["LOCK_WAIT": "600"])
    async let two = site.run("backup", with: ["LOCK_WAIT": "600"])
    let (first, second) = try await (one, two)
    #expect(first.code == 0 && second.code == 0, "\(first) \(second)")
    #expect((first.errors + second.errors).contains("is locked by"), "\(first) \(second)")
    #expect(try await site.sets().count == 2)
  }

  @Test func theAdvisoryLockNamesItsHolder() async throws {
    let site = try await Backups.site(["LOCK_WAIT": "1"])
    let settings = try Configuration(site.settings).database!
    let waits = try Configuration(site.settings).waits
    let server = try await Server.connect(settings, waits)
    try await server.lock([site.database])
    let locked = try await site.run("backup")
    #expect(locked.code == 11)
    #expect(locked.errors.contains("PostgreSQL session ") && locked.errors.contains(site.database))
    try await server.session.execute("SELECT pg_advisory_unlock_all()")
    #expect(try await site.run("backup").code == 0)
  }

  /// Whoever may connect to the maintenance database can take it, and would end every night with 11.
  @Test func aLockThatIsHeldByAnotherRoleIsNoRunOfOursAndTheMessageSaysHowToKeepItOut() async throws {
    let site = try await Backups.site(["LOCK_WAIT": "1"])
    let cluster = try #require(site.cluster)
    let role = site.database + "_app"
    try await cluster.psql("postgres", "CREATE ROLE \(role) LOGIN PASSWORD 'app'")
    let environment = cluster.environment.merging(["PGUSER": role, "PGPASSWORD": "app", "PGDATABASE": "postgres"]) { $1 }
    async let holding = Shell.run(
      Cluster.binaries + "/psql",
      ["-XAtqc", "SELECT pg_advisory_lock(hashtextextended('backup-restore \(site.database)', 0)), pg_sleep(600)"],
      environment: environment, check: false)
    let held =
      "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE usename = '\(role)' AND locktype = 'advisory'"
    while try await cluster.psql("postgres", held).output != "1\n" { try await Task.sleep(for: .milliseconds(50)) }
    let locked = try await site.run("backup")
    #expect(locked.code == 11 && locked.errors.contains("role \(role) (psql), which is no run of backup-restore"), "\(locked)")
    #expect(locked.errors.contains("REVOKE CONNECT ON DATABASE \"postgres\" FROM PUBLIC, \"\(role)\""), "\(locked)")
    try await cluster.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '\(role)'")
    _ = try await holding
    #expect(try await site.run("backup").code == 0)
    try await cluster.psql("postgres", "DROP ROLE \(role)")
  }

  @Test func anExclusiveLockOnATableEndsWithADeadline() async throws {
    let site = try await Backups.site(["LOCK_WAIT": "2"])
    let blocker = try await Connection(
      try Configuration(site.settings).database!, database: site.database, waits: try Configuration(site.settings).waits)
    try await blocker.execute("BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE")
    let failed = try await site.run("backup")
    #expect(failed.code == 20)
    #expect(failed.errors.contains("lock") && failed.errors.contains("LOCK_WAIT"))
    try await blocker.execute("ROLLBACK")
  }
}
