import Glibc
import SystemPackage

extension Directory {
  /// A FIFO that was not there, or a device node, that of /dev/null; `type` as restic calls it.
  func makeSpecial(_ name: Name, _ type: String) throws {
    let kind: mode_t = type == "fifo" ? Glibc.S_IFIFO : type == "dev" ? Glibc.S_IFBLK : Glibc.S_IFCHR
    let made = name.withPlatformString { mknodat(descriptor.rawValue, $0, kind | 0o600, type == "fifo" ? 0 : 0x103) }
    if made != 0 { throw FileError("mknod", path.appending(name).string) }
  }
}
