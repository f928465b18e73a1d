import Foundation
import Support
import Testing

@testable import BackupRestore

/// Files that no rename moves: chattr +i and +a.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Pinned {
  static func free(_ site: Site) async throws { try await site.script("chattr -R -f -i -a . || true") }

  @Test(arguments: ["+i", "+a"], ["pinned", "d"]) func whatCannotBeMovedIsNamedBeforeTheDatabasesAreSwapped(
    flag: String, name: String
  )
    async throws
  {
    let broken = try await Broken(megabytes: 1)
    try await broken.write("second")
    try await broken.site.script("echo p >pinned; chattr \(flag) \(name)")
    for arguments in [[], ["--in-place"]] {
      let run = try await broken.site.run("restore", arguments)
      #expect(run.code == 22 && run.errors.contains("chattr -i -a \(broken.site.files)/\(name)"), "\(run)")
      #expect(try await broken.live() == "second second")
    }
    let drill = try await broken.site.run("restore", ["--drill"])
    #expect(drill.code == 4 && drill.errors.contains("a restore here would be refused"), "\(drill)")
    try await Self.free(broken.site)
    try await broken.succeed("restore")
    #expect(try await broken.live() == "first first")
  }

  /// Deeper, a rename carries it along; in place it would have to be removed, and so would an entry of FILES_PATHS.
  @Test func whatIsPinnedDeeperIsInNobodysWayUnlessItHasToGo() async throws {
    let site = try await Site()
    try await site.run("init")
    try await site.script("mkdir -p d/e; echo old >d/e/f; echo old >d/g")
    #expect(try await site.run("backup").code == 0)
    try await site.script("echo new >d/e/f; echo new >d/g; chattr +i d/e/f d/e")
    for (arguments, paths) in [(["--in-place"], ""), ([], "d/e"), ([], "d/e/f")] {
      let run = try await site.run("restore", arguments, with: ["FILES_PATHS": paths.isEmpty ? nil : paths])
      #expect(run.code == 22 && run.errors.contains("chattr -i -a \(site.files)/d/e"), "\(run)")
    }
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored)")
    #expect(try await Shell.script("cat d/e/f d/g", in: site.files) == "old\nold\n")
    let kept = try await site.run("restore", ["--discard-previous"])
    #expect(kept.code == 22 && kept.errors.contains("chattr -i -a"), "\(kept)")
    try await Self.free(site)
    #expect(try await site.status().code == 0)
  }

  /// FUSE and NFS show no such flag: the swap finds out when the databases are renamed already, and takes all of it back.
  @Test func whereTheFileSystemDoesNotTellARestoreAndARollbackAreTakenBack() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await Shell.script("mkdir under; bindfs under files", in: site.root)
    do {
      let broken = try await Broken(in: site, megabytes: 1)
      try await broken.write("second")
      try await Shell.script("echo p >under/pinned; chattr +i under/pinned", in: site.root)
      let run = try await site.run("restore")
      #expect(run.code == 1 && run.errors.contains("what was is back, the databases have their names again"), "\(run)")
      #expect(try await broken.live() == "second second")
      #expect(try await site.databases() == [site.database])
      try await broken.expectTidy("a restore onto a pinned file")
      try await Shell.script("chattr -i under/pinned", in: site.root)
      try await broken.succeed("restore")
      #expect(try await broken.live() == "first first")
      let kept = try await broken.kept()
      try await Shell.script("chattr +i under/word", in: site.root)
      let back = try await site.run("restore", ["--rollback"])
      #expect(back.code == 1 && back.errors.contains("what was is back"), "\(back)")
      #expect(try await broken.live() == "first first")
      #expect(try await broken.kept() == kept)
      try await Shell.script("chattr -i under/word", in: site.root)
      try await broken.succeed("restore", "--rollback")
      #expect(try await broken.live() == "second second")
    } catch { Issue.record(error) }
    try await Shell.script("chattr -R -f -i under || true; umount files", in: site.root)
  }

  /// After every check, while the database is loaded: the swap finds out when the databases are renamed already.
  @Test func aFileThatIsPinnedDuringTheRestoreTakesTheWholeSwapBack() async throws {
    let broken = try await Broken(megabytes: 1)
    try await broken.write("second")
    try await broken.site.script("echo p >pinned")
    let pins = try broken.beforeLoading("chattr +i '\(broken.site.files)/pinned'")
    let run = try await broken.site.run("restore", with: pins)
    #expect(run.code == 1 && run.errors.contains("what was is back, the databases have their names again"), "\(run)")
    #expect(run.errors.contains("lsattr"), "\(run)")
    #expect(try await broken.live() == "second second")
    #expect(try await broken.site.databases() == [broken.site.database])
    try await broken.expectTidy("a file pinned during a restore")
    try await Self.free(broken.site)
    try await broken.succeed("restore")
    // And a rollback: what it would bring back stays kept.
    let kept = try await broken.kept()
    try await broken.site.script("chattr +i word")
    let back = try await broken.site.run("restore", ["--rollback"])
    #expect(back.code == 22 && back.errors.contains("chattr -i -a"), "\(back)")
    #expect(try await broken.live() == "first first")
    try await Self.free(broken.site)
    #expect(try await broken.kept() == kept)
    try await broken.succeed("restore", "--rollback")
  }
}
