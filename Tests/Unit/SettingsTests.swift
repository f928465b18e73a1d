import Glibc
import SystemPackage
import Testing

@testable import BackupRestore

@Suite struct SettingsTests {
  @Test(arguments: [
    (["POSTGRES_HOST": "db:5433"], "db", 5433), (["POSTGRES_HOST": "db"], "db", 5432),
    (["POSTGRES_HOST": "db", "POSTGRES_PORT": "5434"], "db", 5434),
    (["POSTGRES_HOST": "db:5433", "POSTGRES_PORT": "5434"], "db", 5433),
    (["POSTGRES_HOST": "[::1]:5433"], "::1", 5433), (["POSTGRES_HOST": "[fd00::1]"], "fd00::1", 5432),
    (["POSTGRES_HOST": "fd00::1"], "fd00::1", 5432), (["POSTGRES_HOST": "10.0.0.7:1"], "10.0.0.7", 1),
    (["POSTGRES_HOST": "/run/postgresql"], "/run/postgresql", 5432),
    (["POSTGRES_SERVICE": "service", "POSTGRES_PORT": "65535"], "service", 65535),
    (["POSTGRES_SERVICE": "service", "POSTGRES_PORT": "tcp://10.0.0.1:5435"], "service", 5435),
    (["POSTGRES_SERVICE": "service", "POSTGRES_HOST": "db"], "db", 5432),
  ]) func anAddressHasAHostAndAPort(variables: [String: String], host: String, port: Int) throws {
    let base = smallest.merging(["POSTGRES_DB": "app", "POSTGRES_USER": "owner"]) { $1 }
    let database = try Configuration(base.merging(variables) { $1 }).database
    #expect(database?.host == host)
    #expect(database?.port == port)
  }

  @Test(arguments: ["db:", "db:abc", "db:0", "db:65536", "[::1]:x"]) func aPortThatIsNoneIsRefused(_ host: String) {
    #expect(
      failure { _ = try databaseSettings(["POSTGRES_HOST": host]) }?.problems.map(\.fact) == ["POSTGRES_HOST is \"\(host)\""])
  }

  @Test(arguments: ["abc", "0", "65536", "tcp://10.0.0.1", "udp://10.0.0.1:53"]) func aPortVariableThatIsNoneIsRefused(
    _ port: String
  ) {
    let found = failure { _ = try databaseSettings(["POSTGRES_PORT": port, "POSTGRES_HOST": "db"]) }?.problems
    #expect(found?.map(\.fact) == ["POSTGRES_PORT is \"\(port)\""])
  }

  @Test(arguments: [
    ("a,a", "POSTGRES_DB names a database twice"), ("a,postgres", "POSTGRES_DB names postgres, which cannot be swapped"),
    ("template1", "POSTGRES_DB names template1, which cannot be swapped"),
  ]) func aDatabaseThatCannotBeSwappedIsRefused(names: String, fact: String) {
    let found = failure { _ = try databaseSettings(["POSTGRES_DB": names]) }?.problems ?? []
    #expect(found.count == 1)
    #expect(found.first?.fact.hasPrefix(fact) == true)
  }

  @Test(arguments: [
    ("a,b/c", ["a", "b/c"]), (" a , b ", ["a", "b"]), ("./a//b/,c/.", ["a/b", "c"]), ("a/../b", ["b"]),
    ("x/lost+found", ["x/lost+found"]),
    ("a.b,a", ["a.b", "a"]), ("-rf", ["-rf"]), ("ab,a", ["ab", "a"]),
  ]) func pathsAreNormalised(text: String, paths: [String]) throws {
    #expect(try configuration(["FILES_PATHS": text]).files?.paths == paths)
  }

  @Test(arguments: [
    "..", "../x", "a/../..", "a/../../b", "/etc", ".", "a/..", ".backup-restore", ".backup-restore/x", "lost+found",
    "./lost+found",
    "a,a", "a,a/b", "a/b,a", "a/./b,a/b/c",
  ]) func aPathOutsideReservedOrNestedIsRefused(_ text: String) {
    let found = problems(["FILES_PATHS": text])
    #expect(found.count == 1)
    #expect(found.first?.fact.hasPrefix("FILES_PATHS names \"") == true)
  }

  @Test(arguments: ["relative", "/", "//", "/a/../b", "/a/./b", "/srv//app"]) func aDirectoryThatIsNotPlainIsRefused(
    _ path: String
  ) {
    #expect(problems(["FILES_DIRECTORY": path]).first?.fact.hasPrefix("FILES_DIRECTORY is") == true)
  }

  /// Our own excludes, restic and the list of mounts have to mean the same by it.
  @Test func aDirectoryIsItsRealPathHoweverItIsNamed() throws {
    let temporary = try Temporary()
    let real = temporary.path.appending("real").string
    try Tree.makeDirectory(.init(real))
    try Tree.makeDirectory(.init(real + "/data"))
    let links = [temporary.path.appending("above").string, temporary.path.appending("itself").string]
    #expect(symlink(real, links[0]) == 0 && symlink(real + "/data", links[1]) == 0)
    for named in [links[0] + "/data", links[1], links[1] + "/"] {
      let files = try #require(try configuration(["FILES_DIRECTORY": named]).files)
      #expect(files.directory == real + "/data" && files.named == (named.hasSuffix("/") ? String(named.dropLast()) : named))
      #expect(files.backupArguments().contains(real + "/data/lost+found"))
    }
    #expect(symlink("/", temporary.path.appending("root").string) == 0)
    let root = problems(["FILES_DIRECTORY": temporary.path.appending("root").string])
    #expect(root.first?.fact.hasSuffix("which leads to /") == true)
    // What lies inside is found by its real path, too.
    let inside = ["FILES_DIRECTORY": real, "HOME": "/nowhere"]
    for (name, path) in [
      ("TMPDIR", links[0]), ("RESTIC_CACHE_DIR", links[1]), ("HOME", links[1]), ("RESTIC_REPOSITORY", links[0] + "/r"),
    ] {
      let found = problems(inside.merging([name: path]) { $1 }).map(\.fact)
      #expect(found.count == 1 && found.first?.hasPrefix("\(name) lies inside FILES_DIRECTORY") == true, "\(name): \(found)")
    }
    #expect(problems(inside.merging(["HOME": links[0], "RESTIC_CACHE_DIR": "/c"]) { $1 }) == [])
  }

  @Test func trailingSlashesOfDirectoryAndRepositoryDoNotCount() throws {
    let read = try configuration(["FILES_DIRECTORY": "/srv/app//", "RESTIC_REPOSITORY": "s3:https://h/b/"])
    #expect(read.files?.directory == "/srv/app")
    #expect(read.repository.base.reveal() == "s3:https://h/b")
  }

  @Test(arguments: ["901", "901:", ":901", "a:b", "-1:0", "1:2:3", "4294967296:0", "1 : 2"])
  func anOwnerThatIsNotTwoNumbersIsRefused(_ text: String) {
    #expect(problems(["FILES_OWNER": text]).map(\.fact) == ["FILES_OWNER is \"\(text)\""])
  }

  @Test func anOwnerIsTwoNumbers() throws {
    #expect(try configuration(["FILES_OWNER": "0:4294967295"]).files?.owner == .init(user: 0, group: .max))
  }

  @Test func theSecondRepositoryNeedsBothOfItsVariables() {
    #expect(problems(["COPY_RESTIC_REPOSITORY": "/c"]).map(\.fact) == ["COPY_RESTIC_PASSWORD is not set"])
    #expect(problems(["COPY_RESTIC_PASSWORD": "c"]).map(\.fact) == ["COPY_RESTIC_REPOSITORY is not set"])
  }

  @Test(arguments: ["COPY_AWS_SECRET_ACCESS_KEY", "COPY_B2_ACCOUNT_ID_FILE", "COPY_RESTIC_REST_PASSWORD"])
  func twoAccountsOfOneKindAreRefused(name: String) {
    let copy = ["COPY_RESTIC_REPOSITORY": "/c", "COPY_RESTIC_PASSWORD": "c", name: "x"]
    #expect(problems(copy).map(\.fact).joined().hasPrefix("\(name) is set: restic copies within one account"))
    #expect(problems(copy).first?.hint.contains("set \(name.dropFirst(5));") == true)
  }

  @Test func theSecondRepositoryIsAnother() {
    let same = ["COPY_RESTIC_REPOSITORY": "/r/", "COPY_RESTIC_PASSWORD": "c"]
    #expect(problems(same).map(\.fact) == ["COPY_RESTIC_REPOSITORY is the same as RESTIC_REPOSITORY"])
    let inside = ["COPY_RESTIC_REPOSITORY": "/srv/app/copy", "COPY_RESTIC_PASSWORD": "c"]
    #expect(problems(inside).first?.fact.hasPrefix("COPY_RESTIC_REPOSITORY lies inside FILES_DIRECTORY") == true)
  }

  @Test func aServerForDrillsIsWholeOrAbsent() throws {
    let database = ["POSTGRES_DB": "app", "POSTGRES_USER": "u", "POSTGRES_HOST": "db"]
    #expect(try configuration(database).drill == nil)
    #expect(
      problems(database.merging(["DRILL_POSTGRES_PASSWORD": "x"]) { $1 }).map(\.fact)
        == ["DRILL_POSTGRES_USER is not set", "DRILL_POSTGRES_HOST is not set"])
    let drill = database.merging(["DRILL_POSTGRES_HOST": "d:5433", "DRILL_POSTGRES_USER": "v"]) { $1 }
    #expect(try configuration(drill).drill?.names == ["app"] && configuration(drill).drill?.port == 5433)
  }

  @Test(arguments: ["0", "257", "weekly"]) func everythingIsReadWithin256Days(_ text: String) {
    #expect(problems(["CHECK_DAYS": text]).map(\.fact) == ["CHECK_DAYS is \"\(text)\""])
  }
}
