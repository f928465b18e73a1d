import FoundationEssentials

/// A snapshot as `restic snapshots --json` prints it; only the fields read here.
struct Snapshot: Decodable, Equatable, Sendable {
  let id: String
  let time: String
  var hostname: String?
  let paths: [String]?
  let tags: [String]?
  /// The snapshot this one was made of, by `copy` here or there, or by `tag`.
  var original: String? = nil
  let summary: Summary?

  /// The same for every copy of a snapshot.
  var identity: String { original ?? id }

  /// Whether a record means it by this id.
  func isCalled(_ name: String) -> Bool { id == name || original == name }

  struct Summary: Decodable, Equatable, Sendable {
    let total_bytes_processed: Int?
    let data_added_packed: Int?
    /// From when to when it was read; snapshots before restic 0.17 lack both.
    var backup_start: String? = nil
    var backup_end: String? = nil
  }

  /// The value of the first tag `key=value`.
  func tag(_ key: String) -> String? { values(key).first }

  func values(_ key: String) -> [String] {
    (tags ?? []).compactMap { $0.hasPrefix(key + "=") ? String($0.dropFirst(key.count + 1)) : nil }
  }

  /// As restic shows it: the first eight digits.
  var short: String { String(id.prefix(8)) }

  /// restic prints nanoseconds and the zone of the machine that made the snapshot; whole seconds are enough here.
  var date: Date? { Format.read(time)?.date }

  /// When all of it had been read: what changed later is not in it. Counted from its own time, which `backup --time` sets and these
  /// two do not follow (measured).
  var ended: Date? {
    guard let begin = summary?.backup_start.flatMap(Format.read), let end = summary?.backup_end.flatMap(Format.read) else {
      return date
    }
    return date?.addingTimeInterval(max(0, end.date.timeIntervalSince(begin.date)))
  }
}

/// One line of restic's JSON output; fields that a message type lacks are nil. Unknown types decode and are ignored.
struct ResticMessage: Decodable, Sendable {
  let message_type: String?
  // status
  let total_bytes: Int?
  let bytes_done: Int?
  let bytes_restored: Int?
  // summary
  let snapshot_id: String?
  let data_added_packed: Int?
  let total_bytes_processed: Int?
  // error
  let error: Message?
  let item: String?
  // exit_error
  let code: Int32?
  let message: String?
  // summary of check
  let num_errors: Int?
  let broken_packs: [String]?
  // change of diff
  let path: String?
  let modifier: String?

  struct Message: Decodable, Sendable { let message: String }

  init?(line: String) {
    guard line.hasPrefix("{"), let message = try? JSONDecoder().decode(Self.self, from: Data(line.utf8)) else { return nil }
    self = message
  }
}

/// A file of a snapshot as `restic ls --json` prints it.
struct Node: Decodable, Sendable {
  let struct_type: String?
  let type: String?
  let path: String?
  let uid: UInt32?
  let gid: UInt32?
  let size: Int?
  /// Go's file mode bits, not Unix's.
  let mode: UInt32?
  let mtime: String?
  let ctime: String?
  let inode: UInt64?

  init?(line: String) {
    guard let node = try? JSONDecoder().decode(Self.self, from: Data(line.utf8)) else { return nil }
    guard node.struct_type == "node" else { return nil }
    self = node
  }

  /// Permission bits as stat(2) has them: Go keeps setuid, setgid and sticky elsewhere.
  var permissions: UInt32 {
    let mode = mode ?? 0
    return mode & 0o777 | (mode & 1 << 23 != 0 ? 0o4000 : 0) | (mode & 1 << 22 != 0 ? 0o2000 : 0)
      | (mode & 1 << 20 != 0 ? 0o1000 : 0)
  }
}

extension Node {
  /// A time of restic's as stat(2) has it: seconds since 1970, nanoseconds.
  static func nanoseconds(_ time: String) -> (Int, Int)? {
    Format.read(time).map { (Int($0.date.timeIntervalSince1970), $0.nanoseconds) }
  }

  /// Whether all of these are what restic saw: whatever changes an entry, its attributes too, changes this time.
  func isStill(_ statuses: FileStatus...) -> Bool {
    guard let changed = ctime.flatMap(Self.nanoseconds) else { return false }
    return statuses.allSatisfy { $0.inode == inode && changed == ($0.changed.tv_sec, $0.changed.tv_nsec) }
  }
}

/// A key of `restic key list --json`; `current` is the one the password opened.
struct Key: Decodable, Sendable {
  let id: String
  let current: Bool
}

/// A group of `restic forget --json`.
struct ForgetGroup: Decodable, Sendable {
  let keep: [Snapshot]?
  let remove: [Snapshot]?
}
