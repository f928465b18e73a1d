import Foundation
import Support
import Testing

@testable import BackupRestore

/// Repository servers that are away, full, or refuse.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Servers {
  /// restic's own server, below `root/server`.
  static func server(_ site: Site, _ port: Int, _ options: String...) -> Daemon {
    Daemon(
      "restic-rest-server", ["--path", site.root + "/server", "--listen", "127.0.0.1:\(port)"] + options, seconds: 300,
      log: site.root + "/server.log")
  }

  static func site(_ settings: [String: String] = [:]) async throws -> (Site, port: Int) {
    let port = try Cluster.freePort()
    let site = try await Site(settings: ["RESTIC_REPOSITORY": "rest:http://127.0.0.1:\(port)/"].merging(settings) { $1 })
    try await site.script("head -c 30000000 /dev/urandom > big; mkdir ../server")
    return (site, port)
  }

  @Test func aServerThatIsAwayForAWhileCostsTimeAndNothingElse() async throws {
    let (site, port) = try await Self.site()
    var server = Self.server(site, port, "--no-auth")
    try await Shell.untilListening(port)
    #expect(try await site.run("init").code == 0)
    let run = try site.start("backup")
    try await site.until("ls server/files/data/*/* 2>/dev/null | grep -q .")
    await server.stop()
    try await run.until(says: "does not answer")
    server = Self.server(site, port, "--no-auth")
    let saved = try await run.result
    #expect(saved.code == 0 && saved.errors.contains("does not answer"), "\(saved)")
    try await site.script("rm big")
    #expect(try await site.run("restore").code == 0)
    await server.stop()
  }

  struct Away: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let url: String
    let says: String
  }

  /// An answer by our own deadline, not by restic's quarter of an hour.
  @Test(arguments: [
    Away(testDescription: "never up", url: "rest:http://127.0.0.1:1/", says: "connection refused"),
    // Addresses for documentation: packets to them go nowhere.
    Away(testDescription: "black-holed", url: "rest:http://192.0.2.1:8000/", says: "192.0.2.1"),
    Away(testDescription: "no such name", url: "rest:http://nowhere.invalid:8000/", says: "nowhere.invalid"),
  ]) func aServerThatNeverAnswersIsGivenUpInTime(_ away: Away) async throws {
    let (site, _) = try await Self.site(["RESTIC_REPOSITORY": away.url, "CONNECT_TIMEOUT": "5"])
    for (program, arguments) in [("init", []), ("backup", []), ("restore", []), ("restore", ["--list"])] as [(String, [String])] {
      let begin = ContinuousClock().now
      let run = try await site.run(program, arguments)
      #expect(run.code == 23, "\(run)")
      #expect(run.errors.contains(away.says), "\(run.errors)")
      #expect(ContinuousClock().now - begin < .seconds(300), "\(program)")
    }
    #expect(try Configuration(site.settings.merging(["CONNECT_TIMEOUT": ""]) { $1 }).waits.connect == .seconds(120))
  }

  @Test func aWrongPasswordOfTheServerIsToldAtOnce() async throws {
    let (site, port) = try await Self.site()
    try await Shell.script(
      "printf 'me:{SHA}%s\\n' \"$(printf right | openssl sha1 -binary | base64)\" >server/.htpasswd", in: site.root)
    let server = Self.server(site, port)
    try await Shell.untilListening(port)
    let url = { (password: String) in ["RESTIC_REPOSITORY": "rest:http://me:\(password)@127.0.0.1:\(port)/"] }
    #expect(try await site.run("init", with: url("right")).code == 0)
    let begin = ContinuousClock().now
    let refused = try await site.run("backup", with: url("wrong-one"))
    #expect(refused.code == 23 && refused.errors.contains("401 Unauthorized"), "\(refused)")
    #expect(!refused.errors.contains("wrong-one") && ContinuousClock().now - begin < .seconds(300))
    #expect(try await site.run("backup", with: url("right")).code == 0)
    await server.stop()
  }

  /// HTTP 507: restic would try for a quarter of an hour.
  @Test func aFullServerFailsInTimeAndTheNextRunSucceeds() async throws {
    let (site, port) = try await Self.site()
    var server = Self.server(site, port, "--no-auth", "--max-size", "10000000")
    try await Shell.untilListening(port)
    #expect(try await site.run("init").code == 0)
    let begin = ContinuousClock().now
    // Only what must expire is short.
    let full = try await site.run("backup", with: ["CONNECT_TIMEOUT": "20", "STALL_TIMEOUT": "8"])
    #expect(full.code == 23 && full.errors.contains("507"), "\(full)")
    #expect(ContinuousClock().now - begin < .seconds(600))
    #expect(try await site.run("restore", ["--list"]).output.split(separator: "\n").filter { $0.hasPrefix("20") }.isEmpty)
    await server.stop()
    server = Self.server(site, port, "--no-auth")
    try await Shell.untilListening(port)
    #expect(try await site.run("backup").code == 0)
    await server.stop()
  }
}
