import SystemPackage

/// What differs between two states of the files.
struct FilesComparison: Encodable, Equatable, Sendable {
  enum Change: String, Encodable, CaseIterable, Sendable {
    case new, gone, changed

    var flipped: Change { self == .new ? .gone : self == .gone ? .new : self }
  }

  struct Entry: Encodable, Equatable, Sendable {
    /// Below FILES_DIRECTORY.
    let path: String
    let change: Change
    /// Bytes; nil: it is not there, or is no file.
    var then: Int?
    var now: Int?

    /// By how many bytes it may differ.
    var size: Int { change == .changed ? max(then ?? 0, now ?? 0) : then ?? now ?? 0 }
  }

  struct Total: Encodable, Equatable, Sendable {
    var count = 0
    var bytes = 0
  }

  private(set) var totals: [String: Total] = [:]
  /// The largest first, `most` of them.
  private(set) var entries: [Entry] = []

  /// So many are named; all are counted.
  static let most = 1000

  subscript(change: Change) -> Total { totals[change.rawValue] ?? Total() }
  var isEmpty: Bool { totals.isEmpty }

  mutating func add(_ entry: Entry) {
    totals[entry.change.rawValue, default: Total()].count += 1
    totals[entry.change.rawValue, default: Total()].bytes += entry.size
    entries.append(entry)
    if entries.count >= 2 * Self.most { sort() }
  }

  mutating func sort() {
    entries.sort { ($1.size, $0.path) < ($0.size, $1.path) }
    entries.removeLast(max(0, entries.count - Self.most))
  }

  /// Two snapshots, by restic's own `diff`; their listings tell the sizes.
  init(_ then: FilesPart, _ now: FilesPart, in repository: Repository) async throws {
    self.init()
    let changes = Locked<[String: Entry]>([:])
    try await repository.difference(then.snapshot, now.snapshot) { path, modifier in
      let change: Change = modifier == "+" ? .new : modifier == "-" ? .gone : .changed
      changes.change { $0[path] = Entry(path: String(path.dropFirst()), change: change) }
    }
    if !changes.value.isEmpty {
      try await repository.list(then.snapshot) { node in changes.change { $0[node.path ?? ""]?.then = node.size } }
      try await repository.list(now.snapshot) { node in changes.change { $0[node.path ?? ""]?.now = node.size } }
    }
    for entry in changes.value.values { add(entry) }
    sort()
  }

  /// A snapshot and what is live, by type, size and time: nothing is read. What the set leaves out is not missed in it.
  ///
  /// - Parameter paths: what is compared; empty: all.
  init(_ then: FilesPart, live directory: Directory, paths: [String], in repository: Repository) async throws {
    self.init()
    struct State: Sendable {
      var comparison: FilesComparison
      var seen: Set<Int> = []
    }
    let isMeant = { @Sendable (path: String) in
      Tree.isEntry(path.utf8) && (paths.isEmpty || paths.contains { path == $0 || path.hasPrefix($0 + "/") })
    }
    let state = Locked(State(comparison: FilesComparison()))
    try await repository.list(then.snapshot) { node in
      guard let path = node.path.map({ String($0.dropFirst()) }), isMeant(path), !path.contains("\u{FFFD}") else { return }
      let live = (try? directory.existing(at: FilePath(path))) ?? nil
      let entry = Self.entry(path, node, live)
      state.change { state in
        state.seen.insert(path.hashValue)
        if let entry { state.comparison.add(entry) }
      }
    }
    let excluded = then.excluded ?? []
    // Another volume is not entered on the way.
    let mounts = try Mount.below(directory).filter { !$0.isSnapshots }.compactMap {
      try directory.directory(at: FilePath($0.path))
    }
    try await blocking {
      for volume in [directory] + mounts {
        try volume.walk { place, name, status in
          var below = place.path.appending(name)
          _ = below.removePrefix(directory.path)
          let path = below.string
          if !isMeant(path) || path.contains("\u{FFFD}") || ResticPattern.leavesOut(path, by: excluded) { return }
          state.change { state in
            if state.seen.contains(path.hashValue) { return }
            state.comparison.add(Entry(path: path, change: .new, now: status.type == "file" ? status.size : nil))
          }
        }
      }
    }
    self = state.value.comparison
    sort()
  }

  private static func entry(_ path: String, _ node: Node, _ live: FileStatus?) -> Entry? {
    guard let live else { return Entry(path: path, change: .gone, then: node.size) }
    let isFile = node.type == "file"
    let time = (live.modified.tv_sec, live.modified.tv_nsec)
    let isSame =
      live.type == node.type
      && (!isFile || live.size == node.size && node.mtime.flatMap(Node.nanoseconds).map { $0 == time } != false)
    return isSame ? nil : Entry(path: path, change: .changed, then: node.size, now: live.type == "file" ? live.size : nil)
  }

  private init() {}

  /// The same, seen from the other side.
  var flipped: FilesComparison {
    var other = FilesComparison()
    for (name, total) in totals { other.totals[Change(rawValue: name)?.flipped.rawValue ?? name] = total }
    other.entries = entries.map { Entry(path: $0.path, change: $0.change.flipped, then: $0.now, now: $0.then) }
    return other
  }
}
