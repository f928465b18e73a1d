import CLinux
import FoundationEssentials
import Glibc
import SystemPackage

/// File system calls that the steps share.
enum Tree {
  static let workDirectory = ".backup-restore"
  /// Entries of FILES_DIRECTORY that are never saved, replaced or removed.
  static let reserved: Set<String> = [workDirectory, "lost+found"]

  /// The names in a directory, as bytes, because names need not be UTF-8; without `.` and `..`.
  static func entries(_ directory: FilePath) throws -> [FilePath.Component] {
    guard let stream = directory.withPlatformString({ opendir($0) }) else {
      throw FileError("opendir", directory.string)
    }
    defer { closedir(stream) }
    var names: [FilePath.Component] = []
    while true {
      errno = 0
      guard let entry = readdir(stream) else {
        // A read error looks like the end, and a short listing would be taken for the whole.
        if errno != 0 { throw FileError("readdir", directory.string) }
        return names
      }
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { FilePath(platformString: $0) }
      }
      if let component = name.components.last, component.kind == .regular { names.append(component) }
    }
  }

  /// Calls `body` for everything below `directory`, directories before what they hold.
  static func walk(_ directory: FilePath, skipping skipped: Set<String> = [], _ body: (FilePath, FileStatus) throws -> Void)
    throws
  {
    for name in try entries(directory) where !skipped.contains(name.string) {
      let path = directory.appending(name)
      let status = try path.status()
      try body(path, status)
      if status.isDirectory { try walk(path, body) }
    }
  }

  /// Both names change places. Where the file system cannot exchange, `unsupported` runs instead.
  static func exchange(_ a: FilePath, _ b: FilePath, unsupported: () throws -> Void) throws {
    let result = a.withPlatformString { a in b.withPlatformString { linux_exchange(a, $0) } }
    if result == 0 { return }
    // NFS answers EINVAL, some file systems ENOSYS or EOPNOTSUPP.
    if [EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) { return try unsupported() }
    throw FileError("renameat2", a.string)
  }

  /// Renames and never overwrites.
  static func rename(_ from: FilePath, _ to: FilePath) throws {
    let result = from.withPlatformString { from in
      to.withPlatformString { to in
        let code = linux_rename_noreplace(from, to)
        if code == 0 || ![EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) { return code }
        var status = stat()
        if lstat(to, &status) == 0 {
          errno = EEXIST
          return -1
        }
        return Glibc.rename(from, to)
      }
    }
    if result != 0 { throw FileError("rename", from.string) }
  }

  static func makeDirectory(_ path: FilePath) throws {
    if path.withPlatformString({ mkdir($0, 0o700) }) != 0, errno != EEXIST { throw FileError("mkdir", path.string) }
  }

  /// Removes a tree of any depth; nothing there is fine. What is mounted in it is not entered: its content is not the tree's.
  static func remove(_ path: FilePath) throws {
    guard let status = try FileStatus.existing(path) else { return }
    if status.isDirectory {
      if path.withPlatformString({ linux_is_mount_point($0) }) == 1 { throw FileError("rmdir", path.string, .resourceBusy) }
      // Our own staging may hold directories without the write bit.
      _ = path.withPlatformString { chmod($0, 0o700) }
      for name in try entries(path) { try remove(path.appending(name)) }
      if path.withPlatformString({ rmdir($0) }) != 0 { throw FileError("rmdir", path.string) }
    } else if path.withPlatformString({ unlink($0) }) != 0 {
      throw FileError("unlink", path.string)
    }
  }

  /// Writes a small file so that it is there whole or not at all, also after a crash.
  static func writeDurably(_ bytes: [UInt8], to path: FilePath) throws {
    let new = path.removingLastComponent().appending("\(path.lastComponent!.string).new")
    try opened(new, .writeOnly, [.create, .truncate, .closeOnExec]) { file in
      do { try file.writeAll(bytes) } catch let error as Errno { throw FileError("write", new.string, error) }
      if fsync(file.rawValue) != 0 { throw FileError("fsync", new.string) }
    }
    if new.withPlatformString({ from in path.withPlatformString { Glibc.rename(from, $0) } }) != 0 {
      throw FileError("rename", new.string)
    }
    try syncDirectory(path.removingLastComponent())
  }

  static func syncDirectory(_ path: FilePath) throws {
    try opened(path, .readOnly, [.closeOnExec, .directory]) {
      if fsync($0.rawValue) != 0 { throw FileError("fsync", path.string) }
    }
  }

  /// Everything written to that file system is on disk. restic never syncs what it restores (measured).
  static func syncFileSystem(_ path: FilePath) throws {
    try opened(path, .readOnly, [.closeOnExec, .directory]) {
      if linux_syncfs($0.rawValue) != 0 { throw FileError("syncfs", path.string) }
    }
  }

  private static func opened(
    _ path: FilePath, _ mode: FileDescriptor.AccessMode, _ options: FileDescriptor.OpenOptions,
    _ body: (FileDescriptor) throws -> Void
  ) throws {
    let file: FileDescriptor
    do { file = try FileDescriptor.open(path, mode, options: options, permissions: .ownerReadWrite) } catch let error as Errno {
      throw FileError("open", path.string, error)
    }
    try file.closeAfter { try body(file) }
  }

  /// Bytes and inodes that an unprivileged process may still use; inodes nil where the file system does not count them.
  static func free(_ path: String) throws -> (bytes: Int, inodes: Int?) {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { throw FileError("statvfs", path) }
    return (Int(status.f_bavail) * Int(status.f_frsize), status.f_files == 0 ? nil : Int(status.f_favail))
  }
}

extension FilePath {
  /// Its bytes, percent-encoded, `/` kept.
  var encoded: String {
    components.map { component in component.withPlatformString { percentEncoded(bytes(of: $0)) } }.joined(separator: "/")
  }

  /// From bytes that need not be UTF-8.
  init(bytes: [UInt8]) {
    self = (bytes.map { CChar(bitPattern: $0) } + [0]).withUnsafeBufferPointer { FilePath(platformString: $0.baseAddress!) }
  }

  private func bytes(of string: UnsafePointer<CChar>) -> [UInt8] { (0..<strlen(string)).map { UInt8(bitPattern: string[$0]) } }

  /// chown(2) first: it clears setuid and setgid, which chmod(2) then sets.
  func set(_ attributes: FileAttributes) throws {
    try own(attributes)
    if withPlatformString({ chmod($0, mode_t(attributes.mode)) }) != 0 { throw FileError("chmod", string) }
  }

  /// lchown(2): a symbolic link itself, not what it points to.
  func own(_ attributes: FileAttributes) throws {
    if withPlatformString({ lchown($0, attributes.user, attributes.group) }) != 0 { throw FileError("chown", string) }
  }
}

/// The path absolute and without symbolic links, as far as it exists.
func resolved(_ path: String) -> String {
  let path = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
  var there = path[...]
  while !there.isEmpty {
    if let real = realpath(String(there), nil) {
      defer { free(real) }
      return String(cString: real) + path[there.endIndex...]
    }
    there = there[..<(there.lastIndex(of: "/") ?? there.startIndex)]
  }
  return path
}
