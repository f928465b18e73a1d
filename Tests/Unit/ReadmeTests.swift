import Support
import Testing

@testable import BackupRestore

/// The README's tables say what the code says.
@Suite struct ReadmeTests {
  @Test(arguments: Variable.table.map(\.name))
  func everyVariableIsInTheReadme(name: String) throws {
    let variable = try #require(Variable.table.first { $0.name == name })
    #expect(Readme.text.contains("| `\(name)` | \(variable.standard) | \(variable.meaning) |"))
  }

  @Test(arguments: BackupRestore.ExitStatus.allCases)
  func everyExitStatusIsInTheReadme(status: BackupRestore.ExitStatus) {
    #expect(Readme.text.contains("| \(status.rawValue) | \(status.meaning) |"))
  }

  @Test func theReadmeNamesNothingElse() {
    let rows = Readme.text.split(separator: "\n").filter { $0.hasPrefix("| `") && $0.dropFirst(3).first?.isUppercase == true }
    #expect(rows.count == Variable.table.count)
  }
}
