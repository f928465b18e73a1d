/// Everything a run is told, made once from the environment. Every problem is reported in one error.
package struct Configuration: Sendable {
  let repository: RepositorySettings
  let copy: RepositorySettings?
  /// Files and database are each optional; one of them is there.
  private(set) var files: FilesSettings?
  package let database: DatabaseSettings?
  /// Another server for drills, with the same names of databases.
  let drill: DatabaseSettings?
  /// What must be true of what is restored.
  let assertions: [Assertion]
  /// Room in TMPDIR, where the operator knows it: Kubernetes evicts a pod that writes more than its volume's limit.
  let scratchBytes: Int?
  let retention: Retention
  package let waits: Waits
  let quiesceDeployments: [String]
  let checkDays: Int
  let reporting: ReportingSettings
  /// The files of NAME_FILE.
  let secretFiles: [String]

  /// restic divides a repository into 256 subsets at most: by the first byte of a pack's name.
  static let mostCheckDays = 256

  /// - Parameter isLooking: for who does with what answers at once.
  /// - Throws: `Failure` with status `configuration` and every problem found; 20 where the volume does not answer.
  package init(_ variables: [String: String], isLooking: Bool = false) throws {
    var environment = isLooking ? Environment(variables, patience: .seconds(1)) : Environment(variables)
    let repository = RepositorySettings(&environment)
    copy = RepositorySettings(copyFrom: &environment)
    files = FilesSettings(&environment)
    database = DatabaseSettings(&environment, prefix: "")
    drill = DatabaseSettings(drillFrom: &environment)
    assertions = Assertion.all(&environment)
    scratchBytes = environment.text("TMPDIR_BYTES") == nil ? nil : environment.number("TMPDIR_BYTES", default: 0)
    retention = Retention(&environment)
    waits = Waits(&environment)
    quiesceDeployments = environment.list("QUIESCE_DEPLOYMENTS")
    checkDays = environment.number("CHECK_DAYS", default: 28, minimum: 1, maximum: Self.mostCheckDays)
    reporting = ReportingSettings(&environment)
    secretFiles = environment.files
    Self.refuseTwoAccounts(&environment)
    if files == nil, database == nil, environment.list("POSTGRES_DB").isEmpty {
      environment.report(
        "neither files nor a database is configured: \(FilesSettings.standardDirectory) does not exist",
        hint: "set FILES_DIRECTORY, or POSTGRES_DB, POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_HOST")
    }
    if let files { Self.refuseInside(files.directory, [repository, copy].compactMap { $0 }, &environment) }
    if let copy, let repository,
      copy.base == repository.base || (copy.directory != nil && copy.directory == repository.directory)
    {
      environment.report(
        "COPY_RESTIC_REPOSITORY is the same as RESTIC_REPOSITORY", hint: "name another place, best another building")
    }
    environment.reportMisspelt()
    try Failure.collect(.configuration, environment.problems)
    guard let repository else { throw Failure(.configuration, "no repository", hint: "set RESTIC_REPOSITORY") }
    self.repository = repository
    if let files, files.isSilent, !isLooking {
      throw Failure(
        .sourceFailed, "\(files.directory) does not answer: its volume hangs",
        hint: "look at the volume's server and driver, and at the node (dmesg); nothing was changed")
    }
  }

  /// For what works on one volume alone.
  func onVolume() throws -> Configuration {
    var configuration = self
    configuration.files = try files?.onVolume()
    return configuration
  }

  /// For single entries of the files.
  func with(paths: [String]) throws -> Configuration {
    var configuration = self
    configuration.files = try files?.with(paths: paths)
    return configuration
  }

  /// Before commands that are to be typed: for one of several volumes they need the same.
  var typed: String { files?.mounted.map { "FILES_PATHS=\(Format.shell($0)) " } ?? "" }

  /// Whatever lies there is saved and replaced with the rest, and the application may put a link in its place.
  private static func refuseInside(_ directory: String, _ repositories: [RepositorySettings], _ environment: inout Environment) {
    func isInside(_ path: String) -> Bool { ((environment.resolved(path) ?? path) + "/").hasPrefix(directory + "/") }
    for settings in repositories {
      guard let base = settings.directory, environment.resolved(base) != nil,
        ([base] + RepositoryName.own.map { base + "/" + $0.rawValue }).contains(where: isInside)
      else { continue }
      environment.report(
        "\(settings.prefix)RESTIC_REPOSITORY lies inside FILES_DIRECTORY: a restore would replace the repository itself",
        hint: "move it elsewhere")
    }
    let variables = environment.variables.filter { !$0.value.isEmpty }
    let cache =
      variables["RESTIC_CACHE_DIR"].map { ("RESTIC_CACHE_DIR", $0) } ?? variables["HOME"].map { ("HOME", $0 + "/.cache/restic") }
    for (name, path) in [variables["TMPDIR"].map { ("TMPDIR", $0) }, cache].compactMap({ $0 }) where isInside(path) {
      environment.report(
        "\(name) lies inside FILES_DIRECTORY, where the application could replace what a run writes there",
        hint: "set \(name == "HOME" ? "RESTIC_CACHE_DIR" : name) to a directory elsewhere")
    }
  }

  /// `restic copy` reads one set of backend variables for both repositories.
  private static func refuseTwoAccounts(_ environment: inout Environment) {
    for name in (Variable.backend + Variable.backendSecrets) {
      for given in ["COPY_" + name, "COPY_" + name + "_FILE"] where !(environment.variables[given] ?? "").isEmpty {
        environment.report(
          "\(given) is set: restic copies within one account of a kind of backend, so there is no second one",
          hint: "where only the copy is of that kind, set \(given.dropFirst(5)); else take another kind for the copy, or rest: "
            + "with its password in the URL")
      }
    }
  }
}

/// What retention keeps; a set that any of these wants is kept.
struct Retention: Sendable, Equatable {
  let last: Int
  let days: Int
  let weeks: Int
  let months: Int
  let years: Int

  init(last: Int, days: Int, weeks: Int = 0, months: Int = 0, years: Int = 0) {
    (self.last, self.days, self.weeks, self.months, self.years) = (last, days, weeks, months, years)
  }

  init(_ environment: inout Environment) {
    last = environment.number("RESTIC_KEEP_LAST", default: 7, minimum: 1)
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
package struct Waits: Sendable, Equatable {
  let lock: Duration
  let connect: Duration
  let stall: Duration
  let quiesce: Duration

  /// `lock` in seconds as PostgreSQL takes it, to which 0 means for ever.
  var postgresLock: Int64 { max(1, lock.components.seconds) }

  /// PostgreSQL's timeouts are milliseconds in 32 bits.
  private static let longest = 2_147_483

  init(_ environment: inout Environment) {
    lock = .seconds(environment.number("LOCK_WAIT", default: 600, maximum: Self.longest))
    connect = .seconds(environment.number("CONNECT_TIMEOUT", default: 120, minimum: 1, maximum: Self.longest))
    quiesce = .seconds(environment.number("QUIESCE_TIMEOUT", default: 300, minimum: 1, maximum: Self.longest))
    stall = .seconds(environment.number("STALL_TIMEOUT", default: 1800, minimum: 1, maximum: Self.longest))
  }
}

/// Where results are reported besides the terminal. Who knows a URL may write to it, so both are secrets.
struct ReportingSettings: Sendable, Equatable {
  let format: LogFormat
  let pushgateway: Secret?
  let ping: Secret?

  init(_ environment: inout Environment) {
    let named = environment.text("LOG_FORMAT") ?? "text"
    format = LogFormat(rawValue: named) ?? .text
    if LogFormat(rawValue: named) == nil { environment.report("LOG_FORMAT is \"\(named)\"", hint: "set text or json") }
    pushgateway = Self.url("METRICS_PUSHGATEWAY_URL", &environment)
    ping = Self.url("PING_URL", &environment)
  }

  private static func url(_ name: String, _ environment: inout Environment) -> Secret? {
    guard var url = environment.text(name) else { return nil }
    if !url.hasPrefix("http://"), !url.hasPrefix("https://") {
      environment.report("\(name) is no URL", hint: "set an http:// or https:// URL")
    }
    while url.hasSuffix("/") { url.removeLast() }
    return Secret(url, masked: false)
  }
}
