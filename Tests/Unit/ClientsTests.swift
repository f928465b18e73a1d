import Glibc
import SystemPackage
import Testing

@testable import BackupRestore

@Suite struct ClientsTests {
  static let several = Clients(directories: [13: "/13", 15: "/15", 17: "/17", 18: "/18"])

  @Test(arguments: [(12, 13), (13, 13), (14, 15), (15, 15), (16, 17), (17, 17), (18, 18)])
  func aDumpIsMadeByTheServersOwnMajorOrTheSmallestNewer(server: Int, expected: Int) throws {
    let (program, major) = try Self.several.dump(server: server)
    #expect(major == expected)
    #expect(program == "/\(expected)/pg_dump")
  }

  @Test(arguments: [
    (13, 15, 15), (15, 15, 15), (15, 16, 15), (16, 15, 17), (17, 15, 17), (18, 15, 18), (14, 18, 18), (13, 12, 13),
  ])
  func anArchiveIsRestoredByTheServersOwnMajorOrTheSmallestThatCanReadIt(archive: Int, server: Int, expected: Int) throws {
    let (program, major) = try Self.several.restore(archive: archive, server: server)
    #expect(major == expected)
    #expect(program == "/\(expected)/pg_restore")
  }

  @Test func whatNoClientCanDoIsRefusedNamingThePackage() {
    let dump = failure { _ = try Self.several.dump(server: 19) }
    #expect(dump?.status == .refused)
    #expect(dump?.problems.first?.fact == "the server is PostgreSQL 19, and the newest pg_dump here is 18")
    #expect(dump?.problems.first?.hint.contains("postgresql-client-19") == true)
    let restore = failure { _ = try Clients(directories: [:]).restore(archive: 17, server: 17) }
    #expect(restore?.problems.first?.fact == "the archive was made by pg_dump 17, and the newest pg_restore here is missing")
  }

  @Test func programsAreFoundOnPathFirstAndThenByMajor() async throws {
    let directory = try Temporary()
    let root = directory.path.string
    for name in ["own", "wrapped", "unknown", "roots/15/bin", "roots/16/bin", "roots/17/bin", "roots/common/bin"] {
      var path = directory.path
      for component in FilePath(name).components {
        path.append(component)
        try Tree.makeDirectory(path)
      }
      let program = path.appending("pg_dump").string
      if name == "wrapped" {
        #expect(symlink("../share/postgresql-common/pg_wrapper", program) == 0)
      } else {
        _ = try directory.file("#!/bin/sh\n", "\(name)/pg_dump", mode: name == "roots/17/bin" ? 0o600 : 0o700)
      }
    }
    let found = await Clients.find(
      path: ["own", "wrapped", "unknown", "nowhere"].map { "\(root)/\($0)" }.joined(separator: ":"), roots: ["\(root)/roots"]
    ) { $0.contains("/own/") ? 15 : nil }
    #expect(found == Clients(directories: [15: "\(root)/own", 16: "\(root)/roots/16/bin"]))
  }

  static let timeout = [
    "pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"",
    "Command was: SET transaction_timeout = 0;",
    "pg_restore: warning: errors ignored on restore: 1",
  ]

  @Test(
    arguments: [
      (timeout, true), (Array(timeout.prefix(2)) + timeout, true), (Array(timeout.dropLast()), false), ([timeout[2]], false),
      ([], false),
      (timeout + ["pg_restore: error: could not execute query: ERROR:  role \"x\" does not exist"], false),
      (
        ["pg_restore: error: could not execute query: ERROR:  relation \"a\" already exists"] + timeout.dropLast()
          + ["pg_restore: warning: errors ignored on restore: 2"], false
      ),
      (timeout.dropLast() + ["pg_restore: warning: errors ignored on restore: 2"], false),
      (["pg_restore: error: could not read from input file: end of file"], false),
    ] as [([String], Bool)]) func onlyTheOneKnownErrorIsHarmless(lines: [String], harmless: Bool)
  {
    let errors = ClientErrors("pg_restore")
    for line in lines { errors.take(line) }
    #expect(errors.onlyTimeout == harmless)
  }

  @Test func theFirstRealErrorIsTheOneNamed() {
    let errors = ClientErrors("pg_restore")
    for line in Self.timeout + ["pg_restore: error: one", "pg_restore: error: two"] { errors.take(line) }
    #expect(errors.first == "one")
  }

  @Test(arguments: [
    ("restic 0.19.1 compiled with go1.25.1 on linux/amd64\n", [0, 19, 1]),
    ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", [15, 18]),
    ("pg_dump (PostgreSQL) 18beta1", [18]), ("restic 0.20.0-dev (compiled manually)", [0, 20, 0]), ("", []), ("no version", []),
  ]) func aVersionIsItsNumbers(line: String, numbers: [Int]) {
    #expect(Version.numbers(line) == numbers)
  }
}
