import CLinux
import FoundationEssentials
import Glibc
import SystemPackage

/// File system calls that the steps share.
enum Tree {
  static let workName: FilePath.Component = ".backup-restore"
  static let workDirectory = workName.string
  /// Entries of FILES_DIRECTORY that are never saved, replaced or removed.
  static let reserved: Set<String> = [workDirectory, "lost+found"]

  /// Whether bytes name an entry below FILES_DIRECTORY that may be saved and replaced: relative, without empty components, `.`, `..` and
  /// NUL, and not a reserved one. What comes from a journal, a record or the environment is looked at before it becomes a path.
  static func isEntry(_ path: some Collection<UInt8>) -> Bool {
    let names = path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    return names.allSatisfy { !$0.isEmpty && !$0.contains(0) && !$0.elementsEqual(".".utf8) && !$0.elementsEqual("..".utf8) }
      && !reserved.contains { names[0].elementsEqual($0.utf8) }
  }

  /// What on the way to an entry is there and no directory, a link above all: it would lead somewhere else.
  static func obstacle(onTheWayTo path: String, below directory: FilePath) throws -> FilePath? {
    var parent = directory
    for component in FilePath(path).components.dropLast() {
      parent.append(component)
      if let status = try FileStatus.existing(parent), !status.isDirectory { return parent }
    }
    return nil
  }

  /// The names in a directory, as bytes, because names need not be UTF-8; without `.` and `..`.
  static func entries(_ directory: FilePath) throws -> [FilePath.Component] {
    guard let stream = directory.withPlatformString({ opendir($0) }) else {
      throw FileError("opendir", directory.string)
    }
    return try entries(stream, directory)
  }

  /// Reads the stream to its end and closes it.
  static func entries(_ stream: OpaquePointer, _ directory: FilePath) throws -> [FilePath.Component] {
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

  static func makeDirectory(_ path: FilePath) throws {
    if path.withPlatformString({ mkdir($0, 0o700) }) != 0, errno != EEXIST { throw FileError("mkdir", path.string) }
  }

  /// Removes a tree of any depth; nothing there is fine.
  static func remove(_ path: FilePath) throws {
    guard let name = path.lastComponent, try FileStatus.existing(path) != nil else { return }
    try Directory(path.removingLastComponent(), following: true).remove(name)
  }

  /// Bytes and inodes that an unprivileged process may still use; inodes nil where the file system does not count them.
  static func free(_ path: String) throws -> (bytes: Int, inodes: Int?) {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { throw FileError("statvfs", path) }
    return (Int(status.f_bavail) * Int(status.f_frsize), status.f_files == 0 ? nil : Int(status.f_favail))
  }
}

extension Directory {
  /// What a restore of `paths` replaces; empty: every entry that is neither reserved nor another volume, which nothing moves.
  func selected(_ paths: [String]) throws -> [FilePath] {
    if !paths.isEmpty { return paths.map { FilePath($0) } }
    return try entries().filter { !Tree.reserved.contains($0.string) && !isMountPoint($0) }.map { FilePath(root: nil, [$0]) }
  }
}

extension Directory.Name {
  /// Of a text that this code composes of letters, digits and dots, or of another name and an ending: that is one component.
  init(made text: String) {
    // A slash in it would be a mistake in this code, and lead out of the directory: better none of it is done.
    self = Self(text)!
  }
}

extension FilePath {
  /// Its bytes, percent-encoded, `/` kept.
  var encoded: String {
    components.map { component in component.withPlatformString { percentEncoded(bytes(of: $0)) } }.joined(separator: "/")
  }

  /// From bytes that need not be UTF-8.
  init(bytes: [UInt8]) {
    self.init(platformString: bytes.map { CChar(bitPattern: $0) } + [0])
  }

  private func bytes(of string: UnsafePointer<CChar>) -> [UInt8] { (0..<strlen(string)).map { UInt8(bitPattern: string[$0]) } }

  /// chown(2) first: it clears setuid and setgid, which chmod(2) then sets.
  func set(_ attributes: FileAttributes) throws {
    try own(attributes)
    try allow(attributes)
  }

  /// chmod(2).
  func allow(_ attributes: FileAttributes) throws {
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
