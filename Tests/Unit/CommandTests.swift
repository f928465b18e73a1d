import Testing

@testable import BackupRestore

@Suite struct CommandTests {
  @Test func resticGetsExactlyThisEnvironment() throws {
    let parent = [
      "PATH": "/bin", "HOME": "/root", "TMPDIR": "/t", "RESTIC_FROM_REPOSITORY": "/leak", "RESTIC_PASSWORD_COMMAND": "leak",
      "POSTGRES_PASSWORD": "leak", "PGPASSWORD": "leak", "LANG": "de_DE", "RESTIC_PASSWORD": "leak",
    ]
    let repository = try repository(
      [
        "RESTIC_REPOSITORY": "s3:https://h/b", "CERTIFICATE_FILE": "/etc/passwd", "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "k3y", "AWS_REGION": "eu", "RESTIC_COMPRESSION": "max", "POSTGRES_DB": "app",
        "POSTGRES_USER": "u", "POSTGRES_HOST": "db", "POSTGRES_PASSWORD": "pg-only", "PGSSLMODE": "require",
        "RESTIC_NEW_PASSWORD": "next-only", "COPY_RESTIC_REPOSITORY": "/copy-only", "COPY_RESTIC_PASSWORD": "copy-only",
      ], .database, base: Command.baseEnvironment(parent))
    #expect(
      repository.command(["snapshots", "--no-lock"], directory: "/srv")
        == Command(
          "restic", ["--json", "snapshots", "--no-lock"],
          environment: [
            "PATH": "/bin", "HOME": "/root", "TMPDIR": "/t", "LC_ALL": "C.UTF-8", "TZ": "UTC",
            "RESTIC_REPOSITORY": "s3:https://h/b/pg-database", "RESTIC_PASSWORD": "open sesame", "RESTIC_PROGRESS_FPS": "2",
            "RESTIC_CACERT": "/etc/passwd", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "k3y", "AWS_REGION": "eu",
            "RESTIC_COMPRESSION": "max",
          ], directory: "/srv"))
  }

  @Test(
    arguments: zip(
      RepositoryName.own + RepositoryName.old,
      ["/r/files", "/r/pg-database", "/r/sets", "/r/pg-role", "/r/db", "/r"]))
  func theRepositoriesLieBelowTheBase(name: RepositoryName, url: String) throws {
    #expect(try repository([:], name).command([]).environment["RESTIC_REPOSITORY"] == url)
  }

  @Test func postgresProgramsGetExactlyThisEnvironment() throws {
    let settings = try databaseSettings([
      "POSTGRES_HOST": "db:5433", "POSTGRES_PASSWORD": "pg-word", "PGSSLMODE": "require", "AWS_SECRET_ACCESS_KEY": "k3y",
    ])
    #expect(
      settings.environment(["PATH": "/bin"], database: "a=b c") == [
        "PATH": "/bin", "PGHOST": "db", "PGPORT": "5433", "PGUSER": "owner", "PGPASSWORD": "pg-word", "PGDATABASE": "a=b c",
        "PGAPPNAME": "backup-restore", "PGCONNECT_TIMEOUT": "30", "PGSSLMODE": "require",
        "PGOPTIONS": "-c default_transaction_read_only=off",
      ])
    #expect(try databaseSettings().environment([:], database: "app")["PGPASSWORD"] == nil)
  }

  @Test func filesAreSavedRelativeAndWithoutTheToolkitsOwn() throws {
    let excludes = ["--exclude", "/srv/app/.backup-restore", "--exclude", "/srv/app/lost+found"]
    #expect((try #require(try configuration().files)).backupArguments() == excludes + ["--", "."])
    let some = try #require(try configuration(["FILES_PATHS": "-n,data/x y"]).files)
    #expect(some.backupArguments() == excludes + ["--", "-n", "data/x y"])
    let odd = try #require(try configuration(["FILES_DIRECTORY": "/srv/[a]*"]).files)
    #expect(
      odd.backupArguments()
        == ["--exclude", "/srv/\\[a\\]\\*/.backup-restore", "--exclude", "/srv/\\[a\\]\\*/lost+found", "--", "."])
  }

  static let restored = ["restore", "abc", "--target", "/t", "--sparse", "--verify", "--overwrite", "always"]

  @Test(arguments: [([], []), (["a", "b*/c"], ["--include", "/a", "--include", "/b\\*/c"])] as [([String], [String])])
  func filesAreRestoredWithTheseArguments(include: [String], added: [String]) {
    let reserved = include.isEmpty ? ["--exclude", "/.backup-restore", "--exclude", "/lost+found"] : []
    #expect(Repository.restoreArguments("abc", to: "/t", include: include) == Self.restored + added + reserved)
  }

  @Test func anEmptyDirectoryIsSavedByItsAbsolutePath() throws {
    let files = try #require(try configuration(["FILES_DIRECTORY": "/srv/x"]).files)
    #expect(files.backupArguments(empty: true).suffix(2) == ["--", "/srv/x"])
  }

  @Test(
    arguments: [
      ("/r", "/r/sets"), ("s3:https://h/b", "s3:https://h/b/sets"), ("b2:bucket", "b2:bucket:/sets"),
      ("gs:bucket:", "gs:bucket:/sets"),
      ("rest:http://u@h:8000", "rest:http://u@h:8000/sets"), ("sftp:user@host:/srv", "sftp:user@host:/srv/sets"),
    ])
  func repositoriesLieBelowTheBase(base: String, expected: String) {
    #expect(RepositoryName.sets.location(below: base) == expected)
  }

  @Test func pgDumpGetsTheseArguments() throws {
    #expect(
      DatabaseSettings.dumpArguments(snapshot: "00000003-1", lockWait: .seconds(7))
        == [
          "--dbname=\(DatabaseSettings.keepalives)", "--format=custom", "--compress=0", "--no-password", "--snapshot=00000003-1",
          "--lock-wait-timeout=7000",
        ])
  }

  @Test func resticRunsPgDumpWithoutResticsSecrets() {
    #expect(
      DatabaseSettings.stdinCommand(program: "/p/pg_dump", arguments: ["-x"], archive: "a.dump", hiding: ["B", "A"])
        == ["--stdin-from-command", "--stdin-filename", "a.dump", "--", "env", "-u", "A", "-u", "B", "/p/pg_dump", "-x"])
  }

  struct Variant: Sendable {
    let client: Int
    let server: Int
    let owners: Bool
    let archive: String?
    let arguments: [String]
  }

  @Test(arguments: [
    Variant(client: 15, server: 15, owners: true, archive: "/s", arguments: ["--jobs=4", "/s"]),
    Variant(
      client: 16, server: 15, owners: false, archive: "/s", arguments: ["--no-owner", "--role=app", "--jobs=4", "/s"]),
    Variant(client: 15, server: 15, owners: true, archive: nil, arguments: []),
    Variant(client: 17, server: 15, owners: true, archive: "/s", arguments: ["--jobs=4", "/s"]),
    Variant(client: 18, server: 16, owners: false, archive: nil, arguments: ["--no-owner", "--role=app"]),
    Variant(client: 18, server: 17, owners: true, archive: nil, arguments: []),
  ]) func pgRestoreGetsTheseArguments(_ variant: Variant) throws {
    let settings = try databaseSettings()
    let restore = ArchiveRestore(
      settings: settings, program: "/p/pg_restore", clientMajor: variant.client, serverMajor: variant.server,
      base: ["PATH": "/b"], role: variant.owners ? nil : "app")
    #expect(
      restore.command(staging: "app.staging", archive: variant.archive, jobs: 4)
        == Command(
          "/p/pg_restore", ["--dbname=\(DatabaseSettings.keepalives)", "--no-password", "--verbose"] + variant.arguments,
          environment: settings.environment(["PATH": "/b"], database: "app.staging")))
    #expect(restore.expectsTimeoutError == (variant.client >= 17 && variant.server < 17))
  }

  @Test func noArgumentHoldsASecret() throws {
    let repository = try repository(["AWS_SECRET_ACCESS_KEY": "k3y-in-args"])
    let settings = try databaseSettings(["POSTGRES_PASSWORD": "pg-in-args"])
    let restore = ArchiveRestore(
      settings: settings, program: "pg_restore", clientMajor: 15, serverMajor: 15, base: [:])
    for command in [repository.command(["backup"]), restore.command(staging: "s", archive: nil, jobs: 1)] {
      #expect(command.arguments.allSatisfy { Secret.mask($0) == $0 })
    }
  }

  @Test(arguments: [
    ("/plain/a-b.c", "/plain/a-b.c"), ("a*b?c[d]e\\f", "a\\*b\\?c\\[d\\]e\\\\f"), ("*\u{301}", "\\*\u{301}"), ("", ""),
  ]) func aPatternMeansTheNameItself(name: String, pattern: String) {
    #expect(ResticPattern.escaped(name).utf8.elementsEqual(pattern.utf8))
  }
}
