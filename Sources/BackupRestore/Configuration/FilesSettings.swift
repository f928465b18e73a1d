import SystemPackage

/// Which files are saved.
struct FilesSettings: Sendable, Equatable {
  static let standardDirectory = "/var/jira"

  /// Without symbolic links, as restic, mounts and locks have it.
  private(set) var directory: String
  /// As FILES_DIRECTORY names it: old-style snapshots may hold it so.
  let named: String
  /// Entries below the directory, relative and normalised; empty means all.
  private(set) var paths: [String]
  /// How `directory` lies in FILES_DIRECTORY, where it is another volume mounted there; nil: it is FILES_DIRECTORY.
  private(set) var mounted: String?
  /// FILES_DIRECTORY itself, which whoever works below it locks, too.
  private(set) var outer: String?
  /// restic's patterns of what is left out; `/` is `directory`.
  let excludes: [String]
  /// Given to restored files instead of the saved owner.
  let owner: Owner?
  let allowUnreadable: Bool
  /// Whether the volume has not answered: then the directory is as it was named.
  let isSilent: Bool

  struct Owner: Sendable, Equatable {
    let user: UInt32
    let group: UInt32
  }

  /// Nil when FILES_DIRECTORY is not set and the default does not exist: a database-only deployment.
  init?(_ environment: inout Environment) {
    let named = environment.text("FILES_DIRECTORY")
    paths = Self.paths(&environment)
    excludes = environment.list("FILES_EXCLUDE")
    owner = Self.owner(&environment)
    allowUnreadable = environment.flag("FILES_ALLOW_UNREADABLE")
    var directory = named ?? Self.standardDirectory
    while directory.count > 1, directory.hasSuffix("/") { directory.removeLast() }
    if !directory.hasPrefix("/") || directory == "/" || FilePath(directory).lexicallyNormalized().string != directory {
      environment.report(
        "FILES_DIRECTORY is \"\(directory)\"", hint: "set an absolute path without . or .., and not / itself")
    }
    let real = environment.resolved(directory)
    isSilent = real == nil
    if named == nil, !isSilent, (try? FileStatus(directory)) == nil { return nil }
    self.named = directory
    self.directory = real ?? directory
    if self.directory == "/", directory != "/" {
      environment.report("FILES_DIRECTORY is \"\(directory)\", which leads to /", hint: "set another directory than / itself")
    }
  }

  /// Where all of FILES_PATHS lie on one volume that is mounted below FILES_DIRECTORY: as if that were the directory, so that what is
  /// staged lies beside what it replaces.
  func onVolume() throws -> FilesSettings {
    guard !paths.isEmpty, let open = try? Directory(FilePath(directory)) else { return self }
    let mounts = try Mount.below(open, steps: paths)
    // The innermost first.
    guard let mount = mounts.reversed().first(where: { mount in paths.allSatisfy(mount.holds) }) else { return self }
    var settings = self
    (settings.outer, settings.mounted, settings.directory) = (directory, mount.path, directory + "/" + mount.path)
    settings.paths = paths.compactMap { path in
      var rest = FilePath(path)
      return rest.removePrefix(FilePath(mount.path)) && !rest.isEmpty ? rest.string : nil
    }
    return settings
  }

  /// The directory, to be looked at; nil where it is not there.
  func open() throws -> Directory? {
    (try? FileStatus(directory))?.isDirectory == true ? try Directory(FilePath(directory)) : nil
  }

  /// Single entries of what is saved, in place of FILES_PATHS.
  ///
  /// - Throws: `Failure` 22 with what is no such entry.
  func with(paths names: [String]) throws -> FilesSettings {
    var (settings, problems): (FilesSettings, [Problem]) = (self, [])
    settings.paths = Self.normalised(names, "--path") { problems.append(Problem(printable($0), hint: $1)) }
    try Failure.collect(.refused, problems)
    return settings
  }

  private static func paths(_ environment: inout Environment) -> [String] {
    var problems: [(String, String)] = []
    let paths = normalised(environment.list("FILES_PATHS"), "FILES_PATHS") { problems.append(($0, $1)) }
    for (fact, hint) in problems { environment.report(fact, hint: hint) }
    return paths
  }

  private static func normalised(_ names: [String], _ source: String, _ report: (String, String) -> Void) -> [String] {
    var paths: [String] = []
    for path in names {
      let normal = FilePath(path).lexicallyNormalized()
      if path.hasPrefix("/") || normal.starts(with: "..") || normal.string == "." || normal.isEmpty {
        report("\(source) names \"\(path)\"", "name entries below FILES_DIRECTORY, without ..")
      } else if Tree.reserved.contains(normal.components.first?.string ?? "") {
        report("\(source) names \"\(path)\"", "that directory belongs to the toolkit; leave it out")
      } else if let other = paths.first(where: { normal.starts(with: FilePath($0)) || FilePath($0).starts(with: normal) }) {
        report("\(source) names \"\(path)\" and \"\(other)\"", "one contains the other: keep one")
      } else {
        paths.append(normal.string)
      }
    }
    return paths
  }

  private static func owner(_ environment: inout Environment) -> Owner? {
    guard let text = environment.text("FILES_OWNER") else { return nil }
    let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { UInt32($0) }
    if parts.count == 2, let user = parts[0], let group = parts[1] { return Owner(user: user, group: group) }
    environment.report("FILES_OWNER is \"\(text)\"", hint: "set two numbers, uid:gid, for example 901:901")
    return nil
  }
}
