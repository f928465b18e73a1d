/// Small documents in the `sets` repository.
extension Context {
  /// Sizes of records grow with the number of tables, not with their data.
  static let largestRecord = 32 << 20

  func writeToSets(_ documents: [String: [UInt8]], tags: [String]) async throws {
    let scratch = try Scratch(base)
    defer { scratch.remove() }
    for (name, bytes) in documents { try Tree.writeDurably(bytes, to: scratch.path.appending(name)) }
    _ = try await sets.backup(
      ["--"] + documents.keys.sorted(), tags: tags, directory: scratch.path.string, part: "record")
  }

  func record(of set: SetID, _ snapshot: Snapshot) async throws -> Record {
    try Record(decoding: try await sets.read("/set.json", of: snapshot.id, limit: Self.largestRecord), set: set.text)
  }
}
