import Foundation
import Support
import Testing

@testable import BackupRestore

/// What is to be saved has vanished, is empty, or changes.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Sources {
  struct Loss: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let happens: @Sendable (Broken) async throws -> Void
    let isUndone: @Sendable (Broken) async throws -> Void
  }

  static let losses = [
    Loss(testDescription: "a volume that is not mounted any more") { broken in
      try await Shell.script("umount files", in: broken.site.root)
    } isUndone: { broken in
      try await Shell.script("mount --bind volume files", in: broken.site.root)
    },
    Loss(testDescription: "a database whose rows somebody deleted") { broken in
      _ = try await broken.site.sql("DELETE FROM rest")
    } isUndone: { broken in
      _ = try await broken.site.sql("INSERT INTO rest SELECT g, md5(g::text) FROM generate_series(1, 50000) g")
    },
    Loss(testDescription: "a database made anew, empty") { broken in
      let name = SQL.identifier(broken.site.database)
      try await broken.cluster.psql(
        "postgres", "ALTER DATABASE \(name) RENAME TO \"\(broken.site.database)_away\"")
      try await broken.cluster.psql("postgres", "CREATE DATABASE \(name) TEMPLATE template0")
    } isUndone: { broken in
      let name = SQL.identifier(broken.site.database)
      try await broken.cluster.psql("postgres", "DROP DATABASE \(name)")
      try await broken.cluster.psql("postgres", "ALTER DATABASE \"\(broken.site.database)_away\" RENAME TO \(name)")
    },
  ]

  /// Three nights long nobody notices; retention of one set would push out the good one in the first.
  @Test(arguments: losses) func whatVanishedIsDoubtedEveryNightForgetsNothingAndIsTheOperatorsChoice(_ loss: Loss) async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await Shell.script("mkdir volume; mount --bind volume files", in: site.root)
    let broken = try await Broken(in: site, megabytes: 1)
    let nightly: [String: String?] = ["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1"]
    try await broken.succeed("backup", with: nightly)
    let good = try #require(try await site.sets().last)
    try await loss.happens(broken)
    for night in 1...3 {
      let doubted = try await site.run("backup", with: nightly)
      #expect(
        doubted.code == 4 && doubted.errors.contains("nothing is forgotten until it is accepted"), "night \(night): \(doubted)")
      #expect(try await site.sets().count == 1 + night)
    }
    let refused = try await site.run("restore")
    #expect(refused.code == 22 && refused.errors.contains("restore \(good)"), "\(refused)")
    try await loss.isUndone(broken)
    try await broken.write("second")
    // What came back is doubted no more, and retention goes on.
    try await broken.succeed("backup", with: nightly)
    #expect(try await site.sets().count == 1)
    try await broken.succeed("restore")
    #expect(try await broken.live() == "second second")
    try await Shell.script("umount -l files", in: site.root)
  }

  /// The good set of before, with what happened since accepted by the operator's own word.
  @Test func anAcceptedLossIsSavedAndForgottenLikeAnyOtherChange() async throws {
    let broken = try await Broken(megabytes: 1)
    _ = try await broken.site.sql("DELETE FROM rest")
    let nightly: [String: String?] = ["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1"]
    #expect(try await broken.site.run("backup", with: nightly).code == 4)
    let doubted = try #require(try await broken.site.sets().last)
    try await broken.succeed("backup", "--accept", doubted, with: nightly)
    try await broken.succeed("backup", with: nightly)
    #expect(try await broken.site.sets().count == 1)
    try await broken.succeed("restore")
  }

  @Test func aSourceThatIsNotThereOrCannotBeReadFailsAndLeavesNoSetThatSeemsWhole() async throws {
    let broken = try await Broken(megabytes: 1)
    let site = broken.site
    var sets = 1
    for (fault, repair, changes, says) in [
      ("mv files away", "mv away files", [:], "does not exist"),
      ("mv files away; echo > files", "rm files; mv away files", [:], "is not a directory"),
      ("chmod 700 files; touch files/locked; chmod 000 files/locked", "rm -f files/locked", ["as": "nobody"], "locked"),
      ("true", "true", ["POSTGRES_DB": "nowhere"], "nowhere"),
    ] as [(String, String, [String: String], String)] {
      try await Shell.script(fault, in: site.root)
      var environment = site.settings.merging(changes) { $1 }
      var command = [Site.products + "/backup"]
      if environment.removeValue(forKey: "as") != nil {
        // The rest is readable: it is this one file.
        try await Shell.script("chmod -R a+rwX . ; chmod 000 files/locked", in: site.root)
        command = ["setpriv", "--reuid=65534", "--clear-groups", "--regid=65534"] + command
        environment["RESTIC_CACHE_DIR"] = site.root + "/tmp/cache"
      }
      let run = try await Shell.run(command[0], Array(command.dropFirst()), environment: environment, check: false)
      #expect(run.code == 20 && run.errors.contains(says), "\(fault): \(run)")
      try await Shell.script(repair, in: site.root)
      // One file that cannot be read: the database is saved.
      if says == "locked" { sets += 1 }
      let list = try await site.run("restore", ["--list"]).output
      #expect(list.components(separatedBy: "doubted: no files").count == sets, "\(fault): \(list)")
      #expect(try await site.sets().count == sets, "\(fault)")
    }
    try await broken.succeed("backup")
    try await broken.expectPromises(["first first"], "sources that were missing")
  }

  /// restic ends with 3 for them as for files that cannot be read; here it says what it says in that race.
  @Test(arguments: [
    ("lstat /d/gone: no such file or directory", 0),
    ("incomplete metadata for d/gone: xattr.list d/gone: no such file or directory", 0),
    ("open /d/gone: permission denied", 20),
  ]) func aFileThatIsDeletedWhileItIsSavedIsNoFailure(_ message: String, _ code: Int32) async throws {
    let broken = try await Broken(megabytes: 1)
    let path = try broken.site.fake(
      "restic",
      """
      PATH=${PATH#*:}
      restic "$@" || exit
      case " $* " in *" kind=files "*)
        echo '{"message_type":"error","error":{"message":"lstat /d/other: no such file or directory"},"during":"scan","item":"/d/other"}' >&2
        echo '{"message_type":"error","error":{"message":"\(message)"},"during":"archival","item":"/d/gone"}' >&2
        echo '{"message_type":"exit_error","code":3,"message":"Warning: at least one source file could not be read"}' >&2
        exit 3
      esac
      """)
    let run = try await broken.site.run("backup", with: ["PATH": path])
    #expect(run.code == code && run.errors.contains(message), "\(run)")
    #expect(run.errors.contains("1 file could not be read: /d/gone") == (code != 0), "\(run)")
    let list = try await broken.site.run("restore", ["--list"]).output
    #expect(list.contains("doubted: no files: 1 file could not be read") == (code != 0), "\(list)")
  }

  /// Files that grow, shrink, come and go, and rows that change, while they are saved: what is saved can be restored, and the evidence holds.
  @Test func whatChangesWhileItIsSavedIsRestoredAsItWasAtOneMoment() async throws {
    let broken = try await Broken(megabytes: 60)
    _ = try await broken.site.sql(
      "CREATE TABLE account (id int PRIMARY KEY, amount int); INSERT INTO account SELECT g, 100 FROM generate_series(1, 1000) g")
    let busy = Task {
      // Money moves and none is made or lost: a dump of two moments would show another sum.
      async let rows: Void = {
        while !Task.isCancelled {
          _ = try await broken.site.sql(
            "WITH other AS MATERIALIZED (SELECT 2 + (random() * 998)::int AS id) UPDATE account SET amount = amount + CASE account.id WHEN 1 THEN -1 ELSE 1 END FROM other WHERE account.id IN (1, other.id)"
          )
        }
      }()
      async let files: Void = {
        while !Task.isCancelled {
          try await broken.site.script(
            "for i in 1 2 3 4 5; do echo $RANDOM >d/coming.$i; head -c $RANDOM /dev/zero >>growing; : >d/$i; done; rm d/coming.*; truncate -s 10 growing"
          )
        }
      }()
      _ = try await (rows, files)
    }
    for _ in 0..<2 {
      let run = try await broken.site.run("backup")
      #expect(run.code == 0, "\(run)")
    }
    busy.cancel()
    _ = await busy.result
    try await broken.succeed("restore")
    #expect(try await broken.site.sql("SELECT sum(amount) FROM account") == "100000")
    #expect(try await broken.site.sql("SELECT amount FROM account WHERE id = 1") != "100", "nothing changed meanwhile")
    #expect(try await Shell.script("ls", in: broken.site.files).contains("growing"))
    #expect(try await broken.live() == "first first")
  }

  /// After preflight, beside another file that goes: the one is an entry of FILES_PATHS, which somebody wants saved.
  @Test func aPathThatGoesBeforeItIsSavedFailsTheBackup() async throws {
    let broken = try await Broken(megabytes: 1)
    let path = try broken.site.fake(
      "restic",
      "PATH=${PATH#*:}\ncase \"$*\" in *\" kind=files \"*|*kind=files*) rm -rf '\(broken.site.files)/d';; esac\nexec restic \"$@\""
    )
    let failed = try await broken.site.run("backup", with: ["FILES_PATHS": "word,d", "PATH": path])
    #expect(failed.code == 20 && failed.errors.contains("could not be read: d"), "\(failed)")
    #expect(try await broken.site.run("restore", ["--list"]).output.contains("doubted: no files"))
  }
}
