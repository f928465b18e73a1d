import Testing

@testable import BackupRestore

@Suite struct PlainDumpTests {
  @Test(arguments: [
    ([15, 20], true), ([15, 14], true), ([15, 13], false), ([13, 22], true), ([13, 21], false), ([14, 19], true),
    ([14, 18], false),
    ([16, 10], true), ([16, 9], false), ([17, 6], true), ([17, 5], false), ([18, 0], true), ([18], true), ([19, 1], true),
    ([12, 22], false), ([15], false), ([], false),
  ]) func psqlKnowsRestrictSinceTheseVersions(version: [Int], knows: Bool) {
    #expect(PlainDump.restricts(version: version) == knows)
  }

  static let title = "--\n-- PostgreSQL database dump\n--\n\n"

  @Test(arguments: [
    (title + "\\restrict abc\n\n-- Dumped from", true), (title + "-- Dumped from\n\\restrict abc\n", false), (title, false),
    ("\\restrict abc\n", true), (title + "SET x = 1;\n-- Name: a\n\\restrict abc\n", false), ("", false),
  ]) func onlyADumpsFirstWordIsARestrictionOfItsOwn(beginning: String, isRestricted: Bool) {
    #expect(PlainDump.isRestricted(beginning: Array(beginning.utf8)) == isRestricted)
  }

  @Test func aDumpWithoutOneIsRestrictedByAKeyThatNobodyKnows() throws {
    let dump = { (isRestricted: Bool) in
      PlainDump(
        settings: try databaseSettings(), program: "/p/psql", serverMajor: 15, base: [:], acceptsErrors: false,
        isRestricted: isRestricted
      ).command(staging: "s").arguments
    }
    let keys = try (0..<2).map { _ in try #require(dump(false).first { $0.hasPrefix("--command=\\restrict ") }) }
    #expect(keys[0] != keys[1] && keys[0].utf8.count > 40)
    #expect(try dump(false).last == "--file=-")
    #expect(try !dump(true).contains { $0.contains("restrict") })
  }

  @Test func anOldPsqlIsPassedOverAndWhereThereIsNoOtherRefused() async throws {
    let clients = Clients(directories: [15: "/usr/bin", 17: "/usr/lib/postgresql/15/bin"])
    #expect(
      try await clients.psql(server: 15) { $0 == "/usr/bin/psql" ? [15, 13] : [17, 6] } == "/usr/lib/postgresql/15/bin/psql")
    #expect(try await clients.psql(server: 15) { _ in [15, 14] } == "/usr/bin/psql")
    let refused = await #expect(throws: Failure.self) { try await clients.psql(server: 15) { _ in [15, 13] } }
    #expect(refused?.status == .refused)
    #expect(refused?.problems.first?.hint.contains("newest minor version") == true)
    let missing = await #expect(throws: Failure.self) { try await Clients(directories: [:]).psql(server: 15) { _ in [18] } }
    #expect(missing?.problems.first?.fact.hasPrefix("psql is missing") == true)
  }
}
