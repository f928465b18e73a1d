import FoundationEssentials
import Testing

@testable import BackupRestore

@Suite struct TextTests {
  /// Copied in halves the first would run: `restore` alone restores.
  @Test(arguments: 24...120) func aCommandIsNeverBroken(width: Int) {
    let commands = [
      "restore --rollback 20260101T230000Z", "FILES_PATHS=one/sub restore --only files",
      "kubectl -n jira delete pod backup-1-abcde",
      "SELECT pg_terminate_backend(123)", "backup --accept 20260101T230000Z", "chattr -i '/var/jira/a b'",
    ]
    let text =
      "  hint: go back by \(commands[0]), or \(commands[1]); end it: \(commands[2]); \(commands[3]); what is right is accepted "
      + "(\(commands[4])), and the run goes on with the next: \(commands[5])"
    let wrapped = Terminal.wrapped(text, width: width)
    let lines = wrapped.split(separator: "\n").map(String.init)
    for command in commands { #expect(lines.contains { $0.contains(command) }, "\(command): \(wrapped)") }
    #expect(lines.map { $0.trimming(" ") }.joined(separator: " ") == text.trimming(" "))
    // A line that is longer is one command, and what stands right beside it.
    for line in lines where line.count > width {
      #expect(commands.contains { line.contains($0) && line.count < $0.count + 8 }, "\(line)")
    }
    for line in lines.dropFirst() { #expect(line.hasPrefix("    ") && !line.hasPrefix("     ")) }
  }

  @Test func whatFitsAndWhatStandsInColumnsStaysAsItIs() {
    for text in ["one two three", "a line\nand another", "SET     AGE    SIZE of many columns that do not fit in here"] {
      #expect(Terminal.wrapped(text, width: 20) == text && Terminal.wrapped(text, width: nil) == text)
    }
  }

  @Test(arguments: [
    (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"), (5 << 30, "5.0 GiB"),
    (3 << 40, "3.0 TiB"), (1 << 50, "1024.0 TiB"), (Int.max, "8388608.0 TiB"),
  ]) func sizesAreReadable(bytes: Int, text: String) { #expect(Format.bytes(bytes) == text) }

  @Test(arguments: [
    (0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567"), (-1234, "-1,234"), (Int.min, "-9,223,372,036,854,775,808"),
  ]) func countsAreGrouped(number: Int, text: String) { #expect(Format.count(number) == text) }

  @Test(arguments: [
    (-1, "0.0 s"), (0.44, "0.4 s"), (12.9, "12 s"), (59.99, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"),
    (3725, "1 h 2 min"),
    (86400, "1 d 0 h"), (200_000, "2 d 7 h"),
  ]) func durationsAreReadable(seconds: Double, text: String) { #expect(Format.duration(seconds) == text) }

  @Test func aTimeIsRFC3339InUTC() {
    #expect(Format.time(Date(timeIntervalSince1970: 1_795_475_400.7)) == "2026-11-23T23:10:00Z")
  }

  @Test(arguments: [
    ("plain äöü 😀", "plain äöü 😀"), ("a\nb\tc", "a\\nb\\tc"), ("\u{1B}[2J", "\\u{1B}[2J"), ("\u{7F}", "\\u{7F}"),
    ("\u{9B}2J", "\\u{009B}2J"), ("\r\n", "\\r\\n"), ("\0", "\\0"), ("", ""),
  ]) func controlCharactersAreShownAndNotSent(text: String, shown: String) { #expect(printable(text) == shown) }

  @Test func columnsThatDoNotFitTheTerminalMakeASecondLine() {
    var table = TextTable(["SET", "AGE", "CONTENT"])
    table.add(["20260101T230000Z", "3 h", "database app (app.previous.20260101T230000Z)"])
    table.add(["20260102T230000Z", "2 h", ""])
    let wide = table.text(width: nil).split(separator: "\n")
    #expect(wide.count == 3 && wide[1].hasPrefix("20260101T230000Z  3 h  database app"))
    #expect(table.text(width: 200) == table.text(width: nil))
    let narrow = table.text(width: 60)
    #expect(narrow.split(separator: "\n").count == 5 && narrow.contains("\n  database app (app.previous.20260101T230000Z)"))
    #expect(narrow.split(separator: "\n").allSatisfy { $0.count <= 60 })
    // What is wider than that stays whole.
    #expect(table.text(width: 10).contains("20260101T230000Z\n"))
  }

  @Test func columnsOfATableAreAligned() {
    var table = TextTable(["A", "LONGER", "C"])
    table.add(["x", "y", "z"])
    table.add(["wide cell", "", "\u{1B}c"])
    #expect(
      table.text == """
        A          LONGER  C
        x          y       z
        wide cell          \\u{1B}c
        """)
  }

  @Test(arguments: [
    ("/plain", "/plain"), ("/a\\040b", "/a b"), ("/a\\011b\\012c", "/a\tb\nc"), ("/a\\134b", "/a\\b"), ("/a\\134040", "/a\\040"),
  ]) func aMountPointIsReadAsTheKernelWroteIt(written: String, path: String) { #expect(MountInfo.unescaped(written) == path) }

  @Test(arguments: [
    ("2024-06-01T12:00:00Z", 1_717_243_200, 0), ("2024-06-01T15:30:00+05:30", 1_717_236_000, 0),
    ("2000-01-01T05:29:59.123456789+05:30", 946_684_799, 123_456_789), ("2024-06-01T12:00:00.5Z", 1_717_243_200, 500_000_000),
    ("2024-06-01T12:00:00.000000001-08:00", 1_717_272_000, 1), ("1969-12-31T23:59:59.25Z", -1, 250_000_000),
    ("1901-01-01T00:00:00Z", -2_177_452_800, 0),
  ]) func aTimeIsReadToTheNanosecond(text: String, seconds: Int, nanoseconds: Int) throws {
    let time = try #require(Node.nanoseconds(text))
    #expect(time == (seconds, nanoseconds))
  }

  @Test(arguments: [
    "", "Z", "2024-06-01", "2024-06-01T12:00:00", "2024-06-01T12:00:00.5", "yesterday and before Z", "+++++++++++++++++++++",
  ])
  func aTextThatIsNoTimeIsNone(_ text: String) { #expect(Node.nanoseconds(text) == nil) }

  @Test func theHelpNamesEveryVariableAndEveryStatus() {
    for variable in Variable.table { #expect(Program.help.contains("  \(variable.name) ")) }
    for status in BackupRestore.ExitStatus.allCases { #expect(Program.help.contains("  \(status.rawValue)  ")) }
    #expect(Set(Variable.table.map(\.name)).count == Variable.table.count)
  }

  @Test func problemsOfSeveralStepsAreMergedOnceEach() {
    let shared = Problem("a", hint: "b")
    let results: [Result<Void, any Error>] = [
      .success(()), .failure(Failure(.locked, [shared])), .failure(Failure(.refused, [shared, Problem("c", hint: "d")])),
    ]
    let merged = failure { try Failure.merge(results) }
    #expect(merged == Failure(.locked, [shared, Problem("c", hint: "d")]))
    #expect(merged?.description == "a\n  hint: b\nc\n  hint: d")
    #expect(failure { try Failure.merge(results.prefix(1).map { $0 }) } == nil)
  }
}
