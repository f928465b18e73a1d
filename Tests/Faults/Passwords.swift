import Foundation
import Support
import Testing

@testable import BackupRestore

/// Passwords that are wrong, and repositories that have vanished.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct PasswordsAndVanishedRepositories {
  @Test(arguments: ["", "wrong", " repository's own: pass=word", "repository's own: pass=word\u{7F}"])
  func aWrongPasswordMakesNothingAndChangesNothing(_ password: String) async throws {
    let broken = try await Broken(megabytes: 1)
    let before = try await fingerprint(broken.site.repository)
    for (program, arguments) in [("init", []), ("backup", []), ("backup", ["--init"]), ("restore", [])] as [(String, [String])] {
      let run = try await broken.site.run(program, arguments, with: ["RESTIC_PASSWORD": password])
      #expect(run.code == (password.isEmpty ? 78 : 12), "\(run)")
    }
    expectSame(before, try await fingerprint(broken.site.repository))
    #expect(try await broken.live() == "first first")
  }

  /// The password changes while a backup is on its way: either it ends as if nothing had happened, or it saves no set and says why.
  @Test func aPasswordThatIsRotatedByHandInTheMiddleOfABackupLosesNothing() async throws {
    let broken = try await Broken()
    let key = broken.site.root + "/next"
    try "the next one".write(toFile: key, atomically: true, encoding: .utf8)
    try await broken.site.script("head -c 100000000 /dev/urandom > more")
    async let run = broken.site.run("backup")
    try await broken.site.until("ls repository/files/locks | grep -q .")
    for name in ["files", "pg-database", "sets"] {
      try await broken.site.restic(name, ["key", "passwd", "--new-password-file", key, "--retry-lock", "1m"])
    }
    let ended = try await run
    #expect([0, 4, 12].contains(ended.code), "\(ended)")
    let next = ["RESTIC_PASSWORD": "the next one"]
    let list = try await broken.site.run("restore", ["--list"], with: next)
    #expect(list.code == 0 && !list.output.contains("damaged"), "\(list)")
    try await broken.succeed("backup", with: next)
    try await broken.succeed("restore", with: next)
    #expect(try await broken.live() == "first first")
  }

  /// restic lists the keys before it reads them: one that is gone by then is no reason to fail.
  @Test(arguments: ["snapshots", "backup", "restore"]) func aKeyThatVanishesWhileItIsBeingReadFailsNothing(_ verb: String)
    async throws
  {
    let broken = try await Broken(megabytes: 1)
    let path = try broken.site.fake(
      "restic",
      """
      PATH=${PATH#*:} key=$RESTIC_REPOSITORY/keys/\(String(repeating: "0", count: 64))
      case " $* " in *" \(verb) "*)
        if mv '\(broken.site.root)/armed' '\(broken.site.root)/sprung' 2>/dev/null; then
          ln -s /nowhere "$key"; restic "$@"; code=$?; rm "$key"; exit $code
        fi ;;
      esac
      exec restic "$@"
      """)
    try await Shell.script("touch armed", in: broken.site.root)
    try await broken.succeed(verb == "restore" ? "restore" : "backup", with: ["PATH": path])
    #expect(try await Shell.script("ls sprung", in: broken.site.root) == "sprung\n")
    #expect(try await broken.live() == "first first")
  }

  /// What the CronJob's pod gives to its entry point, which hands it on.
  static func nightly() throws -> [String] {
    let manifest = URL(filePath: #filePath).deletingLastPathComponent().appending(
      path: "../../docker/kubernetes/base/backup.yaml")
    let text = try String(contentsOf: manifest.standardized, encoding: .utf8)
    return try #require(text.firstMatch(of: /args: \[(.*)\]/)).1.split(separator: ",").map { String($0).trimming(" ") }
  }

  /// Without arguments backup.sh makes them, as it always did; every night says so until somebody has looked.
  @Test func repositoriesThatBackupShMadeWhereOthersWereAreNeverAGoodNight() async throws {
    let broken = try await Broken(megabytes: 1)
    try await Shell.script("mv repository away; mkdir repository", in: broken.site.root)
    for _ in 0..<3 {
      let night = try await broken.site.run("backup", ["--init"])
      #expect(night.code == 4 && night.errors.contains("a volume is not mounted, or RESTIC_REPOSITORY is wrong"), "\(night)")
    }
    #expect(try await broken.site.run("backup", Self.nightly()).code == 4)
    #expect(try await broken.site.run("restore").code == 22)
    try await Shell.script("rm -rf repository; mv away repository", in: broken.site.root)
    try await broken.succeed("backup")
  }

  /// An empty directory where the volume was: nothing but init makes a repository there, and backup.sh only where none is missed.
  @Test func anUnmountedRepositoryIsNotMadeAnew() async throws {
    let broken = try await Broken(megabytes: 1)
    try await Shell.script("mv repository away; mkdir repository", in: broken.site.root)
    let nightly = try Self.nightly()
    #expect(nightly == ["--check"])
    for (program, arguments) in [("backup", nightly), ("backup", []), ("restore", []), ("restore", ["--list"])] {
      let run = try await broken.site.run(program, arguments)
      #expect(run.code == 10 && run.errors.contains("its volume is mounted"), "\(run)")
    }
    #expect(try await Shell.script("ls -A repository", in: broken.site.root) == "")
    for name in ["files", "pg-database", "sets"] {
      try await Shell.script("rm -rf repository; cp -r away repository; mv repository/\(name) gone", in: broken.site.root)
      let refused = try await broken.site.run("backup", ["--init"])
      #expect(refused.code == 22 && refused.errors.contains("a volume may have vanished"), "\(name): \(refused)")
      #expect(try await Shell.script("ls repository | wc -l; rm -rf gone", in: broken.site.root) == "2\n")
    }
    try await Shell.script("rm -rf repository; mv away repository", in: broken.site.root)
    try await broken.succeed("backup")
  }

  /// Without its records nothing is forgotten, and the sets come back from their tags.
  @Test func theRecordsAreLostAndTheSetsAreNot() async throws {
    let broken = try await Broken(megabytes: 1)
    try await broken.write("second")
    try await broken.succeed("backup")
    let sets = try await broken.site.sets()
    try await Shell.script("rm -rf repository/sets", in: broken.site.root)
    try await broken.succeed("init")
    let gone: [String: String?] = ["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1"]
    try await broken.succeed("backup", with: gone)
    try await broken.succeed("backup", with: gone)
    let list = try await broken.site.run("restore", ["--list"]).output
    for set in sets { #expect(list.contains(set), "\(list)") }
    try await broken.write("third")
    try await broken.succeed("restore", sets[0])
    #expect(try await broken.live() == "first first")
  }

  /// Under the name that every pod had once the process may be another pod's, and alive; under one of its own it is dead.
  @Test(arguments: [("backup-restore", "0\n1\n"), ("its-own", "0\n0\n")])
  func underAHostNameThatPodsShareNoLockIsTakenForDead(_ name: String, _ end: String) async throws {
    let broken = try await Broken(["LOCK_WAIT": "1"], megabytes: 1)
    let environment = broken.site.settings.merging(["RESTIC_REPOSITORY": broken.site.repository + "/files"]) { $1 }
    let script = """
      hostname \(name); mkfifo input; restic backup --stdin <input >/dev/null 2>&1 & exec 3>input
      # Not the file that becomes one.
      locks() { ls repository/files/locks | grep -Ec '^[0-9a-f]{64}$'; }
      until [ "$(locks)" != 0 ]; do sleep 0.05; done; kill -KILL $!; wait $!
      RESTIC_REPOSITORY='\(broken.site.repository)' RESTIC_DAYS_TO_KEEP=0 RESTIC_MONTHS_TO_KEEP=0 RESTIC_KEEP_LAST=1 \
        '\(Site.products)/backup' 2>&1; echo $?; locks
      """
    let said = try await Shell.run(
      "unshare", ["--uts", "bash", "-c", script], environment: environment, directory: broken.site.root, check: false
    ).output
    #expect(said.hasSuffix(end) && said.contains("no lock is taken for dead") == (name == "backup-restore"), "\(said)")
  }

  /// restic takes a lock for dead when its process is, on the same host, or after half an hour: another pod's is waited for.
  @Test func aStaleLockOfAnotherPodIsWaitedForAndNamed() async throws {
    let broken = try await Broken(["LOCK_WAIT": "3"], megabytes: 1)
    // restic under another host name is killed while it holds a lock.
    let script = """
      unshare --uts bash -c 'hostname another-pod; sleep 900 | restic backup --stdin >/dev/null 2>&1 &
        until ls $RESTIC_REPOSITORY/locks | grep -q .; do sleep 0.1; done; pkill -KILL -P $$ restic; pkill -P $$ sleep'
      """
    let environment = broken.site.settings.merging(["RESTIC_REPOSITORY": broken.site.repository + "/files"]) { $1 }
    _ = try await Shell.run("bash", ["-c", script], environment: environment, check: false)
    #expect(try await broken.site.restic("files", ["list", "locks", "--no-lock"]).output != "")
    // A backup is not in its way, retention is: the set is good, and who holds the lock is said.
    let gone: [String: String?] = ["RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "RESTIC_KEEP_LAST": "1"]
    let saved = try await broken.site.run("backup", with: gone)
    #expect(
      saved.code == 0 && saved.errors.contains("on another-pod by") && saved.errors.contains("nothing is forgotten tonight"),
      "\(saved)")
    // A second night in a row is one too many.
    let again = try await broken.site.run("backup", with: gone)
    #expect(again.code == 4 && again.errors.contains("on another-pod by"), "\(again)")
    // What was to be forgotten is whole: its parts go first, and could not.
    #expect(try await broken.site.sets().count == 3)
    let list = try await broken.site.run("restore", ["--list"]).output
    #expect(!list.contains("damaged") && !list.contains("no record"), "\(list)")
    try await broken.succeed("restore")
  }
}
