import Foundation
import Support
import Testing

@testable import BackupRestore

/// The words of the three commands, in one file each: what changes them is one diff. GOLDEN=write writes them anew.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Golden {
  static let directory = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Golden").standardizedFileURL

  /// What a run says, without what differs from run to run: ids by their order, times, sizes, places.
  struct Transcript {
    let site: Site
    var text = ""
    private var ids: [String: Int] = [:]
    private var count = 0

    init(_ site: Site) { self.site = site }

    mutating func title(_ title: String) { text += "# \(title)\n" }

    @discardableResult
    mutating func run(_ program: String, _ arguments: String..., with changes: [String: String?] = [:]) async throws
      -> Shell.Result
    {
      // A set and a restore of one second have one id.
      while ids[SetID(Date()).text] != nil { try await Task.sleep(for: .milliseconds(50)) }
      var result = try await site.run(program, arguments, with: changes)
      // What did not answer at once is told later, on a busy machine.
      while result.output.contains("\nlater:") { result = try await site.run(program, arguments, with: changes) }
      let set = changes.keys.sorted().map { "\($0)=\((changes[$0] ?? nil) ?? "") " }.joined()
      let errors = result.errors.split(separator: "\n").map { "! \($0)\n" }.joined()
      text += stable(
        "$ \(set)\(([program] + arguments).joined(separator: " "))\n\(result.output)\(errors)exit \(result.code)\n\n")
      return result
    }

    private mutating func stable(_ text: String) -> String {
      for match in text.matches(of: /\b\d{8}T\d{6}Z/) where ids[String(match.0)] == nil {
        count += 1
        ids[String(match.0)] = count
      }
      var text = text.replacing(site.root, with: "ROOT").replacing(/127\.0\.0\.1:\d+/, with: "SERVER")
      for (id, number) in ids { text = text.replacing(id, with: "ID\(number)") }
      return text.replacing(/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?: UTC|Z)?/, with: "TIME")
        .replacing(/\b\d{4}-\d\d-\d\d\b/, with: "DAY").replacing(/\bin [\d.]+ (?:ms|s|min)(?: \d+ s)?\b/, with: "in SECONDS")
        .replacing(/([ ,])[\d.]+ (?:s|min|h)(?=[ .,\n])/) { "\($0.1)AGE" }
        .replacing(/[\d.,]+ [KMG]i?B/, with: "SIZE").replacing(/\b\d[\d,]* B\b/, with: "SIZE")
        .replacing(/\b[0-9a-f]{8}\b/, with: "SNAPSHOT").replacing(/process \d+|session \d+/, with: "process N")
        .replacing(/\bpart \d+ of/, with: "part N of").replacing(/[ ]{2,}/, with: "  ")
    }
  }

  static func compare(_ text: String, _ name: String) throws {
    let file = Self.directory.appending(path: name + ".txt")
    if ProcessInfo.processInfo.environment["GOLDEN"] == "write" {
      try text.write(to: file, atomically: true, encoding: .utf8)
    }
    let golden = try String(contentsOf: file, encoding: .utf8)
    let difference = text.split(separator: "\n").difference(from: golden.split(separator: "\n"))
    let changes = difference.map { change in
      switch change {
      case .insert(let line, let text, _): "+\(line + 1): \(text)"
      case .remove(let line, let text, _): "-\(line + 1): \(text)"
      }
    }
    #expect(
      text == golden,
      "GOLDEN=write swift test --filter Integration, where this is meant:\n\(changes.joined(separator: "\n"))")
  }

  private static func site(_ database: String) async throws -> Site {
    let cluster = try await Cluster.shared.value
    try await cluster.psql("postgres", "DROP DATABASE IF EXISTS \(database)")
    let site = try await Site(cluster: cluster, database: database)
    try await site.createDatabase(
      "CREATE TABLE item (id int PRIMARY KEY, name text); INSERT INTO item SELECT n, 'x' FROM generate_series(1, 40) n")
    try await site.script("mkdir attachments; for i in $(seq 10); do echo $i >attachments/$i; done")
    return site
  }

  @Test func whatInitSays() async throws {
    var golden = Transcript(try await Self.site("golden_init"))
    golden.title("Nothing is configured")
    try await golden.run("init", with: ["RESTIC_REPOSITORY": nil, "RESTIC_PASSWORD": nil])
    golden.title("The first time")
    try await golden.run("init")
    golden.title("Again")
    try await golden.run("init")
    golden.title("With another password")
    try await golden.run("init", with: ["RESTIC_PASSWORD": "other"])
    golden.title("A misspelt variable, and a flag that there is not")
    try await golden.run("init", with: ["RESTIC_REPOSITRY": "/x"])
    try await golden.run("init", "--force")
    golden.title("Another password in place of the first")
    try await golden.run("init", "--rotate-password")
    try await golden.run("init", "--rotate-password", with: ["RESTIC_NEW_PASSWORD": "other"])
    try Self.compare(golden.text, "init")
  }

  @Test func whatBackupSays() async throws {
    let site = try await Self.site("golden_backup")
    var golden = Transcript(site)
    golden.title("Before there is a repository")
    try await golden.run("backup")
    try await Staged.succeed(site, "init")
    golden.title("What would be saved, and the first night")
    try await golden.run("backup", "--dry-run")
    try await golden.run("backup")
    golden.title("With a check")
    try await golden.run("backup", "--check")
    golden.title("After somebody emptied a table, and when that is accepted")
    _ = try await site.sql("TRUNCATE item")
    try await golden.run("backup")
    let doubted = try #require(try await site.sets().last)
    try await golden.run("backup", "--accept", doubted)
    try await golden.run("backup", "--accept", doubted)
    golden.title("What is not there: the database, the server, the files, the repository, the password")
    try await golden.run("backup", with: ["POSTGRES_DB": "golden_missing"])
    try await golden.run("backup", with: ["POSTGRES_HOST": "127.0.0.1:1"])
    try await golden.run("backup", with: ["FILES_DIRECTORY": "\(site.root)/missing"])
    try await golden.run("backup", with: ["RESTIC_REPOSITORY": "\(site.root)/nowhere"])
    try await golden.run("backup", with: ["RESTIC_PASSWORD": "other"])
    golden.title("While another run holds the volume")
    try await Shell.script("mkfifo end", in: site.root)
    let holder = Shell.Running(
      "timeout", ["600", "flock", site.files, "-c", "echo held >&2; cat \(site.root)/end"], environment: Shell.environment)
    try await holder.until(says: "held")
    try await golden.run("backup", with: ["LOCK_WAIT": "0"])
    try await Shell.script("echo >end", in: site.root)
    _ = try await holder.result
    golden.title("Wrong usage")
    try await golden.run("backup", "--check", "--dry-run")
    try Self.compare(golden.text, "backup")
  }

  @Test func whatRestoreSays() async throws {
    let site = try await Self.site("golden_restore")
    var golden = Transcript(site)
    try await Staged.succeed(site, "init")
    golden.title("Before there is a set")
    try await golden.run("restore", "--list")
    try await golden.run("restore")
    try await Staged.succeed(site, "backup")
    golden.title("Looking")
    try await golden.run("restore", "--list")
    try await golden.run("restore", "--status")
    try await golden.run("restore", "--dry-run")
    golden.title("A drill, a restore, and back")
    try await golden.run("restore", "--drill")
    try await golden.run("restore")
    try await golden.run("restore", "--status")
    try await golden.run("restore", "--rollback")
    try await golden.run("restore", "--discard-previous")
    golden.title("Parts, and in place")
    try await golden.run("restore", "--only", "files")
    try await golden.run("restore", "--only", "database")
    try await golden.run("restore", "--in-place", "--only", "files")
    golden.title("A choice that is the operator's")
    _ = try await site.sql("TRUNCATE item")
    _ = try await site.run("backup")
    try await golden.run("restore")
    try await golden.run("restore", "20200101T000000Z")
    try await golden.run("restore", "2")
    try await golden.run("restore", "--at", "2020-01-01T00:00:00Z")
    try await golden.run("restore", "--rollback", "20200101T000000Z")
    try await golden.run("restore", "--from-copy")
    try await golden.run("restore", with: ["RESTIC_HOST": "another"])
    golden.title("Wrong usage")
    try await golden.run("restore", "--list", "--status")
    try await golden.run("restore", "--at", "yesterday")
    try Self.compare(golden.text, "restore")
  }
}
