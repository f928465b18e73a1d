import Glibc
import SystemPackage

/// A directory for this run's scratch files below TMPDIR, removed by `remove`. Its lock tells a later run that its owner is
/// dead and that it may be cleared away.
struct Scratch: Sendable {
  let path: FilePath
  private let lock: FileDescriptor
  /// A run may have two: an --in-place saves a set in the middle of its restore.
  private static let made = Locked(0)

  init(_ base: [String: String]) throws {
    let parent = base["TMPDIR"] ?? "/tmp"
    let problem = { (error: any Error) in
      Failure(.refused, "TMPDIR \(parent) cannot be used: \(error)", hint: "mount a writable directory and set TMPDIR to it")
    }
    do {
      Self.clear(FilePath(parent))
      Self.made.change { $0 += 1 }
      path = FilePath(parent).appending("backup-restore.\(getpid()).\(Self.made.value)")
      try Tree.remove(path)
      try Tree.makeDirectory(path)
      lock = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .directory])
      if flock(lock.rawValue, LOCK_EX | LOCK_NB) != 0 { throw FileError("flock", path.string) }
    } catch { throw problem(error) }
  }

  func remove() {
    try? Tree.remove(path)
    try? lock.close()
  }

  /// What a killed run left: nobody holds its lock.
  private static func clear(_ parent: FilePath) {
    for name in (try? Tree.entries(parent)) ?? [] where name.string.hasPrefix("backup-restore.") {
      let path = parent.appending(name)
      guard let directory = try? FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .directory, .noFollow]) else {
        continue
      }
      if flock(directory.rawValue, LOCK_EX | LOCK_NB) == 0 { try? Tree.remove(path) }
      try? directory.close()
    }
  }
}
