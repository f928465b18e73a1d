import Testing

/// The core's folders stand one on the other: each uses types of those before it and of itself, never of those behind it.
@Suite struct LayersTests {
  static let order = [
    "Report", "Command", "Files", "Configuration", "Restic", "Sets", "Postgres", "Kubernetes", "Swap", "Session", "Legacy",
    "Init",
    "Backup", "Compare", "Restore", "Drill", "List", "Program",
  ]

  @Test func everyFolderStandsInTheOrder() {
    #expect(Set(SourceCode.all.map(\.folder)) == Set(Self.order))
  }

  @Test func textIsNoCodeAndWhatIsPutIntoItIs() {
    let text = """
      let a = "Text \\(Inner.name("Quoted \\(Deep())")) more" // Comment
      let b = /['"]Pattern['"]/
      let c = Outer / 2
      """
    let types = SourceCode(folder: "", name: "", lines: [], code: SourceCode.code(of: text), definitions: []).types
    #expect(types == ["Inner", "Deep", "Outer"])
  }

  @Test(arguments: order) func aFolderUsesOnlyWhatStandsBeforeIt(folder: String) {
    let behind = Set(Self.order.drop { $0 != folder }.dropFirst())
    var owners: [String: String] = [:]
    for file in SourceCode.all where behind.contains(file.folder) {
      for type in file.definitions { owners[type] = file.folder }
    }
    #expect(folder == Self.order.last || !owners.isEmpty)
    for file in SourceCode.all where file.folder == folder {
      let used = file.types.filter { owners[$0] != nil }.sorted()
      #expect(used.isEmpty, "\(folder)/\(file.name) uses \(used.map { "\(owners[$0] ?? "")'s \($0)" }.joined(separator: ", "))")
    }
  }
}
