import Foundation
import Support
import Testing

@testable import BackupRestore

/// One application is one name, also where it was every application's before.
@Suite(.servers, .timeLimit(.minutes(45))) struct OneName {
  @Test func setsOfTheFormerNameAreStillThisApplications() async throws {
    let site = try await Looking.site(["RESTIC_KEEP_LAST": "2", "RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0"])
    let first = try #require(try await site.sets().first)
    let named: [String: String?] = ["POD_NAMESPACE": "shop"]
    let list = try await site.run("restore", ["--list"], with: named)
    #expect(list.output.contains(first) && !list.output.contains("of backup-restore"), "\(list)")
    try await Staged.succeed(site, "restore", with: named)
    // Retention counts both.
    for _ in 0..<2 { try await Staged.succeed(site, "backup", with: named) }
    let sets = try await site.run("restore", ["--list"], with: named).output
    #expect(!sets.contains(first) && sets.matches(of: /(?m)^\d{8}T\d{6}Z/).count == 2, "\(sets)")
    let hosts = try await site.restic("sets", ["snapshots", "--tag", "kind=set", "--json"]).output
    #expect(
      hosts.contains(#""hostname":"shop/\#(site.database)""#) && !hosts.contains(#""hostname":"backup-restore""#), "\(hosts)")
    // Another application of the same base has another name.
    let other = try await site.run("restore", ["--dry-run"], with: ["POD_NAMESPACE": "wiki"])
    #expect(other.code == 22 && other.errors.contains("there are sets of shop/\(site.database)"), "\(other)")
  }

  /// What a pod has may be older than what the Secret says, or newer than what others have.
  @Test func aPasswordThatChangedAMomentAgoIsToldAsThat() async throws {
    let site = try await Site()
    try await Staged.succeed(site, "init")
    let file = site.root + "/password"
    try "other".write(toFile: file, atomically: true, encoding: .utf8)
    let changes: [String: String?] = ["RESTIC_PASSWORD": nil, "RESTIC_PASSWORD_FILE": file]
    let now = try await site.run("backup", with: changes)
    #expect(
      now.code == 12 && now.errors.contains("it changed just now: a changed Secret reaches pods up to two minutes late"), "\(now)"
    )
    try FileManager.default.setAttributes([.modificationDate: Date(timeIntervalSinceNow: -3600)], ofItemAtPath: file)
    let later = try await site.run("backup", with: changes)
    #expect(later.code == 12 && !later.errors.contains("late"), "\(later)")
  }
}
