import FoundationEssentials
import Glibc
import SystemPackage

@testable import BackupRestore

/// A files directory with a live state and a staged one beside it.
struct Volume {
  let temporary: Temporary
  let exchange: Exchange
  var directory: FilePath { exchange.directory.path }

  init(_ live: [String: String], staged: [String: String], exchanges: Bool = true, onDisk: Bool = false) throws {
    temporary = try Temporary(onDisk: onDisk)
    exchange = try Self.exchange(temporary.path, .day(2), exchanges)
    try exchange.work.make(Exchange.treeName)
    try Self.write(live, below: directory)
    try Self.write(staged, below: exchange.tree)
  }

  /// Made where it is not there.
  static func exchange(_ directory: FilePath, _ id: RestoreID, _ exchanges: Bool = true) throws -> Exchange {
    var exchange = try Swap(directory: Directory(directory), server: nil).makeExchange(id)
    exchange.exchanges = exchanges
    return exchange
  }

  /// Keys are percent-encoded paths; a content of `/` makes an empty directory.
  static func write(_ state: [String: String], below root: FilePath) throws {
    for (name, content) in state {
      let path = root.appending(FilePath(bytes: percentDecoded(name)!).components)
      try makeDirectories(content == "/" ? path : path.removingLastComponent())
      if content == "/" { continue }
      let file = try FileDescriptor.open(path, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
      try file.closeAfter { _ = try file.writeAll(content.utf8) }
    }
  }

  private static func makeDirectories(_ path: FilePath) throws {
    if try FileStatus.existing(path) != nil { return }
    try makeDirectories(path.removingLastComponent())
    try Tree.makeDirectory(path)
  }

  /// What lies below `root`, as `write` takes it; empty directories only where they are leaves.
  static func rename(_ from: FilePath, _ to: FilePath) throws {
    let parents = (
      try Directory(from.removingLastComponent(), following: true), try Directory(to.removingLastComponent(), following: true)
    )
    try parents.0.rename(from.lastComponent!, to: parents.1, to.lastComponent!)
  }

  static func state(_ root: FilePath) throws -> [String: String] {
    var state: [String: String] = [:]
    try Tree.walk(root, skipping: [Tree.workDirectory]) { path, status in
      var rest = path
      _ = rest.removePrefix(root)
      if status.isDirectory {
        if try Tree.entries(path).isEmpty { state[rest.encoded] = "/" }
        return
      }
      let file = try FileDescriptor.open(path, .readOnly)
      let content = try file.closeAfter {
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0) }
        return String(decoding: bytes[..<count], as: UTF8.self)
      }
      state[rest.encoded] = content
    }
    return state
  }

  func live() throws -> [String: String] { try Self.state(directory) }
  func aside() throws -> [String: String] { try Self.state(exchange.tree) }

  /// Names in the work directory besides the tree: nothing may be left there.
  func leftovers() throws -> [String] { try exchange.work.entries().map(\.string).filter { $0 != "tree" } }
}
