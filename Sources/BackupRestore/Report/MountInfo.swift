import SystemPackage

/// What is mounted where, as this process sees it: /proc/self/mountinfo, proc(5).
enum MountInfo {
  /// Read to its end: the kernel gives it in pieces of whole lines, and Foundation takes the first one that is short for the whole (measured,
  /// 3639 of 5148 bytes).
  static func read() throws -> String {
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
  }

  /// proc(5) writes space, tab, newline and backslash as three octal digits.
  static func unescaped(_ text: String) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")].reduce(text) { $0.replacing($1.0, with: $1.1) }
  }
}
