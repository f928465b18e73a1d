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

  private static func listed(below directory: String) throws -> [String] {
    try MountInfo.read()
      .split(separator: "\n").compactMap { $0.split(separator: " ").dropFirst(4).first.map { MountInfo.unescaped(String($0)) } }
      .filter { $0.hasPrefix(directory + "/") }.map { String($0.dropFirst(directory.utf8.count + 1)) }
  }

  /// Whether it lies on the way to `path`, or is it.
  func holds(_ path: String) -> Bool { FilePath(path).starts(with: FilePath(self.path)) }
  func lies(in path: String) -> Bool { FilePath(self.path).starts(with: FilePath(path)) }
}
