import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// Repositories whose data is damaged behind restic's back.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct DamagedRepositories {
  enum Kind: String, CaseIterable, Sendable { case flipped, deleted }

  /// The newest pack with data, or with trees, is damaged: what the newest set needs and the one before does not.
  static func damage(_ repository: String, _ kind: Kind, in site: Site) async throws {
    let pack =
      "pack=$(find repository/\(repository)/data -type f -printf '%T@ %s %p\\n' | sort -n | tail -n 2 | sort -k 2 -n | tail -n 1 | cut -d ' ' -f 3)"
    let bytes = String(repeating: "\\xff", count: 8)
    let action =
      kind == .deleted ? "rm -f $pack" : "chmod u+w $pack; printf '\(bytes)' | dd of=$pack bs=1 seek=100 conv=notrunc status=none"
    try await Shell.script("\(pack); \(action); rm -rf cache/*", in: site.root)
  }

  @Test(arguments: ["files", "pg-database", "sets"], Kind.allCases)
  func damageIsFoundRefusedAndTheNewestWholeSetIsOffered(_ repository: String, _ kind: Kind) async throws {
    let broken = try await Broken(megabytes: 1)
    try await broken.write("second")
    try await broken.site.script("head -c 1000000 /dev/urandom > new")
    _ = try await broken.site.sql("INSERT INTO rest SELECT g, md5('x' || g) FROM generate_series(1, 20000) g")
    try await broken.succeed("backup")
    let sets = try await broken.site.sets()
    try await Self.damage(repository, kind, in: broken.site)
    try await broken.write("third")

    let refused = try await broken.site.run("restore", [sets[1]])
    #expect(refused.code == 23, "\(refused.errors)")
    #expect(refused.errors.contains("what is damaged is needed by \(sets[1])"), "\(refused.errors)")
    #expect(refused.errors.contains("the newest set that does not need it: restore \(sets[0])"), "\(refused.errors)")
    #expect(try await broken.live() == "third third")
    let drill = try await broken.site.run("restore", ["--drill"])
    #expect(drill.code == 23 && drill.errors.contains("restore \(sets[0])"), "\(drill.errors)")
    try await broken.expectTidy("\(kind) in \(repository)")
    let checked = try await broken.site.run("backup", ["--check"], with: ["CHECK_DAYS": "1"])
    #expect(checked.code == 4 && checked.errors.contains("/\(repository) is damaged"), "\(checked.errors)")
    #expect(checked.errors.contains(sets[1]), "\(checked.errors)")
    try await broken.succeed("restore", sets[0])
    #expect(try await broken.live() == "first first")
  }

  enum Part: String, CaseIterable, Sendable { case config, keys, index, snapshots }

  /// What is no data: flipped or gone, it is told, nothing live changes, nothing is created anew, and no set is made that is none.
  @Test(arguments: Part.allCases, Kind.allCases) func aRepositoryWhoseOwnFilesAreDamagedIsTold(_ part: Part, _ kind: Kind)
    async throws
  {
    let broken = try await Broken(megabytes: 1)
    try await broken.write("second")
    let set = try await broken.site.sets()[0]
    let flip = "printf '\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff' | dd of=$file bs=1 seek=20 conv=notrunc status=none"
    try await Shell.script(
      """
      cp -a repository whole
      for file in $(find repository/files/\(part) -type f); do chmod u+w $file; \(kind == .deleted ? "rm -f $file" : flip); done
      rm -rf cache/*
      """, in: broken.site.root)
    let restored = try await broken.site.run("restore", [set])
    #expect(restored.code != 0 && restored.errors.contains("hint: "), "\(restored)")
    #expect(try await broken.live() == "second second")
    let saved = try await broken.site.run("backup", ["--check"], with: ["CHECK_DAYS": "1"])
    #expect(saved.code != 0, "\(saved)")
    let check = try await broken.site.restic("files", ["check"], check: false)
    // Whatever restic could still write is a set only where it is whole.
    if saved.code == 4, check.code == 0 {
      try await broken.succeed("restore", try #require(try await broken.site.sets().last))
      #expect(try await broken.live() == "second second")
    }
    #expect(broken.children() == [])
    try await Shell.script("rm -rf repository cache/*; mv whole repository", in: broken.site.root)
    try await broken.succeed("restore", set)
    #expect(try await broken.live() == "first first")
    try await broken.expectTidy("\(kind) \(part)")
  }

  /// Somebody forgot a part with restic itself: every run says which set, and which one is whole.
  @Test func aSetWhosePartIsForgottenIsNamedByEveryRun() async throws {
    let broken = try await Broken(megabytes: 1)
    try await broken.write("second")
    try await broken.succeed("backup")
    let sets = try await broken.site.sets()
    try await broken.site.restic("files", ["forget", "latest"])
    try await broken.write("third")
    let refused = try await broken.site.run("restore")
    #expect(refused.code == 22 && refused.errors.contains("the newest that is whole: restore \(sets[0])"), "\(refused)")
    let drill = try await broken.site.run("restore", ["--drill"])
    #expect(drill.code == 0 && drill.errors.contains("set \(sets[1]) is newer and damaged"), "\(drill)")
    let saved = try await broken.succeed("backup")
    #expect(saved.errors.contains("set \(sets[1]) is damaged"), "\(saved)")
    let checked = try await broken.site.run("backup", ["--check"])
    #expect(checked.code == 4 && checked.errors.contains("set \(sets[1])"), "\(checked)")
    #expect(try await broken.site.run("backup", ["--dry-run"]).output.contains("set \(sets[1]) is damaged"))
    try await broken.succeed("restore")
    #expect(try await broken.live() == "third third")
  }

  /// A volume of old backups, mounted read-only.
  @Test func aRepositoryThatCannotBeWrittenIsRestoredFromAndSaysSoToABackup() async throws {
    let broken = try await Broken(megabytes: 1)
    try await broken.write("second")
    try await Shell.script("mount --bind repository repository; mount -o remount,bind,ro repository", in: broken.site.root)
    defer { umount2(broken.site.repository, Int32(MNT_DETACH)) }
    let saved = try await broken.site.run("backup")
    #expect(saved.code == 23 && saved.errors.contains("mount the repository writable"), "\(saved)")
    let begin = ContinuousClock().now
    try await broken.succeed("restore")
    #expect(ContinuousClock().now - begin < .seconds(600))
    #expect(try await broken.live() == "first first")
  }
}
