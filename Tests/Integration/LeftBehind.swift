import Foundation
import Support
import Testing

@testable import BackupRestore

/// After any run that ended, TMPDIR and the volume hold nothing of ours but what is kept for a rollback.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct LeftBehind {
  /// Names in TMPDIR, and below `.backup-restore`.
  private func left(by site: Site) throws -> (scratch: [String], work: [String]) {
    let names = { (path: String) in try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
    let work = FileManager.default.fileExists(atPath: site.work) ? try names(site.work) : []
    return (try names(site.settings["TMPDIR"]!), work)
  }

  private func kept(by site: Site) async throws -> [String] {
    let lines = try await site.run("restore", ["--status"]).output.split(separator: "\n")
    return lines.compactMap { $0.split(separator: " ").first.map(String.init) }.filter { RestoreID($0) != nil }
  }

  @Test func noCommandLeavesAnythingBehind() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase("CREATE TABLE item AS SELECT n FROM generate_series(1, 40) n")
    try await site.script("mkdir a; echo b >a/b")
    let commands: [(code: Int32, words: [String])] = [
      (0, ["init"]), (0, ["backup", "--dry-run"]), (0, ["backup"]), (0, ["backup", "--check"]), (0, ["restore", "--list"]),
      (0, ["restore", "--status"]), (0, ["restore", "--dry-run"]), (0, ["restore", "--drill", "--dry-run"]),
      (0, ["restore", "--drill"]),
      (22, ["restore", "20200101T000000Z"]), (0, ["restore"]), (0, ["restore", "--rollback"]),
      (0, ["restore", "--discard-previous"]),
      (0, ["restore", "--only", "files"]), (0, ["restore", "--only", "database"]), (0, ["restore", "--in-place"]),
    ]
    for (code, words) in commands {
      let run = try await site.run(words[0], Array(words.dropFirst()))
      #expect(run.code == code, "\(words): \(run)")
      let left = try left(by: site)
      #expect(left.scratch.isEmpty, "\(words): \(left)")
      #expect(left.work.allSatisfy(Set(try await kept(by: site)).contains), "\(words): \(left)")
    }
  }

  /// Refused, failed and stopped runs as well.
  @Test func noRunThatFailsLeavesAnythingBehind() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase("CREATE TABLE item AS SELECT n FROM generate_series(1, 40) n")
    try await site.script("mkdir a; echo b >a/b")
    for program in ["init", "backup"] { #expect(try await site.run(program).code == 0) }
    let failures: [(code: Int32, words: [String], changes: [String: String?])] = [
      (78, ["backup"], ["RESTIC_REPOSITRY": "x"]), (20, ["backup"], ["POSTGRES_DB": "nobody"]),
      (12, ["backup"], ["RESTIC_PASSWORD": "x"]),
      (10, ["restore"], ["RESTIC_REPOSITORY": "\(site.root)/nowhere"]), (22, ["restore"], ["POSTGRES_FREE_BYTES": "1"]),
      (22, ["restore", "--in-place"], ["POSTGRES_FREE_BYTES": "1"]), (22, ["restore", "--drill"], ["POSTGRES_FREE_BYTES": "1"]),
    ]
    for (code, words, changes) in failures {
      let run = try await site.run(words[0], Array(words.dropFirst()), with: changes)
      #expect(run.code == code, "\(words): \(run)")
      #expect(try left(by: site) == ([], []), "\(words)")
    }
    // What loads fails, or is in the middle when the run is stopped.
    for (script, code) in [("exit 1", 21 as Int32), ("kill -TERM $PPID; sleep 600", 143)] {
      let changes = try Staged.beforeLoading(site, script)
      for words in [["restore"], ["restore", "--drill"]] {
        let run = try await site.run(words[0], Array(words.dropFirst()), with: changes)
        #expect(run.code == code, "\(words): \(run)")
        #expect(try left(by: site) == ([], []), "\(words): \(run)")
        #expect(try await site.databases() == [site.database], "\(words): \(run)")
      }
      try FileManager.default.removeItem(atPath: site.root + "/fake-pg_restore")
    }
  }
}
