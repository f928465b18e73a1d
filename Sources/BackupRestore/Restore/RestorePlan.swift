import SystemPackage

/// What is restored over what: decided once, before anything is locked or looked at.
struct RestorePlan: Sendable {
  let source: RestoreSource
  let files: FilesPart?
  /// Entries of the tree that are restored; empty means all.
  let paths: [String]
  let databases: [Target]
  /// The server they are restored on; nil: none is configured.
  let server: DatabaseSettings?
  var strategy = Strategy.staged
  /// What differs or is refused is left out, and ends nothing.
  var acceptsDifferences = false
  /// Databases are loaded as POSTGRES_USER also where the role that owns all could.
  var asSuperuser = false
  /// Logical replication slots of the databases that are replaced are dropped after the swap.
  var dropsSlots = false

  enum Strategy: Sendable {
    /// Beside what is live.
    case staged
    /// Files where they are.
    case inPlace
    /// Files read back from the repository whole, and written nowhere.
    case readBack
  }

  /// A part, and the live name of the database it becomes.
  struct Target: Equatable, Sendable {
    let part: DatabasePart
    let live: String

    func staging(_ id: RestoreID) -> String { DatabaseName.staging(live, id) }
    func previous(_ id: RestoreID) -> String { DatabaseName.previous(live, id) }
  }

  /// - Parameters:
  ///   - server: where the databases go.
  ///   - replacesFiles: whether there must be a FILES_DIRECTORY for them.
  /// - Throws: `Failure` 22 with everything that source and configuration do not agree on.
  init(_ source: RestoreSource, _ settings: FilesSettings?, server: DatabaseSettings?, replacesFiles: Bool = true) throws {
    var problems: [Problem] = []
    (self.source, self.server) = (source, server)
    files = source.only == .database ? nil : source.record.files
    if source.only != .database, files == nil, settings != nil || source.only == .files {
      problems.append(Problem("\(source.title) has no files", hint: "restore with --only database, or choose another set"))
    }
    if files != nil, settings == nil, replacesFiles {
      problems.append(
        Problem(
          "\(source.title) has files, but \(FilesSettings.standardDirectory) does not exist and FILES_DIRECTORY is not set",
          hint: "set FILES_DIRECTORY, or restore with --only database"))
    }
    databases = source.only == .files ? [] : Self.targets(source, server?.names, &problems)
    paths = files.map { Self.paths($0, settings, source, &problems) } ?? []
    try Failure.collect(.refused, problems)
  }

  /// A single database goes into POSTGRES_DB whatever it was called; several match by name.
  private static func targets(_ source: RestoreSource, _ names: [String]?, _ problems: inout [Problem]) -> [Target] {
    let parts = source.record.databases
    guard let names else {
      if !parts.isEmpty {
        problems.append(
          Problem("\(source.title) has a database, but POSTGRES_DB is not set", hint: "set it, or restore with --only files"))
      }
      return []
    }
    if parts.isEmpty {
      problems.append(Problem("\(source.title) has no database", hint: "restore with --only files, or choose another set"))
      return []
    }
    if parts.count == 1, names.count == 1 { return [Target(part: parts[0], live: names[0])] }
    return names.compactMap { name in
      if let part = parts.first(where: { $0.name == name }) { return Target(part: part, live: name) }
      let held = parts.map(\.name).joined(separator: ", ")
      problems.append(Problem("\(source.title) has no database \(name): it holds \(held)", hint: "correct POSTGRES_DB"))
      return nil
    }
  }

  private static func paths(
    _ files: FilesPart, _ settings: FilesSettings?, _ source: RestoreSource, _ problems: inout [Problem]
  ) -> [String] {
    guard let settings else { return [] }
    let paths = settings.paths.isEmpty ? files.paths : settings.paths
    let saved = files.paths.map { FilePath($0) }
    for path in paths where !Tree.isEntry(path.utf8) {
      problems.append(
        Problem(
          "\(source.title) names \(printable(path)), which is no entry of a directory of files",
          hint: "its record or snapshot was made by something else: choose another set"))
    }
    for path in paths where !saved.isEmpty && !saved.contains(where: { FilePath(path).starts(with: $0) }) {
      problems.append(
        Problem(
          "\(source.title) does not hold \(path)",
          hint: "it holds \(files.paths.joined(separator: ", ")): correct FILES_PATHS or --path"))
    }
    return paths
  }

  /// The server, where databases are restored.
  var target: DatabaseSettings? { databases.isEmpty ? nil : server }

  var isInPlace: Bool { strategy == .inPlace && files != nil }

  /// Bytes of the databases, as far as they are known.
  var databaseBytes: Int { databases.reduce(0) { $0 + ($1.part.properties?.size ?? $1.part.bytes) } }
}
