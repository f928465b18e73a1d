import Support
import Testing

@testable import BackupRestore

/// Two tables have the same evidence only where they have the same rows.
@Suite(.servers, .timeLimit(.minutes(45))) struct RowHashes {
  /// The hash of one table, with these columns and rows, as this user reads it.
  static func hash(_ columns: String, _ rows: String, before: String = "", as user: User = .superuser) async throws -> String? {
    let site = try await Site(cluster: try await Cluster.shared.value, as: user)
    try await site.createDatabase("\(before); CREATE TABLE t (\(columns)); \(rows.isEmpty ? "" : "INSERT INTO t \(rows)")")
    let configuration = try Configuration(site.settings)
    let connection = try await Connection(configuration.database!, database: site.database, waits: configuration.waits)
    let tables = try await EvidenceReader(connection: connection).read().tables
    return try #require(tables.first { $0.name == "public.t" && $0.hashed }).hash
  }

  @Test(arguments: [
    ("a text, b text", ["VALUES ('', 'x')", "VALUES (NULL, 'x')", "VALUES ('x', '')", "VALUES ('x', NULL)"]),
    ("a text, b text", ["VALUES ('', '')", "VALUES (NULL, '')", "VALUES ('', NULL)", "VALUES (NULL, NULL)"]),
    ("a text, b text", ["VALUES ('1', '1'), ('2', '2')", "VALUES ('1', '2'), ('2', '1')", "VALUES ('11', ''), ('22', '')"]),
    ("a numeric", ["VALUES (1.0)", "VALUES (1.00)", "VALUES (1), (0)"]),
    ("a float8", ["VALUES (0.0)", "VALUES ('-0')", "VALUES (0.1)", "VALUES (0.10000000000000002)"]),
    ("a bpchar", ["VALUES ('a')", "VALUES ('a ')", "VALUES (NULL)"]),
    ("a odd", ["VALUES ('a')", "VALUES ('a ')"]),
    ("a text COLLATE folding", ["VALUES ('a')", "VALUES ('A')"]),
    ("a citext", ["VALUES ('a')", "VALUES ('A')"]),
    ("a jsonb, b text[]", ["VALUES ('[1.0]', '{x,y}')", "VALUES ('[1]', '{x,y}')", "VALUES ('[1]', '{\"x,y\"}')"]),
    ("a pair", ["VALUES (NULL)", "VALUES (ROW(NULL, NULL))", "VALUES (ROW(1, NULL))"]),
    ("a bytea", ["VALUES ('\\x00')", "VALUES ('\\x')", "VALUES ('\\x0000')"]),
    ("LIKE wide", ["(c0) VALUES (1)", "(c299) VALUES (1)", "(c298) VALUES (1)", "(c0) VALUES (2)"]),
  ])
  func everyDifferenceIsSeen(_ columns: String, _ contents: [String]) async throws {
    let before = """
      CREATE TABLE wide (\((0..<300).map { "c\($0) int" }.joined(separator: ", "))); CREATE EXTENSION citext; CREATE TYPE pair AS (a int, b int); CREATE DOMAIN odd AS bpchar;
      CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)
      """
    var seen: [String?: String] = [:]
    for rows in contents {
      let hash = try await Self.hash(columns, rows, before: before)
      #expect(seen.updateValue(rows, forKey: hash) == nil, "\(rows)")
      #expect(try await Self.hash(columns, rows, before: before, as: .owner) == hash)
    }
  }

  @Test func tablesWithoutColumnsOrRowsHaveEvidenceToo() async throws {
    #expect(try await Self.hash("", "") == nil)
    #expect(try await Self.hash("", "DEFAULT VALUES") == "0")
    #expect(try await Self.hash("a int", "") == nil)
  }
}
