import CLinux
import Glibc
import SystemPackage

/// What the toolkit keeps below FILES_DIRECTORY counts only where every step down to it belongs to this user or to root, and nobody else
/// may write there: the application can make `.backup-restore`, too, and rename this toolkit's aside.
extension Directory {
  /// The directory of that name, if it is the toolkit's; nil: nothing is there.
  ///
  /// - Throws: `Failure` 22, `.foreign`, where it is not.
  func own(_ name: Name) throws -> Directory? {
    guard let there = try existing(name) else { return nil }
    if let problem = foreign(there, name, isDirectory: true) { throw Failure(foreign: problem) }
    let directory: Directory
    do { directory = try open(name) } catch let error as FileError where error.number == EACCES {
      throw Failure(
        .refused, "\(error)", hint: "run as user \(there.user), as the run did that made it, or as root with DAC_OVERRIDE")
    } catch let error as FileError where [ENOENT, ENOTDIR, ELOOP].contains(error.number) { throw replaced(name) }
    // Between the two calls another may have got the name.
    if let problem = foreign(try directory.status(), name, isDirectory: true) { throw Failure(foreign: problem) }
    return directory
  }

  /// The same, made where nothing is there.
  func makeOwn(_ name: Name) throws -> Directory {
    let isNew = try make(name)
    do {
      guard let directory = try own(name) else { throw replaced(name) }
      // The application's default ACL would come along with everything that is made below and goes live.
      if isNew { _ = linux_remove_default_acl(directory.descriptor.rawValue) }
      return directory
    } catch let failure as Failure where isNew && failure.cause == .foreign {
      // By somebody who has replaced it meanwhile, or by a file system that keeps no owners.
      guard name.withPlatformString({ unlinkat(descriptor.rawValue, $0, AT_REMOVEDIR) }) == 0 else { throw failure }
      throw Failure(
        .refused, "\(failure.problems[0].fact), although it was made just now: the file system keeps no owners or modes",
        hint: "mount it so that it does (NFS without all_squash, or run as the user that it squashes to; CIFS with dir_mode=0700)"
      )
    }
  }

  /// The content of a file that is the toolkit's; nil: nothing is there.
  ///
  /// - Throws: `Failure` 22, `.foreign`, where it is not, or has more than `limit` bytes.
  func readOwn(_ name: Name, limit: Int) throws -> [UInt8]? {
    guard let there = try existing(name) else { return nil }
    let accept = { (status: FileStatus) in
      if let problem = self.foreign(status, name, isDirectory: false) { throw Failure(foreign: problem) }
      if status.size > limit {
        throw Failure(foreign: Problem("\(self.shown(name)) has \(status.size) bytes, over \(limit)", hint: self.aside(name)))
      }
    }
    try accept(there)
    return try read(name, accept: accept)
  }

  /// Somebody is at it this very moment.
  private func replaced(_ name: Name) -> Failure {
    Failure(foreign: Problem("\(shown(name)) was replaced while it was looked at", hint: aside(name)))
  }

  private func shown(_ name: Name) -> String { printable(path.appending(name).string) }

  /// Why it is not the toolkit's; nil where it is.
  private func foreign(_ status: FileStatus, _ name: Name, isDirectory: Bool) -> Problem? {
    let shown = shown(name)
    if status.type != (isDirectory ? "dir" : "file") {
      return Problem("\(shown) is of type \(status.type), so it is not this toolkit's", hint: aside(name))
    }
    let close = "chmod 0\(isDirectory ? 700 : 600) \(shown)"
    if !Self.belongsToUs(status) {
      return Problem(
        "\(shown) belongs to user \(status.user), so what it holds may be the application's",
        hint:
          "\(aside(name)); if this toolkit made it and its owner was changed since (chown -R): chown \(geteuid()) \(shown) && \(close)"
      )
    }
    if status.mode & 0o022 != 0 {
      return Problem(
        "\(shown) can be written by others (mode \(String(status.mode, radix: 8))), so what it holds may be the application's",
        hint: "\(aside(name)); if its mode was changed since (chmod -R, or fsGroup without OnRootMismatch): \(close)")
    }
    return nil
  }

  /// How it is put out of the way, and where this toolkit's own is, if somebody renamed that.
  private func aside(_ name: Name) -> String {
    let away = "look at it, and put it aside: mv -T \(shown(name)) \(shown(name)).foreign"
    let own = ((try? entries()) ?? []).first { other in
      guard other != name, let status = try? existing(other), status.isDirectory, Self.belongsToUs(status),
        let inside = try? open(other).entries()
      else { return false }
      return inside.contains { Self.isWork($0.string) }
    }
    return own.map { "\(away); this toolkit's own is \(shown($0)) now: mv -T \(shown($0)) \(shown(name))" } ?? away
  }

  private static func belongsToUs(_ status: FileStatus) -> Bool { status.user == geteuid() || status.user == 0 }

  /// The name of a restore's own directory, `20261123T231000Z`.
  private static func isWork(_ name: String) -> Bool {
    name.utf8.count == 16
      && name.utf8.enumerated().allSatisfy { index, byte in
        index == 8 ? byte == UInt8(ascii: "T") : index == 15 ? byte == UInt8(ascii: "Z") : (0x30...0x39).contains(byte)
      }
  }
}
