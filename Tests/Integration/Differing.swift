import Foundation
import Support
import Testing

@testable import BackupRestore

/// `restore --diff`, and what a dry run says of it.
@Suite(.servers, .timeLimit(.minutes(45))) struct Differing {
  @Test func whatDiffersBetweenSetsAndWhatIsLiveIsSaidLargestFirst() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase(
      """
      CREATE TABLE issue AS SELECT n, 'saved' AS v FROM generate_series(1, 400) n; CREATE TABLE same AS SELECT 1 AS id;
      CREATE TABLE dropped AS SELECT 1 AS id; CREATE TABLE edited AS SELECT n, 'saved' AS v FROM generate_series(1, 9) n;
      CREATE VIEW seen AS SELECT * FROM issue; CREATE TABLE log AS SELECT n FROM generate_series(1, 50) n
      """)
    try await site.script("mkdir a cache; echo one >a/one; echo two >a/two; head -c 3000000 /dev/zero >a/large; echo c >cache/c")
    try await Staged.succeed(site, "init")
    let excluding: [String: String?] = ["FILES_EXCLUDE": "/cache,*.tmp", "POSTGRES_EXCLUDE_TABLE_DATA": "log"]
    try await Staged.succeed(site, "backup", with: excluding)
    let nothing = try await Staged.succeed(site, "restore", "--diff", "--only", "files")
    #expect(nothing.output.contains(": nothing differs"), "\(nothing)")
    _ = try await site.sql(
      """
      DELETE FROM issue WHERE n > 390; DROP TABLE dropped; UPDATE edited SET v = 'new' WHERE n = 1; CREATE TABLE brought AS SELECT 1 AS id;
      CREATE OR REPLACE VIEW seen AS SELECT n, v FROM issue WHERE n > 1
      """)
    // Of the same size and another time; what is excluded is missed by nobody.
    try await site.script(
      "sleep 1; echo 2wo >a/two; rm a/one; truncate -s 5M a/large; echo n >a/new; echo t >a/x.tmp; echo d >cache/d")

    let diff = try await Staged.succeed(site, "restore", "--diff")
    let lines = diff.output.split(separator: "\n").map {
      $0.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }
    let expected = [
      "public.issue 400 390 10 rows fewer", "public.edited 9 9 other content", "public.brought - 1 new",
      "public.dropped 1 - gone",
      "view public.seen changed", "a/large 2.9 MiB 5.0 MiB changed", "a/two 4 B 4 B changed", "a/new - 2 B new",
      "a/one 4 B - gone",
      "files: 1 new (2 B), 1 gone (4 B), 2 changed (5.0 MiB)",
    ]
    for line in expected { #expect(lines.contains(line), "\(line): \(diff.output)") }
    #expect(!diff.output.contains("cache") && !diff.output.contains("x.tmp") && !diff.output.contains("same"), "\(diff.output)")
    // What is excluded from a set is expected to be empty, and it is not.
    #expect(lines.contains("public.log 0 50 50 rows more"), "\(diff.output)")
    #expect(diff.errors.contains("database \(site.database) is read: 5 tables") && diff.errors.contains("(LOCK_WAIT)"), "\(diff)")
    let dry = try await Staged.succeed(site, "restore", "--dry-run")
    let telling = dry.output.split(separator: "\n").suffix(4).map(String.init)
    #expect(telling.last == "dry run: nothing was changed" && telling.count == 4, "\(dry)")
    #expect(telling[0] == "the live database \(site.database) has 51 rows in 2 tables that this set has not", "\(dry)")
    #expect(telling[1] == "the live files have 1 entry (2 B) that this set has not", "\(dry)")
    #expect(telling[2].contains("has other content in 1 table of as many rows: public.edited"), "\(dry)")

    // Between sets by restic's own diff; the other way round new is gone.
    try await Staged.succeed(site, "backup", with: excluding)
    let sets = try await site.sets()
    let between = try await Staged.succeed(site, "restore", "--diff", sets[1], sets[0]).output
    let back = between.split(separator: "\n").map {
      $0.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }
    for line in [
      "public.issue 390 400 10 rows more", "public.brought 1 - gone", "a/one - 4 B new", "a/large 5.0 MiB 2.9 MiB changed",
    ] { #expect(back.contains(line), "\(line): \(between)") }
    let text = try await Staged.succeed(site, "restore", "--diff", "live", sets[0], "--json").output
    let document = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    #expect(document["then"] as? String == "live" && document["now"] as? String == sets[0])
    #expect(Set(document.keys) == ["then", "now", "databases", "files", "notes"])
    let database = try #require((document["databases"] as? [[String: Any]])?.first)
    #expect(Set(database.keys) == ["name", "tables", "objects", "byContent"])
    let tables = try #require(database["tables"] as? [[String: Any]])
    #expect(tables.first?["name"] as? String == "public.log" && tables.first?["then"] as? Int == 50, "\(tables)")
    for wrong in [
      ["--diff", sets[0], sets[0]], ["--diff", "--list"], ["--diff", "a", "b", "c"], ["--json"],
      ["--diff", "--at", "2026-01-01T00:00:00Z"],
    ] {
      #expect(try await site.run("restore", wrong).code == 64, "\(wrong)")
    }
    for wrong in ["live", "nothing"] {
      #expect(try await site.run("restore", ["--diff", wrong, wrong == "live" ? "nothing" : "live"]).code == 22, "\(wrong)")
    }
  }

  /// Who only looks waits for nobody, and nobody for it.
  @Test func aTableThatSomebodyHasForHimselfAndADatabaseThatIsGoneAreNoReasonToFail() async throws {
    let site = try await Looking.site()
    let holder = Shell.Running(
      "psql", ["-XAtq", "-c", "BEGIN; LOCK TABLE item; SELECT 1", "-c", "\\! echo held >&2; cat \(site.root)/end"],
      environment: site.cluster!.environment.merging(["PGDATABASE": site.database]) { $1 })
    try await Shell.script("mkfifo end", in: site.root)
    try await holder.until(says: "held")
    let diff = try await Staged.succeed(site, "restore", "--diff")
    #expect(diff.errors.contains("the evidence of table public.item cannot be had"), "\(diff)")
    try await Looking.release(site, holder)
    try await site.cluster!.psql("postgres", "DROP DATABASE \(site.database)")
    let gone = try await Staged.succeed(site, "restore", "--diff")
    #expect(gone.output.contains("database \(site.database) is gone"), "\(gone)")
  }
}
