import Glibc
import Testing

@testable import BackupRestore

/// Values as hostile as an environment allows: taken or refused by the variable's name, never a crash, and no message that harms a terminal.
@Suite struct HostileTests {
  static let values = [
    "\u{1}", "\n", "a\nb", "\r", "\t", " ", "\u{7F}", "\u{1B}[31m", "\u{9B}31m", "'", "\"", "\\", "$(id)", "`id`", "%s%n",
    "--help", "-", "=",
    "a=b", ",", ",,", ":", "/", "//", "..", "../../etc", "~", "{}", "\u{301}", "\u{202E}", "😀", "\u{FEFF}x", "\u{FFFD}", "0",
    "-1",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "1e9", "0x10", "\u{661}", "NaN", "true ", "TRUE",
    "rest:", "s3:",
    "b2:", "s3:http://[", "rest:https://user:pa ss@host:99999/%zz", "postgres://x", "host:port", "host:0", "host:65536", "[::1",
    "[::1]:5432",
    String(repeating: "x", count: 1000), String(repeating: "ü,", count: 200), "o" + String(repeating: "\u{301}", count: 3000),
  ]

  static let complete = smallest.merging([
    "POSTGRES_DB": "app", "POSTGRES_USER": "owner", "POSTGRES_HOST": "db:5432", "COPY_RESTIC_REPOSITORY": "/copy",
    "COPY_RESTIC_PASSWORD": "p", "DRILL_POSTGRES_HOST": "drill:5432", "DRILL_POSTGRES_USER": "drill",
  ]) { $1 }

  @Test(arguments: Variable.spelt.sorted()) func aHostileValueIsTakenOrRefusedByName(_ name: String) throws {
    let directory = try Temporary()
    for value in Self.values {
      let file = [name + "_FILE": try directory.file(value)]
      for changes in [[name: value], file.merging([name: ""]) { $1 }] {
        do { _ = try Configuration(Self.complete.merging(changes) { $1 }) } catch {
          let failure = try #require(error as? Failure, "\(name)=\(value.prefix(40)): \(error)")
          #expect(failure.status == .configuration)
          #expect(failure.description.contains(name), "\(failure)")
          #expect(failure.description.utf8.count < 2000, "\(name)=\(value.prefix(40))")
          let text = failure.description.replacing("\n", with: "")
          #expect(text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }, "\(name): \(failure)")
        }
      }
    }
  }

  @Test func aFileThatIsNoTextIsRefusedByName() throws {
    let directory = try Temporary()
    let pipe = directory.path.appending("pipe").string
    #expect(mkfifo(pipe, 0o600) == 0)
    for (path, says) in [
      (try directory.file("a\0b", "nul"), "holds a NUL byte"), ("/dev/zero", "holds more than 64 KiB"), ("/dev/null", "is empty"),
      (directory.path.string, "cannot be read"), (pipe, "cannot be read"), ("/nowhere", "cannot be read"),
      ("\u{1}", "cannot be read"),
    ] {
      let problem = try #require(problems(["RESTIC_PASSWORD": "", "RESTIC_PASSWORD_FILE": path]).first)
      #expect(problem.fact.contains("RESTIC_PASSWORD_FILE") && problem.fact.contains(says), "\(problem)")
      #expect(!problem.fact.contains("ab"), "\(problem)")
    }
  }
}
