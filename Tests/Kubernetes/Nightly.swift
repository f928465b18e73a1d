import Foundation
import Support
import Testing

@testable import BackupRestore

extension OnKubernetes {
  @Suite struct Nightly {
    @Test func theCronJobSavesASetOnItsOwnAndItsPodSaysSo() async throws {
      let site = try await Application()
      try await site.fill()
      // Only now: a night before `init` ends with 10.
      try await site.kubectl("patch", "cronjob", "backup", "-p", #"{"spec": {"schedule": "* * * * *"}}"#)
      var job = ""
      try await until("the CronJob's first Job", seconds: 600) {
        let jobs = try await site.kubectl("get", "jobs", "-o", "jsonpath={.items[*].metadata.name}", check: false).output
        job = jobs.split(separator: " ").first { $0.hasPrefix("backup-") }.map(String.init) ?? ""
        return !job.isEmpty
      }
      try await site.kubectl("patch", "cronjob", "backup", "-p", #"{"spec": {"suspend": true}}"#)
      let run = try await site.ended(job)
      #expect(run.code == 0, "\(run)")
      #expect(run.message.hasPrefix("exit code 0: done\n") && run.message.contains("5,000 rows"), "\(run)")
      // The volume is mounted read-only, and the pod has no right but to read.
      let mount = "jsonpath={.items[0].spec.containers[0].volumeMounts[?(@.mountPath==\"/var/jira\")].readOnly}"
      #expect(try await site.kubectl("get", "pods", "-l", "job-name=\(job)", "-o", mount).output == "true")
      try await site.remove()
    }

    struct Night: Sendable, CustomTestStringConvertible {
      let testDescription: String
      var settings: [String: String] = [:]
      var secrets: [String: String] = [:]
      let code: Int
      let says: String
    }

    static let nights = [
      Night(testDescription: "a wrong repository password", secrets: ["restic-password": "wrong"], code: 12, says: "password"),
      Night(
        testDescription: "a wrong database password", secrets: ["postgres-password": "wrong"], code: 20, says: "authentication"),
      Night(testDescription: "no such database", settings: ["POSTGRES_DB": "nobody"], code: 20, says: "nobody"),
      Night(
        testDescription: "no server", settings: ["POSTGRES_HOST": "127.0.0.1:1", "CONNECT_TIMEOUT": "5"], code: 20,
        says: "127.0.0.1"),
      Night(testDescription: "a misspelt variable", settings: ["RESTIC_REPOSITRY": "/x"], code: 78, says: "RESTIC_REPOSITORY"),
      Night(
        testDescription: "a key the Secret lacks", settings: ["POSTGRES_USER_FILE": "/var/run/secrets/backup-secrets/none"],
        code: 78, says: "POSTGRES_USER_FILE"),
      Night(
        testDescription: "repositories that are gone", settings: ["RESTIC_REPOSITORY": "/repository/elsewhere"], code: 10,
        says: "its volume is mounted"),
    ]

    /// Every failure has its exit code and its reason in the API, where alerts and `kubectl describe` find them.
    @Test func everyBadNightTellsItsReasonByTheAPI() async throws {
      let site = try await Application()
      try await site.fill()
      let good = try await site.backUp("good")
      #expect(good.code == 0, "\(good)")
      for (number, night) in Self.nights.enumerated() {
        try await site.change(settings: night.settings, secrets: night.secrets)
        let run = try await site.backUp("night-\(number)")
        #expect(run.code == night.code, "\(night.testDescription): \(run)")
        #expect(
          run.message.hasPrefix("exit code \(night.code): ") && run.message.contains(night.says),
          "\(night.testDescription): \(run)")
        #expect(!(run.message + run.log).contains("pass=word"), "\(night.testDescription): \(run)")
      }
      try await site.change()
      let mended = try await site.backUp("mended")
      #expect(mended.code == 0, "\(mended)")
      try await site.remove()
    }

    /// The kernel kills one child for its memory, not the pod: the API says what to raise.
    @Test func aMemoryLimitThatIsTooLowIsNamed() async throws {
      let container = "/spec/jobTemplate/spec/template/spec/containers/0"
      let site = try await Application(
        patches: """
            - target:
                kind: CronJob
              patch: |
                - {op: replace, path: \(container)/resources, value: {limits: {memory: 40Mi}}}
          """)
      // Made with the memory of the other pod.
      try await site.scale(1)
      #expect(try await site.exec("/usr/local/bin/init.sh", terminal: false).code == 0)
      try await site.scale(0)
      let run = try await site.backUp("small")
      #expect(run.code == 23 && run.message.contains("resources.limits.memory"), "\(run)")
      try await site.remove()
    }

    /// On Sundays: the newest set restored beside the live data, verified, thrown away.
    @Test func theDrillProvesTheNewestSet() async throws {
      let site = try await Application()
      try await site.fill()
      #expect(try await site.backUp("night").code == 0)
      let live = try await site.state()
      try await site.startJob("sunday", of: "drill")
      let drill = try await site.ended("sunday")
      #expect(drill.code == 0 && drill.message.contains("is proven"), "\(drill)")
      expectSame(live, try await site.state())
      #expect(try await site.inPod("app", "ls -A /var/jira/.backup-restore").output == "")
      try await site.remove()
    }

    /// The runbook of a rotation: the next password into the Secret, change-password.sh, then the Secret's own password.
    @Test func thePasswordIsRotatedByTheSecret() async throws {
      let site = try await Application()
      try await site.fill()
      #expect(try await site.backUp("old").code == 0)
      try await site.change(secrets: ["restic-new-password": "the next one"])
      try await site.scale(1)
      let rotated = try await site.exec("/usr/local/bin/change-password.sh")
      #expect(rotated.code == 0 && rotated.output.contains("old password removed"), "\(rotated)")
      try await site.change(secrets: ["restic-password": "the next one"])
      #expect(try await site.backUp("new").code == 0)
      try await site.remove()
    }
  }
}
