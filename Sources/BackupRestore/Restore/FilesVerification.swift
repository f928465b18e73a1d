import FoundationEssentials
import SystemPackage

/// Holds a restored tree against its snapshot's own list, file by file: type, size, owner, mode and time.
///
/// restic verifies the content it wrote, but a restore without the rights to set owners, modes or times succeeds silently
/// (measured). Names that are not UTF-8 come out of restic's JSON changed; those are counted only.
struct FilesVerification: Sendable {
  let directory: FilePath
  /// Empty means all.
  let paths: [String]
  /// Whether these are all that the set holds.
  let isWhole: Bool
  let owner: FilesSettings.Owner?
  let evidence: FilesEvidence?
  /// What the volume does not keep.
  let limits: FilesLimits

  static let most = 100

  func run(_ repository: Repository, snapshot: String) async throws -> (FilesEvidence, [String]) {
    struct State: Sendable {
      var listed = FilesEvidence()
      var all = FilesEvidence()
      var differences: [String] = []
    }
    let state = Locked(State())
    try await repository.list(snapshot) { node in
      guard let path = node.path, let type = node.type else { return }
      let difference = selects(path) ? difference(node, path) : nil
      state.change { state in
        let count = { (evidence: inout FilesEvidence) in
          evidence.count(type, size: node.size ?? 0, user: node.uid ?? 0, group: node.gid ?? 0)
        }
        count(&state.all)
        if selects(path) { count(&state.listed) }
        if let difference, state.differences.count < Self.most { state.differences.append(difference) }
      }
    }
    let found = try await blocking { try count() }
    var differences = state.value.differences
    if let evidence, evidence.counts != state.value.all.counts || evidence.bytes != state.value.all.bytes {
      differences.append("the snapshot holds other counts than its record says")
    }
    for (type, number) in state.value.listed.counts where found.counts[type, default: 0] != number {
      differences.append("\(found.counts[type, default: 0]) entries of type \(type) instead of \(number)")
    }
    for (type, number) in found.counts where state.value.listed.counts[type] == nil {
      differences.append("\(number) entries of type \(type) that were not saved")
    }
    if isWhole, let evidence {
      differences += evidence.differences(found, without: Set(limits.attributes.keys.map(ExtendedAttribute.kind)))
    }
    return (found, differences)
  }

  /// Below one of the paths, or one of them. Reserved entries are never restored, though sets made below a linked FILES_DIRECTORY hold them.
  private func selects(_ path: String) -> Bool {
    if paths.isEmpty { return Tree.isEntry(path.utf8.dropFirst()) }
    return paths.contains { path == "/" + $0 || path.hasPrefix("/" + $0 + "/") }
  }

  /// What is there, as far as it was selected.
  private func count() throws -> FilesEvidence {
    var evidence = FilesEvidence()
    let take = { (path: FilePath, status: FileStatus) in
      evidence.count(status.type, size: status.size, user: status.user, group: status.group)
      if !isWhole || self.evidence?.attributes?.isEmpty != false { return }
      var name = path
      _ = name.removePrefix(directory)
      for attribute in try ExtendedAttribute.all(of: path) { evidence.add(attribute, of: name.string, status.type) }
    }
    if paths.isEmpty {
      try Tree.walk(directory, skipping: Tree.reserved, take)
      return evidence
    }
    for path in paths {
      let path = directory.appending(FilePath(path).components)
      guard let status = try FileStatus.existing(path) else { continue }
      try take(path, status)
      if status.isDirectory { try Tree.walk(path, take) }
    }
    return evidence
  }

  private func difference(_ node: Node, _ path: String) -> String? {
    if path.contains("\u{FFFD}") { return nil }
    let name = printable(path)
    guard let status = try? directory.appending(FilePath(path).components).status() else { return "\(name) is missing" }
    if status.type != node.type { return "\(name) is of type \(status.type) instead of \(node.type ?? "")" }
    if node.type == "file", status.size != node.size { return "\(name) has \(status.size) bytes instead of \(node.size ?? 0)" }
    let user = owner?.user ?? node.uid
    let group = owner?.group ?? node.gid
    if status.user != user || status.group != group {
      return "\(name) belongs to \(status.user):\(status.group) instead of \(user ?? 0):\(group ?? 0)"
    }
    // The mode of a symbolic link means nothing on Linux.
    if node.type != "symlink", status.mode != node.permissions {
      return "\(name) has mode \(String(status.mode, radix: 8)) instead of \(String(node.permissions, radix: 8))"
    }
    if let modified = node.mtime.flatMap(Node.nanoseconds), !limits.keeps(modified, status.modified) {
      return "\(name) has another modification time"
    }
    return nil
  }
}
