import Glibc
import SystemPackage

/// A system call that failed, with its errno.
struct FileError: Error, CustomStringConvertible {
  let call: String
  let path: String
  let number: Int32

  init(_ call: String, _ path: String) { (self.call, self.path, number) = (call, path, errno) }
  init(_ call: String, _ path: String, _ error: Errno) { (self.call, self.path, number) = (call, path, error.rawValue) }
  var description: String { "\(call) \(printable(path)): \(String(cString: strerror(number)))" }
}

/// lstat(2).
struct FileStatus: Equatable, Sendable {
  let device: UInt64
  let inode: UInt64
  let kind: mode_t
  let mode: UInt32
  let user: UInt32
  let group: UInt32
  let size: Int
  /// What its removal makes free, as far as it is the last name of it.
  let allocated: Int
  let modified: timespec
  let changed: timespec

  init(_ path: String) throws { self = try FilePath(path).status() }

  private init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    kind = status.st_mode & S_IFMT
    mode = UInt32(status.st_mode & 0o7777)
    user = status.st_uid
    group = status.st_gid
    size = Int(status.st_size)
    allocated = Int(status.st_blocks) * 512 / max(1, Int(status.st_nlink))
    modified = status.st_mtim
    changed = status.st_ctim
  }

  var isDirectory: Bool { kind == S_IFDIR }
  var attributes: FileAttributes { FileAttributes(user: user, group: group, mode: mode) }

  /// restic's name of the type.
  var type: String {
    switch kind {
    case S_IFDIR: "dir"
    case S_IFLNK: "symlink"
    case S_IFIFO: "fifo"
    case S_IFSOCK: "socket"
    case S_IFBLK: "dev"
    case S_IFCHR: "chardev"
    default: "file"
    }
  }

  static func == (a: Self, b: Self) -> Bool { a.device == b.device && a.inode == b.inode }
}

extension FilePath {
  /// lstat(2) with the path's own bytes.
  func status() throws -> FileStatus {
    try withPlatformString { try FileStatus(platform: $0) }
  }
}

extension FileStatus {
  /// fstat(2).
  init(open descriptor: Int32) throws {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileError("fstat", "/proc/self/fd/\(descriptor)") }
    self.init(status)
  }

  /// lstat(2) of a name in a directory.
  init(_ name: FilePath.Component, in directory: Int32) throws(Errno) {
    var status = stat()
    if name.withPlatformString({ fstatat(directory, $0, &status, AT_SYMLINK_NOFOLLOW) }) != 0 { throw Errno(rawValue: errno) }
    self.init(status)
  }

  fileprivate init(platform path: UnsafePointer<CChar>) throws {
    var status = stat()
    guard lstat(path, &status) == 0 else { throw FileError("lstat", String(cString: path)) }
    self.init(status)
  }

  /// Nil where nothing is there.
  static func existing(_ path: FilePath) throws -> FileStatus? {
    do { return try path.status() } catch let error as FileError where error.number == ENOENT || error.number == ENOTDIR {
      return nil
    }
  }
}

/// Owner and permission bits.
struct FileAttributes: Codable, Equatable, Sendable {
  let user: UInt32
  let group: UInt32
  let mode: UInt32

  /// To the same user and group.
  func belongs(like other: Self) -> Bool { (user, group) == (other.user, other.group) }
}
