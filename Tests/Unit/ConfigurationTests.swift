import Testing

@testable import BackupRestore

@Suite struct ConfigurationTests {
  struct Sample: Sendable, CustomTestStringConvertible {
    let name: String
    let value: String
    /// What the configuration makes of it.
    let read: @Sendable (Configuration) -> String?
    var testDescription: String { name }
  }

  static let samples = [
    Sample(name: "RESTIC_REPOSITORY", value: "/else", read: { $0.repository.base.reveal() }),
    Sample(name: "RESTIC_PASSWORD", value: "s3cret", read: { $0.repository.password.reveal() }),
    Sample(name: "RESTIC_NEW_PASSWORD", value: "n3xt", read: { $0.repository.newPassword?.reveal() }),
    Sample(name: "RESTIC_HOST", value: "wiki", read: { $0.repository.host }),
    Sample(name: "POD_NAMESPACE", value: "shop", read: { String($0.repository.host.prefix { $0 != "/" }) }),
    Sample(name: "RESTIC_LIMIT_UPLOAD", value: "20", read: { $0.repository.limits.last }),
    Sample(name: "RESTIC_LIMIT_DOWNLOAD", value: "30", read: { $0.repository.limits.last }),
    Sample(name: "CERTIFICATE_FILE", value: "/etc/passwd", read: { $0.repository.certificateFile }),
    Sample(name: "COPY_RESTIC_REPOSITORY", value: "/copy", read: { $0.copy?.base.reveal() }),
    Sample(name: "COPY_RESTIC_PASSWORD", value: "c0py", read: { $0.copy?.password.reveal() }),
    Sample(name: "COPY_RESTIC_NEW_PASSWORD", value: "c0pyn3xt", read: { $0.copy?.newPassword?.reveal() }),
    Sample(name: "FILES_DIRECTORY", value: "/data", read: { $0.files?.directory }),
    Sample(name: "FILES_PATHS", value: "a", read: { $0.files?.paths.joined() }),
    Sample(name: "FILES_EXCLUDE", value: "*.tmp", read: { $0.files?.excludes.joined() }),
    Sample(name: "FILES_OWNER", value: "901:902", read: { $0.files?.owner.map { "\($0.user):\($0.group)" } }),
    Sample(name: "FILES_ALLOW_UNREADABLE", value: "true", read: { "\($0.files!.allowUnreadable)" }),
    Sample(name: "POSTGRES_DB", value: "wiki", read: { $0.database?.names.joined() }),
    Sample(name: "POSTGRES_USER", value: "writer", read: { $0.database?.user }),
    Sample(name: "POSTGRES_PASSWORD", value: "pgs3cret", read: { $0.database?.password?.reveal() }),
    Sample(name: "POSTGRES_HOST", value: "other", read: { $0.database?.host }),
    Sample(name: "POSTGRES_SERVICE", value: "service", read: { $0.database?.host }),
    Sample(name: "POSTGRES_PORT", value: "5433", read: { ($0.database?.port).map { "\($0)" } }),
    Sample(name: "POSTGRES_MAINTENANCE_DB", value: "admin", read: { $0.database?.maintenance }),
    Sample(name: "POSTGRES_FREE_BYTES", value: "1234", read: { ($0.database?.freeBytes).map { "\($0)" } }),
    Sample(name: "POSTGRES_EXCLUDE_TABLE_DATA", value: "log*", read: { $0.database?.excludedData.joined() }),
    Sample(name: "DRILL_SQL", value: "SELECT 1", read: { $0.assertions.first?.query }),
    Sample(name: "DRILL_POSTGRES_HOST", value: "drill", read: { $0.drill?.host }),
    Sample(name: "DRILL_POSTGRES_PORT", value: "5434", read: { ($0.drill?.port).map { "\($0)" } }),
    Sample(name: "DRILL_POSTGRES_USER", value: "driller", read: { $0.drill?.user }),
    Sample(name: "DRILL_POSTGRES_PASSWORD", value: "dr1lls3cret", read: { $0.drill?.password?.reveal() }),
    Sample(name: "DRILL_POSTGRES_MAINTENANCE_DB", value: "drilladmin", read: { $0.drill?.maintenance }),
    Sample(name: "DRILL_POSTGRES_FREE_BYTES", value: "12345", read: { ($0.drill?.freeBytes).map { "\($0)" } }),
    Sample(name: "TMPDIR_BYTES", value: "4321", read: { ($0.scratchBytes).map { "\($0)" } }),
    Sample(name: "RESTIC_DAYS_TO_KEEP", value: "7", read: { "\($0.retention.days)" }),
    Sample(name: "RESTIC_WEEKS_TO_KEEP", value: "8", read: { "\($0.retention.weeks)" }),
    Sample(name: "RESTIC_MONTHS_TO_KEEP", value: "9", read: { "\($0.retention.months)" }),
    Sample(name: "RESTIC_YEARS_TO_KEEP", value: "10", read: { "\($0.retention.years)" }),
    Sample(name: "RESTIC_KEEP_LAST", value: "11", read: { "\($0.retention.last)" }),
    Sample(name: "QUIESCE_DEPLOYMENTS", value: "wiki", read: { $0.quiesceDeployments.joined() }),
    Sample(name: "QUIESCE_TIMEOUT", value: "8", read: { "\($0.waits.quiesce.components.seconds)" }),
    Sample(name: "CHECK_DAYS", value: "7", read: { "\($0.checkDays)" }),
    Sample(name: "LOCK_WAIT", value: "5", read: { "\($0.waits.lock.components.seconds)" }),
    Sample(name: "CONNECT_TIMEOUT", value: "6", read: { "\($0.waits.connect.components.seconds)" }),
    Sample(name: "STALL_TIMEOUT", value: "7", read: { "\($0.waits.stall.components.seconds)" }),
    Sample(name: "LOG_FORMAT", value: "json", read: { $0.reporting.format.rawValue }),
    Sample(name: "METRICS_PUSHGATEWAY_URL", value: "http://push:9091", read: { $0.reporting.pushgateway?.reveal() }),
    Sample(name: "PING_URL", value: "https://ping/1", read: { $0.reporting.ping?.reveal() }),
  ]

  /// Complete without the sampled variable, so that only it decides.
  static func environment(without name: String) -> [String: String] {
    var variables = smallest
    variables.merge(["POSTGRES_DB": "app", "POSTGRES_USER": "owner", "POSTGRES_HOST": "db"]) { $1 }
    variables.merge(["COPY_RESTIC_REPOSITORY": "/second", "COPY_RESTIC_PASSWORD": "second"]) { $1 }
    variables.merge(["DRILL_POSTGRES_HOST": "drill-server", "DRILL_POSTGRES_USER": "drill-user"]) { $1 }
    if name == "POSTGRES_SERVICE" { variables["POSTGRES_HOST"] = nil }
    variables[name] = nil
    return variables
  }

  @Test func everyVariableOfTheTableHasASample() {
    #expect(Self.samples.map(\.name).sorted() == Variable.table.map(\.name).sorted())
  }

  @Test(arguments: samples) func aVariableIsReadFromTheEnvironment(_ sample: Sample) throws {
    let read = try Configuration(Self.environment(without: sample.name).merging([sample.name: sample.value]) { $1 })
    #expect(sample.read(read) == sample.value)
  }

  @Test(arguments: samples) func aVariableIsReadFromAFileWithoutItsTrailingNewlines(_ sample: Sample) throws {
    let directory = try Temporary()
    let path = try directory.file(sample.value + "\r\n\n")
    let variables = Self.environment(without: sample.name).merging([sample.name + "_FILE": path, sample.name: ""]) { $1 }
    #expect(sample.read(try Configuration(variables)) == sample.value)
  }

  /// But of a password, which may have made repositories.
  @Test(arguments: samples.filter { !$0.name.hasSuffix("PASSWORD") }) func aLinesEndIsNoPartOfAValue(_ sample: Sample) throws {
    let read = try Configuration(Self.environment(without: sample.name).merging([sample.name: sample.value + "\r\n"]) { $1 })
    #expect(sample.read(read) == sample.value)
  }

  @Test(arguments: [
    ("RESTIC_REPOSITORY", "backups/app"), ("RESTIC_REPOSITORY", "local:backups"), ("RESTIC_REPOSITORY", "\"/repository\""),
    ("RESTIC_REPOSITORY", "/repository "), ("COPY_RESTIC_REPOSITORY", "copy"), ("RESTIC_HOST", "'app'"), ("RESTIC_HOST", "app "),
  ]) func whatWouldNameAnotherPlaceOrApplicationIsRefused(_ name: String, _ value: String) {
    let failure = failure { _ = try Configuration(Self.environment(without: name).merging([name: value]) { $1 }) }
    #expect(failure?.status == .configuration && failure?.problems.count == 1)
    #expect(failure?.problems.first?.fact.hasPrefix(name + " ") == true)
  }

  @Test(arguments: samples) func aVariableMayNotBeSetTwice(_ sample: Sample) throws {
    let directory = try Temporary()
    let both = [sample.name: sample.value, sample.name + "_FILE": try directory.file(sample.value)]
    let failure = failure { _ = try Configuration(Self.environment(without: sample.name).merging(both) { $1 }) }
    #expect(failure?.status == .configuration)
    #expect(failure?.problems == [Problem("\(sample.name) and \(sample.name)_FILE are both set", hint: "keep one of them")])
  }

  @Test func theNextPasswordsFileMayBeMissingOrEmpty() throws {
    let empty = try Temporary().file("\n")
    for path in ["/nowhere/x", empty] {
      #expect(try configuration(["RESTIC_NEW_PASSWORD_FILE": path]).repository.newPassword == nil)
    }
    #expect(problems(["RESTIC_NEW_PASSWORD_FILE": "/"]).count == 1)
  }

  @Test(arguments: samples.filter { !$0.name.hasSuffix("RESTIC_NEW_PASSWORD") }) func aFileThatIsMissingIsNamedOnce(
    _ sample: Sample
  ) {
    let missing = Self.environment(without: sample.name).merging([sample.name + "_FILE": "/nowhere/x"]) { $1 }
    let named = failure { _ = try Configuration(missing) }?.problems.filter { $0.fact.contains("/nowhere/x") }
    #expect(named?.count == 1)
    #expect(named?.first?.fact.hasPrefix("\(sample.name)_FILE: /nowhere/x cannot be read") == true)
  }

  @Test func aFileThatIsADirectoryOrEmptyIsNamed() throws {
    let directory = try Temporary()
    let empty = try directory.file("\n\n")
    let found = problems(["RESTIC_HOST_FILE": directory.path.string, "POSTGRES_USER_FILE": empty])
    #expect(found.count == 2)
    #expect(found.contains { $0.fact.hasPrefix("RESTIC_HOST_FILE: \(directory.path) cannot be read") })
    #expect(found.contains { $0.fact == "POSTGRES_USER_FILE: \(empty) is empty" })
  }

  @Test func anEmptyValueCountsAsUnset() throws {
    let read = try configuration(["RESTIC_HOST": "", "POSTGRES_DB": "", "LOCK_WAIT": "", "RESTIC_HOST_FILE": ""])
    #expect(read.repository.host == "backup-restore")
    #expect(read.database == nil)
    #expect(read.waits.lock == .seconds(600))
  }

  @Test func theStandardsAreThoseOfTheTable() throws {
    let read = try configuration()
    for (name, value) in [
      ("RESTIC_DAYS_TO_KEEP", read.retention.days), ("RESTIC_WEEKS_TO_KEEP", read.retention.weeks),
      ("RESTIC_MONTHS_TO_KEEP", read.retention.months), ("RESTIC_YEARS_TO_KEEP", read.retention.years),
      ("RESTIC_KEEP_LAST", read.retention.last), ("LOCK_WAIT", Int(read.waits.lock.components.seconds)),
      ("CONNECT_TIMEOUT", Int(read.waits.connect.components.seconds)),
      ("STALL_TIMEOUT", Int(read.waits.stall.components.seconds)), ("CHECK_DAYS", read.checkDays),
      ("QUIESCE_TIMEOUT", Int(read.waits.quiesce.components.seconds)),
    ] { #expect(Variable.table.first { $0.name == name }?.standard == String(value), "\(name)") }
    #expect(read.reporting.format == .text)
    #expect(read.files?.allowUnreadable == false)
    #expect(read.copy == nil)
  }

  @Test func allProblemsAreInOneErrorEachWithAHint() throws {
    let failure = failure {
      _ = try Configuration([
        "FILES_DIRECTORY": "relative", "FILES_OWNER": "jira", "POSTGRES_DB": "app", "POSTGRES_PORT": "abc",
        "RESTIC_KEEP_LAST": "0", "LOCK_WAIT": "-1", "LOG_FORMAT": "xml", "PING_URL": "ping", "RESTIC_REPOSITRY": "/r",
        "FILES_ALLOW_UNREADABLE": "yes", "RESTIC_HOST": "a,b", "CERTIFICATE_FILE": "/nowhere.pem",
      ])
    }
    let facts = failure?.problems.map(\.fact) ?? []
    for name in [
      "RESTIC_REPOSITORY is not set", "RESTIC_PASSWORD is not set", "FILES_DIRECTORY is \"relative\"", "FILES_OWNER is \"jira\"",
      "POSTGRES_PORT is \"abc\"", "POSTGRES_USER is not set", "neither POSTGRES_HOST nor POSTGRES_SERVICE",
      "RESTIC_KEEP_LAST is \"0\"", "LOCK_WAIT is \"-1\"", "LOG_FORMAT is \"xml\"", "PING_URL is no URL",
      "RESTIC_REPOSITRY is not a variable", "FILES_ALLOW_UNREADABLE is \"yes\"", "RESTIC_HOST is \"a,b\"",
      "CERTIFICATE_FILE: /nowhere.pem cannot be read",
    ] { #expect(facts.filter { $0.contains(name) }.count == 1, "\(name)") }
    #expect(facts.count == 15)
    #expect(failure?.problems.allSatisfy { !$0.hint.isEmpty } == true)
  }

  @Test func noConfigurationAtAllNamesWhatIsNeeded() {
    let failure = failure { _ = try Configuration([:]) }
    #expect(failure?.status == .configuration)
    let facts = failure?.problems.map(\.fact).joined(separator: "\n") ?? ""
    #expect(facts.contains("RESTIC_REPOSITORY is not set"))
    #expect(facts.contains("RESTIC_PASSWORD is not set"))
  }

  @Test func filesAloneAndADatabaseAloneAreEnough() throws {
    #expect(try configuration().database == nil)
    let database = [
      "RESTIC_REPOSITORY": "/r", "RESTIC_PASSWORD": "x", "POSTGRES_DB": "a, b ,", "POSTGRES_USER": "u", "POSTGRES_SERVICE": "db",
    ]
    #expect(try Configuration(database).database?.names == ["a", "b"])
  }

  @Test func aDatabaseThatIsIncompleteIsNotAlsoCalledMissing() {
    let failure = failure { _ = try Configuration(["RESTIC_REPOSITORY": "/r", "RESTIC_PASSWORD": "x", "POSTGRES_DB": "a"]) }
    #expect(failure?.problems.count == 2)
    #expect(failure?.problems.contains { $0.fact.contains("neither files nor") } == false)
  }
}
