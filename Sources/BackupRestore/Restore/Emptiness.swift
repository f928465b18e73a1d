import SystemPackage

/// `restore --if-empty`: for a cluster that builds itself anew from its manifests.
extension Restore {
  /// Before the repositories are asked: a system that is there does not need them. Not where an earlier restore is unfinished: what is there
  /// may be half of it.
  func leavesWhatIsThere() async throws -> Bool {
    guard options.onlyIfEmpty else { return false }
    let directory = try invocation.configuration.files?.open()
    if try !Swap(directory: directory, server: nil).unfinished().isEmpty { return false }
    return try await tellWhatIsThere()
  }

  /// - Returns: whether there is anything, so that nothing is to be restored.
  func tellWhatIsThere() async throws -> Bool {
    guard options.onlyIfEmpty else { return false }
    let there = try await whatIsThere()
    if !there.isEmpty { output("nothing is restored: \(there.joined(separator: ", "))") }
    return !there.isEmpty
  }

  /// - Throws: `Failure` 22 where the application has begun meanwhile.
  func refuseWhatCameMeanwhile() async throws {
    guard options.onlyIfEmpty else { return }
    let there = try await whatIsThere()
    if there.isEmpty { return }
    throw Failure(
      .refused, "--if-empty: \(there.joined(separator: ", ")) by now",
      hint: "nothing live was changed; the application came first")
  }

  private func whatIsThere() async throws -> [String] {
    var there: [String] = []
    if selection.only != .files, let settings = invocation.configuration.database {
      let server = try await Server.connect(settings, invocation.configuration.waits)
      let present = try await server.databases()
      for name in settings.names where present.contains(name) {
        let count = try await EvidenceReader(connection: try await server.open(name)).relations()
        if count > 0 { there.append("database \(printable(name)) holds \(Format.count(count, "relation", "relations"))") }
      }
    }
    if selection.only != .database, let files = invocation.configuration.files, let directory = try files.open() {
      let places = try files.paths.isEmpty ? [directory] : files.paths.compactMap { try directory.directory(at: FilePath($0)) }
      let single = try files.paths.filter { try directory.existing(at: FilePath($0)).map { !$0.isDirectory } == true }.count
      let count = try single + places.reduce(0) { try $0 + Self.entries(of: $1) }
      if count > 0 { there.append("\(printable(files.directory)) holds \(Format.count(count, "entry", "entries"))") }
    }
    return there
  }

  /// A volume that is mounted there is no entry, but what lies on it is.
  private static func entries(of directory: Directory) throws -> Int {
    try directory.entries().reduce(0) { count, name in
      if Tree.reserved.contains(name.string) { return count }
      guard directory.isMountPoint(name), let mounted = try directory.directory(name) else { return count + 1 }
      return try count + entries(of: mounted)
    }
  }
}
