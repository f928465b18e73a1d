import Foundation
import Support
import Testing

@testable import BackupRestore

/// The whole job in containers of the image, hardened as the manifests have it.
@Suite(.serialized, .image, .timeLimit(.minutes(45))) struct Cycle {

  @Test(arguments: [
    [["init"], ["backup"], ["restore"]],
    [["/usr/local/bin/init.sh"], ["/usr/local/bin/backup.sh"], ["/usr/local/bin/restore.sh"]],
    [["init.bb"], ["backup.bb"], ["restore.bb"]],
    [["init.sh"], ["/entrypoint.sh"], ["restore.sh"]],
  ]) func whatIsLostIsBackWithItsOwners(_ names: [[String]]) async throws {
    let site = try await PodSite(cluster: try await Cluster.shared.value)
    try await site.fill()
    let before = try await fingerprint(site.files)
    let initialised = try await site.run(names[0])
    #expect(initialised.code == 0, "\(initialised.errors)")
    let saved = try await site.run(names[1], as: .backup)
    #expect(saved.code == 0, "\(saved.errors)")
    for program in ["list-snapshots.sh", "restic-snapshots.sh", "list-snapshots.bb"] {
      #expect(try await site.run([program]).output.contains("files, 1 database"))
    }
    try await site.lose()
    let restored = try await site.run(names[2])
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(try await site.sql("SELECT v FROM t") == "saved")
    expectSame(before, try await fingerprint(site.files))
  }

  /// Where nobody ran `init.sh`, the old image's entry point makes the repositories, and every night says so until one is accepted.
  @Test func theEntryPointMakesTheRepositoriesItselfAndSaysSo() async throws {
    let site = try await PodSite(cluster: try await Cluster.shared.value)
    try await site.fill()
    for _ in 0..<2 {
      let night = try await site.run(["/entrypoint.sh"], as: .backup)
      #expect(night.code == 4 && night.errors.contains("a volume is not mounted"), "\(night)")
    }
    let list = try await site.run(["list-snapshots.sh"]).output
    let newest = try #require(list.split(separator: "\n").last { $0.hasPrefix("20") }?.prefix(16))
    #expect(try await site.run(["backup.sh", "--accept", String(newest)]).code == 0)
    #expect(try await site.run(["/entrypoint.sh"], as: .backup).code == 0)
    try await site.lose()
    #expect(try await site.run(["restore.sh"]).code == 0)
    #expect(try await site.sql("SELECT v FROM t") == "saved")
  }

  @Test func filesOfOneUserNeedNoRootAndNoCapability() async throws {
    let site = try await PodSite(cluster: try await Cluster.shared.value)
    try await site.fill()
    try await site.script("chown -R 999:999 .")
    let before = try await fingerprint(site.files)
    for command in ["init", "backup"] {
      let result = try await site.run([command], as: .nonRoot)
      #expect(result.code == 0, "\(result.errors)")
    }
    try await site.lose()
    let restored = try await site.run(["restore"], as: .nonRoot)
    #expect(restored.code == 0, "\(restored.errors)")
    expectSame(before, try await fingerprint(site.files))
  }

  /// restic alone would say nothing, and leave wrong owners.
  @Test func aRestoreThatCannotSetOwnersIsRefusedWithTheTwoWaysOut() async throws {
    let site = try await PodSite()
    try await site.fill(initialised: true)
    #expect(try await site.run(["backup.sh"]).code == 0)
    try await site.script("chown 999:999 .; echo live > b; chmod -R a+rwX \(site.repository); rm -rf \(site.root)/cache/*")
    for (profile, user) in [(PodSite.Profile.nonRoot, "999:999"), (.withoutOwners, "UID:GID")] {
      let refused = try await site.run(["restore"], as: profile)
      // What one user's run leaves is not the other's.
      try await Shell.script("rm -rf cache/* files/.backup-restore", in: site.root)
      #expect(refused.code == 22)
      for word in ["belong to 0:0, 901:901", "FILES_OWNER=\(user)", "CHOWN, FOWNER and DAC_OVERRIDE"] {
        #expect(refused.errors.contains(word), "\(refused.errors)")
      }
    }
    #expect(try await Shell.script("cat b", in: site.files) == "live\n")
    let held = try await site.run(["restore"], as: .nonRoot, with: ["FILES_OWNER": "999:999"])
    #expect(held.code == 22 && held.errors.contains("/var/jira/data belongs to 901:901, and user 999 cannot move it aside"))
    try await site.script("chown -R 999:999 .")
    let owned = try await site.run(["restore"], as: .nonRoot, with: ["FILES_OWNER": "999:999"])
    #expect(owned.code == 0, "\(owned.errors)")
    #expect(try await Shell.script("cat b; stat -c '%u:%g %a' data/a", in: site.files) == "b\n999:999 600\n")
  }

  @Test func thePasswordIsChangedByItsOldName() async throws {
    let site = try await PodSite()
    try await site.fill(initialised: true)
    #expect(try await site.run(["backup.sh"]).code == 0)
    #expect(try await site.run(["change-password.sh"]).code == 78, "the Secret holds no new password")
    try "the next\n".write(toFile: site.root + "/secrets/restic-new-password", atomically: true, encoding: .utf8)
    let changed = try await site.run(["change-password.bb"])
    #expect(changed.code == 0, "\(changed.errors)")
    // The Secret reaches the pods late, and holds both meanwhile.
    let late = try await site.run(["backup.sh"], as: .backup)
    #expect(late.code == 0 && late.errors.contains("put that where RESTIC_PASSWORD comes from"), "\(late)")
    try FileManager.default.removeItem(atPath: site.root + "/secrets/restic-new-password")
    #expect(try await site.run(["backup.sh"], as: .backup).code == 12)
    try "the next\n".write(toFile: site.root + "/secrets/restic-password", atomically: true, encoding: .utf8)
    #expect(try await site.run(["backup.sh"], as: .backup).code == 0)
  }

  @Test func withoutAWritableDirectoryItSaysWhatToMount() async throws {
    let site = try await PodSite()
    try await site.fill()
    let readOnly = ["--user", "0:0", "--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL"]
    let settings = ["RESTIC_REPOSITORY=/repository", "RESTIC_PASSWORD=x"].flatMap { ["--env", $0] }
    let result = try await Engine.run(
      ["run", "--rm"] + readOnly + settings + [
        "--volume", "\(site.repository):/repository", "--volume", "\(site.files):/var/jira",
      ]
        + [Engine.image, "backup.sh"], check: false)
    #expect(result.code == 22)
    #expect(result.errors.contains("mount a writable directory and set TMPDIR to it"), "\(result.errors)")
  }

  // MARK: Two at once, and signals

  @Test func twoContainersAtOnceWaitForEachOther() async throws {
    let site = try await PodSite(cluster: try await Cluster.shared.value)
    try await site.fill()
    try await site.script("head -c 50000000 /dev/urandom > big")
    #expect(try await site.run(["init"]).code == 0)
    async let first = site.run(["backup"], as: .backup)
    async let second = site.run(["backup"], as: .backup)
    let results = try await [first, second]
    for result in results { #expect(result.code == 0, "\(result.errors)") }
    #expect(results.contains { $0.errors.contains("is locked") }, "one waited for the other")
    #expect(try await site.run(["restore", "--list"]).output.components(separatedBy: "files, 1 database").count == 3)
  }

  @Test func aRunStartedByExecEndsInOrderWhenThePodIsStopped() async throws {
    let site = try await PodSite(cluster: try await Cluster.shared.value)
    try await site.fill()
    try await site.script("head -c 400000000 /dev/urandom > big")
    let pod = try await site.waiting()
    #expect(try await pod.exec(["init.sh"]).code == 0)
    async let running = pod.exec(["backup.sh"])
    try await pod.waits(for: "begins")
    let begin = ContinuousClock().now
    try await Engine.run(["stop", "--time", "300", pod.id])
    #expect(begin.duration(to: .now) < .seconds(120))
    #expect(try await running.code == 143)
    let log = try await pod.logs()
    for said in ["SIGTERM passed on to backup", "stopped by SIGTERM", "done waiting"] { #expect(log.contains(said), "\(log)") }
    try await pod.remove()
    let next = try await site.run(["backup"], as: .backup)
    #expect(next.code == 0, "no lock was left: \(next.errors)")
  }

  @Test func anIdlePodStopsAtOnceAndCollectsOrphans() async throws {
    let site = try await PodSite()
    let pod = try await site.waiting(as: .nonRoot)
    _ = try await pod.exec(["sh", "-c", "for i in 1 2 3; do sh -c 'sleep 0.2 & exit' ; done"])
    let states = "for s in /proc/[0-9]*/stat; do read -r _ name state _ <$s && echo $name $state; done 2>/dev/null"
    for _ in 0..<1200 {
      if try await !pod.exec(["sh", "-c", states]).output.contains("sleep") { break }
      try await Task.sleep(for: .milliseconds(100))
    }
    #expect(try await !pod.exec(["sh", "-c", states]).output.contains(" Z"))
    let begin = ContinuousClock().now
    try await Engine.run(["stop", "--time", "300", pod.id])
    #expect(begin.duration(to: .now) < .seconds(120), "not by its grace")
    #expect(try await Engine.run(["inspect", "--format", "{{.State.ExitCode}}", pod.id]).output == "0\n")
    try await pod.remove()
  }

  @Test func theNightlyPodEndsInOrderOnSIGTERM() async throws {
    let site = try await PodSite(cluster: try await Cluster.shared.value)
    try await site.fill(initialised: true)
    try await site.script("head -c 400000000 /dev/urandom > big")
    let pod = try await Container(site.options(.backup), ["/entrypoint.sh"])
    try await pod.waits(for: "begins")
    try await Engine.run(["stop", "--time", "300", pod.id])
    #expect(try await Engine.run(["inspect", "--format", "{{.State.ExitCode}}", pod.id]).output == "143\n")
    try await pod.remove()
    #expect(try await site.run(["restore", "--list"]).output.contains("files, 1 database") == false)
    #expect(try await site.run(["backup"], as: .backup).code == 0)
  }
}
