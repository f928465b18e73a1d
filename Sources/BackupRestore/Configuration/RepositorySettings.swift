import FoundationEssentials
import Glibc
import SystemPackage

/// How restic reaches the repositories.
struct RepositorySettings: Sendable, Equatable {
  /// The base: `files`, `pg-database` and `sets` lie below it. May contain a password, so it is a secret.
  let base: Secret
  private(set) var password: Secret
  private(set) var newPassword: Secret?
  /// The file that it was read from.
  private let passwordFile: String?
  /// The host name that snapshots carry.
  let host: String
  /// Another one that counts as it: the default of before, where this one is a default.
  let formerHost: String?
  /// What is saved under it: names of databases, and directories.
  let saves: Saves
  let certificateFile: String?
  /// restic's options for how fast it may be.
  let limits: [String]
  /// Backend variables as restic reads them; `credentials` are the secret ones among them.
  let backend: [String: String]
  let credentials: [String: Secret]
  /// Of the variables that name them: `COPY_` for the second repositories.
  let prefix: String

  struct Saves: Sendable, Equatable {
    let databases: [String]
    let directories: [String]
  }

  init?(_ environment: inout Environment) {
    self.init(&environment, prefix: "")
  }

  /// The second repository; nil when COPY_RESTIC_REPOSITORY and COPY_RESTIC_PASSWORD are both absent.
  init?(copyFrom environment: inout Environment) {
    let names = ["COPY_RESTIC_REPOSITORY", "COPY_RESTIC_PASSWORD", "COPY_RESTIC_NEW_PASSWORD"]
    guard names.contains(where: environment.isSet) else { return nil }
    self.init(&environment, prefix: "COPY_")
  }

  private init?(_ environment: inout Environment, prefix: String) {
    self.prefix = prefix
    let base = environment.text(prefix + "RESTIC_REPOSITORY")
    let password = environment.secret(prefix + "RESTIC_PASSWORD")
    // The predecessor's manifests name its file always; the Secret holds it only while it is needed.
    newPassword = environment.secret(prefix + "RESTIC_NEW_PASSWORD", optional: true)
    if !environment.isSet(prefix + "RESTIC_REPOSITORY") {
      environment.report(
        "\(prefix)RESTIC_REPOSITORY is not set",
        hint: "set it to the base of the repositories, for example s3:https://s3.example.org/bucket/app")
    }
    if !environment.isSet(prefix + "RESTIC_PASSWORD") {
      environment.report(
        "\(prefix)RESTIC_PASSWORD is not set", hint: "set it, or \(prefix)RESTIC_PASSWORD_FILE to a mounted Secret")
    }
    host = Self.host(&environment)
    formerHost = !environment.isSet("RESTIC_HOST") && host != Self.commonHost ? Self.commonHost : nil
    let directory = environment.text("FILES_DIRECTORY") ?? FilesSettings.standardDirectory
    saves = Saves(
      databases: environment.list("POSTGRES_DB"), directories: [directory, environment.resolved(directory) ?? directory])
    certificateFile = environment.text("CERTIFICATE_FILE")
    limits = ["upload", "download"].flatMap { way in
      let name = "RESTIC_LIMIT_\(way.uppercased())"
      return environment.text(name) == nil ? [] : ["--limit-\(way)", "\(environment.number(name, default: 0, minimum: 1))"]
    }
    backend = environment.all(Variable.backend)
    credentials = environment.all(Variable.backendSecrets).mapValues { Secret($0) }
    if prefix.isEmpty, let certificateFile, (try? FileStatus(certificateFile)) == nil {
      environment.report("CERTIFICATE_FILE: \(certificateFile) cannot be read", hint: "mount the CA certificate there")
    }
    let name = environment.isSet("RESTIC_HOST") || !environment.isSet("POD_NAMESPACE") ? "RESTIC_HOST" : "POD_NAMESPACE"
    if host.trimming(" \t\"'") != host {
      environment.report(
        "\(name) is \(environment.text(name) ?? host)", hint: "take out the quotes or spaces around it: they are part of the name"
      )
    }
    if host.contains(",") {
      environment.report(
        "\(name) is \"\(environment.text(name) ?? host)\"",
        hint: "\(name == "RESTIC_HOST" ? "use" : "set RESTIC_HOST to") a name without a comma")
    }
    passwordFile = environment.path(of: prefix + "RESTIC_PASSWORD")
    guard var base, let password else { return nil }
    while base.count > 1, base.hasSuffix("/") { base.removeLast() }
    Self.rememberPassword(in: base)
    if let directory = Self.directory(base), !directory.hasPrefix("/") {
      // restic would look for it where it saves from.
      environment.report(
        "\(prefix)RESTIC_REPOSITORY is \"\(base)\", a path that begins nowhere",
        hint: "set an absolute path without quotes or spaces around it, or a kind of repository: s3:, rest:, sftp:")
    } else if base.last?.isWhitespace == true {
      environment.report("\(prefix)RESTIC_REPOSITORY ends with a space", hint: "take it out")
    }
    self.base = Secret(base, masked: false)
    self.password = password
  }

  /// One application is one name: in Kubernetes its namespace, and its database or directory; elsewhere that of all.
  static func host(_ environment: inout Environment) -> String {
    let namespace = environment.text("POD_NAMESPACE")
    if let host = environment.text("RESTIC_HOST") { return host }
    guard let namespace else { return commonHost }
    let directory = (environment.text("FILES_DIRECTORY") ?? FilesSettings.standardDirectory).split(separator: "/").last
    return namespace + "/" + (environment.list("POSTGRES_DB").first ?? directory.map(String.init) ?? "files")
  }

  private static let commonHost = "backup-restore"

  /// Whether the password's file changed so short ago that other pods, or other Secrets, may not have theirs yet. No number of seconds: what
  /// all repositories say alike is said once.
  var hasNewPassword: Bool {
    guard let status = passwordFile.flatMap({ try? FilePath(resolved($0)).status() }) else { return false }
    return (0..<Self.slowestSecret).contains(Int(Date().timeIntervalSince1970) - status.modified.tv_sec)
  }

  /// The kubelet looks for changed Secrets once a minute, and may answer from a cache as old as that.
  private static let slowestSecret = 120

  /// Whether it is the name of something else in the same namespace, where these are defaults.
  func isSibling(_ other: String) -> Bool {
    guard formerHost != nil, let namespace = host.split(separator: "/").first else { return false }
    return other != host && other.hasPrefix(namespace + "/")
  }

  /// With this password and no other.
  func with(password: Secret) -> RepositorySettings {
    var other = self
    other.password = password
    other.newPassword = nil
    return other
  }

  /// rest:https://user:password@host/: the password is masked wherever a child prints it.
  private static func rememberPassword(in url: String) {
    guard let scheme = url.firstRange(of: "://"), let at = url[scheme.upperBound...].lastIndex(of: "@") else { return }
    let user = url[scheme.upperBound..<at]
    if let colon = user.firstIndex(of: ":") { _ = Secret(String(user[user.index(after: colon)...])) }
  }

  /// restic starts a program for these kinds, and says of one that is not there what it says of a repository that does not answer.
  func transportProblem(path: String) -> Problem? {
    let programs = ["sftp": ("ssh", "openssh-client"), "rclone": ("rclone", "rclone")]
    guard let (program, package) = base.reveal().firstIndex(of: ":").flatMap({ programs[String(base.reveal()[..<$0])] }),
      !path.split(separator: ":").contains(where: { access("\($0)/\(program)", X_OK) == 0 })
    else { return nil }
    return Problem(
      "\(prefix)RESTIC_REPOSITORY is \(shown), which restic reaches through \(program), and that is not installed",
      hint: "install Debian's package \(package) in the image, or use another kind of repository")
  }

  /// The base's directory, where it lies on a mounted file system.
  var directory: String? { Self.directory(base.reveal()).map(resolved) }

  /// The directory of a location on a mounted file system, which is what restic takes everything for that has no scheme it knows.
  static func directory(_ location: String) -> String? {
    if let colon = location.firstIndex(of: ":") {
      let scheme = location[..<colon]
      if scheme == "local" { return String(location[location.index(after: colon)...]) }
      if ["azure", "b2", "gs", "rclone", "rest", "s3", "sftp", "swift"].contains(scheme) { return nil }
    }
    return location
  }

  /// The base with its password masked, for messages.
  var shown: String {
    let url = base.reveal()
    guard let scheme = url.firstRange(of: "://"), let at = url[scheme.upperBound...].lastIndex(of: "@"),
      let colon = url[scheme.upperBound..<at].firstIndex(of: ":")
    else { return url }
    return url[...colon] + "***" + url[at...]
  }
}
