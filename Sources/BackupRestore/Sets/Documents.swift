/// What sets are made of, read from and written to a repository.
extension Repository {
  /// Sizes of records grow with the number of tables, not with their data.
  static let largestRecord = 32 << 20

  /// Saves small documents as a snapshot, and returns its id.
  @discardableResult
  func write(_ documents: [String: [UInt8]], tags: [String]) async throws -> String {
    let scratch = try Scratch(base)
    defer { scratch.remove() }
    for (name, bytes) in documents { try scratch.directory.write(bytes, to: Directory.Name(name)!) }
    return try await backup(["--"] + documents.keys.sorted(), tags: tags, directory: scratch.path.string, part: "record").snapshot
  }

  func record(of set: SetID, _ snapshot: Snapshot) async throws -> Record {
    try Record(decoding: try await read("/set.json", of: snapshot.id, limit: Self.largestRecord), set: set.text)
  }

  /// What a snapshot's tree holds.
  func evidence(of snapshot: String) async throws -> FilesEvidence {
    let evidence = Locked(FilesEvidence())
    try await list(snapshot) { node in
      evidence.change { $0.count(node.type ?? "", size: node.size ?? 0, user: node.uid ?? 0, group: node.gid ?? 0) }
    }
    return evidence.value
  }
}
