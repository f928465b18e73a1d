/// What a database defined at the dump's snapshot, by kind, each kind under PostgreSQL's own word for it: view, function, trigger, index…;
/// besides, `comment` and `grant`.
struct SchemaEvidence: Codable, Equatable, Sendable {
  /// Of the server: another prints definitions in other words.
  let major: Int
  let objects: [String: [SchemaObject]]
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
  static func settled(_ before: SchemaEvidence?, _ after: SchemaEvidence?) -> SchemaEvidence? {
    guard let before, let after else { return nil }
    if before == after { return before }
    let kinds = Set(before.objects.keys).union(after.objects.keys)
    return SchemaEvidence(
      major: before.major,
      objects: Dictionary(
        uniqueKeysWithValues: kinds.map { kind in
          let (first, second) = (before.byName(kind), after.byName(kind))
          let names = Set(first.keys).union(second.keys).sorted { $0.lexicographicallyPrecedes($1) }
          return (
            kind,
            names.map {
              SchemaObject(name: String(decoding: $0, as: UTF8.self), hash: first[$0] == second[$0] ? first[$0] ?? nil : nil)
            }
          )
        }))
  }

  /// Keys are bytes: two names may be equal to Swift (é composed and decomposed) and still be two objects.
  private func byName(_ kind: String) -> [[UInt8]: String?] {
    // One name twice is one object to the operator; both hashes count.
    Dictionary((objects[kind] ?? []).map { (Array($0.name.utf8), $0.hash) }) { first, second in
      guard let first, let second else { return nil }
      return first + second
    }
  }

  /// What differs in a restored copy, a sentence a kind. `found` is what was found before: a table that is missing is not told twice.
  ///
  /// - Parameter owners: whether owners and grants are as saved; not where a role that is missing was replaced.
  func differences(in copy: SchemaEvidence, owners: Bool, found: [String] = []) -> [String] {
    let isPrintedAlike = major == copy.major
    var kinds = Set(objects.keys).union(copy.objects.keys)
    if !owners || !isPrintedAlike { kinds.remove("grant") }
    var sentences: [String] = []
    for kind in kinds.sorted() {
      let (saved, restored) = (byName(kind), copy.byName(kind))
      let settled = saved.filter { $0.value != nil }
      let told = { (name: [UInt8]) in
        let thing = "\(kind) \(String(decoding: name, as: UTF8.self)) "
        return found.contains { $0.hasPrefix(thing) }
      }
      let tell = { (names: [[UInt8]], one: String, several: String) in
        let names = names.filter { !told($0) }.sorted { $0.lexicographicallyPrecedes($1) }.map {
          String(decoding: $0, as: UTF8.self)
        }
        if names.isEmpty { return }
        let more = names.count > 3 ? " and \(names.count - 3) more" : ""
        sentences.append("\(kind) \(names.prefix(3).joined(separator: ", "))\(more) \(names.count == 1 ? one : several)")
      }
      tell(settled.keys.filter { restored[$0] == nil }, "is missing", "are missing")
      tell(restored.keys.filter { saved[$0] == nil }, "was not there", "were not there")
      if isPrintedAlike {
        tell(
          settled.filter { restored[$0.key] != nil && restored[$0.key] != $0.value }.map(\.key), "is another one", "are others")
      }
    }
    return sentences
  }
}
