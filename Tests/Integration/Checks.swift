import Foundation
import Support
import Testing

@testable import BackupRestore

/// `backup --check`.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Checks {
  static func site() async throws -> Site {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
    try await site.script("head -c 3000000 /dev/urandom > first")
    #expect(try await site.run("init").code == 0)
    #expect(try await site.run("backup").code == 0)
    return site
  }

  /// Some bytes of the largest pack of a repository are others. One alone is what it was in one of 256 packs.
  static func flip(_ repository: String, in site: Site) async throws {
    try await Shell.script(
      """
      pack=$(find repository/\(repository)/data -type f -printf '%s %p\\n' | sort -n | tail -n 1 | cut -d ' ' -f 2); chmod u+w $pack
      printf '\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff' | dd of=$pack bs=1 seek=2000 conv=notrunc status=none
      """, in: site.root)
  }

  @Test func whatIsWholeIsSaidToBeWhole() async throws {
    let site = try await Self.site()
    let checked = try await site.run("backup", ["--check"], with: ["CHECK_DAYS": "1"])
    #expect(checked.code == 0 && checked.output.contains("checked: part 1 of 1 of all data was read"), "\(checked)")
    let rotating = try await site.run("backup", ["--check"])
    let day = Int(Date().timeIntervalSince1970 / 86400) % 28 + 1
    #expect(rotating.code == 0 && rotating.output.contains("checked: part \(day) of 28"), "\(rotating)")
    #expect(try await site.run("backup", ["--check", "--dry-run"]).code == 64)
  }

  @Test func aFlippedByteNamesTheSetsThatNeedIt() async throws {
    let site = try await Self.site()
    let concerned = try await site.sets()[0]
    try await site.script("rm first; head -c 1000000 /dev/urandom > second")
    try await Self.flip("files", in: site)
    // Found only by reading: the structure is whole.
    let checked = try await site.run("backup", ["--check"], with: ["CHECK_DAYS": "1"])
    let sets = try await site.sets()
    #expect(sets.count == 2)
    #expect(checked.code == 4, "\(checked)")
    #expect(checked.errors.contains("/files is damaged"), "\(checked.errors)")
    #expect(checked.errors.contains("concerned: \(concerned)\n"), "\(checked.errors)")
    #expect(!checked.errors.contains("/pg-database is damaged") && !checked.output.contains("the structure is whole"))
  }

  @Test func aPackThatIsGoneIsFoundAnyDayAndNamesItsSets() async throws {
    let site = try await Self.site()
    try await Shell.script("find repository/pg-database/data -type f -exec rm {} +", in: site.root)
    let checked = try await site.run("backup", ["--check"], with: ["CHECK_DAYS": "256", "FILES_PATHS": "first"])
    let sets = try await site.sets()
    #expect(checked.code == 4, "\(checked)")
    #expect(checked.errors.contains("/pg-database is damaged"), "\(checked.errors)")
    #expect(checked.errors.contains("concerned: \(sets[0])"), "\(checked.errors)")
  }

  /// A pack that a prune takes away while the check reads, which holds no lock that would keep others out.
  @Test func whatIsMissingAtTheFirstLookOnlyIsNoDamage() async throws {
    let site = try await Self.site()
    let path = try site.fake(
      "restic",
      """
      PATH=${PATH#*:}
      case "$RESTIC_REPOSITORY $* " in
      *"/files "*" check "*--no-lock*) ;;
      *"/files "*" check "*) [ -e '\(site.root)/looked' ] && touch '\(site.root)/locked'; exec restic "$@" ;;
      *) exec restic "$@" ;;
      esac
      mv '\(site.repository)/files/data' '\(site.root)/away'
      restic "$@"; code=$?
      mv '\(site.root)/away' '\(site.repository)/files/data'; touch '\(site.root)/looked'; exit $code
      """)
    let checked = try await site.run("backup", ["--check"], with: ["PATH": path, "CHECK_DAYS": "1"])
    #expect(checked.code == 0 && checked.output.contains("the structure is whole"), "\(checked)")
    #expect(checked.errors.contains("looking again with the lock"), "\(checked)")
    #expect(FileManager.default.fileExists(atPath: site.root + "/locked"))
  }

  @Test func theSecondRepositoryIsCheckedToo() async throws {
    let site = try await Self.site()
    let copying = ["COPY_RESTIC_REPOSITORY": site.root + "/copy", "COPY_RESTIC_PASSWORD": "c", "CHECK_DAYS": "1"]
    #expect(try await site.run("init", with: copying).code == 0)
    #expect(try await site.run("backup", ["--check"], with: copying).code == 0)
    try await Shell.script("mv repository main; mv copy repository", in: site.root)
    try await Self.flip("files", in: site)
    try await Shell.script("mv repository copy; mv main repository", in: site.root)
    let checked = try await site.run("backup", ["--check"], with: copying)
    #expect(checked.code == 4 && checked.errors.contains("/copy/files is damaged"), "\(checked)")
  }
}
