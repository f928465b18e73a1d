import Foundation
import Support
import Testing

@testable import BackupRestore

/// `init --wait` and `init --rotate-password`.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct WaitingAndRotation {
  @Test func theWaitingProcessEndsAtOnceWhenIdle() async throws {
    let site = try await Site()
    // unshare makes it process 1 of a namespace of its own, as in a pod; SIGTERM must not be ignored there.
    let script = """
      unshare --pid --fork --mount-proc sh -c 'exec \(Site.products)/init --wait' 2>>log & until grep -q waiting log; do sleep 0.05; done
      kill -TERM $(pgrep -P $!) ; wait $!; echo $?
      """
    #expect(try await Shell.script(script, in: site.root, environment: site.settings) == "0\n")
    #expect(try String(contentsOfFile: site.root + "/log", encoding: .utf8).contains("done waiting"))
  }

  @Test func aRunInThePodEndsInOrderAndItsLinesAreInThePodsLog() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase("CREATE TABLE t AS SELECT generate_series(1, 10) AS id")
    try await site.script("head -c 300000000 /dev/urandom > big")
    #expect(try await site.run("init").code == 0)
    let script = """
      unshare --pid --fork --mount-proc sh -c 'exec \(Site.products)/init --wait' 2>>log & until grep -q waiting log; do sleep 0.05; done
      pid=$(pgrep -P $!)
      nsenter --target $pid --pid --mount \(Site.products)/backup >output 2>&1 & run=$!
      until grep -q begins log; do sleep 0.05; done; kill -TERM $pid; wait %1 || true; wait $run && code=0 || code=$?; echo $code
      """
    let code = try await Shell.script(script, in: site.root, environment: site.settings)
    let log = try String(contentsOfFile: site.root + "/log", encoding: .utf8)
    let output = try String(contentsOfFile: site.root + "/output", encoding: .utf8)
    #expect(code == "143\n", "\(log)\(output)")
    for said in [
      "begins", "SIGTERM passed on to backup", "SIGTERM received: stopping in order", "stopped by SIGTERM", "done waiting",
    ] {
      #expect(log.contains(said), "\(log)")
    }
    #expect(try await site.sets().isEmpty)
    #expect(try await site.restic("files", ["list", "locks"]).output == "")
    #expect(try await site.run("backup").code == 0)
  }

  static let rotation = ["RESTIC_NEW_PASSWORD": "the next password"]
  static let rotated = ["RESTIC_PASSWORD": "the next password"]

  @Test func thePasswordOfEveryRepositoryIsRotatedAlsoOfTheOldOnes() async throws {
    let site = try await Site()
    try await site.script("echo 1 > a")
    #expect(try await site.run("init").code == 0)
    try await site.restic("pg-role", ["init"])
    #expect(try await site.run("backup").code == 0)
    let done = try await site.run("init", ["--rotate-password"], with: Self.rotation)
    #expect(done.code == 0, "\(done.errors)")
    for name in ["files", "pg-database", "sets", "pg-role"] { #expect(done.output.contains("\(name): old password removed")) }
    #expect(try await site.run("backup").code == 12)
    #expect(try await site.run("backup", with: Self.rotated).code == 0)
    // Typed once more, nothing is left to do; and the next rotation works the same way.
    let again = try await site.run("init", ["--rotate-password"], with: Self.rotation)
    #expect(again.code == 0 && again.output.contains("files: has the new password already"), "\(again.errors)")
    let next = Self.rotated.merging(["RESTIC_NEW_PASSWORD": "another"]) { $1 }
    #expect(try await site.run("init", ["--rotate-password"], with: next).code == 0)
    #expect(try await site.run("restore", with: ["RESTIC_PASSWORD": "another"]).code == 0)
  }

  @Test func aRotationThatWasInterruptedGoesOn() async throws {
    let site = try await Site()
    #expect(try await site.run("init").code == 0)
    // One repository has both passwords, one only the new one, one only the old one.
    let key = site.root + "/new"
    try "the next password".write(toFile: key, atomically: true, encoding: .utf8)
    try await site.restic("files", ["key", "add", "--new-password-file", key])
    try await site.restic("sets", ["key", "passwd", "--new-password-file", key])
    let done = try await site.run("init", ["--rotate-password"], with: Self.rotation)
    #expect(done.code == 0, "\(done.errors)")
    let opened = try await site.run("init", with: Self.rotated)
    #expect(opened.output.components(separatedBy: "exists").count == 4)
    #expect(try await site.restic("files", ["snapshots"], check: false).code == 12)
  }

  @Test func aRotationThatCannotOpenEverythingChangesNothing() async throws {
    let site = try await Site()
    #expect(try await site.run("init").code == 0)
    let key = site.root + "/new"
    try "a third password".write(toFile: key, atomically: true, encoding: .utf8)
    try await site.restic("sets", ["key", "passwd", "--new-password-file", key])
    #expect(try await site.run("init", ["--rotate-password"], with: Self.rotation).code == 12)
    #expect(try await site.restic("files", ["key", "list", "--json"]).output.components(separatedBy: "\"id\"").count == 2)
    #expect(try await site.run("init", ["--rotate-password"]).code == 78)
    let same = ["RESTIC_NEW_PASSWORD": site.settings["RESTIC_PASSWORD"]!]
    #expect(try await site.run("init", ["--rotate-password"], with: same).code == 22)
    #expect(try await site.run("init", ["--rotate-password"], with: ["RESTIC_NEW_PASSWORD_FILE": "/nowhere"]).code == 78)
  }

  /// Killed before and after each change of a key: every repository opens with one of the two passwords all the while, as a pod that
  /// has both tries them, and the next rotation goes on.
  @Test func aRotationThatIsKilledAtAnyStepGoesOn() async throws {
    let site = try await Site()
    try await site.script("echo 1 > a")
    #expect(try await site.run("init").code == 0)
    #expect(try await site.run("backup").code == 0)
    let trap = try Trap("restic", #"*" key add "*|*" key remove "*"#, in: site.root)
    let trapped = Self.rotation.merging(["PATH": trap.path(site.settings["PATH"]!)]) { $1 }
    var kills = 0
    for moment in [Trap.Moment.before, .after, .before, .after, .after, .before, .after, .after, .after] {
      try trap.arm(moment)
      let run = try await site.run("init", ["--rotate-password"], with: trapped)
      if trap.isArmed { break }
      kills += 1
      #expect(run.code == 137, "\(run)")
      let both = try await site.run("restore", ["--list"], with: Self.rotation)
      #expect(both.code == 0 && both.output.contains("files"), "\(both)")
    }
    #expect(kills >= 8)
    #expect(try await site.run("init", ["--rotate-password"], with: Self.rotation).code == 0)
    // The Secret reaches the pods late: those that still have the old password, and the new one beside it, go on and say so.
    let late = try await site.run("backup", with: Self.rotation)
    #expect(late.code == 0 && late.errors.contains("put that where RESTIC_PASSWORD comes from"), "\(late)")
    try await site.script("rm a")
    #expect(try await site.run("restore", with: Self.rotation).code == 0)
    #expect(try await site.run("backup").code == 12)
    #expect(try await site.run("backup", with: Self.rotated).code == 0)
  }

  /// An append-only server takes a new key and gives no old one back.
  @Test func onAnAppendOnlyServerTheOldPasswordStaysAndThatIsSaid() async throws {
    let site = try await Site()
    let port = try Cluster.freePort()
    let options = ["--path", site.root + "/server", "--listen", "127.0.0.1:\(port)", "--no-auth"]
    try await site.script("echo 1 > a")
    var server = Daemon("restic-rest-server", options + ["--append-only"], seconds: 300, log: site.root + "/server.log")
    try await Shell.untilListening(port)
    let remote = ["RESTIC_REPOSITORY": "rest:http://127.0.0.1:\(port)/"]
    #expect(try await site.run("init", with: remote).code == 0)
    let rotation = remote.merging(Self.rotation) { $1 }
    for _ in 0..<2 {
      let run = try await site.run("init", ["--rotate-password"], with: rotation)
      #expect(run.code == 4 && run.errors.contains("is append-only: the old password stays in force"), "\(run)")
    }
    for settings in [remote, remote.merging(Self.rotated) { $1 }] {
      #expect(try await site.run("backup", with: settings).code == 0)
    }
    // Where its operator lets it, the same command ends what it began.
    await server.stop()
    server = Daemon("restic-rest-server", options, seconds: 300, log: site.root + "/server.log")
    try await Shell.untilListening(port)
    #expect(try await site.run("init", ["--rotate-password"], with: rotation).code == 0)
    #expect(try await site.run("backup", with: remote).code == 12)
    await server.stop()
  }

  /// Even its own locks stay, night after night; no night waits for those of the nights before.
  @Test func onAStoreThatDeletesNothingNoNightWaitsAndTheOldPasswordStays() async throws {
    let site = try await Site(settings: [
      "LOCK_WAIT": "3000", "RESTIC_KEEP_LAST": "1", "RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0",
    ])
    let (port, open) = try (Cluster.freePort(), Cluster.freePort())
    let options = ["--path", site.root + "/server", "--listen", "127.0.0.1:\(port)", "--no-auth"]
    let server = Daemon("restic-rest-server", options, log: site.root + "/server.log")
    try await Shell.untilListening(port)
    let program = Preloaded.sources + "/keeps-everything.py"
    let store = Daemon("python3", [program, "\(port)", "\(open)"], log: site.root + "/store.log")
    try await Shell.untilListening(open)
    let remote = ["RESTIC_REPOSITORY": "rest:http://127.0.0.1:\(open)/"]
    #expect(try await site.run("init", with: remote).code == 0)
    for night in 1...3 {
      try await site.script("echo \(night) >a")
      let run = try await site.run("backup", ["--check"], with: remote)
      #expect(run.code == 0 && run.errors.contains("is append-only: its server does the forgetting"), "\(run)")
      #expect(!run.errors.contains("waiting up to LOCK_WAIT") && run.output.contains("the structure is whole"), "\(run)")
      #expect(run.errors.components(separatedBy: "Remove(<lock/").count == 2, "\(run)")
    }
    #expect(try await site.run("restore", ["--list"], with: remote).output.components(separatedBy: "\n").count > 3)
    #expect(try await site.run("restore", with: remote).code == 0)
    for _ in 0..<2 {
      let run = try await site.run("init", ["--rotate-password"], with: remote.merging(Self.rotation) { $1 })
      #expect(run.code == 4 && run.errors.contains("is append-only: the old password stays in force"), "\(run)")
    }
    for settings in [remote, remote.merging(Self.rotated) { $1 }] {
      #expect(try await site.run("backup", with: settings).code == 0)
    }
    await store.stop()
    await server.stop()
  }

  @Test func theSecondRepositoryHasItsOwnRotation() async throws {
    let site = try await Site()
    let copy = ["COPY_RESTIC_REPOSITORY": site.root + "/copy", "COPY_RESTIC_PASSWORD": "the copy's"]
    try await site.script("echo 1 > a")
    #expect(try await site.run("init", with: copy).code == 0)
    let rotation = copy.merging(["COPY_RESTIC_NEW_PASSWORD": "the copy's next"]) { $1 }
    let run = try await site.run("init", ["--rotate-password"], with: rotation)
    #expect(run.code == 0 && run.output.contains("copy of sets: old password removed"), "\(run)")
    #expect(!run.output.split(separator: "\n").contains("sets: old password removed"))
    #expect(try await site.run("backup", with: rotation).code == 0)
    #expect(try await site.run("backup", with: copy).code == 4)
    #expect(try await site.run("backup", with: copy.merging(["COPY_RESTIC_PASSWORD": "the copy's next"]) { $1 }).code == 0)
  }

  /// A backup that finds its password refused half-way would save no set.
  @Test func aRotationWaitsForABackup() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value, settings: ["LOCK_WAIT": "1"])
    try await site.script("echo 1 > a")
    try await site.createDatabase()
    #expect(try await site.run("init").code == 0)
    let server = try await Server.connect(
      try #require(try Configuration(site.settings).database), try Configuration(site.settings).waits)
    try await server.lock([site.database])
    let locked = try await site.run("init", ["--rotate-password"], with: Self.rotation)
    #expect(locked.code == 11 && locked.errors.contains("is in use by "), "\(locked)")
    withExtendedLifetime(server) {}
    #expect(try await site.run("backup", with: ["POSTGRES_DB": nil]).code == 0)
  }
}
