import Testing

@testable import BackupRestore

@Suite struct SecretTests {
  @Test func noWayOfPrintingShowsASecret() {
    let secret = Secret("hunter2-alone")
    var dumped = ""
    dump(secret, to: &dumped)
    dump(["key": secret], to: &dumped)
    dump(Optional(secret), to: &dumped)
    let texts = [
      String(describing: secret), String(reflecting: secret), "\(secret)", "\([secret])", "\(secret as Any)", dumped,
      Mirror(reflecting: secret).children.map { "\($0.value)" }.joined(), secret.description, secret.debugDescription,
    ]
    for text in texts { #expect(!text.contains("hunter2-alone")) }
    #expect(secret.reveal() == "hunter2-alone")
  }

  @Test func noWayOfPrintingAConfigurationShowsASecret() throws {
    var variables = [
      "RESTIC_REPOSITORY": "rest:https://me:hunter2-url@host/", "RESTIC_PASSWORD": "hunter2-restic",
      "RESTIC_NEW_PASSWORD": "hunter2-new", "COPY_RESTIC_REPOSITORY": "rest:https://me:hunter2-copy-url@host/",
      "COPY_RESTIC_PASSWORD": "hunter2-copy", "POSTGRES_DB": "app", "POSTGRES_USER": "u", "POSTGRES_HOST": "db",
      "POSTGRES_PASSWORD": "hunter2-postgres",
    ]
    for name in Variable.backendSecrets { variables[name] = "hunter2-\(name)" }
    let configuration = try configuration(variables)
    var text = "\(configuration) \(String(reflecting: configuration))"
    dump(configuration, to: &text)
    #expect(!text.contains("hunter2"))
    #expect(text.contains("backup-restore"))
  }

  @Test func maskHidesEverySecretMadeLongestFirst() {
    _ = (Secret("mask-me"), Secret("mask-me-too"), Secret("{}"))
    #expect(Secret.mask("a mask-me b mask-me-too c {} d") == "a *** b *** c {} d")
  }

  @Test func aSecretThatBeginsWithACombiningMarkIsFound() {
    _ = Secret("\u{301}secret")
    #expect(Secret.mask("the password \"\u{301}secret\" is wrong") == "the password \"***\" is wrong")
  }

  @Test func aSecretIsHiddenBeforeControlCharactersAreShown() {
    _ = Secret("mask\tme")
    #expect(redacted("a mask\tme b\u{1B}") == "a *** b\\u{1B}")
  }

  @Test func thePasswordInAUrlIsMaskedEvenWhereItHasAnAt() throws {
    let settings = try configuration(["RESTIC_REPOSITORY": "rest:https://me:pa:ss@word@host:8000/x"]).repository
    #expect(settings.shown == "rest:https://me:***@host:8000/x")
    #expect(Secret.mask("dial pa:ss@word failed") == "dial *** failed")
  }

  @Test(arguments: ["s3:https://host/bucket", "/mnt/backup", "rest:https://me@host/", "sftp:me@host:/srv"])
  func aUrlWithoutAPasswordIsShownAsItIs(_ url: String) throws {
    let shown = try configuration(["RESTIC_REPOSITORY": url]).repository.shown
    #expect(shown == (url.hasSuffix("/") ? String(url.dropLast()) : url))
  }

  @Test func aCommandIsPrintedWithoutItsEnvironment() throws {
    let command = try repository(["RESTIC_PASSWORD": "hunter2-command"]).command(["snapshots"])
    #expect("\(command)" == "restic --json snapshots")
    #expect(command.environment["RESTIC_PASSWORD"] == "hunter2-command")
  }
}
