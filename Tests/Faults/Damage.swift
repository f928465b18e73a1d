import Foundation
import Support
import Testing

@testable import BackupRestore

/// Repositories whose data is damaged behind restic's back.
@Suite(.serialized) struct DamagedRepositories {
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
}
