import FoundationEssentials
import Testing

@testable import BackupRestore

@Suite struct ReportingTests {
  static let secret = #"tok"en\ with "quotes"#

  @Test func everythingOfARequestIsInItsConfigurationAndQuoted() {
    let request = Request(
      method: "POST", url: "https://h/p?a=\"b\"", headers: ["Authorization: Bearer \(Self.secret)"], body: "a\n\"b\"\\\t\r\n",
      certificate: "/ca.crt", seconds: 7)
    #expect(
      request.configuration == #"""
        url = "https://h/p?a=\"b\""
        globoff
        request = POST
        silent
        show-error
        max-time = 7
        write-out = "\n%{http_code}"
        header = "Authorization: Bearer tok\"en\\ with \"quotes"
        data-raw = "a\n\"b\"\\\t\r\n"
        cacert = "/ca.crt"
        noproxy = "*"

        """#)
  }

  @Test func aServerBehindAProxyIsNotAskedDirectly() {
    let request = Request(method: "GET", url: "https://h", proxies: ["https_proxy": "http://p"])
    #expect(!request.configuration.contains("noproxy"))
  }

  @Test(
    arguments: [
      ("https://hc/ping/1", "https://hc/ping/1/start"), ("https://hc/ping/1/", "https://hc/ping/1/start"),
      ("https://hc/key/slug?create=1", "https://hc/key/slug/start?create=1"), ("http://hc?", "http://hc/start?"),
    ])
  func theEventIsBelowThePath(url: String, start: String) { #expect(Reporter.url(Secret(url), "start") == start) }

  @Test func aRunIsWrittenByTheConventionsOfPrometheus() {
    var numbers = RunMetrics()
    numbers.saved = Date(timeIntervalSince1970: 1_700_000_000.9)
    numbers.rows = 5000
    numbers.copyFailed = true
    let text = Metrics.text(numbers, .attention, ended: Date(timeIntervalSince1970: 1_700_000_001), seconds: 2.5)
    for line in [
      "# HELP backup_restore_last_success_timestamp_seconds When an undoubted set was last saved.",
      "# TYPE backup_restore_last_success_timestamp_seconds gauge",
      "backup_restore_last_success_timestamp_seconds 1700000000.0", "backup_restore_rows 5000.0",
      "backup_restore_duration_seconds 2.5", "backup_restore_exit_code 4.0", "backup_restore_copy_failed 1.0",
    ] {
      #expect(text.split(separator: "\n").contains { $0 == line }, "\(line)")
    }
    // What a run does not know it does not push: an earlier success stays.
    #expect(!text.contains("check_failed") && !text.contains("drill"))
    #expect(text.hasSuffix("\n"))
  }

  @Test func aRunThatFailedErasesNoSuccess() {
    let text = Metrics.text(RunMetrics(), .sourceFailed, ended: Date(), seconds: 1)
    #expect(text.split(separator: "\n").count { !$0.hasPrefix("#") } == 3)
    #expect(!text.contains("last_success") && text.contains("backup_restore_exit_code 20.0"))
  }

  @Test func theHostIsALabelWhateverItHolds() {
    #expect(Metrics.path(.backup, host: "wiki") == "/metrics/job/backup/instance@base64/d2lraQ==")
    #expect(Metrics.path(.drill, host: "a/b?~~~") == "/metrics/job/drill/instance@base64/YS9iP35-fg==")
  }

  // MARK: --check

  @Test func everyPartIsReadWithinTheDays() {
    let days = (0..<28).map { Date(timeIntervalSince1970: 1_700_000_000 + 86400 * Double($0)) }
    #expect(Set(days.map { CheckRepositories.part(of: 28, on: $0) }) == Set(1...28))
    #expect(Set(days.map { CheckRepositories.part(of: 1, on: $0) }) == [1])
  }

  static let pack = String(repeating: "0123456789abcdef", count: 4)

  @Test(
    arguments: [
      ("pack \(pack): file does not exist", [pack]), ("decrypting blob <tree/eea7d9a1> from pack \(pack) failed: x", [pack]),
      ("pack \(pack) contains 2 errors: [blob \(pack) failed unexpected pack id \(pack)]", [pack]),
      ("Fatal: repository contains errors", []),
      ("error for tree eea7d9a1:", []),
      ("ReadFull(<data/0123456789>): open /r/data/01/\(pack): no such file or directory", [pack]),
      // Writing a pack that the disk has no room for is no damage.
      ("open /r/data/01/\(pack)-tmp-1: no space left on device", []), ("open /r/data/01/\(pack): permission denied", []),
    ] as [(String, [String])])
  func packsAreFoundInWhatResticSays(error: String, packs: [String]) { #expect(Repository.packs(in: error) == packs) }
}
