import Foundation
import Support
import Testing

@testable import BackupRestore

extension OnKubernetes {
  @Suite struct Runbook {
    /// The runbook as an operator types it, with a terminal as with `kubectl exec -it`, and without one as in a script.
    @Test(arguments: [true, false]) func anOperatorTypesTheRunbook(terminal: Bool) async throws {
      let site = try await Application()
      try await site.fill(initialised: false)
      #expect(try await site.kubectl("get", "pods", "-l", "app=backup-restore", "-o", "name").output == "")
      try await site.scale(1)

      let made = try await site.exec("/usr/local/bin/init.sh", terminal: terminal)
      #expect(made.code == 0 && made.output.contains("sets: created"), "\(made)")
      let saved = try await site.exec("/usr/local/bin/backup.sh", terminal: terminal)
      #expect(saved.code == 0 && saved.output.contains("5,000 rows"), "\(saved)")
      // A terminal gets progress and both streams in one; a script gets results alone on standard output, without escapes.
      #expect(saved.output.contains("\u{1B}") == terminal)
      let before = try await site.state()

      try await site.lose()

      // The README's own lines, without the one that ends the pod: there is more to try.
      let lines = Readme.block(after: "### The runbook").filter { !$0.hasSuffix("backup-restore --replicas=0") }
      #expect(lines.count == 7)
      for line in lines {
        let restored = try await site.type(line, terminal: terminal)
        #expect(restored.code == 0, "\(line): \(restored)")
      }
      try await site.kubectl("rollout", "status", "deployment/app", "--timeout=600s")
      // Owners and modes too: the manifests give the pod what that takes.
      expectSame(before, try await site.state())
      let refused = try await site.exec("/usr/local/bin/restore.sh", "20000101T000000Z", terminal: terminal)
      #expect(refused.code == 22, "\(refused)")

      // What was typed is in the pod's log too.
      let log = try await site.kubectl("logs", "deployment/backup-restore").output
      for said in ["waiting: run init", "sets: created", "5,000 rows", "restored in"] { #expect(log.contains(said), "\(log)") }
      try await site.scale(0)
      try await site.remove()
    }

    /// docker/kubernetes/example: an application whose files have one owner is saved and restored as that user, without capabilities.
    @Test func theExampleOverlayNeedsNoRoot() async throws {
      let site = try await Application(
        settings: ["POSTGRES_DB": "app", "FILES_PATHS": "attachments", "CERTIFICATE_FILE": nil], over: "example")
      try await site.fill(owner: 1000)
      let night = try await site.backUp("night")
      #expect(night.code == 0, "\(night)")
      let before = try await site.state()
      try await site.sql("DROP TABLE issue")
      try await site.inPod("app", "rm -r /var/jira/attachments")
      try await site.scale(1)
      let restored = try await site.exec("/usr/local/bin/restore.sh")
      #expect(restored.code == 0, "\(restored)")
      expectSame(before, try await site.state())
      #expect(
        try await site.inPod("backup-restore", "id -u; grep CapEff /proc/self/status").output
          == "1000\nCapEff:\t0000000000000000\n")
      try await site.remove()
    }
  }
}
