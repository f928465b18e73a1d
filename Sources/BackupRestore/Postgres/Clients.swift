import FoundationEssentials

/// The PostgreSQL client programs on this machine, by major version.
struct Clients: Equatable, Sendable {
  /// Directories that hold pg_dump and pg_restore.
  let directories: [Int: String]

  /// Debian and the image lay them out as `/usr/lib/postgresql/MAJOR/bin`; `roots` is that first part. `PATH`'s own pg_dump
  /// comes first for its major, so that a test or an operator can put another one there.
  static func find(path: String, roots: [String] = ["/usr/lib/postgresql"], _ version: (String) async -> Int?) async -> Clients {
    var found: [Int: String] = [:]
    for directory in path.split(separator: ":").map(String.init) {
      // Debian's /usr/bin/pg_dump is a perl wrapper that chooses by its own rules; the real ones are below the roots.
      guard FileManager.default.isExecutableFile(atPath: directory + "/pg_dump"), !isWrapper(directory + "/pg_dump") else {
        continue
      }
      if let major = await version(directory + "/pg_dump"), found[major] == nil { found[major] = directory }
    }
    for root in roots {
      for entry in (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? [] {
        let directory = "\(root)/\(entry)/bin"
        if let major = Int(entry), found[major] == nil, FileManager.default.isExecutableFile(atPath: directory + "/pg_dump") {
          found[major] = directory
        }
      }
    }
    return Clients(directories: found)
  }

  private static func isWrapper(_ path: String) -> Bool {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: path).hasSuffix("pg_wrapper")) ?? false
  }

  /// The server's own major, else the smallest newer one: pg_dump refuses a server newer than itself (measured).
  func dump(server major: Int) throws(Failure) -> (program: String, major: Int) {
    guard let fit = directories.filter({ $0.key >= major }).min(by: { $0.key < $1.key }) else {
      throw Failure(
        .refused, "the server is PostgreSQL \(major), and the newest pg_dump here is \(newest)",
        hint: "install postgresql-client-\(major), or use an image that has it")
    }
    return (fit.value + "/pg_dump", fit.key)
  }

  /// The server's own major where it can read the archive, else the smallest that can: an older pg_restore cannot read a newer
  /// archive, a newer one sends `transaction_timeout` to servers that do not know it (measured).
  func restore(archive: Int, server: Int) throws(Failure) -> (program: String, major: Int) {
    let able = directories.filter { $0.key >= archive }
    guard let fit = able.first(where: { $0.key == server }) ?? able.min(by: { $0.key < $1.key }) else {
      throw Failure(
        .refused, "the archive was made by pg_dump \(archive), and the newest pg_restore here is \(newest)",
        hint: "install postgresql-client-\(archive), or use an image that has it")
    }
    return (fit.value + "/pg_restore", fit.key)
  }

  /// What a program says to `--version`; empty where it cannot be run.
  static func version(of program: String, _ base: [String: String]) async -> [Int] {
    let outcome = try? await Runner.run(
      Command(program, ["--version"], environment: base), output: .document(limit: 4096), errors: { _ in })
    return outcome.map { Version.numbers(String(decoding: $0.document, as: UTF8.self)) } ?? []
  }

  var newest: String { directories.keys.max().map(String.init) ?? "missing" }

  var newestMajor: Int { directories.keys.max() ?? 0 }
}
