import Glibc
import SystemPackage

/// flock(2) on FILES_DIRECTORY itself: works on a read-only mount, and ends with the process that holds it.
enum DirectoryLock {
  /// Holds it from now on: a copy of the descriptor is never closed.
  ///
  /// - Returns: FILES_DIRECTORY, to be worked in.
  /// - Throws: `Failure` 22 where it cannot be opened, 11 when another run holds it for longer than LOCK_WAIT.
  static func take(_ directory: String, waits: Waits) async throws -> Directory {
    let opened: Directory
    do { opened = try Directory(FilePath(directory)) } catch let error as FileError {
      throw Failure(
        .refused, "\(error)",
        hint: "run as its owner (this is user \(geteuid())), or as root with the capability DAC_OVERRIDE")
    }
    let descriptor = fcntl(opened.descriptor.rawValue, F_DUPFD_CLOEXEC, 0)
    if descriptor < 0 { throw FileError("dup", directory) }
    let deadline = ContinuousClock().now + waits.lock
    var told = false
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR else { throw FileError("flock", directory) }
      if ContinuousClock().now >= deadline {
        throw Failure(
          .locked, "\(directory) is in use by another run",
          hint: "wait for it to end, or raise LOCK_WAIT (\(waits.lock.components.seconds) s)")
      }
      if !told { log.info("\(directory) is locked by another run: waiting up to \(waits.lock.components.seconds) s (LOCK_WAIT)") }
      told = true
      try await Task.sleep(for: .milliseconds(500))
    }
    return opened
  }
}
