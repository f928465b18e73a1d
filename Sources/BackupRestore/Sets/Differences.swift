extension SequenceEvidence {
  /// The readings before and after, of the sequences that both have.
  static func joined(
    _ before: [String: (Value, cycles: Bool)], _ after: [String: (Value, cycles: Bool)]
  ) -> [SequenceEvidence] {
    before.keys.sorted().compactMap { name in
      guard let first = before[name], let last = after[name] else { return nil }
      return SequenceEvidence(name: name, before: first.0, after: last.0, cycles: first.cycles)
    }
  }

  /// Whether a restored value can have been read between the two readings.
  func admits(_ restored: Value) -> Bool {
    if before == after { return restored == before }
    if cycles { return true }
    return (min(before.last, after.last)...max(before.last, after.last)).contains(restored.last)
  }
}

extension DatabaseEvidence {
  /// What differs in a restored copy, one sentence a thing; empty when nothing does.
  ///
  /// - Parameters:
  ///   - owners: whether owners and grants are as saved; not where a role that is missing was replaced.
  ///   - tablespaces: whether they are as saved; not where one is missing.
  func differences(in copy: DatabaseEvidence, owners: Bool = true, tablespaces: Bool = true) -> [String] {
    var found: [String] = []
    // Keys are bytes: two names may be equal to Swift (é composed and decomposed) and still be two tables.
    let key = { (name: String) in Array(name.utf8) }
    // Where a database has no encoding two names may be repaired to the same.
    let tables = Dictionary(copy.tables.map { (key($0.name), $0) }) { first, _ in first }
    let wholes = sameWholes(copy)
    for table in self.tables {
      guard let restored = tables[key(table.name)] else {
        found.append("table \(table.name) is missing")
        continue
      }
      if table.unread == true || restored.unread == true || table.root.map({ wholes.contains(key($0)) }) == true { continue }
      if restored.rows != table.rows {
        found.append("table \(table.name) has \(restored.rows) rows instead of \(table.rows)")
      } else if method == copy.method, table.hashed, restored.hashed, restored.hash != table.hash {
        found.append("table \(table.name) has other content in its \(table.rows) rows")
      } else if method == copy.method, table.hashed != restored.hashed {
        found.append("table \(table.name) could be hashed only once")
      }
    }
    let known = Set(self.tables.map { key($0.name) })
    found += copy.tables.filter { !known.contains(key($0.name)) }.map { "table \($0.name) was not there" }
    let sequences = Dictionary(copy.sequences.map { (key($0.name), $0.before) }) { first, _ in first }
    for sequence in self.sequences {
      guard let restored = sequences[key(sequence.name)] else {
        found.append("sequence \(sequence.name) is missing")
        continue
      }
      if !sequence.admits(restored) {
        found.append(
          "sequence \(sequence.name) is at \(restored.last) instead of \(sequence.before.last) to \(sequence.after.last)")
      }
    }
    for view in materializedViews where !copy.materializedViews.contains(view) {
      found.append("materialised view \(view.name) is missing or not \(view.populated ? "populated" : "empty") any more")
    }
    found += extensions.filter { !copy.extensions.contains($0) }.map { "extension \($0) is missing" }
    if largeObjects != copy.largeObjects {
      found.append("large objects differ: \(copy.largeObjects.count) instead of \(largeObjects.count), or other content")
    }
    if let schema, let restored = copy.schema {
      found += schema.differences(in: restored, owners: owners, tablespaces: tablespaces, found: found)
    }
    return found.map(printable)
  }

  /// Partitioned tables whose rows are the same in all their partitions together. PostgreSQL alone says which one a row belongs to, and by
  /// a hash of what it counts anew (an enum) that is another one in a copy.
  private func sameWholes(_ copy: DatabaseEvidence) -> Set<[UInt8]> {
    struct Whole: Equatable {
      var rows = 0
      var sum: UInt64? = 0
    }
    func wholes(_ evidence: DatabaseEvidence) -> [[UInt8]: Whole] {
      evidence.tables.reduce(into: [:]) { wholes, table in
        guard let root = table.root else { return }
        var whole = wholes[Array(root.utf8)] ?? Whole()
        whole.rows += table.rows
        let sum = table.unread == true || !table.hashed ? nil : table.rows == 0 ? 0 : table.hash.flatMap { UInt64($0) }
        whole.sum = whole.sum.flatMap { all in sum.map { all &+ $0 } }
        wholes[Array(root.utf8)] = whole
      }
    }
    if method != copy.method { return [] }
    let (saved, restored) = (wholes(self), wholes(copy))
    return Set(saved.filter { $0.value.sum != nil && restored[$0.key] == $0.value }.keys)
  }
}
