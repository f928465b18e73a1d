import CLinux
import Glibc
import SystemPackage

/// An extended attribute, xattr(7): the application's own, an ACL, a capability, a label.
struct ExtendedAttribute: Equatable, Sendable {
  let name: String
  let value: [UInt8]

  /// SELinux's.
  static let label = "security.selinux"

  /// What a file system or the kernel takes or refuses as one: `user.*` whatever the name, `security.capability`.
  var kind: String { Self.kind(name) }

  static func kind(_ name: String) -> String {
    guard let space = name.split(separator: ".").first, ["user", "trusted"].contains(space) else { return name }
    return "\(space).*"
  }

  /// Of whatever the path names, a symbolic link itself too. None where the file system has none.
  static func all(of path: FilePath) throws -> [ExtendedAttribute] {
    guard let names = try bytes(path, "listxattr", { linux_list_attributes($0, $1?.assumingMemoryBound(to: CChar.self), $2) })
    else { return [] }
    return try names.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.compactMap { name in
      // One may go between the two calls.
      try value(name, of: path).map { ExtendedAttribute(name: name, value: $0) }
    }
  }

  /// Nil where it has none of that name.
  static func value(_ name: String, of path: FilePath) throws -> [UInt8]? {
    try bytes(path, "getxattr \(name)") { linux_get_attribute($0, name, $1, $2) }
  }

  func set(_ path: FilePath) throws {
    if path.withPlatformString({ linux_set_attribute($0, name, value, value.count) }) != 0 {
      throw FileError("setxattr \(name)", path.string)
    }
  }

  /// Asked for its length first, because most files have nothing.
  private static func bytes(
    _ path: FilePath, _ call: String, _ body: (UnsafePointer<CChar>, UnsafeMutableRawPointer?, Int) -> Int
  ) throws -> [UInt8]? {
    while true {
      let length = path.withPlatformString { body($0, nil, 0) }
      if length == 0 { return [] }
      if length > 0 {
        let read = path.withPlatformString { path in
          var buffer = [UInt8](repeating: 0, count: length)
          let count = buffer.withUnsafeMutableBytes { body(path, $0.baseAddress, length) }
          return (count, Array(buffer.prefix(max(0, count))))
        }
        if read.0 >= 0 { return read.1 }
      }
      // It has grown since its length was asked.
      if errno == ERANGE { continue }
      if [ENODATA, ENOTSUP].contains(errno) { return nil }
      throw FileError(call, path.string)
    }
  }
}
