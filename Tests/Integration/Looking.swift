import Foundation
import Support
import Testing

@testable import BackupRestore

/// Who only looks waits for nobody, and always gets an answer.
@Suite(.servers, .timeLimit(.minutes(45))) struct Looking {
  static func site(_ settings: [String: String] = [:]) async throws -> Site {
    let site = try await Site(cluster: try await Cluster.shared.value, settings: settings)
    try await site.createDatabase("CREATE TABLE item AS SELECT n FROM generate_series(1, 40) n")
    try await site.script("mkdir a; echo b >a/b")
    for program in ["init", "backup"] { try await Staged.succeed(site, program) }
    return site
  }

  /// A process that holds volume and database as a backup does, until `end` is written to.
  static func hold(_ site: Site) async throws -> Shell.Running {
    try await Shell.script("mkfifo end", in: site.root)
    let key = "hashtextextended('backup-restore \(site.database)', 0)"
    let psql = "psql -XAt -c \"SELECT pg_advisory_lock(\(key))\" -c '\\! echo held >&2; cat \(site.root)/end'"
    let cluster = try #require(site.cluster)
    let holder = Shell.Running(
      "timeout", ["900", "flock", site.files, "sh", "-c", psql],
      environment: Shell.environment.merging([
        "PGHOST": "127.0.0.1", "PGPORT": "\(cluster.port)", "PGUSER": "postgres", "PGDATABASE": "postgres",
        "PGPASSWORD": cluster.password, "PGAPPNAME": "backup-restore backup in pod backup-1-abcde",
      ]) { $1 })
    try await holder.until(says: "held")
    return holder
  }

  static func release(_ site: Site, _ holder: Shell.Running) async throws {
    try await Shell.script("echo >end", in: site.root)
    _ = try await holder.result
  }

  @Test func dryRunsListAndStatusWaitForNoRunThatHasTheLocks() async throws {
    let site = try await Self.site()
    let holder = try await Self.hold(site)
    // An hour, which none of them waits.
    let patient: [String: String?] = ["LOCK_WAIT": "3600"]
    for words in [
      ["restore", "--dry-run"], ["restore", "--rollback", "--dry-run"], ["backup", "--dry-run"], ["restore", "--list"],
    ] {
      let run = try await site.run(words[0], Array(words.dropFirst()), with: patient)
      // There is nothing to roll back to, which is an answer as well.
      #expect(run.code == (words.contains("--rollback") ? 22 : 0), "\(words): \(run)")
      if words.last == "--dry-run", run.code == 0 {
        #expect(
          run.errors.contains("is in use by backup in pod backup-1-abcde") && run.errors.contains("would wait for it"), "\(run)")
      }
    }
    let status = try await site.run("restore", ["--status"], with: patient)
    #expect(
      status.code == 0 && status.output.contains("in progress: database \(site.database) is held by backup in pod"), "\(status)")
    try await Self.release(site, holder)
    let quiet = try await Staged.succeed(site, "restore", "--status")
    #expect(quiet.output.contains("quiet: ") && !quiet.output.contains("in progress"), "\(quiet)")
  }

  @Test func statusSaysWhatIsAtHandWhileTheRepositoryStandsStill() async throws {
    let site = try await Self.site()
    try await Staged.succeed(site, "restore")
    try await Shell.script("mkfifo answer", in: site.root)
    let path = try site.fake(
      "restic", "case \"$*\" in *snapshots*) cat \(site.root)/answer;; esac\nPATH=${PATH#*:}\nexec restic \"$@\"")
    let running = Shell.Running(
      "sh", ["-c", "'\(Site.products)/restore' --status >'\(site.root)/said'"],
      environment: site.settings.merging(["PATH": path]) { $1 })
    // It has said all of that before any repository has answered.
    try await site.until("grep -q 'back again: restore --rollback' said && grep -q '^live: set .* since ' said")
    #expect(try String(contentsOfFile: site.root + "/said", encoding: .utf8).contains("last set") == false)
    try await Shell.script("for i in 1 2 3 4 5 6; do timeout 60 sh -c 'echo >answer' & done; wait || true", in: site.root)
    let status = try await running.result
    #expect(status.code == 0, "\(status)")
    #expect(try String(contentsOfFile: site.root + "/said", encoding: .utf8).contains("last set: "))
  }

  /// A driver or server that is gone: nothing that touches the volume comes back.
  @Test func statusAnswersWhileTheVolumeHangsAndABackupEnds() async throws {
    let site = try await Self.site()
    try await Staged.succeed(site, "restore")
    try await Shell.script("mkdir mnt; bindfs $PWD/files $PWD/mnt; pgrep -f \"bindfs $PWD/files\" >driver", in: site.root)
    let settings: [String: String?] = ["FILES_DIRECTORY": site.root + "/mnt", "RESTIC_HOST": "backup-restore"]
    try await Shell.script("kill -STOP $(cat driver)", in: site.root)
    let status = try await site.run("restore", ["--status"], with: settings)
    let backup = try await site.run("backup", with: settings)
    try await Shell.script("kill -CONT $(cat driver); umount mnt", in: site.root)
    #expect(status.code == 0 && status.output.contains("unknown: files: no answer within"), "\(status)")
    #expect(status.output.contains("last set: ") && !status.output.contains("NOT FOUND"), "\(status)")
    #expect(backup.code == 20 && backup.errors.contains("\(site.root)/mnt does not answer"), "\(backup)")
  }

  @Test func statusSaysHowFarTheRunIsThatHasTheLocks() async throws {
    let site = try await Self.site()
    try await Shell.script("mkfifo end", in: site.root)
    let path = try site.fake(
      "restic",
      "PATH=${PATH#*:}\ncase \"$RESTIC_REPOSITORY $*\" in */files*' backup '*) cat '\(site.root)/end';; esac\nexec restic \"$@\"")
    let running = try site.start("backup", with: ["PATH": path])
    var said = ""
    for _ in 0..<600 where !said.contains("): files: begins") { said = try await site.run("restore", ["--status"]).output }
    #expect(
      said.contains("in progress: database \(site.database) is held by backup") && said.contains("): files: begins"), "\(said)")
    try await Shell.script("echo >end", in: site.root)
    let saved = try await running.result
    #expect(saved.code == 0, "\(saved)")
  }

  /// Neither a password nor a server nor a repository is needed for the rest of the answer.
  @Test func statusAnswersWhateverDoesNot() async throws {
    let site = try await Self.site()
    try await Staged.succeed(site, "restore")
    let states: [(changes: [String: String?], says: String)] = [
      (["RESTIC_PASSWORD": "other"], "repository: \(site.repository): password refused"),
      (["RESTIC_REPOSITORY": "\(site.root)/nowhere"], "repository: \(site.root)/nowhere: does not exist"),
      (["RESTIC_REPOSITORY": "rest:http://127.0.0.1:1/x"], "repository: rest:http://127.0.0.1:1/x: "),
      (["POSTGRES_HOST": "127.0.0.1:1"], "kept for rollback: unknown, until the rest answers\nunknown: database server: "),
      (
        ["FILES_DIRECTORY": "\(site.root)/missing"],
        "kept for rollback: unknown, until the rest answers\nunknown: files: \(site.root)/missing does not exist"
      ),
    ]
    for (changes, says) in states {
      let status = try await site.run("restore", ["--status"], with: changes)
      #expect(status.code == 0 && status.output.contains(says), "\(changes): \(status)")
      #expect(status.errors.split(separator: "\n").count <= 1, "\(changes): \(status)")
      // Of half of what is kept nothing is said to be missing.
      let isKnown = changes["POSTGRES_HOST"] == nil && changes["FILES_DIRECTORY"] == nil
      #expect(status.output.contains("database \(site.database)") == isKnown && !status.output.contains("NOT FOUND"), "\(status)")
    }
  }

  @Test func aRepositoryThatIsDownIsOneLineAndOneError() async throws {
    let site = try await Self.site()
    for words in [["restore"], ["backup"], ["restore", "--list"]] {
      let run = try await site.run(
        words[0], Array(words.dropFirst()), with: ["RESTIC_REPOSITORY": "rest:http://127.0.0.1:1/x", "CONNECT_TIMEOUT": "2"])
      let lines = run.errors.split(separator: "\n")
      #expect(run.code == 23 && lines.count { $0.contains("does not answer (connection refused); trying until") } == 1, "\(run)")
      #expect(lines.count { $0.contains(" error: ") } == 1 && lines.count == 3, "\(run)")
      #expect(run.errors.contains("rest:http://127.0.0.1:1/x/{files,pg-database,sets}"), "\(run)")
    }
  }

  @Test func whatIsKeptIsToldApartAndDiscardedTogether() async throws {
    let site = try await Self.site()
    for _ in 0..<3 { try await Staged.succeed(site, "restore") }
    let set = try #require(try await site.sets().first)
    let dry = try await Staged.succeed(site, "restore", "--rollback", "--dry-run")
    #expect(
      dry.output.contains("dry run: nothing was changed") && dry.output.contains("set \(set)"), "\(dry)")
    try await Staged.succeed(site, "restore", "--rollback")
    let status = try await Staged.succeed(site, "restore", "--status").output.split(separator: "\n")
    let rows = status.filter { RestoreID(String($0.prefix { $0 != " " })) != nil }
    #expect(rows.count == 3 && rows.last?.contains("rollback of ") == true, "\(status)")
    // A database has some megabytes of its own.
    #expect(rows.allSatisfy { $0.contains(" MiB  ") }, "\(status)")
    #expect(rows.dropLast().allSatisfy { $0.contains("  set 20") }, "\(status)")
    #expect(try await site.run("restore", ["--discard-previous"]).code == 22)
    try await Staged.succeed(site, "restore", "--discard-previous", "--keep", "1")
    #expect(try await site.databases().count == 2)
    try await Staged.succeed(site, "restore", "--discard-previous", "--all")
    #expect(try await site.databases() == [site.database])
    for wrong in [
      ["--all"], ["--keep", "1"], ["--discard-previous", "--all", "--keep", "1"], ["--discard-previous", "--keep", "-1"],
    ] {
      #expect(try await site.run("restore", wrong).code == 64, "\(wrong)")
    }
  }

  @Test func whoIsConnectedIsSaidBeforeItIsReplaced() async throws {
    let site = try await Self.site()
    try await Shell.script("mkfifo end", in: site.root)
    let cluster = try #require(site.cluster)
    let application = Shell.Running(
      "timeout", ["900", "psql", "-XAt", "-c", "\\! echo connected >&2; cat \(site.root)/end"],
      environment: Shell.environment.merging([
        "PGHOST": "127.0.0.1", "PGPORT": "\(cluster.port)", "PGUSER": "postgres", "PGDATABASE": site.database,
        "PGPASSWORD": cluster.password,
      ]) { $1 })
    try await application.until(says: "connected")
    for words in [["--dry-run"], []] {
      let run = try await site.run("restore", words)
      #expect(run.code == 0 && run.errors.contains("database \(site.database): 1 session of postgres connected"), "\(run)")
    }
    try await Shell.script("echo >end", in: site.root)
    _ = try await application.result
  }
}
