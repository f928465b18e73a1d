import FoundationEssentials

/// What a rehearsal of a database found, and of what: the same is not rehearsed again.
struct Rehearsed: Codable, Equatable, Sendable {
  /// Of the schema, the roles, the settings, the server and who restores.
  let fingerprint: String
  /// What PostgreSQL refused, in its words; empty: it can be restored.
  var refused: [String] = []
  /// Why there was none.
  var impossible: String? = nil

  init(of part: DatabasePart, user: String, server: String, refused: [String] = [], impossible: String? = nil) throws {
    struct Content: Encodable {
      let user, server: String
      let properties: DatabaseProperties?
      let roles: [RoleUse]
      let extensions: [String]?
      let schema: SchemaEvidence?
    }
    let content = Content(
      user: user, server: server, properties: part.properties?.with(size: 0), roles: part.roles,
      extensions: part.evidence?.extensions,
      schema: part.evidence?.schema)
    // 64 bits of FNV-1a: tells a schema from what it was the night before. Slashes are escaped, as they were in the records that are there.
    let hash = try JSON.encoded(content, []).reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    (fingerprint, self.refused, self.impossible) = (String(hash, radix: 16), refused, impossible)
  }

  /// A reason for doubt, in one sentence.
  func doubt(_ database: String) -> String? {
    if refused.isEmpty { return nil }
    let more = refused.count > 2 ? "; and \(refused.count - 2) more" : ""
    return "database \(printable(database)) could not be restored: \(refused.prefix(2).joined(separator: "; "))\(more)"
  }
}
