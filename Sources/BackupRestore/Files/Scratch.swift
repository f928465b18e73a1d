import Glibc
import SystemPackage

/// A directory for this run's scratch files below TMPDIR, removed by `remove`. Its lock tells a later run that its owner is
/// dead and that it may be cleared away.
struct Scratch: Sendable {
  let directory: Directory
  private let parent: Directory
  private let name: Directory.Name

  var path: FilePath { directory.path }

  init(_ base: [String: String]) throws {
    let parent = base["TMPDIR"] ?? "/tmp"
    let problem = { (error: any Error) in
      Failure(.refused, "TMPDIR \(parent) cannot be used: \(error)", hint: "mount a writable directory and set TMPDIR to it")
    }
    do {
      self.parent = try Directory(FilePath(parent), following: true)
      Self.clear(self.parent)
      (name, directory) = try Self.make(in: self.parent)
    } catch { throw problem(error) }
  }

  func remove() { try? parent.remove(name) }

  /// TMPDIR may be everybody's: a name that cannot be guessed, and never one that is there.
  private static func make(in parent: Directory) throws -> (Directory.Name, Directory) {
    while true {
      var template = parent.path.appending("backup-restore.\(getpid()).XXXXXX").withPlatformString {
        Array(UnsafeBufferPointer(start: $0, count: strlen($0) + 1))
      }
      guard mkdtemp(&template) != nil, case let path = FilePath(platformString: template), let name = path.lastComponent else {
        throw FileError("mkdtemp", parent.path.string)
      }
      let made = try Directory(path)
      // Until it is locked, another run takes it for one whose owner is dead.
      let isLocked = flock(made.descriptor.rawValue, LOCK_EX | LOCK_NB) == 0
      if isLocked, try parent.existing(name) == made.status() { return (name, made) }
      if !isLocked, errno != EWOULDBLOCK { throw FileError("flock", path.string) }
    }
  }

  /// What a killed run of this user left: nobody holds its lock.
  private static func clear(_ parent: Directory) {
    for name in (try? parent.entries()) ?? [] where name.string.hasPrefix("backup-restore.") {
      guard let directory = try? parent.directory(name), (try? directory.status())?.user == geteuid() else { continue }
      if flock(directory.descriptor.rawValue, LOCK_EX | LOCK_NB) == 0 { try? parent.remove(name) }
    }
  }
}
