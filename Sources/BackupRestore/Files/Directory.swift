import CLinux
import Glibc
import SystemPackage

/// A directory that is held open: what is done in it is done to it, wherever its name leads by now. The application owns the top of
/// FILES_DIRECTORY, and may rename what lies there or put a link in its place between any two calls.
///
/// A name is one component, and a symbolic link is never followed.
final class Directory: Sendable {
  typealias Name = FilePath.Component

  let descriptor: FileDescriptor
  /// Where it was when it was opened, for messages.
  let path: FilePath

  /// What leads to `path` may be a link, `path` itself only when `following`.
  init(_ path: FilePath, following: Bool = false) throws {
    let number = (following ? path.appending(".") : path).withPlatformString { linux_open_directory(AT_FDCWD, $0) }
    if number < 0 { throw FileError("open", path.string) }
    (descriptor, self.path) = (FileDescriptor(rawValue: number), path)
  }

  private init(_ number: Int32, _ path: FilePath) { (descriptor, self.path) = (FileDescriptor(rawValue: number), path) }

  deinit { try? descriptor.close() }

  /// The directory itself for calls and programs that take a path, as long as this process holds it open.
  var reached: FilePath { FilePath("/proc/\(getpid())/fd/\(number)") }

  private var number: Int32 { descriptor.rawValue }

  private func error(_ call: String, _ name: Name? = nil) -> FileError {
    FileError(call, (name.map { path.appending($0) } ?? path).string)
  }

  private func check(_ call: String, _ name: Name, _ body: (UnsafePointer<CChar>) -> Int32) throws {
    if name.withPlatformString(body) != 0 { throw error(call, name) }
  }

  // MARK: Looking

  func status() throws -> FileStatus {
    do { return try FileStatus(open: number) } catch { throw error as? FileError ?? self.error("fstat") }
  }

  /// Nil where nothing has that name.
  func existing(_ name: Name) throws -> FileStatus? {
    do { return try FileStatus(name, in: number) } catch  where error == .noSuchFileOrDirectory { return nil } catch {
      throw FileError("lstat", path.appending(name).string, error)
    }
  }

  /// Nil where nothing is there, or a step on the way is no directory.
  func existing(at path: FilePath) throws -> FileStatus? {
    guard let name = path.lastComponent else { return nil }
    return try parent(of: path)?.existing(name)
  }

  /// What holds `path`; nil where a step is missing or no directory.
  func parent(of path: FilePath) throws -> Directory? {
    try path.components.dropLast().reduce(Optional(self)) { try $0?.directory($1) }
  }

  func directory(at path: FilePath) throws -> Directory? {
    try path.lastComponent.flatMap { name in try parent(of: path)?.directory(name) }
  }

  /// Nil where nothing is there, or no directory.
  func directory(_ name: Name) throws -> Directory? {
    do { return try open(name) } catch let error as FileError where [ENOENT, ENOTDIR, ELOOP].contains(error.number) { return nil }
  }

  func open(_ name: Name) throws -> Directory {
    let opened = name.withPlatformString { linux_open_directory(number, $0) }
    if opened < 0 { throw error("open", name) }
    return Directory(opened, path.appending(name))
  }

  func entries() throws -> [Name] {
    // A description of its own: the place in the listing belongs to it.
    let opened = linux_open_directory(number, ".")
    guard opened >= 0, let stream = fdopendir(opened) else { throw error("opendir") }
    return try Tree.entries(stream, path)
  }

  /// The content of a regular file; nil where nothing has that name.
  ///
  /// - Parameter accept: throws where the file is not to be read.
  func read(_ name: Name, accept: (FileStatus) throws -> Void) throws -> [UInt8]? {
    let opened = name.withPlatformString { linux_open(number, $0) }
    if opened < 0 {
      if errno == ENOENT { return nil }
      throw error("open", name)
    }
    let file = FileDescriptor(rawValue: opened)
    return try file.closeAfter {
      let status = try FileStatus(open: opened)
      try accept(status)
      let bytes = try [UInt8](unsafeUninitializedCapacity: status.size) { buffer, count in
        while count < status.size {
          let more = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[count...]))
          if more == 0 { break }
          count += more
        }
      }
      return bytes
    }
  }

  /// Whether neither a rename nor a removal moves what has that name (chattr +i or +a), and, where it is a directory, nothing in it; nil
  /// asks for the directory itself.
  func isPinned(_ name: Name? = nil) -> Bool {
    (name.map { $0.withPlatformString { linux_is_pinned(number, $0) } } ?? linux_is_pinned(number, "")) == 1
  }

  func isMountPoint(_ name: Name) -> Bool { name.withPlatformString { linux_is_mount_point(number, $0) } == 1 }

  /// Calls `body` for what lies below, directories before what they hold, as deep as directories can be held open. Never through a link,
  /// nor into what is mounted.
  func walk(depth: Int = deepest, _ body: (Directory, Name, FileStatus) throws -> Void) throws {
    if depth == 0 { return }
    for name in try entries() {
      guard let status = try existing(name) else { continue }
      try body(self, name, status)
      if status.isDirectory, !isMountPoint(name) { try directory(name)?.walk(depth: depth - 1, body) }
    }
  }

  // MARK: Changing

  /// A directory that only its owner may enter.
  ///
  /// - Returns: false where something has that name already.
  @discardableResult
  func make(_ name: Name) throws -> Bool {
    if name.withPlatformString({ mkdirat(number, $0, 0o700) }) == 0 { return true }
    if errno == EEXIST { return false }
    throw error("mkdir", name)
  }

  /// An empty file that was not there.
  func makeFile(_ name: Name) throws {
    let opened = name.withPlatformString { linux_create(number, $0) }
    if opened < 0 { throw error("open", name) }
    try FileDescriptor(rawValue: opened).close()
  }

  /// A symbolic link that was not there.
  func link(_ name: Name, to target: String) throws { try check("symlink", name) { symlinkat(target, number, $0) } }

  /// Writes a small file so that it is there whole or not at all, also after a crash.
  func write(_ bytes: [UInt8], to name: Name) throws {
    let new = Name(made: "\(name.string).new")
    // What a crash left.
    if new.withPlatformString({ unlinkat(number, $0, 0) }) != 0, errno != ENOENT { throw error("unlink", new) }
    let opened = new.withPlatformString { linux_create(number, $0) }
    if opened < 0 { throw error("open", new) }
    let file = FileDescriptor(rawValue: opened)
    try file.closeAfter {
      do { try file.writeAll(bytes) } catch let error as Errno { throw FileError("write", path.appending(new).string, error) }
      if fsync(opened) != 0 { throw error("fsync", new) }
    }
    try check("rename", new) { from in name.withPlatformString { renameat(number, from, number, $0) } }
    if fsync(number) != 0 { throw error("fsync") }
  }

  /// Both names change places. Where the file system cannot exchange, `unsupported` runs instead.
  func exchange(_ name: Name, with other: Directory, _ otherName: Name, unsupported: () throws -> Void) throws {
    let result = name.withPlatformString { a in otherName.withPlatformString { linux_exchange(number, a, other.number, $0) } }
    if result == 0 { return }
    // NFS answers EINVAL, some file systems ENOSYS or EOPNOTSUPP.
    if [EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) { return try unsupported() }
    throw error("renameat2", name)
  }

  /// Renames and never overwrites.
  func rename(_ name: Name, to other: Directory, _ otherName: Name) throws {
    try check("rename", name) { from in
      otherName.withPlatformString { to in
        let code = linux_rename_noreplace(number, from, other.number, to)
        if code == 0 || ![EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) { return code }
        var status = stat()
        if fstatat(other.number, to, &status, AT_SYMLINK_NOFOLLOW) == 0 {
          errno = EEXIST
          return -1
        }
        return renameat(number, from, other.number, to)
      }
    }
  }

  /// chown(2) first: it clears setuid and setgid, which chmod(2) then sets.
  func set(_ attributes: FileAttributes) throws {
    if fchown(number, attributes.user, attributes.group) != 0 { throw error("chown") }
    if fchmod(number, mode_t(attributes.mode)) != 0 { throw error("chmod") }
  }

  /// Everything written to its file system is on disk. restic never syncs what it restores (measured).
  func syncFileSystem() throws {
    if linux_syncfs(number) != 0 { throw error("syncfs") }
  }
}

// MARK: Removing

extension Directory {
  /// How many directories are held open at once: a process may have 1024 descriptors, and a tree can be deeper.
  fileprivate static let deepest = 100

  /// Removes a tree of any depth; nothing there is fine. What is mounted in it is not entered: its content is not the tree's.
  func remove(_ name: Name) throws {
    guard let status = try existing(name) else { return }
    if !status.isDirectory { return try check("unlink", name) { unlinkat(number, $0, 0) } }
    let directory = try openToEmpty(name)
    // What lies too deep comes up, and is emptied in the next pass.
    while try !directory.entries().isEmpty { try directory.empty(below: directory, depth: 0) }
    try check("rmdir", name) { unlinkat(number, $0, AT_REMOVEDIR) }
  }

  private func empty(below top: Directory, depth: Int) throws {
    for name in try entries() {
      guard let status = try existing(name) else { continue }
      guard status.isDirectory else {
        try check("unlink", name) { unlinkat(number, $0, 0) }
        continue
      }
      let directory = try openToEmpty(name)
      if depth == Self.deepest {
        try rename(name, to: top, Name(made: ".\(status.inode).deep"))
      } else {
        try directory.empty(below: top, depth: depth + 1)
        try check("rmdir", name) { unlinkat(number, $0, AT_REMOVEDIR) }
      }
    }
  }

  /// Our own staging may hold directories that their owner may neither read nor write.
  private func openToEmpty(_ name: Name) throws -> Directory {
    let found = name.withPlatformString { linux_find_directory(number, $0) }
    if found < 0 { throw error("open", name) }
    let place = Directory(found, path.appending(name))
    if linux_is_mount_point(found, "") == 1 { throw FileError("rmdir", place.path.string, .resourceBusy) }
    // fchmod(2) does not take such a descriptor, and chmod(2) would follow a link put in the name's place.
    _ = place.reached.withPlatformString { chmod($0, 0o700) }
    let opened = linux_open_directory(found, ".")
    if opened < 0 { throw error("open", name) }
    return Directory(opened, place.path)
  }
}
