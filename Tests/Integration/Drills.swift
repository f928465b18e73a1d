import Foundation
import Support
import Testing

@testable import BackupRestore

/// `restore --drill`.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Drills {
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
    let stepped = try await site.run("restore", ["--drill"])
    #expect(stepped.output.contains("set \(sets[0]) is proven"))
    #expect(stepped.errors.contains("set \(sets[1]) is newer and doubted"), "\(stepped.errors)")
    #expect(try await site.run("restore", ["--drill", sets[1]]).output.contains("set \(sets[1]) is proven"))
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
      \(Site.products)/restore --drill & until ls files/.backup-restore/*/tree/* 2>/dev/null | grep -q .; do sleep 0.02; done
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
    try await site.script("echo 1 > a")
    let role = "drill_\(site.database)"
    try await site.createDatabase("CREATE ROLE \(role); CREATE TABLE t (id int); GRANT SELECT ON t TO \(role)")
    #expect(try await site.run("backup").code == 0)
    _ = try await site.sql("DROP OWNED BY \(role); DROP ROLE \(role)")
    let refused = try await site.run("restore", ["--drill"])
    #expect(refused.code == 22)
    #expect(refused.errors.contains("role \(role), which the set names, is missing"), "\(refused.errors)")
    #expect(try await site.run("restore", ["--drill", "--in-place"]).code == 64)
  }

  /// Half a proof is not one of the set.
  @Test(arguments: ["files", "database"]) func aDrillOfOnePartDoesNotProveTheSet(_ part: String) async throws {
    let site = try await Self.site()
    #expect(try await site.run("backup").code == 0)
    let half = try await site.run("restore", ["--drill", "--only", part])
    #expect(half.code == 0 && half.output.contains("\(part) of set") && half.output.contains("not proven by that"), "\(half)")
    #expect(try await !site.restic("sets", ["snapshots", "--json"]).output.contains("kind=drill"))
  }

  /// What a drill writes would fill the live server's disk, so it may have a server of its own; the live one is not even needed.
  @Test func aDrillOnAServerOfItsOwnLeavesNothingThere() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.script("echo 1 > a")
    let role = "drill_\(site.database)"
    // Its parent is named by nothing in the database.
    try await site.createDatabase(
      """
      CREATE ROLE \(role) PASSWORD 'x'; CREATE ROLE \(role)_parent PASSWORD 'y'; GRANT \(role)_parent TO \(role);
      CREATE TABLE t (id int); ALTER TABLE t OWNER TO \(role)
      """)
    #expect(try await site.run("init").code == 0)
    #expect(try await site.run("backup").code == 0)
    let other = try await Cluster()
    let drill = [
      "DRILL_POSTGRES_HOST": "127.0.0.1:\(other.port)", "DRILL_POSTGRES_USER": "postgres",
      "DRILL_POSTGRES_PASSWORD": other.password,
    ]
    let listing = "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles ORDER BY 1"
    let before = try await other.psql("postgres", listing).output
    let proven = try await site.run("restore", ["--drill"], with: drill.merging(["POSTGRES_HOST": "127.0.0.1:1"]) { $1 })
    #expect(proven.code == 0 && proven.output.contains("(on 127.0.0.1:\(other.port))"), "\(proven)")
    #expect(try await other.psql("postgres", listing).output == before)
    // One that was killed leaves its roles, which the next one takes away; one that fails takes them away itself.
    let half = "CREATE ROLE \(role) PASSWORD 'x'; COMMENT ON ROLE \(role) IS 'made by a drill of backup-restore'"
    try await other.psql("postgres", half)
    #expect(try await site.run("restore", ["--drill"], with: drill).code == 0)
    #expect(try await other.psql("postgres", listing).output == before)
    try await Shell.script("mv repository/pg-database/data kept", in: site.root)
    #expect(try await site.run("restore", ["--drill"], with: drill).code != 0)
    try await Shell.script("rm -rf repository/pg-database/data; mv kept repository/pg-database/data", in: site.root)
    #expect(try await other.psql("postgres", listing).output == before)
    // Its own variables are the ones to look at.
    let wrong = try await site.run("restore", ["--drill"], with: drill.merging(["DRILL_POSTGRES_PASSWORD": "x"]) { $1 })
    #expect(wrong.errors.contains("check DRILL_POSTGRES_USER and DRILL_POSTGRES_PASSWORD"), "\(wrong.errors)")
    // A restore goes to the live server, whatever drills have.
    #expect(try await site.run("restore", ["--dry-run"], with: drill).code == 0)
    let small = try await site.run("restore", ["--drill"], with: drill.merging(["DRILL_POSTGRES_FREE_BYTES": "1"]) { $1 })
    #expect(small.code == 22 && small.errors.contains("DRILL_POSTGRES_FREE_BYTES is 1 B"), "\(small)")
  }

  /// Without room or a volume at all the files are proven by reading back every one of them.
  @Test(arguments: [("no volume", "/var/jira cannot be written"), ("a full one", "beside the live ones")])
  func filesWithoutRoomAreReadBack(_ volume: String, says: String) async throws {
    let site = try await Self.site()
    try await site.script("head -c 4000000 /dev/urandom > big")
    #expect(try await site.run("backup").code == 0)
    var settings = site.settings
    settings["FILES_DIRECTORY"] = volume == "no volume" ? nil : site.root + "/full"
    let drill = "mkdir -p full; mount -t tmpfs -o size=2m none full; exec \(Site.products)/restore --drill"
    let arguments = ["--mount", "bash", "-c", drill]
    let proven = try await Shell.run("unshare", arguments, environment: settings, directory: site.root, check: false)
    #expect(proven.code == 0 && proven.output.contains("every file read back"), "\(proven)")
    #expect(proven.errors.contains("files are read back, not restored: ") && proven.errors.contains(says), "\(proven)")
    // Damage is found this way too.
    try await Checks.flip("files", in: site)
    let damaged = try await Shell.run("unshare", arguments, environment: settings, directory: site.root, check: false)
    #expect(damaged.code == 23, "\(damaged)")
  }
}
