import Testing

@testable import BackupRestore

@Suite struct RoleScriptTests {
  static let header =
    "-- Roles the databases of this set refer to. Safe to run again: roles that exist are left as they are, but for memberships they lack.\n"

  /// As 0.1 wrote it: lists as they are stored.
  static func old(_ settings: String, comment: String = "") -> String {
    header
      + RoleReader.unlessExists("app", "CREATE ROLE \"app\" LOGIN PASSWORD 'x;\ny';\n" + comment + settings)
      + RoleReader.grant("group", to: "app", admin: false)
  }

  static func setting(_ name: String, _ stored: String) -> String { "ALTER ROLE \"app\" SET \"\(name)\" = \(stored);\n" }

  /// What stands between the title and the last END of the first block, a line a statement.
  static func body(_ script: String) throws -> Substring {
    let first = try #require(RoleScript.statements(script).first)
    let begin = try #require(first.firstRange(of: "'x;\ny';\n"))
    return first[begin.upperBound...]
  }

  @Test func eachBlockIsAStatement() {
    let blocks = [
      RoleReader.unlessExists("a $role$", "CREATE ROLE \"a $role$\";\n"), RoleReader.grant("a", to: "b", admin: true),
    ]
    let parameter = RoleReader.parameter("my.p", "SET", to: "a", option: false)
    for title in [RoleScript.title, ""] {
      let statements = RoleScript.statements(title + blocks.joined() + parameter)
      #expect(statements.map { $0 + ";\n" } == blocks + [parameter])
    }
    #expect(RoleScript.statements(RoleScript.title).isEmpty && RoleScript.statements("").isEmpty)
  }

  /// A new script is run as it stands, whatever its values look like.
  @Test func whatANewSetSavedIsNotTouched() {
    let block = RoleReader.unlessExists("app", "CREATE ROLE \"app\";\n" + Self.setting("search_path", "'a;\n', 'b'"))
    #expect(RoleScript.statements(RoleScript.title + block) == [String(block.dropLast(2))])
  }

  @Test(arguments: [
    (#""$user", public"#, "'$user', 'public'"), ("my-schema, public", "'my-schema', 'public'"), ("''", "''"),
    ("'', b", "'', 'b'"), ("public;ALTER/**/ROLE/**/app/**/SUPERUSER", "'public;alter/**/role/**/app/**/superuser'"),
    ("a;\n, b", "'a;', 'b'"), (" a , b ", "'a', 'b'"), (#""a;\#nb", c;"#, "'a;\nb', 'c;'"), ("x'", "'x'''"), ("\"a'\"", "'a'''"),
  ]) func aListThatAnOldSetPastedIsTakenApart(stored: String, literals: String) throws {
    let script = Self.old(Self.setting("search_path", stored) + Self.setting("work_mem", "'1MB'"))
    #expect(
      try Self.body(script) == Self.setting("search_path", literals) + Self.setting("work_mem", "'1MB'") + "END IF; END $role$")
    #expect(RoleScript.statements(script).count == 2)
  }

  /// A quote that PostgreSQL stored as a part of a name opened a text, and another value closed it.
  @Test func twoValuesMakeNoStatementTogether() throws {
    let script = Self.old(
      Self.setting("search_path", "x'") + Self.setting("application_name", "'; ALTER ROLE \"app\" SUPERUSER;\n--'"))
    #expect(
      try Self.body(script)
        == Self.setting("search_path", "'x'''") + Self.setting("application_name", "'; ALTER ROLE \"app\" SUPERUSER;\n--'")
        + "END IF; END $role$")
  }

  /// These may hold anything, so where they end is not told; what follows may be a value that looks like a statement.
  @Test func anOldListThatMayHoldAnythingIsLeftOutWithWhatFollows() throws {
    let script = Self.old(
      Self.setting("work_mem", "'1MB'")
        + Self.setting("local_preload_libraries", "x;\nALTER ROLE \"app\" SUPERUSER") + Self.setting("a.b", "'c'"))
    #expect(try Self.body(script) == Self.setting("work_mem", "'1MB'") + "END IF; END $role$")
    #expect(RoleScript.statements(script).count == 2)
  }

  /// No list that PostgreSQL can have stored is more than literals, and all of it is there.
  @Test func everyListIsReadBackAsItWasStored() throws {
    var random = SplitMix64(state: 42)
    let parts = ["a", "B", ";", "'", "\"", "$role$", "--", "/*", "END", "\\", "é", "=", "''"]
    for _ in 0..<3000 {
      let elements = (0..<Int.random(in: 1...3, using: &random)).map { _ in
        (0..<Int.random(in: 1...4, using: &random)).map { _ in parts.randomElement(using: &random)! }.joined()
      }
      let stored = elements.map { element in
        Bool.random(using: &random) || element.hasPrefix("\"") || element == "''"
          ? SQL.identifier(element + (Bool.random(using: &random) ? ";\n '" : "")) : element
      }.joined(separator: [",", ", ", " ,\n"].randomElement(using: &random)!)
      let expected = try #require(StoredList.split(stored, folding: true))
      let literals = DatabaseProperties.settingValue(.init(role: nil, name: "search_path", value: stored))
      #expect(literals == expected.map(SQL.literal).joined(separator: ", "))
      let script = Self.header + RoleReader.unlessExists("app", "CREATE ROLE \"app\";\n" + Self.setting("search_path", stored))
      let statement = try #require(RoleScript.statements(script).first)
      #expect(statement.contains("SET \"search_path\" = \(literals);\nEND IF; END $role"), "\(stored): \(statement)")
    }
  }
}
