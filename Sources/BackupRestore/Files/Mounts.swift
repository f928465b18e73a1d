import CLinux
import FoundationEssentials
import Glibc
import SystemPackage

/// Another file system below a directory: nothing can be moved between it and the rest (EXDEV), nor it itself (EBUSY).
struct Mount: Equatable, Sendable {
  /// Relative.
  let path: String
  let isReadOnly: Bool
  /// Stays as it is, whatever is restored around it: what a pod mounts read-only (a ConfigMap), and the snapshots of an NFS server.
  var isLeftOut: Bool { !path.contains("/") && (isReadOnly || isSnapshots) }
  /// Of the volume itself, each as large as that.
  var isSnapshots: Bool { path == ".snapshot" }

  /// Those below `directory`, sorted. The kernel's list is no snapshot while others come and go, so every step of `paths` and every entry of
  /// the top is asked itself, too.
  static func below(_ directory: Directory, steps paths: [String] = []) throws -> [Mount] {
    var found = Set(try listed(below: directory.path.string))
    for name in try directory.entries() where directory.isMountPoint(name) { found.insert(name.string) }
    for path in paths {
      var (step, place) = (FilePath(), Optional(directory))
      for name in FilePath(path).components {
        step.append(name)
        if place?.isMountPoint(name) == true { found.insert(step.string) }
        place = try place?.directory(name)
      }
    }
    return found.sorted().map { path in
      var status = statvfs()
      let place = directory.reached.appending(FilePath(path).components)
      let isReadOnly = place.withPlatformString { statvfs($0, &status) } == 0 && status.f_flag & UInt(ST_RDONLY) != 0
      return Mount(path: path, isReadOnly: isReadOnly)
    }
  }

  /// Read to its end: the kernel gives it in pieces, and Foundation takes the first one that is short for the whole (measured, 3639 of 5148
  /// bytes).
  private static func listed(below directory: String) throws -> [String] {
    let file = try FileDescriptor.open("/proc/self/mountinfo", .readOnly, options: .closeOnExec)
    let bytes = try file.closeAfter {
      var bytes: [UInt8] = []
      while true {
        let piece = try [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
          count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
        }
        if piece.isEmpty { return bytes }
        bytes += piece
      }
    }
    return String(decoding: bytes, as: UTF8.self)
      .split(separator: "\n").compactMap { $0.split(separator: " ").dropFirst(4).first.map { MountInfo.unescaped(String($0)) } }
      .filter { $0.hasPrefix(directory + "/") }.map { String($0.dropFirst(directory.utf8.count + 1)) }
  }

  /// Whether it lies on the way to `path`, or is it.
  func holds(_ path: String) -> Bool { FilePath(path).starts(with: FilePath(self.path)) }
  func lies(in path: String) -> Bool { FilePath(self.path).starts(with: FilePath(path)) }
}

enum MountInfo {
  /// proc(5) writes space, tab, newline and backslash as three octal digits.
  static func unescaped(_ text: String) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")].reduce(text) { $0.replacing($1.0, with: $1.1) }
  }
}
