import Foundation
import Support
import Testing

@testable import BackupRestore

/// Repositories that the predecessor's scripts wrote, in each of its layouts: listed and restored like a set.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct OldRepositories {
  /// A site whose repositories are made by hand, as the predecessor's `init` did.
  static func site(
    _ repositories: [String], version: Int = 2, as user: User = .superuser, settings: [String: String] = [:]
  ) async throws -> Site {
    let site = try await Site(cluster: try await Cluster.shared.value, as: user, files: true, settings: settings)
    try await site.createDatabase("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'saved')")
    try await site.script("mkdir -p data/sub; echo saved > data/sub/a; ln -s a data/sub/link; chmod 2750 data")
    for name in repositories { try await site.restic(name, ["init", "--repository-version", "\(version)"]) }
    return site
  }

  /// `cd dir && restic backup .`
  static func saveFiles(_ site: Site, _ repository: String = "files", _ arguments: String = ".") async throws {
    try await shell(site, "cd \(site.files) && restic -r \(site.repository)/\(repository) -q backup \(arguments)")
  }

  /// pg_dump into restic's standard input, by a shell without pipefail; `filter` stands between them.
  static func saveDatabase(_ site: Site, _ repository: String = "pg-database", _ arguments: String = "", filter: String = "cat")
    async throws
  {
    let dump = "\(Cluster.binaries)/pg_dump --no-password --serializable-deferrable -d \(site.database)"
    try await shell(site, "\(dump) | \(filter) | restic -r \(site.repository)/\(repository) -q backup --stdin \(arguments)")
  }

  static func saveRoles(_ site: Site, prefix: String) async throws {
    let dump = "\(Cluster.binaries)/pg_dumpall --no-password --roles-only"
    try await shell(site, "\(dump) | grep \(prefix) | restic -r \(site.repository)/pg-role -q backup --stdin")
  }

  static func shell(_ site: Site, _ script: String) async throws {
    let environment = site.settings.merging(site.cluster!.environment) { $1 }
    // The predecessor did not look at exit codes either.
    try await Shell.run("sh", ["-c", script], environment: environment, check: false)
  }

  static func change(_ site: Site) async throws {
    _ = try await site.sql("UPDATE t SET v = 'live'")
    try await site.script("echo live > data/sub/a; echo new > new")
  }

  static func snapshot(_ site: Site, _ repository: String, _ index: Int = 0) async throws -> String {
    let json = try await site.restic(repository, ["snapshots", "--json", "--no-lock"]).output
    return String(try JSONDecoder().decode([Snapshot].self, from: Data(json.utf8))[index].id.prefix(8))
  }

  static func expectRestored(_ site: Site, _ value: String = "saved") async throws {
    #expect(try await site.sql("SELECT v FROM t") == value)
    #expect(
      try await Shell.script("cat data/sub/a; readlink data/sub/link; stat -c %a data", in: site.files) == "\(value)\na\n2750\n")
  }

  // MARK: Layouts

  @Test func threeRepositoriesOfFormatOneAreRestoredAndStayAsTheyWere() async throws {
    let site = try await Self.site(["files", "pg-database", "pg-role"], version: 1)
    let role = "old_\(site.database)"
    try await site.cluster!.psql(
      "postgres", "CREATE ROLE \(role) LOGIN PASSWORD 'then'; CREATE ROLE \(role)_gone; GRANT \(role) TO \(role)_gone")
    _ = try await site.sql("GRANT SELECT ON t TO \(role)_gone; ALTER TABLE t OWNER TO \(role)")
    let before = try await fingerprint(site.files)
    try await Self.saveFiles(site)
    try await Self.saveDatabase(site)
    try await Self.saveRoles(site, prefix: role)
    let schema = try await site.cluster!.schema(site.database)
    try await site.cluster!.psql("postgres", "DROP DATABASE \(site.database)")
    try await site.cluster!.psql("postgres", "ALTER ROLE \(role) PASSWORD 'now'; DROP ROLE \(role)_gone")
    let hash = "SELECT rolpassword FROM pg_authid WHERE rolname = '\(role)'"
    let now = try await site.cluster!.psql("postgres", hash).output
    try await Shell.script("rm -rf data", in: site.files)

    let listed = try await site.run("restore", ["--list"])
    for word in ["old-style snapshot in pg-role", "old-style snapshot in pg-database", "files \(site.files)", "DATABASE FILES"] {
      #expect(listed.output.contains(word), "\(listed.output)")
    }
    #expect(try await site.run("restore", ["--status"]).output.contains("old-style snapshots: 3"))
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(restored.output.contains("every statement succeeded"))
    try await Self.expectRestored(site)
    expectSame(before, try await fingerprint(site.files))
    expectSame(schema, try await site.cluster!.schema(site.database))
    #expect(try await site.cluster!.psql("postgres", hash).output == now, "a role that exists keeps its password")
    for repository in ["files", "pg-database", "pg-role"] {
      #expect(try await site.restic(repository, ["cat", "config"]).output.contains(#""version": 1"#))
    }
    #expect(try await site.run("restore", ["--rollback"]).code == 0)
    #expect(try await Shell.script("ls", in: site.files) == "")
  }

  @Test(arguments: User.allCases) func aDatabaseAndFilesBelowTheirAbsolutePathAreRestored(_ user: User) async throws {
    let site = try await Self.site(["db", "files"], as: user)
    let schema = try await site.cluster!.schema(site.database)
    let before = try await fingerprint(site.files)
    try await Self.saveFiles(site, "files", site.files)
    try await Self.saveDatabase(site, "db")
    try await Self.change(site)
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
    try await Self.expectRestored(site)
    expectSame(schema, try await site.cluster!.schema(site.database))
    expectSame(before, try await fingerprint(site.files))
  }

  @Test func oneRepositoryWithTagsIsRestoredIntoAnotherDirectory() async throws {
    let site = try await Self.site([""])
    try await Self.saveFiles(site, "", "--tag Nextcloud_Filesystem \(site.files)/data")
    try await Self.saveDatabase(site, "", "--tag DB_Backup")
    try await Self.change(site)
    // The directory that was saved is now mounted elsewhere.
    let restored = try await site.run("restore", with: ["FILES_DIRECTORY": site.files + "/data"])
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(try await site.sql("SELECT v FROM t") == "saved")
    #expect(try await Shell.script("cat data/sub/a new", in: site.files) == "saved\nnew\n")
  }

  @Test func entriesSavedByNameReplaceNothingElse() async throws {
    let site = try await Self.site(["files", "pg-database"])
    try await Self.saveFiles(site, "files", "data/sub")
    try await Self.change(site)
    let restored = try await site.run("restore", ["--only", "files"])
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(try await Shell.script("cat data/sub/a new", in: site.files) == "saved\nnew\n")
    #expect(try await site.sql("SELECT v FROM t") == "live")
  }

  // MARK: Choosing

  @Test func snapshotsAreNamedInThePredecessorsOrder() async throws {
    let site = try await Self.site(["files", "pg-database", "pg-role"])
    try await Self.saveFiles(site)
    try await Self.saveDatabase(site)
    let role = "named_\(site.database)"
    try await site.cluster!.psql("postgres", "CREATE ROLE \(role)")
    try await Self.saveRoles(site, prefix: role)
    try await Self.change(site)
    try await Self.saveFiles(site)
    try await Self.saveDatabase(site)
    try await site.cluster!.psql("postgres", "DROP ROLE \(role)")
    let (database, files, roles) = (
      try await Self.snapshot(site, "pg-database"), try await Self.snapshot(site, "files"),
      try await Self.snapshot(site, "pg-role")
    )
    let byTwo = try await site.run("restore", [database, files])
    #expect(byTwo.code == 0, "\(byTwo.errors)")
    try await Self.expectRestored(site)
    #expect(try await site.cluster!.psql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = '\(role)'").output == "0\n")
    #expect(try await site.run("restore", ["latest"]).code == 0)
    try await Self.expectRestored(site, "live")
    #expect(try await site.run("restore", [roles, database, "latest"]).code == 0)
    #expect(try await site.sql("SELECT v FROM t") == "saved")
    #expect(try await Shell.script("cat data/sub/a", in: site.files) == "live\n")
    #expect(try await site.cluster!.psql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = '\(role)'").output == "1\n")
    #expect(try await site.run("restore", [files]).code == 0)
    try await Self.expectRestored(site)
    for (names, said) in [
      ([files, database], "no old-style snapshot of a database"), (["ffffffffff", "latest"], "DATABASE FILES"),
      ([roles], "holds no database and no files"), (["zz"], "there is no set zz"),
    ] {
      let refused = try await site.run("restore", names)
      #expect(refused.code == 22 && refused.errors.contains(said), "\(refused.errors)")
    }
    #expect(try await site.run("restore", ["1", "2", "3", "4"]).code == 64)
  }

  @Test func databaseAndFilesOfDifferentNightsAreTheOperatorsChoice() async throws {
    let site = try await Self.site(["files", "pg-database"])
    try await Self.saveDatabase(site, "pg-database", "--time '2021-05-01 23:10:00'")
    try await Self.saveFiles(site, "files", "--time '2021-04-28 23:10:00' .")
    let refused = try await site.run("restore")
    #expect(refused.code == 22)
    #expect(refused.errors.contains("do not belong together"))
    #expect(try await site.run("restore", ["--dry-run", "--only", "files"]).code == 0)
    #expect(try await site.run("restore", ["--dry-run", "--at", "2021-04-30T00:00:00Z", "--only", "files"]).code == 0)
    #expect(try await site.run("restore", ["--at", "2020-01-01T00:00:00Z"]).code == 22)
  }

  // MARK: Dumps

  @Test(arguments: ["head -c 900", "head -n 30", "true"]) func aDumpThatIsNotWholeIsRefused(_ filter: String) async throws {
    let site = try await Self.site(["pg-database"], settings: ["FILES_DIRECTORY": ""])
    try await Self.saveDatabase(site, filter: filter)
    _ = try await site.sql("UPDATE t SET v = 'live'")
    let refused = try await site.run("restore")
    #expect(refused.code == 22)
    #expect(refused.errors.contains(filter == "true" ? "is empty" : "is truncated"))
    #expect(try await site.sql("SELECT v FROM t") == "live")
  }

  @Test func exactlyTheTransactionTimeoutOfANewerDumpIsTolerated() async throws {
    let site = try await Self.site(["pg-database"], settings: ["FILES_DIRECTORY": ""])
    let newer = "sed -e 's/^SET lock_timeout = 0;$/&\\nSET transaction_timeout = 0;/'"
    try await Self.saveDatabase(site, filter: newer)
    _ = try await site.sql("UPDATE t SET v = 'live'")
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(restored.errors.contains("transaction_timeout, which server 15 does not know: harmless"))
    #expect(try await site.sql("SELECT v FROM t") == "saved")
    // Another error beside it is not.
    _ = try await site.sql("UPDATE t SET v = 'live'")
    try await Self.saveDatabase(site, filter: newer + " -e 's/^CREATE TABLE/CREATE MESS/'")
    let failed = try await site.run("restore")
    #expect(failed.code == 21)
    #expect(failed.errors.contains(" of the dump's statements failed, the first: syntax error at or near \"MESS\""))
    #expect(try await site.sql("SELECT v FROM t") == "live")
    #expect(try await site.databases().count == 2, "the live one and the previous one of the first restore")
  }

  @Test func aDumpThatMakesItsOwnDatabaseIsRefusedAndALargeOneThatFailsNamesItsError() async throws {
    let site = try await Self.site(["pg-database"], settings: ["FILES_DIRECTORY": ""])
    try await Self.shell(
      site,
      "\(Cluster.binaries)/pg_dump -C -c -d \(site.database) | restic -r \(site.repository)/pg-database -q backup --stdin")
    let refused = try await site.run("restore")
    #expect(refused.code == 22 && refused.errors.contains("made with --create"), "\(refused.errors)")
    // Larger than the pipe: restic is still writing when psql gives up.
    _ = try await site.sql("CREATE TABLE big AS SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 20000) g")
    try await Self.saveDatabase(site, filter: "sed -e 's/^CREATE TABLE public.big/CREATE MESS/'")
    let failed = try await site.run("restore")
    #expect(failed.code == 21 && failed.errors.contains("syntax error"), "\(failed.errors)")
    #expect(try await site.databases() == [site.database])
    #expect(try await site.restic("pg-database", ["list", "locks"]).output == "")
  }

  @Test func aLockDuringTheLoadNeverBecomesAnEmptyDatabase() async throws {
    let site = try await Self.site(["pg-database"], settings: ["FILES_DIRECTORY": ""])
    try await Self.saveDatabase(site)
    _ = try await site.sql("UPDATE t SET v = 'live'")
    // The load alone, not the look at the dump's end before it, finds the repository locked.
    let path = try site.fake(
      "restic",
      "case \"$*\" in *' dump --retry-lock'*) [ -e \(site.root)/seen ] && [ ! -e \(site.root)/told ] && { touch \(site.root)/told; exit 11; }; touch \(site.root)/seen;; esac; PATH=${PATH#*:} exec restic \"$@\""
    )
    let locked = try await site.run("restore", with: ["PATH": path])
    #expect(locked.code == 11, "\(locked.errors)")
    #expect(!locked.errors.contains("saved"), "no row is shown")
    #expect(try await site.sql("SELECT v FROM t") == "live")
    #expect(try await site.run("restore").code == 0)
  }
}
