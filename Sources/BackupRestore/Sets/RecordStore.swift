import SystemPackage

/// What sets are made of, read from and written to a repository.
extension Repository {
  /// Sizes of records grow with the number of tables, not with their data.
  static let largestRecord = 32 << 20

  /// Saves small documents as a snapshot, and returns its id.
  @discardableResult
  func write(_ documents: [Directory.Name: [UInt8]], tags: [String]) async throws -> String {
    let scratch = try Scratch(base)
    defer { scratch.remove() }
    for (name, bytes) in documents { try scratch.directory.write(bytes, to: name) }
    return try await backup(
      ["--"] + documents.keys.map(\.string).sorted(), tags: tags, directory: scratch.path.string, part: "record"
    ).snapshot
  }

  func record(of set: SetID, _ snapshot: Snapshot) async throws -> Record {
    try Record(decoding: try await read("/set.json", of: snapshot.id, limit: Self.largestRecord), set: set.text)
  }

  /// What a snapshot's tree holds.
  ///
  /// - Parameters:
  ///   - live: what it was made of; nil: its extended attributes stay unknown.
  ///   - parts: directories of it that are counted by themselves, too.
  func evidence(of snapshot: String, live: Directory? = nil, parts: [String]? = nil) async throws -> FilesEvidence {
    struct State: Sendable {
      var evidence = FilesEvidence()
      var reader: LiveAttributes?
    }
    let state = Locked(State(reader: live.map(LiveAttributes.init)))
    if let parts { state.change { $0.evidence.parts = Dictionary(parts.map { ($0, .init()) }) { first, _ in first } } }
    if live != nil { state.change { ($0.evidence.attributes, $0.evidence.kinds) = ([:], []) } }
    try await list(snapshot) { node in
      state.change { state in
        state.evidence.count(node, at: node.path?.dropFirst() ?? "")
        if live == nil { return }
        guard let path = node.path?.dropFirst(), let attributes = state.reader?.of(node) else {
          state.evidence.unseen = (state.evidence.unseen ?? 0) + 1
          return
        }
        for attribute in attributes { state.evidence.add(attribute, of: String(path), node.type ?? "") }
      }
    }
    return state.value.evidence
  }
}

/// The extended attributes of what a snapshot holds, read from the live tree: `restic ls` prints none, and `restic cat tree`, which does,
/// takes a call for each directory (0.19.1). They are those that were saved where the entry has not changed since.
struct LiveAttributes: Sendable {
  let root: Directory
  /// The directories down to the last parent, the first ones of them open: restic lists a directory's entries one after the other, and
  /// from the root to each of many nested ones would be a way of hours.
  private var chain: [(path: String, directory: Directory)] = []
  private static let mostOpen = 200

  init(_ root: Directory) { self.root = root }

  private mutating func directory(at path: String) -> Directory? {
    if path.isEmpty { return root }
    // By bytes: to Swift a slash and a combining mark behind it are one character.
    while let last = chain.last, !path.utf8.elementsEqual(last.path.utf8), !path.utf8.starts(with: (last.path + "/").utf8) {
      chain.removeLast()
    }
    var (place, reached) = chain.last.map { ($0.directory, $0.path) } ?? (root, "")
    for name in path.utf8.dropFirst(reached.utf8.count).split(separator: UInt8(ascii: "/")) {
      guard let name = Directory.Name(String(decoding: name, as: UTF8.self)), let next = try? place.directory(name) else {
        return nil
      }
      (place, reached) = (next, reached.isEmpty ? name.string : reached + "/" + name.string)
      // Deeper ones are found from the last of these.
      if chain.count < Self.mostOpen { chain.append((reached, place)) }
    }
    return place
  }

  /// Nil where they are not known.
  mutating func of(_ node: Node) -> [ExtendedAttribute]? {
    guard let text = node.path, !text.contains("\u{FFFD}") else { return nil }
    let path = text.utf8.dropFirst()
    let slash = path.lastIndex(of: UInt8(ascii: "/"))
    let (above, own) = (slash.map { path[..<$0] } ?? path.prefix(0), slash.map { path[path.index(after: $0)...] } ?? path)
    guard let name = Directory.Name(String(decoding: own, as: UTF8.self)),
      let directory = directory(at: String(decoding: above, as: UTF8.self)), let before = try? directory.existing(name),
      let attributes = try? ExtendedAttribute.all(of: directory.reached.appending(name)),
      let after = try? directory.existing(name), node.isStill(before, after)
    else { return nil }
    return attributes
  }
}
