import Foundation
import Testing

@testable import BackupRestore

/// The README's tables say what the code says.
@Suite struct ReadmeTests {
  static let path = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../README.md")
  static let readme = (try? String(contentsOf: path, encoding: .utf8)) ?? ""

  @Test(arguments: Variable.table.map(\.name))
  func everyVariableIsInTheReadme(name: String) throws {
    let variable = try #require(Variable.table.first { $0.name == name })
    #expect(Self.readme.contains("| `\(name)` | \(variable.standard) | \(variable.meaning) |"))
  }

  @Test(arguments: BackupRestore.ExitStatus.allCases)
  func everyExitStatusIsInTheReadme(status: BackupRestore.ExitStatus) {
    #expect(Self.readme.contains("| \(status.rawValue) | \(status.meaning) |"))
  }

  @Test func theReadmeNamesNothingElse() {
    let rows = Self.readme.split(separator: "\n").filter { $0.hasPrefix("| `") && $0.dropFirst(3).first?.isUppercase == true }
    #expect(rows.count == Variable.table.count)
  }
}
