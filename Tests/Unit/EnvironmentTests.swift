import Testing

@testable import BackupRestore

@Suite struct EnvironmentTests {
  @Test(arguments: [
    ("RESTIC_REPOSITRY", "RESTIC_REPOSITORY"), ("RESTIC_DAYS_TO_KEPT", "RESTIC_DAYS_TO_KEEP"),
    ("RESTIC_PASWORD_FILE", "RESTIC_PASSWORD_FILE"), ("POSTGRES_HSOT", "POSTGRES_HOST"), ("FILE_DIRECTORY", "FILES_DIRECTORY"),
  ]) func aMisspeltNameIsPointedOut(name: String, meant: String) {
    #expect(
      problems([name: "1"]) == [Problem("\(name) is not a variable of this toolkit", hint: "did you mean \(meant)?")])
  }

  /// Everybody can read it in the manifests.
  @Test(arguments: [
    "RESTIC_PASSWORD", "RESTIC_NEW_PASSWORD", "COPY_RESTIC_PASSWORD", "COPY_RESTIC_NEW_PASSWORD", "POSTGRES_PASSWORD",
    "DRILL_POSTGRES_PASSWORD",
  ]) func thePlaceholderOfTheManifestsIsNoPassword(name: String) throws {
    let directory = try Temporary()
    let file = try directory.file("change-me\n")
    let others = [
      "COPY_RESTIC_REPOSITORY": "/copy", "COPY_RESTIC_PASSWORD": "c", "POSTGRES_DB": "app", "POSTGRES_USER": "u",
      "POSTGRES_HOST": "h", "DRILL_POSTGRES_USER": "u", "DRILL_POSTGRES_HOST": "h",
    ]
    #expect(problems(others).isEmpty)
    for variables in [[name: "change-me"], [name: "", name + "_FILE": file]] {
      let found = problems(others.merging(variables) { $1 })
      #expect(found.count == 1 && found[0].fact.hasPrefix("\(name) is \"change-me\""), "\(found)")
    }
    #expect(problems(others.merging([name: "change-me not"]) { $1 }).isEmpty)
  }

  @Test(arguments: [
    [
      "POSTGRES_PORT": "tcp://10.0.0.1:5432", "POSTGRES_PORT_5432_TCP": "tcp://10.0.0.1:5432",
      "POSTGRES_SERVICE_HOST": "10.0.0.1",
    ],
    ["POSTGRESQL_PORT": "tcp://10.0.0.1:5432", "POSTGRESQL_SERVICE_PORT": "5432", "POSTGRESQL_SERVICE_HOST": "10.0.0.1"],
    [
      "RESTIC_COMPRESSION": "max", "AWS_SHARED_CREDENTIALS_FILE": "/x", "PGSSLMODE": "verify-full", "PATH": "/bin",
      "HOSTNAME": "p",
    ],
    ["RESTIC_REPOSITRY": ""],
  ]) func whatKubernetesAndOthersSetIsNoMisspelling(_ variables: [String: String]) {
    #expect(problems(variables).isEmpty)
  }

  @Test(arguments: [
    ("abc", "abc", 0, true), ("abc", "acb", 1, true), ("abc", "abcd", 1, true), ("abc", "axc", 1, true), ("abc", "xyz", 2, false),
    ("", "ab", 2, true), ("ab", "", 1, false), ("", "", 0, true), ("abcd", "badc", 2, true), ("abcd", "badc", 1, false),
  ]) func distanceCountsLettersAndSwaps(a: String, b: String, limit: Int, near: Bool) {
    #expect(a.distance(to: b, atMost: limit) == near)
    #expect(b.distance(to: a, atMost: limit) == near)
  }

  @Test func aProblemOfASharedVariableIsReportedOnce() {
    let found = problems([
      "COPY_RESTIC_REPOSITORY": "/c", "COPY_RESTIC_PASSWORD": "c", "AWS_ACCESS_KEY_ID_FILE": "/nowhere", "RESTIC_HOST": "a,b",
    ])
    #expect(found.count == 2)
  }

  @Test(arguments: ["x", "1.5", "-1", "9999999999999999999999", "0x10", "12 days"])
  func aRetentionThatIsNoWholeNumberIsRefused(_ text: String) {
    #expect(
      problems(["RESTIC_DAYS_TO_KEEP": text])
        == [Problem("RESTIC_DAYS_TO_KEEP is \"\(text)\"", hint: "set a whole number, 0 to 100000 (default 30)")])
  }

  @Test(arguments: [
    ([:], ["--keep-last", "7", "--keep-within", "30d", "--keep-within-monthly", "12m"]),
    (["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "3"], ["--keep-last", "3"]),
    (
      ["RESTIC_WEEKS_TO_KEEP": "8", "RESTIC_YEARS_TO_KEEP": "5"],
      [
        "--keep-last", "7", "--keep-within", "30d", "--keep-within-weekly", "56d", "--keep-within-monthly", "12m",
        "--keep-within-yearly", "5y",
      ]
    ),
  ]) func retentionBecomesTheseArguments(variables: [String: String], arguments: [String]) throws {
    #expect(try configuration(variables).retention.arguments == arguments)
  }
}
