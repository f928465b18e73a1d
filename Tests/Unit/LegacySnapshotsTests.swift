import FoundationEssentials
import SystemPackage
import Testing

@testable import BackupRestore

@Suite struct LegacySnapshotsTests {
  static func dump(_ id: String, _ time: String) -> Snapshot { snapshot(id, paths: ["/stdin"], [], time: time) }
  static func tree(_ id: String, _ time: String) -> Snapshot { snapshot(id, paths: ["/var/jira"], [], time: time) }

  static let old = LegacySnapshots([
    (.database, [dump("d1", "2021-05-01T23:10:00.1Z"), dump("d2", "2021-05-02T23:10:00Z")]),
    (.files, [tree("f1", "2021-05-01T23:12:00Z"), tree("f2", "2021-05-02T23:12:00Z")]),
    (.roles, [dump("r1", "2021-05-01T23:11:00Z"), dump("r2", "2021-05-02T23:11:00Z")]),
  ])

  func refusal(_ body: () throws -> Void) -> String {
    let failure = failure(body)
    #expect(failure == nil || failure?.status == .refused)
    return failure?.description ?? "nothing was refused"
  }

  @Test func theNewestOfEachKindIsChosenWithTheRolesOfItsNight() throws {
    #expect(try Self.old.newest(at: nil, nil).arguments == "r2 d2 f2")
    let time = try Date("2021-05-02T12:00:00Z", strategy: .iso8601)
    #expect(try Self.old.newest(at: time, nil).arguments == "r1 d1 f1")
    #expect(try Self.old.newest(at: time, .files).arguments == "f1")
    #expect(try Self.old.newest(at: time, .database).arguments == "r1 d1")
    #expect(try Self.old.newest(at: .distantPast, nil).isEmpty)
    #expect(try LegacySnapshots().newest(at: nil, nil).isEmpty)
  }

  @Test func whatDoesNotBelongTogetherIsNamedForTheOperator() {
    let apart = LegacySnapshots([
      (.oldDatabase, [Self.dump("d", "2021-05-01T10:00:00Z")]), (.files, [Self.tree("f", "2021-05-01T22:00:01Z")]),
    ])
    #expect(refusal { _ = try apart.newest(at: nil, nil) }.contains("restore d f"))
    #expect(failure { _ = try apart.newest(at: nil, .files) } == nil)
  }

  @Test func positionalNamesAreThoseOfThePredecessor() throws {
    #expect(try Self.old.named(["d1", "f2"]).arguments == "d1 f2")
    #expect(try Self.old.named(["r1", "latest", "f1"]).arguments == "r1 d2 f1")
    #expect(try Self.old.named(["f1"]) == LegacySnapshots.Choice(files: Self.old.items.first { $0.snapshot.id == "f1" }))
    #expect(refusal { _ = try Self.old.named(["d", "f1"]) }.contains("d is ambiguous: database d1, database d2"))
    #expect(refusal { _ = try Self.old.named(["f1", "d1"]) }.contains("no old-style snapshot of a database f1"))
    #expect(refusal { _ = try Self.old.named(["r1"]) }.contains("holds no database and no files"))
  }

  @Test func aSnapshotOfASetIsNotOldStyle() {
    let tagged = snapshot("x", ["set=\(SetID.day(1))"])
    #expect(LegacySnapshots([(.files, [tagged, Self.tree("y", "2021-05-01T10:00:00Z")])]).items.map(\.snapshot.id) == ["y"])
  }

  @Test func somethingElseAmongTheDumpsIsNoDatabase() {
    let old = LegacySnapshots([(.database, [Self.tree("x", "2021-05-01T10:00:00Z")])])
    #expect(old.items.first?.kind == nil)
    #expect(refusal { _ = try old.named(["x"]) }.contains("holds no database"))
  }

  // MARK: Trees

  static func part(_ recorded: [String], _ directory: String?, _ nodes: [String]) -> FilesPart {
    let tree = LegacyTree(recorded: recorded, directory: directory)
    var seen = tree.nothingSeen
    for path in nodes {
      let line = #"{"struct_type":"node","type":"file","path":"\#(path)","uid":1,"gid":1,"size":5}"#
      if let node = Node(line: line) { tree.take(node, &seen) }
    }
    return tree.part(of: "id", seen)
  }

  @Test func aTreeIsRelativeUnlessItHoldsTheRecordedPath() {
    let relative = Self.part(["/var/jira"], "/var/jira", ["/export", "/export/a"])
    #expect(relative.snapshot == "id" && relative.paths == [] && relative.evidence?.bytes == 10)
    let absolute = Self.part(["/var/jira"], "/var/jira", ["/var", "/var/jira", "/var/jira/a"])
    #expect(absolute.snapshot == "id:/var/jira" && absolute.paths == [] && absolute.evidence?.bytes == 5)
    // A directory of its own name inside: there is more beside it.
    let named = Self.part(["/media"], "/media", ["/media", "/media/x", "/other", "/other/y"])
    #expect(named.snapshot == "id" && named.evidence?.entries == 4)
    let top = Self.part(["/a", "/b"], nil, ["/a", "/a/x", "/b"])
    #expect(top.snapshot == "id:/" && top.paths == ["a", "b"] && top.evidence?.entries == 3)
    // Mounted elsewhere since: the directory that was saved is the one that is restored.
    #expect(Self.part(["/var/jira"], "/data", ["/var", "/var/jira", "/var/jira/a"]).snapshot == "id:/var/jira")
  }

  @Test func entriesSavedByNameAreTheOnesRestored() {
    let recorded = ["/var/backups/gitea", "/var/backups/git/repositories"]
    let relative = Self.part(recorded, "/var/backups", ["/gitea", "/git", "/git/repositories"])
    #expect(relative.snapshot == "id" && relative.paths == ["gitea", "git/repositories"])
    let absolute = Self.part(recorded, nil, recorded + ["/var", "/var/backups", "/var/backups/git"])
    #expect(absolute.snapshot == "id:/var/backups" && absolute.paths == ["gitea", "git/repositories"])
  }

  // MARK: Dumps

  @Test(arguments: [
    ("COPY\n--\n-- PostgreSQL database dump complete\n--\n\n", true),
    ("--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict aZ09\n\n", true),
    ("-- PostgreSQL database dump complete\n1\tmore rows\n", false), ("-- PostgreSQL database dump com", false), ("", false),
    ("1\t-- PostgreSQL database dump complete\n", false),
  ]) func onlyADumpWithItsLastWordsIsWhole(end: String, whole: Bool) {
    #expect(PlainDump.isComplete(end: Array(end.utf8)) == whole)
  }

  @Test func aDumpThatMakesItsOwnDatabaseIsKnown() {
    #expect(PlainDump.leavesItsDatabase(beginning: Array("--\n\\connect app\n".utf8)))
    #expect(PlainDump.leavesItsDatabase(beginning: Array("CREATE DATABASE app WITH".utf8)))
    #expect(!PlainDump.leavesItsDatabase(beginning: Array("COMMENT ON DATABASE app IS 'CREATE DATABASE ';\n".utf8)))
  }

  @Test func errorsOfPsqlAreCountedAndTheFirstRealOneIsNamed() {
    let errors = ClientErrors("psql")
    for line in [
      #"psql:<stdin>:14: FEHLER:  42704: nicht erkannter Konfigurationsparameter »transaction_timeout«"#,
      "psql:<stdin>:20: HINWEIS:  00000: an ERROR:  in a notice", "LINE 1: SELECT",
      "psql:<stdin>:30: error: invalid command \\foo",
      "psql:<stdin>:40: FATAL:  57P01: terminating connection",
    ] { errors.take(line) }
    #expect(errors.timeouts == 1 && errors.count == 3)
    #expect(errors.first == "invalid command \\foo")
  }
}
