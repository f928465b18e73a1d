import Foundation
import Support
import Testing

@testable import BackupRestore

/// What `init` and `backup` promise.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Backups {
  static func site(_ settings: [String: String] = [:]) async throws -> Site {
    let site = try await Site(cluster: try await Cluster.shared.value, settings: settings)
    try await site.createDatabase("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
    try await site.script("for i in $(seq 1 20); do echo $i > file-$i; done")
    #expect(try await site.run("init").code == 0)
    return site
  }

  @Test func initIsIdempotentPerRepositoryAndNeverOverAWrongPassword() async throws {
    let site = try await Site()
    #expect(try await site.run("init").output.contains("files: created"))
    try await Shell.check("rm", ["-r", site.repository + "/sets"])
    let second = try await site.run("init")
    #expect(second.code == 0)
    #expect(second.output.contains("files: exists, 0 snapshots") && second.output.contains("sets: created"))
    try await Shell.check("rm", ["-r", site.repository + "/pg-database"])
    let wrong = try await site.run("init", with: ["RESTIC_PASSWORD": "another"])
    #expect(wrong.code == 12)
    #expect(wrong.errors.contains("wrong repository password") && wrong.errors.contains("RESTIC_PASSWORD"))
    // The missing one is made, the others are as they were.
    #expect(try await site.restic("files", ["cat", "config"]).code == 0)
  }

  @Test func theRecordNamesItsPartsAndHoldsTheEvidence() async throws {
    let site = try await Self.site()
    #expect(try await site.run("backup").code == 0)
    let record = try await site.restic("sets", ["dump", "latest", "/set.json"]).output
    let decoded = try Record(decoding: Array(record.utf8), set: "latest")
    #expect(decoded.databases.first?.evidence?.tables.first?.rows == 1000)
    #expect(decoded.files?.evidence?.counts["file"] == 20)
    let snapshots = try await site.restic("sets", ["snapshots", "--json"]).output
    #expect(snapshots.contains("files=\(decoded.files!.snapshot)"))
    #expect(snapshots.contains("database=\(decoded.databases[0].snapshot)"))
    for secret in [site.settings["RESTIC_PASSWORD"]!, site.cluster!.password] { #expect(!record.contains(secret)) }
    #expect(try await site.restic("sets", ["dump", "latest", "/roles.sql"]).output.hasPrefix("-- Roles"))
  }

  @Test func aDryRunChangesNothing() async throws {
    let site = try await Self.site()
    let before = try await Shell.script("find . -type f | sort", in: site.repository)
    let dry = try await site.run("backup", ["--dry-run"])
    #expect(dry.code == 0)
    #expect(dry.output.contains(site.files) && dry.output.contains(site.database) && dry.output.contains("nothing was changed"))
    #expect(try await Shell.script("find . -type f | sort", in: site.repository) == before)
  }

  @Test func aShrunkSetIsDoubtedHoldsRetentionAndIsNotRestoredUntilAccepted() async throws {
    let site = try await Self.site(["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1"])
    #expect(try await site.run("backup").code == 0)
    let good = try await site.sets()[0]
    _ = try await site.sql("DELETE FROM t WHERE id > 400")
    let doubted = try await site.run("backup")
    #expect(doubted.code == 4)
    #expect(doubted.errors.contains("doubted") && doubted.errors.contains("400 rows") && doubted.errors.contains("--accept"))
    // Held every night, and no chain of shrinking sets: compared with the last undoubted one.
    #expect(try await site.run("backup").code == 4)
    #expect(try await site.sets().count == 3, "nothing was forgotten")
    let refused = try await site.run("restore")
    #expect(refused.code == 22)
    #expect(refused.errors.contains(good) && refused.errors.contains("doubted"))
    #expect(try await site.sql("SELECT count(*) FROM t") == "400")
    // A named set is the operator's choice.
    #expect(try await site.run("restore", [good]).code == 0)
    #expect(try await site.sql("SELECT count(*) FROM t") == "1000")
    _ = try await site.sql("DELETE FROM t WHERE id > 400")
    let newest = try await site.sets().last!
    let accepted = try await site.run("backup", ["--accept", newest])
    #expect(accepted.code == 0, "\(accepted.errors)")
    #expect(try await site.run("restore", ["--list"]).output.contains("accepted"))
    // Now it is the measure, and retention goes on.
    let next = try await site.run("backup")
    #expect(next.code == 0, "\(next.errors)")
    #expect(try await site.sets().count == 1)
    #expect(try await site.restic("sets", ["snapshots", "--json"]).output.components(separatedBy: "\"kind=").count == 2)
    #expect(try await site.restic("files", ["snapshots"]).output.contains("1 snapshots"))
    #expect(try await site.restic("pg-database", ["snapshots"]).output.contains("1 snapshots"))
  }

  @Test func filesThatVanishAreDoubtedToo() async throws {
    let site = try await Self.site()
    #expect(try await site.run("backup").code == 0)
    try await site.script("rm file-*")
    let doubted = try await site.run("backup")
    #expect(doubted.code == 4)
    #expect(doubted.errors.contains("files and directories"))
  }

  /// PATH with a pg_dump before all others that does `body`.
  static func fakeDump(_ site: Site, _ body: String) throws -> [String: String] {
    ["PATH": try site.fake("pg_dump", "[ \"$1\" = --version ] && { echo 'pg_dump (PostgreSQL) 15.0'; exit 0; }\n" + body)]
  }

  @Test func aDumpThatFailsLeavesNothingThatLooksLikeABackup() async throws {
    let site = try await Self.site()
    for (body, said) in [
      // It does not end at once: restic may lose its words then.
      ("echo partial; echo 'pg_dump: error: the disk is on fire' >&2; sleep 0.5; exit 1", "the disk is on fire"),
      ("exit 0", "empty"), ("echo partial; kill -9 $$", "killed"), ("exit 1", "run pg_dump by hand"),
    ] {
      let failed = try await site.run("backup", with: try Self.fakeDump(site, body))
      #expect(failed.code == 20, "\(failed.errors)")
      #expect(failed.errors.contains(said), "\(failed.errors)")
      #expect(try await !site.restic("sets", ["snapshots", "--json"]).output.contains("database="))
    }
    // The files are saved, in sets that nobody takes for whole.
    let list = try await site.run("restore", ["--list"]).output
    #expect(list.components(separatedBy: "doubted: no database \(site.database)").count == 5, "\(list)")
    // pg_dump never sees restic's secrets.
    let honest = try Self.fakeDump(site, "env >\(site.root)/seen; exec \(Cluster.binaries)/pg_dump \"$@\"")
    let saved = try await site.run("backup", with: honest)
    #expect(saved.code == 0, "\(saved.errors)")
    let seen = try String(contentsOfFile: site.root + "/seen", encoding: .utf8)
    #expect(seen.contains("PGPASSWORD") && !seen.contains(site.settings["RESTIC_PASSWORD"]!))
    #expect(!seen.contains("RESTIC_REPOSITORY"))
  }

  @Test func partsWithoutARecordAreKeptUntilTheyLieBetweenTwoRecords() async throws {
    let site = try await Self.site()
    func orphan(_ id: String) async throws {
      try await site.restic(
        "files", ["backup", "--host", "backup-restore", "--tag", "set=\(id)", "--tag", "kind=files", site.files])
    }
    try await orphan("20200101T000000Z")
    #expect(try await site.run("backup").code == 0)
    let first = try await site.sets()[0]
    let next = SetID(first)!.date!.addingTimeInterval(1)
    try await orphan(SetID(next).text)
    try await site.until("[ $(date +%s) -gt \(Int(next.timeIntervalSince1970)) ]")
    let list = try await site.run("restore", ["--list"]).output
    #expect(list.components(separatedBy: "no record").count == 3)
    #expect(try await site.run("backup").code == 0)
    // The one before every record stays, the one between two is gone.
    let after = try await site.run("restore", ["--list"]).output
    #expect(after.contains("20200101T000000Z") && after.components(separatedBy: "no record").count == 2)
    // A snapshot of somebody else's is never touched.
    try await site.restic("files", ["backup", "--host", "backup-restore", site.files])
    #expect(try await site.run("backup").code == 0)
    #expect(try await site.run("restore", ["--list"]).output.contains("old-style"))
  }

  @Test func anAppendOnlyServerForgetsByItselfAndADeadOneIsGivenUp() async throws {
    let site = try await Site(
      settings: ["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1", "CONNECT_TIMEOUT": "300"])
    try await site.script("echo 1 > a")
    let port = try Cluster.freePort()
    let server = Daemon(
      "restic-rest-server", ["--path", site.repository, "--listen", "127.0.0.1:\(port)", "--no-auth", "--append-only"],
      log: site.root + "/rest-server.log")
    let there = ["RESTIC_REPOSITORY": "rest:http://127.0.0.1:\(port)/app"]
    #expect(try await site.run("init", with: there).code == 0)
    #expect(try await site.run("backup", with: there).code == 0)
    // Sets gather there, more than any policy would take at once.
    for _ in 0..<4 {
      let saved = try await site.run("backup", with: there)
      #expect(saved.code == 0, "\(saved.errors)")
      #expect(saved.errors.components(separatedBy: "append-only: its server does the forgetting").count == 2)
    }
    await server.stop()
    let begin = ContinuousClock().now
    let dead = try await site.run("init", with: there.merging(["CONNECT_TIMEOUT": "4"]) { $1 })
    #expect(dead.code == 23)
    #expect(dead.errors.contains("connection refused") && dead.errors.contains("within 4 s"))
    #expect(begin.duration(to: .now) < .seconds(240))
  }

  @Test func writesDuringTheDumpDoNotSpoilTheEvidence() async throws {
    let site = try await Self.site()
    _ = try await site.sql("CREATE SEQUENCE s; CREATE TABLE busy (id bigint DEFAULT nextval('s'), v text)")
    let writing = Task {
      while !Task.isCancelled {
        _ = try? await site.sql(
          "INSERT INTO busy (v) SELECT md5(g::text) FROM generate_series(1, 500) g; DELETE FROM t WHERE id % 97 = 0")
      }
    }
    let saved = try await site.run("backup")
    writing.cancel()
    _ = await writing.result
    #expect(saved.code == 0, "\(saved.errors)")
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
  }

  @Test func stoppedBySigtermItEndsInOrderAndLeavesNoLock() async throws {
    let site = try await Self.site()
    try await site.script("head -c 200000000 /dev/urandom > big")
    // A dump that never comes, so that the backup cannot be done before the signal, however slow the machine.
    let endless = try Self.fakeDump(site, "exec sleep 900")
    for delay in [200, 800, 1500, 2500] {
      let process = Process()
      process.executableURL = URL(filePath: Site.products + "/backup")
      process.environment = site.settings.merging(endless) { $1 }
      let errors = Pipe()
      process.standardError = errors
      process.standardOutput = FileHandle.nullDevice
      try process.run()
      try await Task.sleep(for: .milliseconds(delay))
      let begin = ContinuousClock().now
      process.terminate()
      let text = String(decoding: try errors.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
      process.waitUntilExit()
      #expect(begin.duration(to: .now) < .seconds(60))
      #expect([143, 15].contains(process.terminationStatus), "\(text)")
    }
    for name in ["files", "pg-database", "sets"] {
      #expect(try await site.restic(name, ["list", "locks", "--no-lock"]).output == "", "a lock is left in \(name)")
    }
    #expect(try await site.sets().isEmpty)
    #expect(try await site.run("backup").code == 0)
  }

  @Test func aTerminalGetsProgressInPlaceAndAPipeGetsPlainLines() async throws {
    let site = try await Self.site()
    try await site.script("head -c 300000000 /dev/urandom > big")
    let piped = try await site.run("backup")
    #expect(!piped.errors.contains("\u{1B}"))
    try await site.script("head -c 400000000 /dev/urandom > bigger")
    let shown = try await Shell.run(
      "script", ["-qec", "stty cols 100; " + Site.products + "/backup", "/dev/null"], environment: site.settings)
    #expect(shown.output.contains("\u{1B}[1A\u{1B}[J") || shown.output.contains("\u{1B}[2A\u{1B}[J"))
    #expect(shown.output.contains("files: ") && shown.output.contains(" % ") && shown.output.contains("MiB of "))
    #expect(shown.output.contains("database \(site.database): "))
    #expect(shown.output.contains("saved in"))
  }

  @Test func memoryStaysSmall() async throws {
    let site = try await Self.site()
    try await site.script("head -c 150000000 /dev/urandom > big")
    _ = try await site.sql("CREATE TABLE wide AS SELECT g AS id, repeat(md5(g::text), 20) AS v FROM generate_series(1, 100000) g")
    for program in ["backup", "restore"] {
      let result = try await Shell.run(
        "bash",
        [
          "-c",
          "ulimit -c 0; \"$0\" & pid=$!; peak=0; while kill -0 $pid 2>/dev/null; do read -r _ now _ < <(grep VmHWM /proc/$pid/status 2>/dev/null || echo x 0); [ \"${now:-0}\" -gt $peak ] && peak=$now; sleep 0.05; done; wait $pid; echo peak=$peak code=$?",
          Site.products + "/" + program,
        ],
        environment: site.settings)
      let line = result.output.split(separator: "\n").last ?? ""
      let peak = Int(line.dropFirst(5).prefix { $0.isNumber }) ?? .max
      #expect(line.hasSuffix("code=0"), "\(result.errors)")
      #expect(peak > 1000 && peak < 40 << 10, "\(program) used \(peak) KiB")
    }
  }
}
