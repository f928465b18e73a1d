import Foundation
import Support
import Testing

@testable import BackupRestore

/// Each with its exit code, a text that names the variable or the thing and the next step, and nothing changed.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct BadInput {
  struct Case: Sendable, CustomTestStringConvertible {
    let what: String
    let programs: [String]
    let changes: @Sendable (Site) throws -> [String: String?]
    let code: Int32
    let said: [String]
    var testDescription: String { what }

    init(
      _ what: String, _ programs: [String], _ code: Int32, _ said: [String],
      _ changes: @escaping @Sendable (Site) throws -> [String: String?]
    ) { (self.what, self.programs, self.code, self.said, self.changes) = (what, programs, code, said, changes) }

    /// For all three executables.
    init(_ what: String, _ code: Int32, _ said: [String], _ changes: @escaping @Sendable (Site) throws -> [String: String?]) {
      self.init(what, ["init", "backup", "restore"], code, said, changes)
    }
  }

  static let cases: [Case] = [
    Case("no configuration at all", 78, ["RESTIC_REPOSITORY is not set", "RESTIC_PASSWORD is not set", "hint: "]) { site in
      site.settings.mapValues { _ in nil }.merging(["PATH": site.settings["PATH"]]) { $1 }
    },
    Case("both NAME and NAME_FILE", 78, ["RESTIC_PASSWORD and RESTIC_PASSWORD_FILE are both set"]) { _ in
      ["RESTIC_PASSWORD_FILE": "/etc/hostname"]
    },
    Case("a missing secret file", 78, ["RESTIC_PASSWORD_FILE: /nowhere cannot be read", "hint: mount"]) { _ in
      ["RESTIC_PASSWORD": nil, "RESTIC_PASSWORD_FILE": "/nowhere"]
    },
    Case("a secret file that is a directory", 78, ["RESTIC_PASSWORD_FILE: /etc cannot be read"]) { _ in
      ["RESTIC_PASSWORD": nil, "RESTIC_PASSWORD_FILE": "/etc"]
    },
    Case("an empty secret file", 78, ["POSTGRES_PASSWORD_FILE: /dev/null is empty"]) { _ in
      ["POSTGRES_PASSWORD": nil, "POSTGRES_PASSWORD_FILE": "/dev/null"]
    },
    Case("a misspelt name", 78, ["RESTIC_DAYS_TO_KEPT", "did you mean RESTIC_DAYS_TO_KEEP?"]) { _ in ["RESTIC_DAYS_TO_KEPT": "90"]
    },
    Case("no repository there", ["backup", "restore"], 10, ["no repository at", "run init"]) { _ in
      ["RESTIC_REPOSITORY": "/tmp/no-such-repository"]
    },
    Case("a wrong password", 12, ["wrong repository password", "RESTIC_PASSWORD"]) { _ in ["RESTIC_PASSWORD": "wrong one"] },
    Case("a host that does not answer", 23, ["did not answer within 2 s", "CONNECT_TIMEOUT"]) { _ in
      ["RESTIC_REPOSITORY": "rest:http://127.0.0.1:9/", "CONNECT_TIMEOUT": "2"]
    },
    Case("restic too old", 22, ["restic is too old", "0.19"]) { site in
      ["PATH": try site.fake("restic", "echo 'restic 0.18.0 compiled'")]
    },
    Case("restic missing", 22, ["restic could not be started", "install restic"]) { site in ["PATH": site.root + "/tmp"] },
    Case("the database's host is wrong", ["backup"], 20, ["POSTGRES_HOST", "127.0.0.1:1"]) { _ in ["POSTGRES_HOST": "127.0.0.1:1"]
    },
    Case("the database's host is wrong for restore", ["restore"], 22, ["POSTGRES_HOST"]) { _ in ["POSTGRES_HOST": "127.0.0.1:1"]
    },
    Case("a wrong database password", ["backup"], 20, ["authentication failed", "POSTGRES_PASSWORD"]) { _ in
      ["POSTGRES_PASSWORD": "not this one"]
    },
    Case("no such database", ["backup"], 20, ["there is no database absent", "POSTGRES_DB"]) { _ in ["POSTGRES_DB": "absent"] },
    Case("no such maintenance database", ["backup"], 20, ["absent", "POSTGRES_MAINTENANCE_DB"]) { _ in
      ["POSTGRES_MAINTENANCE_DB": "absent"]
    },
    Case("the source directory is missing", ["backup"], 20, ["/nowhere does not exist", "FILES_DIRECTORY"]) { _ in
      ["FILES_DIRECTORY": "/nowhere"]
    },
    Case("the repository inside the files", 78, ["inside FILES_DIRECTORY"]) { site in ["RESTIC_REPOSITORY": site.files + "/r"] },
    Case("the repository inside the files, by a link", 78, ["inside FILES_DIRECTORY"]) { site in
      ["RESTIC_REPOSITORY": "local:" + (try link(site, to: site.files)) + "/r"]
    },
    Case("the second repository is the first one, by a link", 78, ["COPY_RESTIC_REPOSITORY is the same"]) { site in
      ["COPY_RESTIC_REPOSITORY": try link(site, to: site.repository), "COPY_RESTIC_PASSWORD": site.settings["RESTIC_PASSWORD"]!]
    },
    Case("a value that restic does not take", 78, ["RESTIC_COMPRESSION", "must be one of"]) { _ in
      ["RESTIC_COMPRESSION": "bogus"]
    },
    Case("options that the server does not take", ["backup"], 20, ["correct PGOPTIONS"]) { _ in ["PGOPTIONS": "-c nothing=1"] },
    Case("a number that is too large", 78, ["LOCK_WAIT", "0 to 2147483"]) { _ in ["LOCK_WAIT": "9223372036854775807"] },
    Case("a path the set does not hold", ["restore"], 22, ["correct FILES_PATHS or --path; it holds a, d"]) { _ in
      ["FILES_PATHS": "nothing"]
    },
    Case("the target directory is missing", ["restore"], 22, ["/nowhere does not exist", "--only database"]) { _ in
      ["FILES_DIRECTORY": "/nowhere"]
    },
    Case("a path below it is missing", ["backup"], 20, ["/absent does not exist", "FILES_PATHS"]) { _ in ["FILES_PATHS": "absent"]
    },
    Case("a set with files and no directory configured", ["restore"], 22, ["FILES_DIRECTORY"]) { _ in ["FILES_DIRECTORY": nil] },
    Case("a set with a database and none configured", ["restore"], 22, ["POSTGRES_DB"]) { _ in ["POSTGRES_DB": nil] },
    Case("TMPDIR missing", ["restore"], 22, ["TMPDIR /nowhere cannot be used"]) { _ in ["TMPDIR": "/nowhere"] },
  ]

  /// A symbolic link outside FILES_DIRECTORY.
  static func link(_ site: Site, to target: String) throws -> String {
    let path = site.root + "/link-\(UInt32.random(in: 0...UInt32.max))"
    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: target)
    return path
  }

  /// One site with a saved set serves all: nothing may change it.
  static let site = Task {
    let site = try await Restores.site()
    try await Restores.change(site, to: "live")
    return site
  }

  @Test(arguments: cases)
  func isRefusedWithACodeAndANextStepAndChangesNothing(_ bad: Case) async throws {
    let site = try await Self.site.value
    let before = try await fingerprint(site.files)
    for program in bad.programs {
      let result = try await site.run(program, with: try bad.changes(site))
      #expect(result.code == bad.code, "\(program): \(result.errors)")
      for text in bad.said { #expect(result.errors.contains(text), "\(program) does not say \(text): \(result.errors)") }
      #expect(result.errors.contains("hint: "), "\(result.errors)")
      for secret in [site.settings["RESTIC_PASSWORD"]!, site.cluster!.password] { #expect(!result.errors.contains(secret)) }
    }
    #expect(try await Restores.state(site) == "live live")
    #expect(try await fingerprint(site.files) == before)
    #expect(try await site.databases() == [site.database])
  }

  @Test func aPgDumpOlderThanTheServerIsRefused() async throws {
    let site = try await Self.site.value
    let old = try site.fake("pg_dump", "echo 'pg_dump (PostgreSQL) 14.1'")
    // Debian's own clients are hidden in a mount namespace.
    let result = try await Shell.run(
      "unshare", ["-m", "sh", "-c", "mount -t tmpfs none /usr/lib/postgresql && exec \"$0\"", Site.products + "/backup"],
      environment: site.settings.merging(["PATH": old]) { $1 }, check: false)
    #expect(result.code == 20)
    #expect(result.errors.contains("the server is PostgreSQL 15, and the newest pg_dump here is 14"))
    #expect(result.errors.contains("install postgresql-client-15"))
  }

  @Test func aRepositoryThatCannotBeWrittenFailsWithoutARecord() async throws {
    let site = try await Site()
    try await site.script("echo 1 > a")
    try await site.run("init")
    try await Shell.check("mount", ["--bind", site.repository, site.repository])
    try await Shell.check("mount", ["-o", "remount,bind,ro", site.repository])
    let failed = try await site.run("backup", with: ["CONNECT_TIMEOUT": "15"])
    try await Shell.check("umount", [site.repository])
    #expect(failed.code == 23, "\(failed.errors)")
    #expect(failed.errors.lowercased().contains("read-only file system"))
    #expect(try await site.sets().isEmpty)
  }

  @Test func aFullRepositoryDiskFailsAndTheNextRunSucceeds() async throws {
    let site = try await Site()
    try FileManager.default.createDirectory(atPath: site.repository, withIntermediateDirectories: true)
    try await Shell.check("mount", ["-t", "tmpfs", "-o", "size=20m", "tmpfs", site.repository])
    try await site.script("head -c 60000000 /dev/urandom > big")
    try await site.run("init")
    let failed = try await site.run("backup")
    #expect(failed.code == 23, "\(failed.errors)")
    #expect(failed.errors.contains("no space left on device"))
    #expect(try await site.sets().isEmpty)
    try await Shell.check("mount", ["-o", "remount,size=200m", site.repository])
    let next = try await site.run("backup")
    try await Shell.check("umount", [site.repository])
    #expect(next.code == 0, "\(next.errors)")
  }

  @Test func aRoleWithoutRightsIsToldWhichAndRowSecurityIsNoFilter() async throws {
    let cluster = try await Cluster.shared.value
    let site = try await Site(cluster: cluster, files: false)
    let role = "weak_\(site.database)"
    try await site.createDatabase("CREATE TABLE secret AS SELECT 1 AS a")
    try await cluster.psql("postgres", "CREATE ROLE \(role) LOGIN PASSWORD 'weak password'")
    try await site.run("init")
    let as_role = ["POSTGRES_USER": role, "POSTGRES_PASSWORD": "weak password"]
    let failed = try await site.run("backup", with: as_role)
    #expect(failed.code == 20)
    #expect(failed.errors.contains("permission denied for table secret"))
    _ = try await site.sql(
      "ALTER TABLE secret OWNER TO \(role); ALTER TABLE secret ENABLE ROW LEVEL SECURITY; ALTER TABLE secret FORCE ROW LEVEL SECURITY"
    )
    let filtered = try await site.run("backup", with: as_role)
    #expect(filtered.code == 20)
    #expect(filtered.errors.contains("row-level security") && filtered.errors.contains("BYPASSRLS"))
    #expect(try await site.sets().isEmpty)
  }

  @Test func withoutFilesDirectoryAMissingDefaultIsDatabaseOnlyUntilASetHasFiles() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase("CREATE TABLE t AS SELECT 1 AS a")
    try await site.run("init")
    let only = try await site.run("backup", with: ["FILES_DIRECTORY": nil])
    #expect(only.code == 0, "\(only.errors)")
    #expect(only.errors.contains("database only"))
    try await site.script("echo 1 > a")
    #expect(try await site.run("backup").code == 0)
    let missing = try await site.run("backup", with: ["FILES_DIRECTORY": nil])
    #expect(missing.code == 20)
    #expect(missing.errors.contains("/var/jira"))
  }
}
