import Foundation
import Support
import Testing

@testable import BackupRestore

/// Locks in a repository of processes that are gone, or seem to be.
@Suite(.servers, .timeLimit(.minutes(45))) struct DeadLocks {
  static let policy = ["RESTIC_KEEP_LAST": "4", "RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0", "LOCK_WAIT": "1"]

  /// A restic that has a lock on one of the repositories, until `end` is written to.
  static func lock(_ site: Site, _ name: String, _ end: String? = nil) async throws -> Shell.Running {
    let end = end ?? name
    try await Shell.script("mkfifo end.\(end)", in: site.root)
    let holder = Shell.Running(
      "timeout",
      ["900", "sh", "-c", "{ echo content; cat '\(site.root)/end.\(end)'; } | restic backup --quiet --stdin --host elsewhere"],
      environment: site.settings.merging(["RESTIC_REPOSITORY": site.repository + "/" + name]) { $1 })
    try await site.until("ls repository/\(name)/locks | grep -q .")
    return holder
  }

  static func release(_ site: Site, _ name: String, _ holder: Shell.Running) async throws {
    try await Shell.script("echo >end.\(name)", in: site.root)
    _ = try await holder.result
  }

  @Test(arguments: ["files", "pg-database", "sets"])
  func aLockCostsTheFirstNightNothingAndTheSecondIsTold(repository: String) async throws {
    let site = try await Looking.site(Self.policy.merging(["CHECK_DAYS": "1"]) { $1 })
    for _ in 0..<3 { try await Staged.succeed(site, "backup") }
    let holder = try await Self.lock(site, repository)
    // A set of which half is forgotten is no damage.
    let first = try await site.run("backup", ["--check"])
    #expect(first.code == 0 && first.errors.contains("forgotten tonight, and the next backup does it"), "\(first)")
    #expect(first.errors.contains("nothing is forgotten") == (repository == "files"), "\(first)")
    #expect(try await site.sets().count == 5)
    let second = try await site.run("backup")
    #expect(
      second.code == 4 && second.errors.contains("init --unlock"), "\(second)")
    try await Self.release(site, repository, holder)
    let third = try await Staged.succeed(site, "backup", "--check")
    #expect(try await site.sets().count == 4, "\(third)")
    // And what was in the way once is forgotten with it: the next time is a first time again.
    let again = try await Self.lock(site, repository, "again")
    #expect(try await site.run("backup").code == 0)
    try await Self.release(site, "again", again)
    try await Staged.succeed(site, "backup")
    #expect(try await site.sets().count == 4)
  }

  /// What looks damaged without restic's lock is looked at again with it, and that is not to be had.
  @Test func aCheckThatIsLockedOutCostsTheFirstNightNothingAndTheSecondIsTold() async throws {
    let site = try await Looking.site(["LOCK_WAIT": "1", "CHECK_DAYS": "1"])
    let (hide, show) = ("mv repository/files/data away", "mkdir -p repository/files; mv away repository/files/data")
    let path = try site.fake(
      "restic",
      """
      PATH=${PATH#*:}
      case "$RESTIC_REPOSITORY $* " in *"/files "*" check "*--no-lock*) ;; *) exec restic "$@" ;; esac
      cd '\(site.root)'; \(hide); restic "$@"; code=$?; \(show); exit $code
      """)
    func night(_ end: String) async throws -> Shell.Result {
      let holder = try await Self.lock(site, "files", end)
      defer { _ = holder }
      let run = try await site.run("backup", ["--check"], with: ["PATH": path])
      try await Self.release(site, end, holder)
      return run
    }
    let first = try await night("first")
    #expect(first.code == 0 && first.errors.contains("/files is not checked tonight"), "\(first)")
    #expect(!first.output.contains("the structure is whole"), "\(first)")
    #expect(try await night("second").code == 4)
    try await Staged.succeed(site, "backup", "--check")
    #expect(try await night("third").code == 0)
  }

  /// As the API server tells it; a lock that may be somebody's stays.
  @Test(arguments: [
    (pod: "backup-29384950-x7k2p", minutes: 10, isRemoved: true), ("backup-29384950-x7k2p", 1, false),
    ("backup-restore-5d4f8c9b7d-k2x7p", 10, false), ("laptop", 10, false), ("prod-db001", 10, false),
    ("wiki-29384950-x7k2p", 10, false),
  ])
  func aLockOfAPodThatIsGoneIsRemovedBeforeResticTakesItForDead(_ pod: String, minutes: Double, isRemoved: Bool) async throws {
    let site = try await Site()
    try await Staged.succeed(site, "init")
    // Killed in the middle, on another machine by its name.
    try await Shell.script(
      """
      mkfifo feed
      unshare --uts sh -c 'hostname \(pod); exec restic backup --quiet --stdin <feed' & restic=$!
      exec 3>feed
      until ls repository/files/locks | grep -q .; do sleep 0.05; done
      kill -9 $restic
      """, in: site.root, environment: site.settings.merging(["RESTIC_REPOSITORY": site.repository + "/files"]) { $1 })
    let configuration = try Configuration(site.settings)
    let repositories = Repositories(
      settings: configuration.repository, waits: configuration.waits, environment: Shell.environment,
      pods: { ["backup-restore-5d4f8c9b7d-k2x7p"] })
    let now = Date(timeIntervalSinceNow: minutes * 60)
    // A list without this pod is another namespace's, or none at all.
    try await repositories.files.removeLocksOfGonePods(own: "backup-restore-5d4f8c9b7d-zzzzz", now: now)
    #expect(try FileManager.default.contentsOfDirectory(atPath: site.repository + "/files/locks").count == 1)
    try await repositories.files.removeLocksOfGonePods(own: "backup-restore-5d4f8c9b7d-k2x7p", now: now)
    let left = try FileManager.default.contentsOfDirectory(atPath: site.repository + "/files/locks")
    #expect(left.isEmpty == isRemoved, "\(left)")
  }

  @Test func locksAreShownAndThoseThatAreNamedRemoved() async throws {
    let site = try await Looking.site(Self.policy)
    #expect(try await Staged.succeed(site, "init", "--unlock").output == "no repository is locked\n")
    let holder = try await Self.lock(site, "files")
    let shown = try await Staged.succeed(site, "init", "--unlock")
    let id = try #require(shown.output.firstMatch(of: /files  ([0-9a-f]{8}): process \d+ of \S+, [\d.]+ s old/)?.1)
    #expect(shown.output.contains("init --unlock \(id)"), "\(shown)")
    #expect(try await site.run("init", ["--unlock", "0000"]).code == 22)
    #expect(try await site.run("init", ["--rotate-password", "--unlock"]).code == 64)
    #expect(try await site.run("init", ["0000"]).code == 64)
    let removed = try await Staged.succeed(site, "init", "--unlock", String(id))
    #expect(removed.output == "files: removed \(id)\n", "\(removed)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: site.repository + "/files/locks").isEmpty)
    try await Self.release(site, "files", holder)
  }
}
