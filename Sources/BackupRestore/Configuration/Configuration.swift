import SystemPackage

/// Everything a run is told, made once from the environment. Every problem is reported in one error.
public struct Configuration: Sendable {
  public let repository: RepositorySettings
  public let copy: RepositorySettings?
  /// Files and database are each optional; one of them is there.
  public let files: FilesSettings?
  public let database: DatabaseSettings?
  /// Room in TMPDIR, where the operator knows it: Kubernetes evicts a pod that writes more than its volume's limit.
  public let scratchBytes: Int?
  public let retention: Retention
  public let waits: Waits
  public let quiesceDeployments: [String]
  public let reporting: ReportingSettings

  /// - Throws: `Failure` with status `configuration` and every problem found.
  public init(_ variables: [String: String]) throws {
    var environment = Environment(variables)
    let repository = RepositorySettings(&environment)
    copy = RepositorySettings(copyFrom: &environment)
    files = FilesSettings(&environment)
    database = DatabaseSettings(&environment)
    scratchBytes = environment.text("TMPDIR_BYTES") == nil ? nil : environment.number("TMPDIR_BYTES", default: 0)
    retention = Retention(&environment)
    waits = Waits(&environment)
    quiesceDeployments = environment.list("QUIESCE_DEPLOYMENTS")
    reporting = ReportingSettings(&environment)
    if files == nil, database == nil, environment.list("POSTGRES_DB").isEmpty {
      environment.report(
        "neither files nor a database is configured: \(FilesSettings.standardDirectory) does not exist",
        hint: "set FILES_DIRECTORY, or POSTGRES_DB, POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_HOST")
    }
    if let files, let base = repository?.base.reveal(), (base + "/").hasPrefix(files.directory + "/") {
      environment.report(
        "RESTIC_REPOSITORY lies inside FILES_DIRECTORY: a restore would replace the repository itself", hint: "move it elsewhere")
    }
    environment.reportMisspelt()
    try Failure.collect(.configuration, environment.problems)
    guard let repository else { throw Failure(.configuration, "no repository", hint: "set RESTIC_REPOSITORY") }
    self.repository = repository
  }
}

/// How restic reaches the repositories.
public struct RepositorySettings: Sendable, Equatable {
  /// The base: `files`, `pg-database` and `sets` lie below it. May contain a password, so it is a secret.
  public let base: Secret
  public private(set) var password: Secret
  public let newPassword: Secret?
  /// The host name that snapshots carry.
  public let host: String
  public let certificateFile: String?
  /// Backend variables as restic reads them; `credentials` are the secret ones among them.
  public let backend: [String: String]
  public let credentials: [String: Secret]

  init?(_ environment: inout Environment) {
    self.init(&environment, prefix: "")
  }

  /// The second repository; nil when COPY_RESTIC_REPOSITORY and COPY_RESTIC_PASSWORD are both absent.
  init?(copyFrom environment: inout Environment) {
    let names = ["COPY_RESTIC_REPOSITORY", "COPY_RESTIC_PASSWORD"].flatMap { [$0, $0 + "_FILE"] }
    guard names.contains(where: { !(environment.variables[$0] ?? "").isEmpty }) else { return nil }
    self.init(&environment, prefix: "COPY_")
  }

  private init?(_ environment: inout Environment, prefix: String) {
    let base = environment.text(prefix + "RESTIC_REPOSITORY")
    let password = environment.secret(prefix + "RESTIC_PASSWORD")
    // The predecessor's manifests name its file always; the Secret holds it only while it is needed.
    newPassword = environment.text(prefix + "RESTIC_NEW_PASSWORD", optional: true).map { Secret($0) }
    if base == nil, !environment.problems.contains(where: { $0.fact.hasPrefix("\(prefix)RESTIC_REPOSITORY_FILE") }) {
      environment.report(
        "\(prefix)RESTIC_REPOSITORY is not set",
        hint: "set it to the base of the repositories, for example s3:https://s3.example.org/bucket/app")
    }
    if password == nil, !environment.problems.contains(where: { $0.fact.hasPrefix("\(prefix)RESTIC_PASSWORD_FILE") }) {
      environment.report(
        "\(prefix)RESTIC_PASSWORD is not set", hint: "set it, or \(prefix)RESTIC_PASSWORD_FILE to a mounted Secret")
    }
    host = environment.text("RESTIC_HOST") ?? "backup-restore"
    certificateFile = environment.text("CERTIFICATE_FILE")
    backend = environment.all(Variable.backend)
    credentials = environment.all(Variable.backendSecrets).mapValues { Secret($0) }
    if prefix.isEmpty, let certificateFile, (try? FileStatus(certificateFile)) == nil {
      environment.report("CERTIFICATE_FILE: \(certificateFile) cannot be read", hint: "mount the CA certificate there")
    }
    if host.contains(",") { environment.report("RESTIC_HOST is \"\(host)\"", hint: "use a name without a comma") }
    guard var base, let password else { return nil }
    while base.count > 1, base.hasSuffix("/") { base.removeLast() }
    Self.rememberPassword(in: base)
    self.base = Secret(base, masked: false)
    self.password = password
  }

  func with(password: Secret) -> RepositorySettings {
    var other = self
    other.password = password
    return other
  }

  /// rest:https://user:password@host/: the password is masked wherever a child prints it.
  private static func rememberPassword(in url: String) {
    guard let scheme = url.firstRange(of: "://"), let at = url[scheme.upperBound...].lastIndex(of: "@") else { return }
    let user = url[scheme.upperBound..<at]
    if let colon = user.firstIndex(of: ":") { _ = Secret(String(user[user.index(after: colon)...])) }
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

/// Which files are saved.
public struct FilesSettings: Sendable, Equatable {
  public static let standardDirectory = "/var/jira"

  public let directory: String
  /// Entries below the directory, relative and normalised; empty means all.
  public let paths: [String]
  /// Given to restored files instead of the saved owner.
  public let owner: Owner?
  public let allowUnreadable: Bool

  public struct Owner: Sendable, Equatable {
    public let user: UInt32
    public let group: UInt32
  }

  /// Nil when FILES_DIRECTORY is not set and the default does not exist: a database-only deployment.
  init?(_ environment: inout Environment) {
    let named = environment.text("FILES_DIRECTORY")
    paths = Self.paths(&environment)
    owner = Self.owner(&environment)
    allowUnreadable = environment.flag("FILES_ALLOW_UNREADABLE")
    var directory = named ?? Self.standardDirectory
    while directory.count > 1, directory.hasSuffix("/") { directory.removeLast() }
    if !directory.hasPrefix("/") || directory == "/" || FilePath(directory).lexicallyNormalized().string != directory {
      environment.report(
        "FILES_DIRECTORY is \"\(directory)\"", hint: "set an absolute path without . or .., and not / itself")
    }
    if named == nil, (try? FileStatus(directory)) == nil { return nil }
    self.directory = directory
  }

  private static func paths(_ environment: inout Environment) -> [String] {
    var paths: [String] = []
    for path in environment.list("FILES_PATHS") {
      let normal = FilePath(path).lexicallyNormalized()
      if path.hasPrefix("/") || normal.starts(with: "..") || normal.string == "." || normal.isEmpty {
        environment.report("FILES_PATHS names \"\(path)\"", hint: "name entries below FILES_DIRECTORY, without ..")
      } else if Tree.reserved.contains(normal.components.first?.string ?? "") {
        environment.report("FILES_PATHS names \"\(path)\"", hint: "that directory belongs to the toolkit; leave it out")
      } else if let other = paths.first(where: { normal.starts(with: FilePath($0)) || FilePath($0).starts(with: normal) }) {
        environment.report("FILES_PATHS names \"\(path)\" and \"\(other)\"", hint: "one contains the other: keep one")
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

/// How PostgreSQL is reached and which databases are saved.
public struct DatabaseSettings: Sendable, Equatable {
  public let names: [String]
  public let user: String
  public let password: Secret?
  /// Host name, address, or the directory of a Unix socket.
  public let host: String
  public let port: Int
  public let maintenance: String
  /// Free bytes on the server, where the operator knows them.
  public let freeBytes: Int?
  /// libpq's own variables, for children; our own connections read them from the process environment.
  public let libpq: [String: String]

  /// Nil without POSTGRES_DB.
  init?(_ environment: inout Environment) {
    let names = environment.list("POSTGRES_DB")
    let user = environment.text("POSTGRES_USER")
    password = environment.secret("POSTGRES_PASSWORD")
    maintenance = environment.text("POSTGRES_MAINTENANCE_DB") ?? "postgres"
    freeBytes = environment.text("POSTGRES_FREE_BYTES") == nil ? nil : environment.number("POSTGRES_FREE_BYTES", default: 0)
    libpq = environment.all(Variable.libpq)
    let address = Self.address(&environment)
    guard !names.isEmpty else { return nil }
    if Set(names).count < names.count {
      environment.report("POSTGRES_DB names a database twice", hint: "name each database once")
    }
    for name in names where name == maintenance || name.hasPrefix("template") && ["0", "1"].contains(name.dropFirst(8)) {
      environment.report(
        "POSTGRES_DB names \(name), which cannot be swapped: POSTGRES_MAINTENANCE_DB is \(maintenance)",
        hint: "name the application's database, or set POSTGRES_MAINTENANCE_DB to another one")
    }
    if user == nil { environment.report("POSTGRES_USER is not set", hint: "set it to the database's owner or a superuser") }
    if address == nil {
      environment.report(
        "POSTGRES_DB is set, but neither POSTGRES_HOST nor POSTGRES_SERVICE",
        hint: "set POSTGRES_HOST=postgresql-service:5432, or unset POSTGRES_DB for files only")
    }
    guard let user, let address else { return nil }
    (self.names, self.user) = (names, user)
    (host, port) = address
  }

  /// POSTGRES_HOST is `host:port` as the predecessor has it, never read as a bare host without looking for the port.
  private static func address(_ environment: inout Environment) -> (String, Int)? {
    var port = 5432
    if let text = environment.text("POSTGRES_PORT") {
      // A Service named "postgres" makes Kubernetes set POSTGRES_PORT=tcp://10.0.0.1:5432 in every pod.
      let digits = text.hasPrefix("tcp://") ? text.split(separator: ":").last.map(String.init) ?? "" : text
      if let number = Int(digits), (1...65535).contains(number) {
        port = number
      } else {
        environment.report("POSTGRES_PORT is \"\(text)\"", hint: "set a port number, 1 to 65535")
      }
    }
    guard let host = environment.text("POSTGRES_HOST") else {
      return environment.text("POSTGRES_SERVICE").map { ($0, port) }
    }
    let bracketed = host.hasPrefix("[")
    guard let colon = host.lastIndex(of: ":"), bracketed ? !host[colon...].contains("]") : host.firstIndex(of: ":") == colon
    else { return (host.trimming("[]"), port) }
    guard let number = Int(host[host.index(after: colon)...]), (1...65535).contains(number) else {
      environment.report("POSTGRES_HOST is \"\(host)\"", hint: "set host:port, for example postgresql-service:5432")
      return (host, port)
    }
    return (host[..<colon].trimming("[]"), number)
  }
}

/// What retention keeps; a set that any of these wants is kept.
public struct Retention: Sendable, Equatable {
  public let last: Int
  public let days: Int
  public let weeks: Int
  public let months: Int
  public let years: Int

  init(_ environment: inout Environment) {
    last = environment.number("RESTIC_KEEP_LAST", default: 1, minimum: 1)
    days = environment.number("RESTIC_DAYS_TO_KEEP", default: 30, maximum: 100_000)
    weeks = environment.number("RESTIC_WEEKS_TO_KEEP", default: 0, maximum: 100_000)
    months = environment.number("RESTIC_MONTHS_TO_KEEP", default: 12, maximum: 100_000)
    years = environment.number("RESTIC_YEARS_TO_KEEP", default: 0, maximum: 100_000)
  }

  /// restic's policy. Its durations know hours, days, months and years, so weeks are given as days.
  var arguments: [String] {
    var arguments = ["--keep-last", String(last)]
    if days > 0 { arguments += ["--keep-within", "\(days)d"] }
    if weeks > 0 { arguments += ["--keep-within-weekly", "\(weeks * 7)d"] }
    if months > 0 { arguments += ["--keep-within-monthly", "\(months)m"] }
    if years > 0 { arguments += ["--keep-within-yearly", "\(years)y"] }
    return arguments
  }
}

/// Nothing waits for ever: how long each kind of waiting may take.
public struct Waits: Sendable, Equatable {
  public let lock: Duration
  public let connect: Duration
  public let stall: Duration

  /// PostgreSQL's timeouts are milliseconds in 32 bits.
  private static let longest = 2_147_483

  init(_ environment: inout Environment) {
    lock = .seconds(environment.number("LOCK_WAIT", default: 600, maximum: Self.longest))
    connect = .seconds(environment.number("CONNECT_TIMEOUT", default: 120, minimum: 1, maximum: Self.longest))
    stall = .seconds(environment.number("STALL_TIMEOUT", default: 1800, minimum: 1, maximum: Self.longest))
  }
}

/// Where results are reported besides the terminal.
public struct ReportingSettings: Sendable, Equatable {
  public enum Format: String, Sendable { case text, json }

  public let format: Format
  public let pushgateway: String?
  public let ping: String?

  init(_ environment: inout Environment) {
    let named = environment.text("LOG_FORMAT") ?? "text"
    format = Format(rawValue: named) ?? .text
    if Format(rawValue: named) == nil { environment.report("LOG_FORMAT is \"\(named)\"", hint: "set text or json") }
    pushgateway = environment.text("METRICS_PUSHGATEWAY_URL")
    ping = environment.text("PING_URL")
    for (name, url) in [("METRICS_PUSHGATEWAY_URL", pushgateway), ("PING_URL", ping)] {
      if let url, !url.hasPrefix("http://"), !url.hasPrefix("https://") {
        environment.report("\(name) is \"\(url)\"", hint: "set an http:// or https:// URL")
      }
    }
  }
}
