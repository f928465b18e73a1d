import Foundation
import Support
import Testing

@testable import BackupRestore

/// A part of a set alone, and a set only where nothing is.
@Suite(.servers, .timeLimit(.minutes(45))) struct Parts {
  @Test func singleFilesAndDirectoriesComeBackAndTheRestStaysAsItIs() async throws {
    let site = try await FileTruths.site()
    try await site.script("mkdir -p a/deep b; for f in a/one a/two a/deep/x b/y top; do echo old >$f; done")
    try await Staged.succeed(site, "backup")
    try await site.script("for f in a/one a/two a/deep/x b/y top; do echo new >$f; done; rm -r a/deep; echo new >a/three")
    let state = { try await Shell.script("grep -r . a b top | sort | paste -sd' '", in: site.files).trimming("\n") }
    let changed = try await state()
    let restored = try await Staged.succeed(site, "restore", "--only", "files", "--path", "a/one", "--path", "a/deep")
    #expect(restored.output.contains("\(site.files)/a/one, \(site.files)/a/deep"), "\(restored)")
    #expect(try await state() == "a/deep/x:old a/one:old a/three:new a/two:new b/y:new top:new")
    try await Staged.succeed(site, "restore", "--rollback")
    #expect(try await state() == changed)
    try await Staged.succeed(site, "restore", "--only", "files", "--path", "top/")
    #expect(try await state().hasSuffix("top:old"))
    for (path, says) in [
      ("a/missing", "does not hold a/missing"), ("../x", "without .."), (".backup-restore/x", "belongs to the toolkit"),
    ] {
      let refused = try await site.run("restore", ["--only", "files", "--path", path])
      #expect(refused.code == 22 && refused.errors.contains(says), "\(refused)")
    }
    // Beyond what the set was told to save.
    #expect(try await site.run("backup", with: ["FILES_PATHS": "b"]).code == 4)
    let narrow = try #require(try await site.sets().last)
    let outside = try await site.run("restore", [narrow, "--only", "files", "--path", "top"])
    #expect(outside.code == 22 && outside.errors.contains("does not hold top"), "\(outside)")
    for wrong in [["--path", "a"], ["--path", "a", "--only", "database"], ["--drill", "--only", "files", "--path", "a"]] {
      #expect(try await site.run("restore", wrong).code == 64, "\(wrong)")
    }
  }

  /// For a cluster that builds itself from its manifests: a Job that runs whenever they are applied.
  @Test func whereAnythingIsThereIfEmptyRestoresNothing() async throws {
    let site = try await Looking.site()
    let live = try await fingerprint(site.files)
    // Neither of them alone, nor where no repository answers.
    let away: [String: String?] = ["RESTIC_REPOSITORY": "rest:http://127.0.0.1:1/x", "CONNECT_TIMEOUT": "2"]
    for changes in [[:], away] {
      let there = try await Staged.succeed(site, "restore", "--if-empty", with: changes)
      #expect(
        there.output.contains("nothing is restored: database \(site.database) holds 1 relation, \(site.files) holds 1 entry"),
        "\(there)")
    }
    _ = try await site.sql("DROP TABLE item")
    #expect(try await Staged.succeed(site, "restore", "--if-empty").output.contains("nothing is restored: \(site.files) holds"))
    _ = try await site.sql("CREATE VIEW other AS SELECT 1 AS n")
    try await site.script("mkdir lost+found; rm -r a")
    #expect(try await Staged.succeed(site, "restore", "--if-empty").output.contains("nothing is restored: database"))
    // An extension alone is what the server's operator made.
    _ = try await site.sql("DROP VIEW other; CREATE EXTENSION pg_stat_statements")
    #expect(try await site.run("restore", ["--if-empty"], with: away).code == 23)
    let restored = try await Staged.succeed(site, "restore", "--if-empty")
    #expect(restored.output.contains("restored in"), "\(restored)")
    #expect(try await site.sql("SELECT count(*) FROM item") == "40")
    #expect(try await fingerprint(site.files) == live)
    #expect(try await Staged.succeed(site, "restore", "--if-empty").output.contains("nothing is restored"))
    for wrong in [["--if-empty", "--in-place"], ["--if-empty", "--list"], ["--if-empty", "--drill"]] {
      #expect(try await site.run("restore", wrong).code == 64, "\(wrong)")
    }
  }

  /// An application that begins while its state is being fetched.
  @Test func whatComesMeanwhileIsNotReplacedByIfEmpty() async throws {
    let broken = try await Looking.site()
    _ = try await broken.sql("DROP TABLE item")
    try await broken.script("rm -r a")
    let path = try broken.fake(
      "pg_restore",
      "case \"$*\" in --dbname=*) : >'\(broken.root)/loading'; until [ -e '\(broken.root)/go' ]; do sleep 0.05; done;; esac\nexec \(Cluster.binaries)/pg_restore \"$@\""
    )
    for name in ["pg_dump", "psql"] {
      try FileManager.default.createSymbolicLink(
        atPath: broken.root + "/fake-pg_restore/" + name, withDestinationPath: Cluster.binaries + "/" + name)
    }
    let running = try broken.start("restore", ["--if-empty"], with: ["PATH": path])
    try await broken.until("[ -e loading ]")
    _ = try await broken.sql("CREATE TABLE first AS SELECT 1 AS id")
    try await Shell.script(": >go", in: broken.root)
    let run = try await running.result
    #expect(run.code == 22 && run.errors.contains("--if-empty: database \(broken.database) holds 1 relation by now"), "\(run)")
    #expect(try await broken.sql("SELECT count(*) FROM first") == "1")
    #expect(try await broken.databases() == [broken.database])
  }

  @Test func theListIsADocumentToo() async throws {
    let site = try await Looking.site()
    try await Staged.succeed(site, "restore", "--drill")
    let set = try #require(try await site.sets().first)
    try await Staged.succeed(site, "backup", "--hold", set, "--reason", "why")
    let list = try await Staged.succeed(site, "restore", "--list", "--json").output
    let document = try #require(try JSONSerialization.jsonObject(with: Data(list.utf8)) as? [String: [[String: Any]]])
    #expect(Set(document.keys) == ["sets", "oldStyle"] && document["oldStyle"]?.isEmpty == true)
    let first = try #require(document["sets"]?.first)
    #expect(first["id"] as? String == set && first["rows"] as? Int == 40 && first["held"] as? String == "why", "\(list)")
    let known: Set = [
      "id", "host", "began", "bytes", "files", "databases", "entries", "tables", "rows", "unreadable", "lastDrill", "sound",
      "note",
      "held", "excluded",
    ]
    #expect(Set(first.keys).isSubset(of: known) && first["sound"] as? Bool == true, "\(list)")
    let drills = try await Staged.succeed(site, "restore", "--list", "--drills", "--json").output
    let found = try #require(try JSONSerialization.jsonObject(with: Data(drills.utf8)) as? [[String: Any]])
    #expect(found.count == 1 && found[0]["proven"] as? Bool == true && found[0]["set"] as? String == set, "\(drills)")
    #expect(try await site.run("restore", ["--json"]).code == 64)
  }
}
