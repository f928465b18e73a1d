import SystemPackage

/// Where pg_restore has an archive from.
enum ArchiveSource: Sendable {
  /// Spooled, or its beginning: the table of contents is enough for what has no rows.
  case file(FilePath)
  case repository(Repository, path: String, snapshot: String)

  /// - Parameter opened: the search_path is the session's, see `open`.
  func read<T: Sendable>(opened: Bool = false, _ body: @Sendable (String?, Input) async throws -> T) async throws -> T {
    switch self {
    case .file(let path):
      if opened { try Self.open(path) }
      return try await body(path.string, .none)
    case .repository(let repository, let path, let snapshot):
      return try await repository.piped(path, of: snapshot) { input in
        guard opened, case .descriptor(let descriptor) = input else { return try await body(nil, input) }
        return try await body(nil, .descriptor(try Self.opened(descriptor)))
      }
    }
  }

  /// pg_restore empties search_path when it connects, then sends what the archive says, and that is the same: neither the database's
  /// settings nor PGOPTIONS outlast it (measured, 15.20). In its place the archive says to take the session's own.
  private static let emptied = Array("SELECT pg_catalog.set_config('search_path', '', false);".utf8)
  private static let reset = Array("RESET search_path;".utf8) + Array(repeating: UInt8(ascii: " "), count: emptied.count - 18)
  /// It is among the first three entries.
  private static let beginning = 1 << 16

  static func open(_ bytes: inout [UInt8]) {
    guard bytes.count >= emptied.count else { return }
    for start in 0...(bytes.count - emptied.count) where bytes[start] == emptied[0] && bytes[start...].starts(with: emptied) {
      bytes.replaceSubrange(start..<(start + emptied.count), with: reset)
      return
    }
  }

  private static func open(_ path: FilePath) throws {
    let file = try FileDescriptor.open(path, .readWrite, options: .closeOnExec)
    try file.closeAfter {
      var bytes = [UInt8](repeating: 0, count: beginning)
      let count = try bytes.withUnsafeMutableBytes { try file.read(fromAbsoluteOffset: 0, into: $0) }
      bytes.removeLast(beginning - count)
      open(&bytes)
      try file.writeAll(toAbsoluteOffset: 0, bytes)
    }
  }

  /// The same through this process. Read to its end also where nobody takes it any more, or restic dies of SIGPIPE and leaves its lock.
  private static func opened(_ source: FileDescriptor) throws -> FileDescriptor {
    let pipe = try FileDescriptor.pipe(options: .closeOnExec)
    blockingQueue().async {
      var head: [UInt8]? = []
      var isWanted = true
      let pass = { (bytes: [UInt8]) in
        guard isWanted else { return }
        do { try pipe.writeEnd.writeAll(bytes) } catch { isWanted = false }
      }
      var buffer = [UInt8](repeating: 0, count: beginning)
      while let count = try? buffer.withUnsafeMutableBytes({ try source.read(into: $0) }), count > 0 {
        guard var first = head else {
          pass(Array(buffer[..<count]))
          continue
        }
        first += buffer[..<count]
        head = first.count < beginning ? first : nil
        if head != nil { continue }
        open(&first)
        pass(first)
      }
      if var first = head {
        open(&first)
        pass(first)
      }
      try? pipe.writeEnd.close()
      try? source.close()
    }
    return pipe.readEnd
  }
}
