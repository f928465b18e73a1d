import Foundation
import Support
import Testing

@testable import BackupRestore

/// README's "When a night went wrong", each on the real thing.
@Suite(.serialized, .servers, .cluster, .timeLimit(.minutes(30))) struct Troubles {
  /// How many there are, in all repositories.
  private static let locks = "ls /repository/*/locks | grep -Ec '^[0-9a-f]{64}$' || true"

  /// As the kernel does where a container is at its memory limit: restic dies with its lock. A pod that is deleted, by force too, has time
  /// enough to end in order (measured).
  @Test func podsThatAreKilledTwiceCostTheNextNightNothing() async throws {
    let policy = ["RESTIC_KEEP_LAST": "1", "RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0"]
    let site = try await Application(settings: policy.merging(["LOCK_WAIT": "60"]) { $1 })
    try await site.fill()
    #expect(try await site.backUp("good").code == 0)
    for number in 1...2 {
      try await site.holdBackups()
      try await site.startJob("killed-\(number)")
      try await site.untilHeld()
      let pod = try await site.kubectl("get", "pods", "-l", "job-name=killed-\(number)", "-o", "name").output.trimming("\n")
      // At a moment when it has a lock: one killed before that, or two locks of one run, do not count.
      let script = """
        locks() { \(Self.locks); }; before=$(locks)
        until [ "$(locks)" -gt "$before" ] && ! grep -qx restic /proc/[0-9]*/comm; do
          until [ "$(locks)" -gt "$before" ]; do sleep 0.05; done
          for p in /proc/[0-9]*; do ! grep -qx restic $p/comm || kill -9 ${p#/proc/}; done
        done
        """
      // The container can end before the script.
      async let killing = site.kubectl("exec", pod, "--", "sh", "-c", script, check: false)
      try await site.release()
      _ = try await killing
      let run = try await site.ended("killed-\(number)")
      let headline = run.message.split(separator: "\n").first ?? ""
      #expect(
        [20, 23].contains(run.code) && headline.contains("killed by signal 9") && run.message.contains("memory"), "\(run)")
    }
    let locks = try await site.inPod("app", Self.locks).output
    #expect(try #require(Int(locks.trimming("\n"))) >= 2, "\(locks)")
    try await site.change(settings: policy.merging(["LOCK_WAIT": "1"]) { $1 })
    let night = try await site.backUp("night")
    #expect(night.code == 0 && night.message.contains("forgotten tonight, and the next backup does it"), "\(night)")

    // Who only looks does not wait, and the README's lines show the locks and remove them.
    try await site.scale(1)
    let look = try await site.exec("/usr/local/bin/restore.sh", "--dry-run", terminal: false)
    #expect(look.code == 0 && look.output.contains("dry run: nothing was changed"), "\(look)")
    let lines = Readme.block(after: "### When a night went wrong")
    #expect(lines.count == 4)
    let status = try await site.type(lines[1], terminal: false)
    #expect(status.code == 0 && status.output.contains("quiet: ") && status.output.contains("last set: "), "\(status)")
    let shown = try await site.type(lines[2], terminal: false)
    let ids = shown.output.matches(of: /\b([0-9a-f]{8}): process \d+ of killed-[12]-/).map { String($0.1) }
    #expect(shown.code == 0 && ids.count >= 2, "\(shown)")
    let removed = try await site.exec(["/usr/local/bin/init", "--unlock"] + ids, terminal: false)
    #expect(removed.code == 0, "\(removed)")
    // kubectl makes no Job of a CronJob as old clusters have it.
    if site.kube.minor < 21 {
      try await site.startJob("backup-again")
    } else {
      let again = try await site.type(lines[3], terminal: false)
      #expect(again.code == 0, "\(again)")
    }
    let next = try await site.ended("backup-again")
    #expect(next.code == 0 && !next.message.contains("forgotten tonight"), "\(next)")
    let list = try await site.exec("/usr/local/bin/restore.sh", "--list", terminal: false).output
    #expect(list.split(separator: "\n").count { $0.contains("5,000") } == 1 && !list.contains("damaged"), "\(list)")
    try await site.remove()
  }

  @Test func whileTheRepositoryIsDownOrRefusesThePasswordNightRestoreAndStatusSaySo() async throws {
    let site = try await Application()
    try await site.fill()
    #expect(try await site.backUp("good").code == 0)
    try await site.scale(1)
    #expect(try await site.exec("/usr/local/bin/restore.sh", terminal: false).code == 0)
    let states: [(settings: [String: String], secrets: [String: String], code: Int, says: String)] = [
      (["RESTIC_REPOSITORY": "rest:http://127.0.0.1:1/x", "CONNECT_TIMEOUT": "5"], [:], 23, "connection refused"),
      ([:], ["restic-password": "wrong"], 12, "password"),
    ]
    for (number, state) in states.enumerated() {
      try await site.change(settings: state.settings, secrets: state.secrets)
      // Its variables are those of its beginning.
      try await site.scale(0)
      try await site.scale(1)
      let night = try await site.backUp("night-\(number)")
      let headline = night.message.split(separator: "\n").first ?? ""
      #expect(night.code == state.code && headline.contains(state.says), "\(night)")
      let restore = try await site.exec("/usr/local/bin/restore.sh", terminal: false)
      #expect(restore.code == Int32(state.code) && restore.errors.contains(state.says), "\(restore)")
      #expect(restore.errors.split(separator: "\n").count { $0.contains("error: ") } == 1, "\(restore)")
      // What is kept is known all the same, and one line is the repository's.
      let status = try await site.exec("/usr/local/bin/restore", "--status", terminal: false)
      let lines = status.output.split(separator: "\n")
      #expect(status.code == 0 && lines.count { $0.hasPrefix("repository: ") && $0.contains(state.says) } == 1, "\(status)")
      #expect(lines.contains { $0.hasPrefix("live: set ") } && lines.contains { $0.hasPrefix("back again: ") }, "\(status)")
    }
    try await site.remove()
  }

  /// Before 1.31 the base's podFailurePolicy is not complete, before 1.25 not known. Clusters that old are given that patch by every test.
  @Test(arguments: [true, false]) func anOldClusterTakesTheBaseWithTheReadmesPatch(isOld: Bool) async throws {
    let directory = "/tmp/backup-restore-overlay.\(UInt32.random(in: 0...UInt32.max))"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let overlay = Overlay(
      namespace: "old", config: [:], secret: [:], schedule: "0 0 1 1 *", isOld: isOld, over: "base", components: [], more: "")
    try overlay.write(to: directory)
    let manifests = try await Shell.run("kubectl", ["kustomize", directory]).output
    #expect(manifests.contains("podFailurePolicy") != isOld && manifests.contains("kind: CronJob"))
  }
}
