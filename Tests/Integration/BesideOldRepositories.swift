import Foundation
import Support
import Testing

@testable import BackupRestore

/// The first backups after the predecessor, into the repositories it left.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct BesideOldRepositories {
  @Test func aBackupBesideOldSnapshotsMakesTheSetsAndForgetsNoneOfThem() async throws {
    let site = try await OldRepositories.site(
      ["files", "pg-database", "pg-role"], version: 1,
      settings: ["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1"])
    try await OldRepositories.saveFiles(site)
    try await OldRepositories.saveDatabase(site)
    try await OldRepositories.change(site)
    #expect(try await site.run("backup").code == 10, "only backup.sh creates repositories")
    for _ in 0..<3 {
      let saved = try await site.run("backup", ["--init"])
      #expect(saved.code == 0, "\(saved.errors)")
    }
    #expect(try await site.sets().count == 1, "retention went on")
    #expect(try await site.restic("files", ["snapshots", "--json"]).output.contains(OldRepositories.snapshot(site, "files")))
    #expect(try await site.restic("files", ["cat", "config"]).output.contains(#""version": 1"#))
    let dry = try await site.run("restore", ["--dry-run"])
    #expect(dry.output.contains("FROM set "), "a set goes before old-style snapshots")
    for names in [["latest"], ["latest", "latest"]] {
      #expect(try await site.run("restore", ["--dry-run"] + names).output.contains("FROM set "))
    }
    let old = try await site.run(
      "restore", [OldRepositories.snapshot(site, "pg-database"), OldRepositories.snapshot(site, "files")])
    #expect(old.code == 0, "\(old.errors)")
    try await OldRepositories.expectRestored(site)
  }

  @Test func backupCreatesRepositoriesOnlyWhereNoneMayHaveVanished() async throws {
    let site = try await OldRepositories.site([])
    #expect(try await site.run("backup", ["--init"]).code == 4, "made from nothing: said by the exit code")
    for name in ["sets", "files", "pg-database"] {
      try await Shell.check("mv", [site.repository + "/" + name, site.root + "/" + name])
      let refused = try await site.run("backup", ["--init"])
      #expect(refused.code == 22, "\(name): \(refused.errors)")
      #expect(refused.errors.contains("/\(name) is missing, while") && refused.errors.contains("may have vanished"))
      try await Shell.check("mv", [site.root + "/" + name, site.repository + "/" + name])
    }
    // Everything vanished, but the copy is there.
    let copy = ["COPY_RESTIC_REPOSITORY": site.repository, "COPY_RESTIC_PASSWORD": site.settings["RESTIC_PASSWORD"]!]
    let refused = try await site.run(
      "backup", ["--init"], with: copy.merging(["RESTIC_REPOSITORY": site.root + "/elsewhere"]) { $1 })
    #expect(refused.code == 22, "\(refused.errors)")
    #expect(!FileManager.default.fileExists(atPath: site.root + "/elsewhere"))
  }

  @Test func anOldRepositoryThatIsInUseAndMissingMayHaveVanished() async throws {
    let site = try await OldRepositories.site(["files"])
    try await OldRepositories.saveFiles(site)
    #expect(try await site.run("backup", ["--init"]).code == 22)
    // Files only, as jira had it: nothing else is in use.
    let filesOnly: [String: String?] = ["POSTGRES_DB": nil]
    #expect(try await site.run("backup", ["--init"], with: filesOnly).code == 0)
  }
}
