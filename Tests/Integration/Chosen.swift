import Foundation
import Support
import Testing

@testable import BackupRestore

/// What an operator chooses: what is left out, held on to, asked of what is restored.
@Suite(.servers, .timeLimit(.minutes(45))) struct Chosen {
  private static let tables = """
    CREATE TABLE item AS SELECT n FROM generate_series(1, 400) n; CREATE TABLE log_1 (id serial, text text);
    INSERT INTO log_1 (text) SELECT repeat('x', 500) FROM generate_series(1, 2000); CREATE TABLE "Log" AS SELECT 1 AS id;
    CREATE MATERIALIZED VIEW log_2 AS SELECT count(*) FROM log_1
    """

  static func site(_ settings: [String: String] = [:]) async throws -> Site {
    let site = try await Site(cluster: try await Cluster.shared.value, settings: settings)
    try await site.createDatabase(tables)
    try await site.script(
      "mkdir cache 'a [b]'; head -c 500000 /dev/urandom >cache/big; echo t >'a [b]/x.tmp'; echo keep >'a [b]/keep'")
    try await Staged.succeed(site, "init")
    return site
  }

  @Test func whatIsExcludedIsSavedAndExpectedNowhereAndSaidBeforeASwap() async throws {
    let site = try await Self.site()
    try await Staged.succeed(site, "backup")
    let excluding: [String: String?] = ["FILES_EXCLUDE": "/cache, *.tmp", "POSTGRES_EXCLUDE_TABLE_DATA": "log_*"]
    let dry = try await Staged.succeed(site, "backup", "--dry-run", with: excluding)
    #expect(dry.output.contains("would be left out: files like /cache *.tmp"), "\(dry)")
    // Half of all bytes and most rows are gone, and nothing is doubted for it.
    let night = try await Staged.succeed(site, "backup", with: excluding)
    #expect(!night.errors.contains("doubted"), "\(night)")
    let list = try await Staged.succeed(site, "restore", "--list").output.split(separator: "\n")
    #expect(
      list.last?.contains("without files like /cache *.tmp; rows of public.log_1 public.log_2") == true,
      "\(list)")
    let held = try await site.restic("files", ["ls", "latest"]).output
    #expect(!held.contains("cache") && !held.contains("x.tmp") && held.contains("a [b]/keep"), "\(held)")
    // The restore needs none of these variables.
    let restored = try await Staged.succeed(site, "restore")
    #expect(restored.output.contains("not in the set: files like /cache *.tmp"), "\(restored)")
    #expect(restored.output.contains("will be empty: public.log_1, public.log_2 in database"), "\(restored)")
    #expect(restored.output.contains("rows and content, definitions"), "\(restored)")
    let rows = #"SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM log_1), (SELECT count(*) FROM "Log")"#
    #expect(try await site.sql(rows) == "400|0|1")
    #expect(try await Shell.script("ls cache 2>/dev/null || ls", in: site.files) == "a [b]\n")
    // What was there is kept.
    try await Staged.succeed(site, "restore", "--rollback")
    #expect(try await site.sql("SELECT count(*) FROM log_1") == "2000")

    // What could not be restored is told the night it is saved.
    _ = try await site.sql(
      "ALTER TABLE log_1 ADD PRIMARY KEY (id); CREATE TABLE line (log int REFERENCES log_1); INSERT INTO line VALUES (1)")
    let refers = try await site.run("backup", with: excluding)
    #expect(refers.code == 20 && refers.errors.contains("table public.line refers to public.log_1"), "\(refers)")
    try await Staged.succeed(site, "backup", with: ["POSTGRES_EXCLUDE_TABLE_DATA": "log_*,line"])
    let slip = try await Staged.succeed(site, "backup", with: ["POSTGRES_EXCLUDE_TABLE_DATA": "nothing.like_it"])
    #expect(slip.errors.contains("POSTGRES_EXCLUDE_TABLE_DATA is like no table of database \(site.database)"), "\(slip)")
    let all = try await site.run("backup", with: ["FILES_EXCLUDE": "*"])
    #expect(
      all.code == 20 && all.errors.contains("look at FILES_EXCLUDE") && all.errors.contains("is saved without the files"),
      "\(all)")
  }

  /// Where nobody may change a tag or forget a snapshot as well: it is one more snapshot that says so.
  @Test func aSetThatIsHeldOutlivesThePolicyInBothRepositoriesUntilItIsReleased() async throws {
    let site = try await Self.site()
    let copy = ["COPY_RESTIC_REPOSITORY": site.root + "/copy", "COPY_RESTIC_PASSWORD": "other"] as [String: String?]
    let policy = copy.merging(["RESTIC_KEEP_LAST": "1", "RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0"]) { $1 }
    try await Staged.succeed(site, "init", with: copy)
    try await Staged.succeed(site, "backup", with: policy)
    let first = try #require(try await site.sets().first)
    let held = try await Staged.succeed(site, "backup", "--hold", first, "--reason", "before 10.2, see #7", with: policy)
    #expect(held.output.contains("backup --release \(first)"), "\(held)")
    for _ in 0..<2 { try await Staged.succeed(site, "backup", with: policy) }
    for place in [[], ["--from-copy"]] {
      let list = try await site.run("restore", ["--list"] + place, with: policy).output.split(separator: "\n").dropFirst()
      #expect(list.count == 2 && list.first?.hasPrefix(first) == true, "\(list)")
      #expect(list.first?.contains("held: before 10.2; see #7") == true, "\(list)")
    }
    let released = try await Staged.succeed(site, "backup", "--release", first, with: policy)
    #expect(released.output.contains("is released"), "\(released)")
    #expect(try await Staged.succeed(site, "backup", "--release", first, with: policy).output.contains("is not held"))
    try await Staged.succeed(site, "backup", with: policy)
    for place in [[], ["--from-copy"]] {
      let list = try await site.run("restore", ["--list"] + place, with: policy).output
      #expect(!list.contains(first) && list.split(separator: "\n").count == 2, "\(list)")
    }
    for wrong in [["--hold", "nothing"], ["--release", "nothing"]] { #expect(try await site.run("backup", wrong).code == 22) }
    for wrong in [["--hold", first, "--release", first], ["--reason", "x"], ["--hold", ""], ["--hold", first, "--check"]] {
      #expect(try await site.run("backup", wrong).code == 64, "\(wrong)")
    }
  }

  @Test func whatDrillSQLAsksMustBeTrueAndEveryDrillIsKept() async throws {
    let (site, _) = try await Staged.site("CREATE TABLE item AS SELECT now() AS at, n FROM generate_series(1, 40) n")
    // As nobody who may do everything, and able to change nothing.
    let sql = """
      -- the newest item is of today
      SELECT max(at) > now() - interval '26 hours' FROM item;
      -- nobody asks as a superuser
      SELECT NOT bool_or(rolsuper) FROM pg_roles WHERE rolname IN (session_user, current_user);
      SELECT current_setting('transaction_read_only') = 'on';
      """
    try await Staged.succeed(site, "backup")
    let drill = try await Staged.succeed(site, "restore", "--drill", with: ["DRILL_SQL": sql])
    let asked = "true of it: the newest item is of today; nobody asks as a superuser; SELECT current_setting"
    #expect(drill.output.contains(asked) && drill.output.contains("as long as a restore takes today"), "\(drill)")
    _ = try await site.sql("UPDATE item SET at = at - interval '2 days'")
    try await Staged.succeed(site, "backup")
    try sql.write(toFile: site.root + "/sql", atomically: true, encoding: .utf8)
    let file = ["DRILL_SQL_FILE": site.root + "/sql"] as [String: String?]
    for arguments in [["--drill"], []] {
      let run = try await site.run("restore", arguments, with: file)
      #expect(run.code == 21 && run.errors.contains("the newest item is of today (DRILL_SQL) is not true"), "\(run)")
      #expect(run.errors.contains("nothing live was changed"), "\(run)")
    }
    let broken = try await site.run("restore", ["--drill"], with: ["DRILL_SQL": "SELECT true FROM nowhere;\nSELECT true, 1 / 0;"])
    #expect(broken.code == 21 && broken.errors.contains(#"cannot be asked: relation "nowhere" does not exist"#), "\(broken)")
    #expect(broken.errors.contains("cannot be asked: division by zero"), "\(broken)")
    let accepted = try await Staged.succeed(site, "restore", "--accept-differences", with: file)
    #expect(accepted.errors.contains("accepted: database \(site.database): the newest item is of today"), "\(accepted)")

    let history = try await Staged.succeed(site, "restore", "--list", "--drills").output.split(separator: "\n").dropFirst()
    #expect(history.count == 3 && history.first?.hasSuffix("  3           proven") == true, "\(history)")
    #expect(history.dropFirst().allSatisfy { $0.contains("failed (21): ") && $0.contains("DRILL_SQL") }, "\(history)")
    // The set as such counts as proven by the one that proved it.
    let list = try await Staged.succeed(site, "restore", "--list").output.split(separator: "\n").dropFirst()
    let year = "20\(Calendar(identifier: .gregorian).component(.year, from: Date()) % 100)-"
    #expect(list.first?.contains("  \(year)") == true && list.last?.contains("  \(year)") == false, "\(list)")
    for wrong in ["-- nothing\n", "\\connect other\nSELECT true;"] {
      #expect(try await site.run("restore", ["--drill"], with: ["DRILL_SQL": wrong]).code == 78, "\(wrong)")
    }
  }

  @Test func theSpeedOfTheRepositoriesIsLimitedInEveryCall() async throws {
    let site = try await Self.site()
    let path = try site.fake("restic", "PATH=${PATH#*:}\necho \"$*\" >>'\(site.root)/calls'\nexec restic \"$@\"")
    let limited = ["PATH": path, "RESTIC_LIMIT_UPLOAD": "20000", "RESTIC_LIMIT_DOWNLOAD": "30000"] as [String: String?]
    for program in ["backup", "restore"] { try await Staged.succeed(site, program, with: limited) }
    let calls = try String(contentsOfFile: site.root + "/calls", encoding: .utf8).split(separator: "\n")
      .filter { !$0.hasPrefix("version") }
    #expect(
      calls.count > 10 && calls.allSatisfy { $0.hasPrefix("--json --limit-upload 20000 --limit-download 30000 ") }, "\(calls)")
    #expect(try await site.run("backup", with: ["RESTIC_LIMIT_UPLOAD": "0"]).code == 78)
  }
}
