import Glibc
import SystemPackage

extension Directory {
  /// Moves directories, also of ours that may not be written: the kernel asks for that, because their `..` changes (EACCES, measured). They get
  /// it for the moment, wherever they are then.
  static func moving(_ entries: [(Directory, Name)], _ move: () throws -> Void) throws {
    do { return try move() } catch let error as FileError where error.number == EACCES {
      let pinned = try entries.compactMap { place, name -> (Directory, mode_t)? in
        guard let status = try place.existing(name), status.isDirectory, status.user == geteuid(), status.mode & 0o200 == 0 else {
          return nil
        }
        return (try place.open(name), mode_t(status.mode))
      }
      if pinned.isEmpty { throw error }
      for (directory, mode) in pinned { _ = fchmod(directory.descriptor.rawValue, mode | 0o200) }
      defer { for (directory, mode) in pinned { _ = fchmod(directory.descriptor.rawValue, mode) } }
      try move()
    }
  }
}
