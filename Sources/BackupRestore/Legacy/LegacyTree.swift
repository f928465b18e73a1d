import SystemPackage

/// How the predecessor's tree lies in its snapshot: relative to a directory, or below its absolute path.
struct LegacyTree: Sendable {
  /// What restic recorded: absolute paths, whatever the tree looks like.
  let recorded: [FilePath]
  /// The directory that all of them lie in, or are.
  let base: FilePath

  /// `directory`: FILES_DIRECTORY, which is the base where it fits; or as it is `named`, by way of a link.
  init(recorded: [String], directory: String?, named: String? = nil) {
    let paths = recorded.map { FilePath($0) }
    self.recorded = paths
    let fitting = [directory, named].compactMap { $0.map { FilePath($0) } }.first { directory in
      !paths.isEmpty && paths.allSatisfy { $0.starts(with: directory) }
    }
    if let fitting {
      base = fitting
    } else if paths.count == 1 {
      base = paths[0]
    } else {
      var common = paths.first?.removingLastComponent() ?? "/"
      while !paths.allSatisfy({ $0.starts(with: common) }) { common.removeLastComponent() }
      base = common
    }
  }

  /// The recorded paths below the base; empty: the base itself.
  var relative: [FilePath] {
    recorded.compactMap { path in
      var rest = path
      return rest.removePrefix(base) && !rest.isEmpty ? rest : nil
    }
  }

  struct Seen: Sendable {
    var absolute: Set<String>
    /// Something lies neither below a recorded path nor on the way to one.
    var outside = false
    var below = FilesEvidence()
    var all = FilesEvidence()
  }
  var nothingSeen: Seen { Seen(absolute: Set(recorded.map(\.string))) }

  func take(_ node: Node, _ seen: inout Seen) {
    guard let path = node.path, let type = node.type else { return }
    let count = { (evidence: inout FilesEvidence) in
      evidence.count(type, size: node.size ?? 0, user: node.uid ?? 0, group: node.gid ?? 0)
    }
    count(&seen.all)
    let place = FilePath(path)
    if place.starts(with: base), place != base { count(&seen.below) }
    if !recorded.contains(where: { place.starts(with: $0) || $0.starts(with: place) }) { seen.outside = true }
    seen.absolute.remove(path)
  }

  /// An absolute tree is read from the directory inside it, which restic names `ID:/path`.
  func part(of snapshot: String, _ seen: Seen) -> FilesPart {
    let isAbsolute = seen.absolute.isEmpty && !seen.outside && !recorded.isEmpty
    return FilesPart(
      snapshot: isAbsolute ? "\(snapshot):\(base.string)" : snapshot, directory: base.string, paths: relative.map(\.string),
      root: nil, evidence: isAbsolute ? seen.below : seen.all)
  }
}
