import FoundationEssentials
import Testing

@testable import BackupRestore

@Suite struct ListingTests {
  typealias Day = CatalogTests.Day

  static func lines(_ catalog: Catalog, _ old: LegacySnapshots = LegacySnapshots()) throws -> [String] {
    let now = try #require(SetID.day(3).date)
    return Listing.table(catalog, old, host: "app", now: now).split(separator: "\n").map(String.init)
  }

  @Test func whereThereIsNothingTheListSaysWhatToDo() throws {
    #expect(try Self.lines(CatalogTests.catalog([])) == ["no sets: run backup first"])
  }

  @Test func everySetHasALineWithItsMarkAndEveryForeignSnapshotOne() throws {
    let days = [
      Day(day: 1, tags: ["tables=3", "rows=1234567", "file-count=42"]), Day(day: 2, tags: ["doubted=2 rows"]),
      Day(day: 2, host: "other"), Day(day: 3, record: false),
    ]
    let marks = [snapshot("m", ["kind=drill", "set=\(SetID.day(1))"], time: "2026-01-02T08:00:00Z")]
    let lines = try Self.lines(
      CatalogTests.catalog(days, marks: marks), LegacySnapshots([(.files, [snapshot("0123456789", host: "old", [])])]))
    #expect(lines.count == 7)
    #expect(lines[0].hasPrefix("SET "))
    #expect(lines[1].hasPrefix("20260101T230000Z  2 d 0 h  0 B   files, 1 database  42       3       1,234,567  2026-01-02"))
    #expect(lines[2].hasPrefix("20260102T230000Z") && lines[2].hasSuffix("  doubted: 2 rows"))
    #expect(lines[3].hasSuffix("  of other"))
    #expect(lines[4].hasSuffix("  incomplete: no record, its backup never finished"))
    #expect(lines[5].hasPrefix("01234567 ") && lines[5].hasSuffix("  old-style snapshot in files"))
    #expect(lines[6].contains("restore DATABASE FILES"))
  }

  @Test func aNameFromARepositoryDoesNotMoveTheCursor() throws {
    let text = try Self.lines(CatalogTests.catalog([Day(day: 1, host: "\u{1B}[2J")])).joined()
    #expect(text.contains("of \\u{1B}[2J"))
    #expect(!text.contains("\u{1B}"))
  }

  @Test func aKeptStateIsListedWithTheWayBack() {
    let kept = [PreviousState(id: .day(1), databases: [.init(from: "app.previous", to: "app")], files: JournalTests.journal())]
    let text = PreviousState.table(of: kept, [kept[0].id: 1536])
    #expect(text.contains("20260101T230000Z  1.5 KiB"))
    #expect(text.contains("restore --rollback 20260101T230000Z"))
    #expect(text.contains("restore --discard-previous 20260101T230000Z"))
  }
}
