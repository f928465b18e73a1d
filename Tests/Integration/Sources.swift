import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// Databases as people have them: where pg_dump saves one, so does `backup`, and what cannot be saved keeps nothing else from it.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct SourcesAsTheyAre {
  // MARK: Evidence that cannot be had

  @Test func aStandbyIsSavedAsPgDumpSavesItAndRestoresOnThePrimary() async throws {
    let primary = try await Cluster()
    let site = try await Site(cluster: primary, files: false)
    try await site.createDatabase(
      "CREATE TABLE item AS SELECT 1 AS n; CREATE UNLOGGED TABLE session (id serial, n int); INSERT INTO session (n) VALUES (1)")
    let standby = try await Cluster(standbyOf: primary)
    let there = ["POSTGRES_HOST": "127.0.0.1:\(standby.port)"]
    #expect(try await site.run("init").code == 0)
    let saved = try await site.run("backup", with: there)
    #expect(saved.code == 0, "\(saved)")
    #expect(saved.errors.contains("table public.session is saved, and its rows are not counted: it is unlogged"), "\(saved)")
    let refused = try await site.run("restore", with: there)
    #expect(refused.code == 22 && refused.errors.contains("the server is a standby"), "\(refused)")
    #expect(refused.errors.contains("hint: set POSTGRES_HOST to the primary"), "\(refused)")
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored)")
    #expect(try await site.sql("SELECT count(*) FROM item; SELECT count(*) FROM session") == "1\n0")
  }

  /// The standby's replay does not wait for who reads there.
  @Test(arguments: [false, true]) func whatAStandbysRecoveryEndsIsTriedOnceMore(always: Bool) async throws {
    let primary = try await Cluster()
    let site = try await Site(cluster: primary, files: false)
    try await site.createDatabase("CREATE TABLE item AS SELECT generate_series(1, 1000) AS n")
    let standby = try await Cluster(options: ["max_standby_streaming_delay=0", "hot_standby_feedback=off"], standbyOf: primary)
    #expect(try await site.run("init").code == 0)
    // pg_dump is on its way when what its snapshot needs goes; and stands until it is told.
    let path = try site.fake(
      "pg_dump",
      """
      [ "$1" = --version ] && exec \(Cluster.binaries)/pg_dump --version
      echo >>'\(site.root)/begun'
      [ $(wc -l <'\(site.root)/begun') -gt \(always ? 2 : 1) ] || until [ -e '\(site.root)/go'$(wc -l <'\(site.root)/begun') ]; do sleep 0.05; done
      exec \(Cluster.binaries)/pg_dump "$@"
      """)
    let run = try site.start("backup", with: ["PATH": path, "POSTGRES_HOST": "127.0.0.1:\(standby.port)"])
    for attempt in 1...(always ? 2 : 1) {
      try await site.until("[ -e begun ] && [ $(wc -l <begun) = \(attempt) ]")
      _ = try await site.sql("DELETE FROM item WHERE n % 2 = 0; INSERT INTO item SELECT generate_series(1, 1000)")
      _ = try await site.sql("VACUUM item")
      let conflicts = "SELECT confl_snapshot >= \(attempt) FROM pg_stat_database_conflicts WHERE datname = '\(site.database)'"
      while try await standby.psql("postgres", conflicts).output != "t\n" { try await Task.sleep(for: .milliseconds(50)) }
      try await Shell.script("touch go\(attempt)", in: site.root)
    }
    let result = try await run.result
    #expect(result.code == (always ? 20 : 0), "\(result)")
    #expect(result.errors.contains("the dump of a standby is tried once more"), "\(result)")
    #expect(result.errors.contains("hot_standby_feedback") == always, "\(result)")
  }

  // MARK: An application that wants its tables for itself

  /// Who waits for a table that the dump reads, and whoever waits behind that, wait for seconds and not for LOCK_WAIT; and every night
  /// is saved.
  @Test func tablesThatAreEmptiedAllTheTimeAreSavedAndNobodyStandsStill() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value, files: false)
    try await site.createDatabase(
      "CREATE TABLE basket AS SELECT 1 AS n; CREATE TABLE item AS SELECT generate_series(1, 100) AS n")
    #expect(try await site.run("init").code == 0)
    let application = Daemon(
      "bash",
      [
        "-c",
        "i=0; while :; do i=$((i + 1)); echo \"SELECT $i; BEGIN; TRUNCATE basket; INSERT INTO basket VALUES ($i); COMMIT; SELECT count(*) FROM basket;\"; sleep 0.0$((RANDOM % 9)); done "
          + "| \(Cluster.binaries)/psql -XAtq -d \(site.database)",
      ], environment: site.cluster!.environment, log: site.root + "/application")
    let watcher = Task { try await longestWait(site) }
    for _ in 0..<5 {
      let saved = try await site.run("backup", with: ["LOCK_WAIT": "600"])
      #expect(saved.code == 0, "\(saved)")
    }
    watcher.cancel()
    let waited = try await watcher.value
    let turns = try await site.sql("SELECT max(n) FROM basket")
    await application.stop()
    #expect(waited < 60, "somebody waited for \(waited) s, during \(turns) turns")
    #expect(Int(turns)! > 10)
    let drill = try await site.run("restore", ["--drill", try await site.sets().last!])
    #expect(drill.code == 0, "\(drill)")
  }

  /// Of anybody for a lock of this site's database, in seconds, until it is cancelled.
  private func longestWait(_ site: Site) async throws -> Double {
    var longest = 0.0
    while !Task.isCancelled {
      let waits = """
        SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0) FROM pg_locks
        WHERE NOT granted AND relation IS NOT NULL AND database = (SELECT oid FROM pg_database WHERE datname = '\(site.database)')
        """
      let now = try? await Shell.run(
        Cluster.binaries + "/psql", ["-XAtqc", waits],
        environment: site.cluster!.environment.merging(["PGDATABASE": "postgres"]) { $1 },
        check: false)
      longest = max(longest, Double(now?.output.trimming(" \n") ?? "") ?? 0)
      try? await Task.sleep(for: .milliseconds(100))
    }
    return longest
  }

  /// Somebody comes between this run's locks and pg_dump's: he goes first.
  @Test func whoComesBetweenTheLocksOfADumpGoesFirst() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value, files: false, settings: ["LOCK_WAIT": "600"])
    try await site.createDatabase("CREATE TABLE basket AS SELECT 1 AS n")
    #expect(try await site.run("init").code == 0)
    let path = try site.fake(
      "pg_dump",
      """
      [ "$1" = --version ] && exec \(Cluster.binaries)/pg_dump --version
      [ -e '\(site.root)/held' ] || { touch '\(site.root)/held'; until [ -e '\(site.root)/go' ]; do sleep 0.05; done; }
      exec \(Cluster.binaries)/pg_dump "$@"
      """)
    let night = try site.start("backup", with: ["PATH": path])
    try await site.until("[ -e held ]")
    async let emptied = site.sql("BEGIN; TRUNCATE /* a nightly job */ basket; INSERT INTO basket VALUES (2), (3); COMMIT")
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'basket'::regclass"
    while try await site.sql(waits) != "1" { try await Task.sleep(for: .milliseconds(50)) }
    try await Shell.script("touch go", in: site.root)
    _ = try await emptied
    let saved = try await night.result
    #expect(saved.code == 0, "\(saved)")
    #expect(saved.errors.contains("which wants table public.basket for itself"), "\(saved)")
    #expect(saved.errors.contains("a nightly job") && saved.errors.contains("the dump begins anew"), "\(saved)")
    _ = try await site.sql("DROP TABLE basket")
    #expect(try await site.run("restore").code == 0)
    #expect(try await site.sql("SELECT n FROM basket ORDER BY 1") == "2\n3")
  }

  // MARK: What fails alone

  /// The values of a table go with their file; pg_dump fails.
  private func damage(_ database: String, on cluster: Cluster) async throws {
    try await cluster.psql(
      database,
      """
      CREATE TABLE broken (v text); ALTER TABLE broken ALTER v SET STORAGE EXTERNAL;
      INSERT INTO broken SELECT repeat('x', 100000) FROM generate_series(1, 9)
      """)
    let file = try await cluster.psql(
      database, "CHECKPOINT; SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE relname = 'broken'"
    ).output.trimming(" \n")
    kill(try #require(cluster.pid), SIGQUIT)
    try await Shell.script(
      "while [ -e data/postmaster.pid ] && kill -0 $(head -1 data/postmaster.pid) 2>/dev/null; do sleep 0.05; done; : >data/\(file)",
      in: cluster.directory)
    try await cluster.start()
  }

  @Test func aDatabaseThatCannotBeDumpedKeepsNeitherFilesNorOthersFromBeingSaved() async throws {
    let cluster = try await Cluster()
    let site = try await Site(cluster: cluster)
    try await site.createDatabase("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
    try await site.script("echo first >a")
    #expect(try await site.run("init").code == 0)
    let second = site.database + "_second"
    try await site.cluster!.psql("postgres", "CREATE DATABASE \(second)")
    try await site.cluster!.psql(second, "CREATE TABLE u AS SELECT generate_series(1, 500) AS id")
    let both = ["POSTGRES_DB": "\(site.database),\(second)"]
    #expect(try await site.run("backup", with: both).code == 0)
    try await damage(site.database, on: cluster)
    try await site.script("echo tonight >note")
    let night = try await site.run("backup", with: both)
    #expect(night.code == 20, "\(night)")
    let set = try #require(try await site.sets().last)
    #expect(night.errors.contains("set \(set) is saved without database \(site.database)"), "\(night)")
    let list = try await site.run("restore", ["--list"], with: both)
    #expect(list.output.contains("doubted: no database \(site.database)"), "\(list)")
    // It is not what is restored unless somebody wants it.
    #expect(try await site.run("restore", ["--dry-run"], with: both).code == 22)
    try await site.script("rm note")
    try await site.cluster!.psql(second, "DROP TABLE u")
    let files = try await site.run("restore", ["--only", "files", set], with: both)
    #expect(files.code == 0, "\(files)")
    #expect(try await Shell.script("cat note", in: site.files) == "tonight\n")
    let database = try await site.run("restore", ["--only", "database", set], with: ["POSTGRES_DB": second])
    #expect(database.code == 0, "\(database)")
    #expect(try await site.cluster!.psql(second, "SELECT count(*) FROM u").output == "500\n")
    _ = try await site.sql("DROP TABLE broken")
    #expect(try await site.run("backup", with: both).code == 0)
  }

  @Test func filesThatCannotBeReadKeepNoDatabaseFromBeingSaved() async throws {
    let site = try await Backups.site()
    let restic = "PATH=${PATH#*:}\ncase \" $* \" in *\" kind=files \"*) rm -rf '\(site.files)/gone';; esac\nexec restic \"$@\""
    try await site.script("mkdir gone; echo x >gone/y")
    #expect(try await site.run("backup").code == 0)
    let night = try await site.run(
      "backup", with: ["FILES_PATHS": "gone,file-1", "PATH": try site.fake("restic", restic)])
    #expect(night.code == 20, "\(night)")
    let set = try #require(try await site.sets().last)
    #expect(night.errors.contains("set \(set) is saved without the files"), "\(night)")
    #expect(try await site.run("restore", ["--only", "database", set]).code == 0)
  }

  @Test func whereNothingCouldBeReadThereIsNoSet() async throws {
    let cluster = try await Cluster()
    let site = try await Site(cluster: cluster, files: false)
    try await site.createDatabase()
    try await damage(site.database, on: cluster)
    #expect(try await site.run("init").code == 0)
    #expect(try await site.run("backup").code == 20)
    #expect(try await site.sets().isEmpty)
  }

  // MARK: What is not what it seems

  @Test func aPoolerIsRefusedBeforeAnythingIsSetInItsSessions() async throws {
    let site = try await Backups.site(["LOCK_WAIT": "3"])
    #expect(try await site.run("backup").code == 0)
    let port = try Cluster.freePort()
    let directory = site.root + "/pooler"
    let settings = """
      [databases]
      * = host=127.0.0.1 port=\(site.cluster!.port) user=postgres password='\(site.cluster!.password.replacing("'", with: "''"))'
      [pgbouncer]
      listen_addr=127.0.0.1
      listen_port=\(port)
      auth_type=any
      pool_mode=transaction
      default_pool_size=1
      unix_socket_dir=
      """
    try await Shell.script(
      "mkdir -m 777 '\(directory)'; chmod 755 '\(site.root)'; cat >'\(directory)/ini' <<'E'\n\(settings)\nE", in: "/")
    let pooler = Daemon(
      "setpriv", ["--reuid=postgres", "--regid=postgres", "--clear-groups", "pgbouncer", directory + "/ini"],
      log: directory + "/log")
    try await Shell.untilListening(port)
    let there = ["POSTGRES_HOST": "127.0.0.1:\(port)"]
    for (program, arguments) in [("backup", []), ("restore", []), ("restore", ["--drill"])] {
      let refused = try await site.run(program, arguments, with: there)
      #expect(refused.code == 22, "\(refused)")
      #expect(refused.errors.contains("a pooler answers there") && refused.errors.contains("to the server itself"), "\(refused)")
    }
    // The only session there is, as the next application gets it.
    let next = try await Shell.run(
      Cluster.binaries + "/psql", ["-XAtqc", "SHOW search_path; SELECT count(*) FROM t"],
      environment: Shell.environment.merging([
        "PGHOST": "127.0.0.1", "PGPORT": "\(port)", "PGUSER": "postgres", "PGDATABASE": site.database,
      ]) { $1 })
    #expect(next.output == "\"$user\", public\n1000\n", "\(next)")
    #expect(try await site.run("backup").code == 0)
    await pooler.stop()
  }

  @Test func aServerThatIsReadOnlyByDefaultIsWrittenToAllTheSame() async throws {
    let cluster = try await Cluster()
    let site = try await Site(cluster: cluster, files: false)
    try await site.createDatabase("CREATE TABLE t AS SELECT 1 AS id")
    #expect(try await site.run("init").code == 0)
    #expect(try await site.run("backup").code == 0)
    #expect(try await site.run("restore").code == 0)
    try await cluster.psql("postgres", "ALTER DATABASE \(site.database) SET default_transaction_read_only = on")
    try await cluster.psql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on")
    try await cluster.psql("postgres", "SELECT pg_reload_conf()")
    while try await cluster.psql("postgres", "SHOW default_transaction_read_only").output != "on\n" {
      try await Task.sleep(for: .milliseconds(50))
    }
    for (program, arguments) in [
      ("backup", []), ("restore", ["--discard-previous"]), ("restore", ["--drill"]), ("restore", []), ("restore", ["--rollback"]),
    ] {
      let run = try await site.run(program, arguments)
      #expect(run.code == 0, "\(program) \(arguments): \(run)")
    }
    #expect(try await site.sql("SELECT id FROM t") == "1")
  }

  @Test(arguments: [("sftp:u@host.example:/x", "ssh"), ("rclone:host:x", "rclone")])
  func aRepositoryWhoseProgramIsNotInstalledIsAFaultOfTheConfiguration(_ repository: String, _ program: String) async throws {
    let site = try await Site()
    let bin = site.root + "/bin"
    try await Shell.script("mkdir '\(bin)'; for p in restic env curl; do ln -s \"$(command -v $p)\" '\(bin)'/; done", in: "/")
    for (name, arguments) in [("init", []), ("backup", []), ("restore", ["--list"])] {
      let refused = try await site.run(name, arguments, with: ["PATH": bin, "RESTIC_REPOSITORY": repository])
      #expect(refused.code == 78, "\(refused)")
      #expect(refused.errors.contains("through \(program), and that is not installed"), "\(refused)")
    }
  }

  @Test func aDumpThatIsKilledIsSaidToHaveLackedMemory() async throws {
    let site = try await Backups.site()
    let path = try site.fake(
      "pg_dump", "[ \"$1\" = --version ] && exec \(Cluster.binaries)/pg_dump --version\nkill -9 $$")
    let killed = try await site.run("backup", with: ["PATH": path, "FILES_DIRECTORY": site.files])
    #expect(killed.code == 20 && killed.errors.contains("pg_dump was killed by signal 9"), "\(killed)")
    #expect(killed.errors.contains("memory limit"), "\(killed)")
  }

  // MARK: Containers that start again

  /// `restartPolicy: OnFailure`, exit code 4: the kubelet starts the container of the same pod again, until it ends with 0.
  @Test func aContainerThatStartsAgainInItsPodSavesNoSecondSet() async throws {
    let site = try await Site()
    #expect(try await site.run("init").code == 0)
    let pod = "pods/4f1c5c0e-2a7b-4d52-9d3c-9f3f5d6b7a01"
    let port = try Cluster.freePort()
    let server = try await Reporting.listener(site, port: port)
    let environment = site.settings.merging(["PING_URL": "http://127.0.0.1:\(port)"]) { $1 }
    try await Shell.script("mkdir -p \(pod) pods/other; cp /etc/hosts \(pod)/etc-hosts", in: site.root)
    let container = { (mounted: Bool) in
      let mount = mounted ? "mount --bind '\(site.root)/\(pod)/etc-hosts' /etc/hosts;" : ""
      return try await Shell.run(
        "unshare", ["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", "\(mount) exec '\(Site.products)/backup'"],
        environment: environment, check: false)
    }
    let first = try await container(true)
    #expect(first.code == 4, "\(first)")
    let second = try await container(true)
    #expect(second.code == 0 && second.output.contains("was saved by this pod, whose container has started again"), "\(second)")
    #expect(second.output.contains("doubted"), "\(second)")
    #expect(try await site.sets().count == 1)
    // Whom the first told of its 4 is not told that all is well.
    #expect(Reporting.requests(site).map(\.path) == ["/start", "/4", "/start"])
    // Another pod, and one of which nothing is known.
    #expect(try await container(false).code == 4)
    #expect(try await site.sets().count == 2)
    await server.stop()
  }
}
