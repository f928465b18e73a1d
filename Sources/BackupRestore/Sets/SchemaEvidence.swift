/// What a database defined at the dump's snapshot, by kind, each kind under PostgreSQL's own word for it: view, function, trigger, index…;
/// besides, `comment` and `grant`.
struct SchemaEvidence: Codable, Equatable, Sendable {
  /// Of the server: another prints definitions in other words.
  let major: Int
  let objects: [String: [SchemaObject]]
  /// Why it could not be read.
  var unread: String?
  /// How definitions were hashed, see there; nil in records of before there were two ways.
  var hashing: Int? = Self.hashing

  /// What is changed in `SchemaKinds` changes it: hashes of two ways are not compared, and names alone tell.
  static let hashing = 3
}

/// One object's name and a hash of its definition, in one string of set.json: they are the bulk of it.
struct SchemaObject: Codable, Equatable, Sendable {
  let name: String
  /// 16 hex digits; nil where the object was changed while it was being dumped: the dump may have it before or after, or not at all.
  let hash: String?

  init(name: String, hash: String?) { (self.name, self.hash) = (name, hash) }

  init(from decoder: any Decoder) throws {
    let parts = try decoder.singleValueContainer().decode(String.self).split(
      separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
    (hash, name) = (parts[0] == "-" ? nil : String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode("\(hash ?? "-") \(name)")
  }
}

extension SchemaEvidence {
  /// Two readings of one snapshot, before and after pg_dump read it. The catalogs are the snapshot's in both; names and expressions the
  /// server prints as they are at the moment. What differs is not compared with what is restored.
  func settled(with after: SchemaEvidence) -> SchemaEvidence {
    if after.unread != nil || self == after { return after }
    let kinds = Set(objects.keys).union(after.objects.keys).map { kind in
      let (first, second) = (byName(kind), after.byName(kind))
      let names = Set(first.keys).union(second.keys).sorted { $0.lexicographicallyPrecedes($1) }
      return (
        kind,
        names.map {
          SchemaObject(name: String(decoding: $0, as: UTF8.self), hash: first[$0] == second[$0] ? first[$0] ?? nil : nil)
        }
      )
    }
    return SchemaEvidence(major: major, objects: Dictionary(uniqueKeysWithValues: kinds))
  }

  /// The hash of `NULL`: a default that is none. PostgreSQL keeps it as one, and loses it, with a child table or without (measured, 15.20).
  private static let null = "fb329000228cc5a2"

  func isPrinted(like copy: SchemaEvidence) -> Bool { (major, hashing) == (copy.major, copy.hashing) }

  /// Keys are bytes: two names may be equal to Swift (é composed and decomposed) and still be two objects. Two of one name are one, with
  /// both hashes.
  func byName(_ kind: String) -> [[UInt8]: String?] {
    Dictionary((objects[kind] ?? []).map { (Array($0.name.utf8), $0.hash) }) { first, second in
      first.flatMap { first in second.map { first + $0 } }
    }
  }

  /// What differs in a restored copy, a sentence for each kind and way. `found` is what was found before: a table that is missing is not
  /// told twice.
  ///
  /// - Parameters:
  ///   - owners: whether owners and grants are as saved; not where a role that is missing was replaced.
  ///   - tablespaces: whether they are as saved; not where one is missing: of what lies in one, the names alone are compared.
  func differences(in copy: SchemaEvidence, owners: Bool, tablespaces: Bool = true, found: [String] = []) -> [String] {
    if unread != nil { return [] }
    if let why = copy.unread { return ["definitions could not be read: \(why)"] }
    let isPrintedAlike = isPrinted(like: copy)
    var kinds = Set(objects.keys).union(copy.objects.keys)
    if !owners || !isPrintedAlike { kinds.remove("grant") }
    // What holds for all that a role makes.
    if !owners { kinds.remove("default acl") }
    return kinds.sorted().flatMap { kind in
      let isNone = { (hash: String?) in kind == "default value" && hash == Self.null }
      let (saved, restored) = (byName(kind).filter { !isNone($0.value) }, copy.byName(kind).filter { !isNone($0.value) })
      let certain = saved.filter { $0.value != nil }
      let tell = { (names: [[UInt8]], one: String, several: String) -> String? in
        let names = names.sorted { $0.lexicographicallyPrecedes($1) }.map { String(decoding: $0, as: UTF8.self) }.filter { name in
          !found.contains { $0.hasPrefix("\(kind) \(name) ") }
        }
        if names.isEmpty { return nil }
        let more = names.count > 3 ? " and \(names.count - 3) more" : ""
        return "\(kind) \(names.prefix(3).joined(separator: ", "))\(more) \(names.count == 1 ? one : several)"
      }
      let isComparable = isPrintedAlike && (tablespaces || !["table", "index", "materialized view"].contains(kind))
      let other = certain.filter { isComparable && restored[$0.key] != nil && restored[$0.key] != $0.value }
      return [
        tell(certain.keys.filter { restored[$0] == nil }, "is missing", "are missing"),
        tell(restored.keys.filter { saved[$0] == nil }, "was not there", "were not there"),
        tell(Array(other.keys), "is defined otherwise", "are defined otherwise"),
      ].compactMap(\.self)
    }
  }
}

extension DatabaseEvidence {
  /// What a comparison without a difference proves, for the operator.
  func proof(by copy: DatabaseEvidence) -> String {
    let content = method == copy.method ? "rows and content" : "rows"
    guard let schema, let other = copy.schema, schema.unread == nil, other.unread == nil else { return content }
    return content + (schema.isPrinted(like: other) ? ", definitions" : ", names of what is defined")
  }
}
