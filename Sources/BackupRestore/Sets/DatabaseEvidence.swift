/// What a database held at the dump's snapshot, as far as pg_dump saves it.
struct DatabaseEvidence: Codable, Equatable, Sendable {
  let tables: [TableEvidence]
  var sequences: [SequenceEvidence]
  let materializedViews: [MaterializedView]
  let extensions: [String]
  let largeObjects: LargeObjects
  /// How rows were hashed: hashes of two ways are not compared.
  var method: String? = Self.method
  /// Nil in older records.
  var schema: SchemaEvidence?
  /// Tables with rows that pg_dump does not save, because somebody made them members of an extension; nil: none.
  var unsaved: [String]?

  /// How `RowSum` hashes them.
  static let method = "sum of folded rows of COPY, 2"

  var rows: Int { tables.reduce(0) { $0 + $1.rows } }
}

struct TableEvidence: Codable, Equatable, Sendable {
  let name: String
  let rows: Int
  /// Sum of the rows' hashes, see `method`; nil where there is no row, or where an older toolkit met one too large to be hashed.
  let hash: String?
  let hashed: Bool
  /// Whether it could not be read at all.
  var unread: Bool?
  /// Of a partition the table that all of them are of.
  var root: String? = nil
}

/// Sequences ignore snapshots: a dump beside which values are drawn holds something between the two readings.
struct SequenceEvidence: Codable, Equatable, Sendable {
  let name: String
  let before: Value
  let after: Value
  let cycles: Bool

  struct Value: Codable, Equatable, Sendable {
    let last: Int
    let called: Bool
  }
}

struct MaterializedView: Codable, Equatable, Sendable {
  let name: String
  let populated: Bool
}

struct LargeObjects: Codable, Equatable, Sendable {
  let count: Int
  let hash: String?
  let hashed: Bool
  /// Nil where a value is too large to be read, and in records of before.
  var bytes: Int?

  /// The hash says as much as their size, which older records do not hold.
  static func == (a: Self, b: Self) -> Bool { (a.count, a.hash, a.hashed) == (b.count, b.hash, b.hashed) }
}
