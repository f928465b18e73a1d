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
  /// - Parameter live: what it was made of; nil: its extended attributes stay unknown.
  func evidence(of snapshot: String, live: Directory? = nil) async throws -> FilesEvidence {
    struct State: Sendable {
      var evidence = FilesEvidence()
      var reader: LiveAttributes?
    }
    let state = Locked(State(reader: live.map(LiveAttributes.init)))
    if live != nil { state.change { ($0.evidence.attributes, $0.evidence.kinds) = ([:], []) } }
    try await list(snapshot) { node in
      state.change { state in
        state.evidence.count(node)
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
  /// restic lists a directory's entries one after the other.
  private var parent: (path: FilePath, directory: Directory?)

  init(_ root: Directory) { (self.root, parent) = (root, ("", root)) }

  /// Nil where they are not known.
  mutating func of(_ node: Node) -> [ExtendedAttribute]? {
    guard let text = node.path, !text.contains("\u{FFFD}") else { return nil }
    let path = FilePath(String(text.dropFirst()))
    guard let name = path.lastComponent else { return nil }
    let above = path.removingLastComponent()
    if above != parent.path { parent = (above, try? root.parent(of: path)) }
    guard let directory = parent.directory, let before = try? directory.existing(name),
      let attributes = try? ExtendedAttribute.all(of: directory.reached.appending(name)),
      let after = try? directory.existing(name), node.isStill(before, after)
    else { return nil }
    return attributes
  }
}
