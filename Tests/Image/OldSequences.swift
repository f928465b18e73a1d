import Foundation
import Support
import Testing

@testable import BackupRestore

/// The command sequences of the predecessor's scripts, typed anew with the image's own restic and PostgreSQL programs, and what they
/// saved brought back by the image as a drop-in replacement: the same variables, the same names.
@Suite(.serialized, .image, .timeLimit(.minutes(45))) struct OldSequences {
  /// A predecessor's nightly run: unlock, backup, forget, one repository after the other, by a shell without pipefail.
  static let nightly = """
    export RESTIC_PASSWORD_FILE PGPASSWORD=$(cat /var/run/secrets/backup-secrets/postgres-password) PGUSER=postgres
    export PGHOST=${POSTGRES_HOST%:*} PGPORT=${POSTGRES_HOST#*:}; pg=/usr/lib/postgresql/15/bin
    keep="--keep-last 1 --keep-within 30d --prune"
    for r in files pg-role pg-database; do
      restic -r $RESTIC_REPOSITORY/$r cat config >/dev/null 2>&1 || restic -q -r $RESTIC_REPOSITORY/$r init --repository-version 1
    done
    restic -q -r $RESTIC_REPOSITORY/files unlock --cleanup-cache
    cd /var/jira && restic -q -r $RESTIC_REPOSITORY/files backup .
    restic -q -r $RESTIC_REPOSITORY/files forget $keep
    $pg/pg_dumpall --no-password --roles-only | grep pod_ | restic -q -r $RESTIC_REPOSITORY/pg-role backup --stdin
    restic -q -r $RESTIC_REPOSITORY/pg-role forget $keep
    $pg/pg_dump -d $POSTGRES_DB --no-password --serializable-deferrable | restic -q -r $RESTIC_REPOSITORY/pg-database backup --stdin
    restic -q -r $RESTIC_REPOSITORY/pg-database forget $keep
    """

  @Test func anExistingDeploymentChangesItsImageAndNothingElse() async throws {
    let site = try await PodSite(
      cluster: try await Cluster.shared.value,
      settings: ["POSTGRES_SERVICE": "127.0.0.1", "POSTGRES_PORT": "5432", "CERTIFICATE_FILE": ""])
    try await site.fill()
    let role = "pod_owner_\(site.database)"
    try await site.cluster!.psql("postgres", "CREATE ROLE \(role) LOGIN PASSWORD 'app'")
    _ = try await site.sql("ALTER TABLE t OWNER TO \(role)")
    let before = try await fingerprint(site.files)
    let schema = try await site.cluster!.schema(site.database)
    for _ in 0..<2 {
      let saved = try await site.run(["sh", "-euc", Self.nightly])
      #expect(saved.code == 0, "\(saved.errors)")
    }
    try await site.lose()
    try await site.cluster!.psql("postgres", "DROP ROLE \(role)")

    // The new image on the old repositories, by the old names.
    let listed = try await site.run(["restic-snapshots.sh"])
    #expect(listed.output.components(separatedBy: "old-style snapshot").count == 8, "\(listed.output)")
    let restored = try await site.run(["restore.sh"])
    #expect(restored.code == 0, "\(restored.errors)")
    expectSame(before, try await fingerprint(site.files))
    expectSame(schema, try await site.cluster!.schema(site.database))

    // The next night it saves a set beside them; years of old snapshots do not expire at once.
    let tonight = try await site.run(["/entrypoint.sh"], as: .backup)
    #expect(tonight.code == 0, "\(tonight.errors)")
    let after = try await site.run(["list-snapshots.bb"])
    #expect(after.output.components(separatedBy: "old-style snapshot").count == 8)
    #expect(after.output.contains("files, 1 database"))
    #expect(try await site.run(["restore.sh", "--dry-run"]).output.contains("FROM set "))

    // Ids as arguments, as nextcloud's and forgejo's scripts took them.
    let ids = after.output.split(separator: "\n").filter { $0.contains("old-style snapshot in") }.reduce(into: [String: String]())
    {
      $0[String($1.split(separator: " ").last!)] = String($1.split(separator: " ").first!)
    }
    _ = try await site.sql("UPDATE t SET v = 'live'")
    let named = try await site.run(["restore.sh", ids["pg-role"]!, ids["pg-database"]!, ids["files"]!])
    #expect(named.code == 0, "\(named.errors)")
    #expect(try await site.sql("SELECT v FROM t") == "saved")
    let config = try await site.run(
      ["sh", "-c", "for r in files pg-role pg-database; do restic -q -r /repository/$r cat config; done"])
    #expect(config.output.components(separatedBy: #""version": 1"#).count == 4, "never upgraded")
  }

  @Test func theFirstLayoutsAreRestoredToo() async throws {
    for (database, files) in [("/db", "/files"), ("", "")] {
      let site = try await PodSite(cluster: try await Cluster.shared.value)
      try await site.fill()
      let saved = try await site.run(
        [
          "sh", "-c",
          """
          export PGPASSWORD=$(cat /var/run/secrets/backup-secrets/postgres-password) PGUSER=postgres
          export PGHOST=${POSTGRES_HOST%:*} PGPORT=${POSTGRES_HOST#*:}
          for r in /repository\(database) /repository\(files); do restic -q -r $r init 2>/dev/null; done
          restic -q -r /repository\(files) backup --tag Nextcloud_Filesystem /var/jira &&
          /usr/lib/postgresql/15/bin/pg_dump -d $POSTGRES_DB | restic -q -r /repository\(database) backup --tag DB_Backup --stdin
          """,
        ])
      #expect(saved.code == 0, "\(saved.errors)")
      let before = try await fingerprint(site.files)
      try await site.lose()
      let restored = try await site.run(["restore.bb"])
      #expect(restored.code == 0, "\(restored.errors)")
      expectSame(before, try await fingerprint(site.files))
      #expect(try await site.sql("SELECT v FROM t") == "saved")
    }
  }
}
