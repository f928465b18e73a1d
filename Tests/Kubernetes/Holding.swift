import Foundation
import Glibc
import Support

@testable import BackupRestore

/// Runs are held at a known point, so that what happens to them does not depend on the machine's speed.
extension Application {
  /// From now on whoever loads the table into a database of another name waits there, as long as `holdRestores` holds.
  func prepareHolding() async throws {
    try await sql(
      """
      CREATE FUNCTION held(id int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
        WHILE current_database() <> 'app' AND EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND objid = 4242) LOOP
          PERFORM pg_catalog.pg_sleep(0.1);
        END LOOP;
        RETURN id;
      END $$;
      CREATE INDEX held ON issue (held(id)) WHERE id = 1;
      """)
  }

  /// Backups wait for the table's lock.
  func holdBackups() async throws {
    try await hold("BEGIN; LOCK TABLE issue IN ACCESS EXCLUSIVE MODE")
  }

  func holdRestores() async throws { try await hold("SELECT pg_advisory_lock(4242)") }

  private func hold(_ text: String) async throws {
    let line = "PGPASSWORD=$POSTGRES_PASSWORD psql -h 127.0.0.1 -U app -d app -c \(quoted(text)) -c \(quoted(Self.sleep))"
    let kubectl = ["--kubeconfig", kube.kubeconfig, "-n", namespace, "exec", "deployment/postgresql", "--", "sh", "-c", line]
    holder.change { $0 = Daemon("kubectl", kubectl, log: directory + "/holder.log") }
    try await until("the lock is held") {
      try await sql("SELECT count(*) FROM pg_stat_activity WHERE query = '\(Self.sleep)'") == "1"
    }
  }
  private static let sleep = "SELECT pg_sleep(900)"

  func release() async throws {
    try await sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = '\(Self.sleep)'")
    await holder.value?.stop()
  }

  /// Until a backup waits for the table, or a restore for the index.
  func untilHeld() async throws {
    try await until("the run is held") {
      try await sql(
        """
        SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'relation'
          OR datname LIKE 'app.staging%' AND wait_event = 'PgSleep'
        """) == "t"
    }
  }

  /// What an operator types, by a kubectl that can be killed.
  func startExec(_ command: String..., terminal: Bool) throws -> Process {
    let line = typed(command, terminal: terminal)
    let process = Process()
    process.executableURL = URL(filePath: terminal ? "/usr/bin/script" : "/bin/sh")
    process.arguments = terminal ? ["-qec", "exec " + line, "/dev/null"] : ["-c", "exec " + line]
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    return process
  }

  /// Processes of the pod that are alive or dead and not collected, by their state and command line.
  func processes() async throws -> [String] {
    try await inPod(
      "backup-restore",
      "for p in /proc/[0-9]*; do echo $(sed 's/.*) //; s/ .*//' $p/stat) $(tr '\\0' ' ' <$p/cmdline); done 2>/dev/null"
    ).output.split(separator: "\n").map(String.init).filter { !$0.contains("sh -euc") && $0.contains(" ") }
  }
}
