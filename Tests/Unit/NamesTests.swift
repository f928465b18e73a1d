import Testing

@testable import BackupRestore

@Suite struct NamesTests {
  static let names = [
    "a", "app", "with space", "a.staging.b", "app.previous", String(repeating: "x", count: 37), String(repeating: "x", count: 38),
    String(repeating: "x", count: 63), String(repeating: "é", count: 31), String(repeating: "😀", count: 15),
    "👨‍👩‍👧‍👦👨‍👩‍👧‍👦", "e" + String(repeating: "\u{301}", count: 31),
  ]

  @Test(arguments: names) func aDerivedNameFitsAndLeadsBack(_ live: String) throws {
    let staging = DatabaseName.staging(live, .day(1))
    let previous = DatabaseName.previous(live, .day(1))
    #expect(staging.utf8.count <= 63 && previous.utf8.count <= 63)
    #expect(Set([live, staging, previous]).count == 3)
    let first = try #require(DatabaseName.parse(staging, live: live))
    #expect(first == (.day(1), true))
    let second = try #require(DatabaseName.parse(previous, live: live))
    #expect(second == (.day(1), false))
    #expect(DatabaseName.parse(live, live: live) == nil)
  }

  @Test func aShortNameStaysReadable() {
    #expect(DatabaseName.staging("app", .day(1)) == "app.staging.20260101T230000Z")
    #expect(DatabaseName.previous("app", .day(1)) == "app.previous.20260101T230000Z")
    #expect(DatabaseName.previous(String(repeating: "x", count: 37), .day(1)).hasPrefix(String(repeating: "x", count: 37) + "."))
  }

  @Test func longNamesThatBeginAlikeStayDistinct() {
    let stem = String(repeating: "customer_database_", count: 3)
    let derived = (0..<200).map { DatabaseName.staging(stem + "\($0)", .day(1)) }
    #expect(Set(derived).count == 200)
    for (index, name) in derived.enumerated() { #expect(DatabaseName.parse(name, live: stem + "\(index + 1)") == nil) }
  }

  @Test(arguments: [
    "app", "app.staging", "app.staging.", "app.staging.20260101", "app.staging.20260101T230000Zx",
    "application.staging.20260101T230000Z",
    "xapp.staging.20260101T230000Z", "app.Staging.20260101T230000Z", "app.staging.20260199T230000Z", "",
  ]) func anotherDatabaseIsNotOurs(_ name: String) {
    #expect(DatabaseName.parse(name, live: "app") == nil)
  }

  @Test(arguments: ["app", "a b", "a/b", "..", "é", "my.dump.db", "x.dump", "%41", "a\nb", ""]) func anArchiveNamesItsDatabase(
    _ name: String
  ) {
    let archive = DatabasePart.archiveName(name)
    #expect(!archive.contains("/") && archive.hasSuffix(".dump"))
    #expect(DatabasePart.databaseName(archive: "/" + archive) == name)
  }

  @Test(arguments: ["", "/", "app.dump", "/app", "/app.sql", "/%G0.dump", "/%4.dump", "/%"]) func anotherPathNamesNoDatabase(
    _ path: String
  ) {
    #expect(DatabasePart.databaseName(archive: path) == nil)
  }

  @Test func everyByteSurvivesPercentEncoding() {
    let bytes = Array(UInt8.min...UInt8.max)
    let text = percentEncoded(bytes)
    #expect(percentDecoded(text) == bytes)
    #expect(text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
    #expect(percentEncoded("aZ09_-.".utf8) == "aZ09_-.")
    #expect(percentEncoded("/ %\n\u{E9}".utf8) == "%2F%20%25%0A%C3%A9")
  }

  @Test(arguments: ["%", "%4", "a%", "%zz", "%%41"]) func aBrokenPercentTextIsNone(_ text: String) {
    #expect(percentDecoded(text) == nil)
  }
}
