import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

extension OnKubernetes {
  @Suite struct Interruptions {
    /// A node is drained in the night: the pod ends in order within its grace, nothing of it looks like a set, and the Job's next
    /// pod saves one.
    @Test func thePodIsDeletedInTheMiddleOfABackup() async throws {
      let site = try await Application()
      try await site.fill(megabytes: 50)
      try await site.holdBackups()
      try await site.startJob("night", attempts: 2)
      try await site.untilHeld()
      let pod = try await site.kubectl("get", "pods", "-l", "job-name=night", "-o", "name").output.trimming("\n")
      async let log = site.kubectl("logs", "-f", pod).output
      try await site.kubectl("delete", pod, "--wait=false")
      let said = try await log
      #expect(said.contains("SIGTERM received") && said.contains("stopped by SIGTERM"), "\(said)")
      let locks = "for r in /repository/*; do ls $r/locks; done"
      try await until("its locks are gone") {
        try await site.kubectl("get", pod, "--ignore-not-found", "-o", "name").output.isEmpty
      }
      try await site.release()
      try await site.kubectl("wait", "--for=condition=complete", "job/night", "--timeout=600s")
      #expect(try await site.inPod("app", locks).output == "")
      try await site.scale(1)
      let list = try await site.exec("/usr/local/bin/restore.sh", "--list", terminal: false).output
      #expect(list.split(separator: "\n").count { $0.contains("5,000") } == 1, "\(list)")
      #expect(!list.contains("no record"), "\(list)")
      try await site.remove()
    }

    /// Deleted in order the pod passes SIGTERM on and waits; by force it is killed. Either way what was live is untouched, and the
    /// next pod restores.
    @Test(arguments: [false, true]) func thePodIsDeletedInTheMiddleOfARestore(force: Bool) async throws {
      let site = try await Application()
      try await site.fill()
      try await site.prepareHolding()
      try await site.scale(1)
      let saved = try await site.exec("/usr/local/bin/backup.sh", terminal: false)
      #expect(saved.code == 0, "\(saved)")
      let backedUp = try await site.state()
      try await site.sql("UPDATE issue SET title = 'changed since' WHERE id < 100")
      try await site.inPod("app", "echo since >/var/jira/attachments/since")
      let live = try await site.state()

      try await site.holdRestores()
      async let run = site.exec("/usr/local/bin/restore.sh", terminal: true)
      try await site.untilHeld()
      let pod = try await site.kubectl("get", "pods", "-l", "app=backup-restore", "-o", "name").output.trimming("\n")
      async let log = site.kubectl("logs", "-f", pod, check: false).output
      try await site.kubectl("delete", pod, force ? "--force" : "--wait=true", "--grace-period=\(force ? 0 : 60)")
      let (ended, said) = try await (run, log)
      if !force {
        #expect(ended.code == 143, "\(ended)")
        for line in ["SIGTERM passed on to restore", "stopped by SIGTERM", "done waiting"] {
          #expect(said.contains(line), "\(said)")
        }
        #expect(try await site.sql("SELECT string_agg(datname, ' ') FROM pg_database WHERE datname LIKE 'app%'") == "app")
      } else {
        #expect(ended.code != 0, "\(ended)")
      }
      expectSame(live, try await site.state())

      try await site.kubectl("rollout", "status", "deployment/backup-restore", "--timeout=600s")
      try await site.release()
      let again = try await site.exec("/usr/local/bin/restore.sh", terminal: false)
      #expect(again.code == 0, "\(again)")
      expectSame(backedUp, try await site.state())
      let status = try await site.exec("/usr/local/bin/restore", "--status", terminal: false)
      #expect(status.code == 0 && !status.output.contains("unfinished"), "\(status)")
      #expect(try await site.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'app.staging%'") == "0")
      try await site.remove()
    }

    /// A volume's limit is not seen in its file system, and a pod that goes beyond it is evicted in the middle of its restore.
    @Test func aRestoreStaysWithinTheLimitOfItsTMPDIR() async throws {
      let site = try await Application()
      try await site.fill()
      try await site.scale(1)
      let saved = try await site.exec("/usr/local/bin/backup.sh", terminal: false)
      #expect(saved.code == 0, "\(saved)")
      let path = "jsonpath={.spec.template.spec.volumes[?(@.name==\"tmp\")].emptyDir.sizeLimit}"
      let limit = try await site.kubectl("get", "deployment", "backup-restore", "-o", path).output
      #expect(limit == "10Gi")
      let told = try await site.inPod("backup-restore", "echo $TMPDIR_BYTES").output.trimming("\n")
      #expect(try #require(Int(told)) <= 10 << 30)
      let restored = try await site.exec("env", "TMPDIR_BYTES=100000000", "/usr/local/bin/restore.sh", terminal: false)
      #expect(restored.code == 0 && restored.errors.contains("streaming instead"), "\(restored)")
      try await site.remove()
    }

    /// The operator's connection breaks: the restore goes on to its end, and the pod's log tells how it went.
    @Test(arguments: [true, false]) func theConnectionIsCutDuringARestore(terminal: Bool) async throws {
      let site = try await Application()
      try await site.fill()
      try await site.prepareHolding()
      // Longer than `scale` waits: a busy kubelet (57 s measured for an idle pod) is not taken for a pod that waits for its grace.
      try await site.kubectl(
        "patch", "deployment", "backup-restore", "-p", #"{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":300}}}}"#)
      try await site.scale(1)
      let saved = try await site.exec("/usr/local/bin/backup.sh", terminal: false)
      #expect(saved.code == 0, "\(saved)")
      let before = try await site.state()
      try await site.sql("TRUNCATE issue")
      try await site.inPod("app", "rm -r /var/jira/attachments/deep")

      try await site.holdRestores()
      let kubectl = try site.startExec("/usr/local/bin/restore.sh", terminal: terminal)
      try await site.untilHeld()
      kill(kubectl.processIdentifier, SIGKILL)
      kubectl.waitUntilExit()
      let alive = try await site.processes()
      #expect(alive.contains { $0.contains("/usr/local/bin/restore") }, "\(alive)")
      try await site.release()
      try await until("the restore ends") {
        try await site.kubectl("logs", "deployment/backup-restore").output.contains("restored in")
      }
      try await until("its processes are gone, and none is left uncollected") { try await site.processes().count == 1 }
      expectSame(before, try await site.state())
      // Idle, the pod ends at once and not by its grace, for which this does not wait.
      try await site.scale(0)
      try await site.remove()
    }
  }
}
