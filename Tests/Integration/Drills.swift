import Foundation
import Support
import Testing

@testable import BackupRestore

/// `restore --drill`.
@Suite(.serialized) struct Drills {
  static func site() async throws -> Site {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
    try await site.script("mkdir d; for i in $(seq 1 20); do echo $i > d/file-$i; done")
    #expect(try await site.run("init").code == 0)
    #expect(try await site.run("backup").code == 0)
    return site
  }

  static func live(_ site: Site) async throws -> String {
    try await fingerprint(site.files) + site.sql("SELECT count(*), sum(id) FROM t") + site.databases().joined()
  }

  @Test func aSetIsProvenWithoutTouchingAnythingLive() async throws {
    let site = try await Self.site()
    _ = try await site.sql("INSERT INTO t VALUES (1001)")
    try await site.script("echo live > d/live")
    // What would stop a swap does not stop a drill: it replaces nothing.
    _ = try await site.sql("BEGIN; INSERT INTO t VALUES (1002); PREPARE TRANSACTION '\(site.database)'")
    let before = try await Self.live(site)
    #expect(try await site.run("restore", ["--dry-run"]).code == 22)
    let proven = try await site.run("restore", ["--drill"])
    _ = try await site.sql("ROLLBACK PREPARED '\(site.database)'")
    #expect(proven.code == 0, "\(proven.errors)")
    #expect(proven.output.contains("is proven") && proven.output.contains("rows and content"))
    expectSame(before, try await Self.live(site))
    #expect(try Tree.entries(.init(site.work)).isEmpty)
    let day = Format.time(Date()).prefix(10)
    #expect(try await site.run("restore", ["--list"]).output.contains("1,000  \(day)"))
    #expect(try await site.run("restore", ["--status"]).output.contains("last drill: set \(try await site.sets()[0])"))
  }

  @Test func aDoubtedSetIsSteppedOver() async throws {
    let site = try await Self.site()
    _ = try await site.sql("TRUNCATE t")
    #expect(try await site.run("backup").code == 4)
    let sets = try await site.sets()
    #expect(try await site.run("restore", ["--drill"]).output.contains("set \(sets[0]) is proven"))
    #expect(try await site.run("restore", ["--drill", sets[1], "--only", "files"]).output.contains("set \(sets[1]) is proven"))
  }

  @Test func aDamagedSetIsNotProven() async throws {
    let site = try await Self.site()
    try await Shell.script("find files/data -type f -exec rm {} +", in: site.repository)
    let before = try await Self.live(site)
    let failed = try await site.run("restore", ["--drill"])
    #expect([21, 23].contains(failed.code), "\(failed.errors)")
    #expect(try await site.run("restore", ["--status"]).output.contains("last drill: none"))
    expectSame(before, try await Self.live(site))
  }

  @Test func aDrillThatWasKilledIsClearedAwayByTheNextRun() async throws {
    let site = try await Self.site()
    try await site.script("head -c 200000000 /dev/urandom > big")
    #expect(try await site.run("backup").code == 0)
    let script = """
      \(Site.products)/restore --drill & for i in $(seq 200); do [ -e files/.backup-restore/*/tree/d ] && break; sleep 0.05; done
      kill -KILL $!; wait $! || true; pkill -KILL -P $! || true
      """
    try await Shell.script(script, in: site.root, environment: site.settings)
    #expect(try !Tree.entries(.init(site.work)).isEmpty)
    #expect(try await site.run("backup").code == 0, "a drill that never ended is nobody's business")
    let proven = try await site.run("restore", ["--drill"])
    #expect(proven.code == 0, "\(proven.errors)")
    #expect(try Tree.entries(.init(site.work)).isEmpty)
    #expect(try await site.databases() == [site.database])
  }

  @Test func aDrillCreatesNoRolesAndNeedsASet() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    #expect(try await site.run("init").code == 0)
    #expect(try await site.run("restore", ["--drill"]).code == 22)
    let role = "drill_\(site.database)"
    try await site.createDatabase("CREATE ROLE \(role); CREATE TABLE t (id int); GRANT SELECT ON t TO \(role)")
    #expect(try await site.run("backup").code == 0)
    _ = try await site.sql("DROP OWNED BY \(role); DROP ROLE \(role)")
    let refused = try await site.run("restore", ["--drill"])
    #expect(refused.code == 22)
    #expect(refused.errors.contains("role \(role), which the set names, is missing"), "\(refused.errors)")
    #expect(try await site.run("restore", ["--drill", "--in-place"]).code == 64)
  }
}
