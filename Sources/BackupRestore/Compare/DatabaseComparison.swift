/// What differs between two states of a database, by their evidence.
struct DatabaseComparison: Encodable, Equatable, Sendable {
  enum Change: String, Encodable, Sendable {
    case new, gone, rows, content, changed

    var flipped: Change { self == .new ? .gone : self == .gone ? .new : self }
  }

  /// One whose rows are not the same.
  struct Table: Encodable, Equatable, Sendable {
    let name: String
    let change: Change
    /// Rows; nil: it is not there.
    let then: Int?
    let now: Int?

    /// By how many rows it differs: of other content nobody knows how much it is.
    var size: Int { change == .content ? max(then ?? 0, 1) : abs((now ?? 0) - (then ?? 0)) }
  }

  /// What is defined: a view, a function, an index…
  struct Object: Encodable, Equatable, Sendable {
    let kind: String
    let name: String
    let change: Change
  }

  let name: String
  /// The largest difference first.
  let tables: [Table]
  let objects: [Object]
  /// Whether rows were compared by their content, and not by their number alone.
  let byContent: Bool

  var isEmpty: Bool { tables.isEmpty && objects.isEmpty }

  init(_ name: String, _ then: DatabaseEvidence, _ now: DatabaseEvidence) {
    self.name = name
    byContent = then.method == now.method
    // Keys are bytes: two names may be equal to Swift and still be two tables.
    let byName = { (evidence: DatabaseEvidence) in
      Dictionary(evidence.tables.map { (Array($0.name.utf8), $0) }) { first, _ in first }
    }
    let (before, after) = (byName(then), byName(now))
    tables = Set(before.keys).union(after.keys)
      .compactMap { Self.table(before[$0], after[$0], byContent: then.method == now.method) }
      .sorted { ($1.size, $0.name) < ($0.size, $1.name) }
    objects = then.schema.flatMap { then in now.schema.map { then.changes(to: $0) } } ?? []
  }

  private init(_ name: String, _ tables: [Table], _ objects: [Object], byContent: Bool) {
    (self.name, self.tables, self.objects, self.byContent) = (name, tables, objects, byContent)
  }

  /// The same, seen from the other side.
  var flipped: DatabaseComparison {
    DatabaseComparison(
      name, tables.map { Table(name: $0.name, change: $0.change.flipped, then: $0.now, now: $0.then) },
      objects.map { Object(kind: $0.kind, name: $0.name, change: $0.change.flipped) }, byContent: byContent)
  }

  private static func table(_ then: TableEvidence?, _ now: TableEvidence?, byContent: Bool) -> Table? {
    guard let name = (then ?? now)?.name else { return nil }
    let table = { (change: Change) in Table(name: name, change: change, then: then?.rows, now: now?.rows) }
    guard let then else { return table(.new) }
    guard let now else { return table(.gone) }
    if then.unread == true || now.unread == true { return nil }
    if then.rows != now.rows { return table(.rows) }
    return byContent && then.hashed && now.hashed && then.hash != now.hash ? table(.content) : nil
  }
}

extension SchemaEvidence {
  /// What is defined otherwise there, by kind and name.
  func changes(to other: SchemaEvidence) -> [DatabaseComparison.Object] {
    if unread != nil || other.unread != nil { return [] }
    let isComparable = isPrinted(like: other)
    return Set(objects.keys).union(other.objects.keys).sorted().flatMap { kind in
      // Another server prints other grants.
      if kind == "grant", !isComparable { return [DatabaseComparison.Object]() }
      let (then, now) = (byName(kind), other.byName(kind))
      return Set(then.keys).union(now.keys).sorted { $0.lexicographicallyPrecedes($1) }.compactMap { key in
        let change: DatabaseComparison.Change? =
          switch (then[key], now[key]) {
          case (nil, _): .new
          case (_, nil): .gone
          case (let then??, let now??): isComparable && then != now ? .changed : nil
          default: nil
          }
        return change.map { .init(kind: kind, name: String(decoding: key, as: UTF8.self), change: $0) }
      }
    }
  }
}
