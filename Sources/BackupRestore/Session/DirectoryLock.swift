import Glibc
import SystemPackage

/// Locks on FILES_DIRECTORY itself: they work on a read-only mount, and end with the process that holds them.
enum DirectoryLock {
  private static let held = Locked<[String: FileDescriptor]>([:])

  /// flock(2), held from now on.
  ///
  /// - Returns: FILES_DIRECTORY, to be worked in.
  /// - Throws: `Failure` 22 where it cannot be opened, 11 when another run holds it for longer than LOCK_WAIT.
  @discardableResult
  static func take(_ directory: String, waits: Waits) async throws -> Directory {
    let opened: Directory
    do { opened = try Directory(FilePath(directory)) } catch let error as FileError { throw refusal(error) }
    // A copy, because what works in the directory is closed sooner.
    let number = fcntl(opened.descriptor.rawValue, F_DUPFD_CLOEXEC, 0)
    if number < 0 { throw FileError("dup", directory) }
    let descriptor = FileDescriptor(rawValue: number)
    try await waiting("\(directory) is", waits) { try lock(descriptor, directory) }
    held.change { $0[opened.path.string] = descriptor }
    return opened
  }

  static func refusal(_ error: FileError) -> Failure {
    Failure(
      .refused, "\(error)", hint: "run as its owner (this is user \(geteuid())), or as root with the capability DAC_OVERRIDE")
  }

  /// Whether another run has it. The look itself holds it for less than who waits between two tries.
  static func isHeld(_ directory: Directory) -> Bool {
    // A description of its own, whose lock ends with it.
    guard let own = try? FileDescriptor.open(directory.reached, .readOnly, options: [.directory, .closeOnExec]) else {
      return false
    }
    defer { try? own.close() }
    return flock(own.rawValue, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
  }

  /// Others may have it from now on; only another backup waits, before it does what comes after its own set. Nothing where it is not held.
  ///
  /// That is a second lock on the same directory, which flock(2) does not see and fcntl(2) does: of a directory, which nobody opens for
  /// writing, it can only be a shared one. So whoever has the first asks whether anybody shares the second, and takes it.
  ///
  /// - Throws: `Failure` 11 when another run holds that for longer than LOCK_WAIT.
  static func release(_ directory: String, waits: Waits) async throws {
    guard let descriptor = held.value[directory] else { return }
    defer { flock(descriptor.rawValue, LOCK_UN) }
    var isFirst = true
    try await waiting("the retention, copy and check of what was in \(directory) before is", waits) {
      // Let go between two tries, for those who wait for the first.
      defer { isFirst = false }
      guard try isFirst || lock(descriptor, directory) else { return false }
      if try control(descriptor, F_OFD_GETLK, F_WRLCK, directory) == F_UNLCK {
        _ = try control(descriptor, F_OFD_SETLK, F_RDLCK, directory)
        return true
      }
      flock(descriptor.rawValue, LOCK_UN)
      return false
    }
  }

  private static func lock(_ descriptor: FileDescriptor, _ directory: String) throws -> Bool {
    if flock(descriptor.rawValue, LOCK_EX | LOCK_NB) == 0 { return true }
    guard errno == EWOULDBLOCK || errno == EINTR else { throw FileError("flock", directory) }
    return false
  }

  /// Of the first byte, by whatever numbers Linux has for locks that belong to a descriptor and not to the whole process.
  private static let (F_OFD_GETLK, F_OFD_SETLK): (Int32, Int32) = (36, 37)

  private static func control(_ descriptor: FileDescriptor, _ command: Int32, _ type: Int32, _ directory: String) throws -> Int32
  {
    var lock = flock()
    (lock.l_type, lock.l_whence, lock.l_len) = (Int16(type), Int16(SEEK_SET), 1)
    guard fcntl(descriptor.rawValue, command, &lock) == 0 else { throw FileError("fcntl", directory) }
    return Int32(lock.l_type)
  }

  private static func waiting(_ what: String, _ waits: Waits, _ body: () throws -> Bool) async throws {
    if try body() { return }
    // Twice at least: somebody may have it for a moment, to see who has it.
    if waits.lock == .zero { try await Task.sleep(for: .milliseconds(500)) }
    var waiting = Waiting(waits.lock)
    while try !body() {
      try await waiting.pause(
        telling: "\(what) locked by another run: waiting up to \(waits.lock.components.seconds) s (LOCK_WAIT)",
        until: Failure(
          .locked, "\(what) in use by another run",
          hint: "wait for it to end, or raise LOCK_WAIT (\(waits.lock.components.seconds) s)"))
    }
  }
}

extension FilesSettings {
  /// The directory that another run has: it, or the one around it; nil: nobody has it.
  func heldDirectory() throws -> String? {
    for path in [outer, directory].compactMap({ $0 }) where (try? FileStatus(path))?.isDirectory == true {
      if DirectoryLock.isHeld(try Directory(FilePath(path))) { return path }
    }
    return nil
  }
}
