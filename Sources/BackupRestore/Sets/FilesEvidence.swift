import FoundationEssentials
import SystemPackage

/// What a snapshot's tree holds, by type.
struct FilesEvidence: Codable, Equatable, Sendable {
  /// Counts by restic's names of types: file, dir, symlink, fifo, socket, dev, chardev.
  var counts: [String: Int] = [:]
  /// Sum of the sizes of regular files, each name counted.
  var bytes = 0
  /// Every `uid:gid` that owns something.
  var owners: Set<String> = []
  /// Every owner with every mode, `type uid:gid mode`: what a volume has to take. Nil in older records.
  var kinds: Set<String>?
  /// By kind of attribute. Nil in older records, and where no live tree was at hand.
  var attributes: [String: Attributes]?
  /// What lies in each of FILES_PATHS and on each volume mounted below. Nil in older records.
  var parts: [String: Part]?
  /// Entries whose paths are longer than a restore can write; nil: none.
  var tooLong: Int?
  /// Entries that had changed since they were saved, or whose names are no text: what attributes they have in the set is not known.
  var unseen: Int?

  /// Without the directory itself.
  struct Part: Codable, Equatable, Sendable {
    var entries = 0
    var bytes = 0
  }

  /// What is staged is reached by way of an open directory, and Linux takes paths of less than 4,096 bytes.
  static let longestPath = 4095 - "/proc/4194304/fd/99999/tree/".utf8.count

  /// The extended attributes of a kind.
  struct Attributes: Codable, Equatable, Sendable {
    /// How many there are.
    var count = 0
    /// The sum of their hashes, whatever the order they were met in.
    var hash = "0"
    /// The largest of them, to be tried on a volume, and what it belongs to.
    var name = ""
    var sample = Data()
    var type = "file"
  }

  /// Sets in order: the same evidence is the same bytes.
  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(counts, forKey: .counts)
    try container.encode(bytes, forKey: .bytes)
    try container.encode(owners.sorted(), forKey: .owners)
    try container.encodeIfPresent(kinds?.sorted(), forKey: .kinds)
    try container.encodeIfPresent(attributes, forKey: .attributes)
    try container.encodeIfPresent(parts, forKey: .parts)
    try container.encodeIfPresent(tooLong, forKey: .tooLong)
    try container.encodeIfPresent(unseen, forKey: .unseen)
  }

  var entries: Int { counts.reduce(0) { $0 + $1.value } }

  mutating func count(_ type: String, size: Int, user: UInt32, group: UInt32) {
    counts[type, default: 0] += 1
    if type == "file" { bytes += size }
    owners.insert("\(user):\(group)")
  }

  /// - Parameter path: relative, without a leading slash.
  mutating func count(_ node: Node, at path: Substring) {
    count(node)
    if path.utf8.count > Self.longestPath { tooLong = (tooLong ?? 0) + 1 }
    for name in (parts ?? [:]).keys where path.utf8.starts(with: (name + "/").utf8) {
      parts?[name]?.entries += 1
      if node.type == "file" { parts?[name]?.bytes += node.size ?? 0 }
    }
  }

  mutating func count(_ node: Node) {
    let (type, user, group) = (node.type ?? "", node.uid ?? 0, node.gid ?? 0)
    count(type, size: node.size ?? 0, user: user, group: group)
    if kinds == nil { kinds = [] }
    kinds?.insert("\(type) \(user):\(group) \(String(node.permissions, radix: 8))")
  }

  /// - Parameter path: relative, without a leading slash.
  mutating func add(_ attribute: ExtendedAttribute, of path: String, _ type: String) {
    var all = attributes ?? [:]
    var kind = all[attribute.kind] ?? Attributes()
    kind.count += 1
    let hash = Self.hash([Array(path.utf8), Array(attribute.name.utf8), attribute.value])
    kind.hash = String((UInt64(kind.hash, radix: 16) ?? 0) &+ hash, radix: 16)
    if kind.name.isEmpty || attribute.value.count > kind.sample.count {
      (kind.name, kind.sample, kind.type) = (attribute.name, Data(attribute.value), type)
    }
    all[attribute.kind] = kind
    attributes = all
  }

  /// FNV-1a: an accident is to be found, and Swift's own hash is another in each process.
  private static func hash(_ parts: [[UInt8]]) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in parts.joined(separator: [0]) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return hash
  }

  /// How the attributes of `found` are not these; `kinds` were left out.
  func differences(_ found: FilesEvidence, without kinds: Set<String>) -> [String] {
    (attributes ?? [:]).sorted { $0.key < $1.key }.compactMap { kind, saved in
      let now = found.attributes?[kind] ?? Attributes()
      // The label is the node's own business: where it has one, it gives everything its own.
      if kinds.contains(kind) || kind == ExtendedAttribute.label { return nil }
      let most = saved.count + (unseen ?? 0)
      if now.count < saved.count || now.count > most {
        return
          "\(now.count) extended attributes \(printable(kind)) instead of \(saved.count)\(most > saved.count ? " at least" : "")"
      }
      // A server of NFS writes its own ACLs anew.
      let isOurs = !kind.hasPrefix("system.") || kind.hasPrefix("system.posix_acl_")
      if isOurs, most == saved.count, now.hash != saved.hash { return "other extended attributes \(printable(kind))" }
      return nil
    }
  }
}
