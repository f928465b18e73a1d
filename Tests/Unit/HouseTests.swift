import Testing

/// What makes the core one that somebody else can live in, as far as a test can say it.
@Suite struct HouseTests {
  @Test(arguments: SourceCode.all.map { "\($0.folder)/\($0.name)" }) func aFileIsReadInOneSitting(_ path: String) throws {
    let file = try #require(SourceCode.all.first { "\($0.folder)/\($0.name)" == path })
    #expect(file.lines.count <= 250)
    for function in file.functions where function.length > 60 {
      Issue.record("\(path):\(function.line): \(function.head) has \(function.length) lines")
    }
  }

  @Test func functionsAreFound() {
    let lengths = SourceCode.all.flatMap(\.functions).map(\.length)
    #expect(lengths.count > 400 && lengths.max().map { $0 > 40 } == true)
  }

  /// The order of its steps is the page.
  @Test(arguments: ["Backup/Backup.swift", "Restore/Restore.swift"]) func aCommandIsOnePage(_ path: String) throws {
    let file = try #require(SourceCode.all.first { "\($0.folder)/\($0.name)" == path })
    #expect(file.lines.count < 120)
  }

  /// A value that must be there is a type, an error, or has its reason beside it.
  @Test func nothingIsUnwrappedByForceWithoutAReason() {
    for file in SourceCode.all {
      for (index, line) in file.lines.enumerated() where line.contains("!") && !line.contains(/^\s*\/\//) {
        let code = SourceCode.code(of: String(line))
        if !code.contains(/[\w)\]}]!(?![=\w])/), !code.contains("try!"), !code.contains("as!") { continue }
        let before = index > 0 ? file.lines[index - 1] : ""
        #expect(line.contains("//") || before.contains("//"), "\(file.folder)/\(file.name):\(index + 1): \(line)")
      }
    }
  }

  /// Logic asks for a `cause`: words are for people. Only what other programs say is read, and only where they are spoken to.
  @Test func nobodyReadsOurOwnErrors() {
    let readers = [
      "ResticErrors.swift", "ResticFailures.swift", "ResticCrash.swift", "ClientErrors.swift", "Server.swift", "Refusal.swift",
    ]
    let reading = /(?:fact|hint|description|message|"\\\(error\)")\)?\??\.(?:contains|hasPrefix|hasSuffix)\(/
    for file in SourceCode.all where !readers.contains(file.name) {
      for (index, line) in file.lines.enumerated() where line.contains(reading) {
        Issue.record("\(file.folder)/\(file.name):\(index + 1): \(line)")
      }
    }
  }
}
