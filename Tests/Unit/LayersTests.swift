import Foundation
import Testing

/// The core's folders stand one on the other: each uses types of those before it and of itself, never of those behind it.
@Suite struct LayersTests {
  static let order = [
    "Report", "Command", "Files", "Configuration", "Restic", "Sets", "Postgres", "Kubernetes", "Swap", "Session", "Legacy",
    "Init",
    "Backup", "Restore", "Drill", "List", "Program",
  ]

  static let core = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Sources/BackupRestore")
    .standardizedFileURL

  /// The code of each file by its folder, without comments and texts.
  static let code: [(folder: String, file: String, text: String)] = {
    let files = FileManager.default.enumerator(at: core, includingPropertiesForKeys: nil)!.compactMap { $0 as? URL }
    return files.filter { $0.pathExtension == "swift" }.map { file in
      let text = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
      return (
        file.deletingLastPathComponent().lastPathComponent, file.lastPathComponent,
        text.replacing(/"(?:[^"\\\n]|\\.)*"/, with: "").replacing(/\/\/[^\n]*/, with: "")
      )
    }
  }()

  @Test func everyFolderStandsInTheOrder() {
    #expect(Set(Self.code.map(\.folder)) == Set(Self.order))
  }

  @Test(arguments: order) func aFolderUsesOnlyWhatStandsBeforeIt(folder: String) throws {
    let definition =
      /(?m)^(?:(?:public|final|indirect|private|fileprivate) )*(?:struct|class|enum|actor|protocol|typealias) (\w+)/
    let behind = Set(Self.order.drop { $0 != folder }.dropFirst())
    var owners: [Substring: String] = [:]
    for code in Self.code where behind.contains(code.folder) {
      for match in code.text.matches(of: definition) { owners[match.1] = code.folder }
    }
    #expect(folder == Self.order.last || !owners.isEmpty)
    for code in Self.code where code.folder == folder {
      let used = Set(code.text.matches(of: /(?:^|[^.\w])([A-Z]\w*)/).map(\.1)).filter { owners[$0] != nil }
      #expect(
        used.isEmpty, "\(folder)/\(code.file) uses \(used.sorted().map { "\(owners[$0]!)'s \($0)" }.joined(separator: ", "))")
    }
  }
}
