import Foundation
import Support
import Testing

@testable import BackupRestore

/// QUIESCE_DEPLOYMENTS on real deployments, with pods that take their time to go.
@Suite(.serialized, .servers, .cluster, .timeLimit(.minutes(30))) struct Quiesced {
  static let settings: [String: String?] = ["QUIESCE_DEPLOYMENTS": "front,gateway,idle", "FILES_PATHS": "attachments"]

  static func site(_ settings: [String: String?] = [:], seconds: Int = 3) async throws -> Application {
    let site = try await Application(settings: Self.settings.merging(settings) { $1 }, components: ["quiesce"])
    try await site.fill()
    try await site.deploy("front", replicas: 2, seconds: seconds)
    try await site.deploy("gateway", replicas: 1, seconds: 0)
    try await site.deploy("idle", replicas: 0, seconds: 0)
    for name in ["front", "gateway"] { try await site.kubectl("rollout", "status", "deployment/\(name)", "--timeout=600s") }
    return site
  }

  @Test func theApplicationIsDownUntilItsFilesAreSavedAndTheSnapshotIsExported() async throws {
    let site = try await Self.site()
    try await site.expect("front=2 gateway=1 idle=0", remembered: "")
    // A dump that takes longer than the files: the application does not wait for it.
    try await site.sql("INSERT INTO issue (title) SELECT 'issue ' || g FROM generate_series(1, 6000000) g")
    let night = try await site.backUp("night")
    #expect(night.code == 0, "\(night)")
    let pattern = /saved in (?:([0-9]+) min )?([0-9.]+) s; the application was down for (?:([0-9]+) min )?([0-9.]+) s/
    let said = try #require(night.message.firstMatch(of: pattern), "\(night)")
    let seconds = { (minutes: Substring?, rest: Substring) in 60 * (minutes.flatMap { Double($0) } ?? 0) + (Double(rest) ?? 0) }
    #expect(seconds(said.1, said.2) > seconds(said.3, said.4) + 2, "\(night.message)")
    for line in ["scaling deployment front from 2 to 0", "to end, up to 300 s", "deployment gateway is scaled back to 1"] {
      #expect(night.log.contains(line), "\(night.log)")
    }
    #expect(!night.log.contains("deployment idle"), "\(night.log)")
    // Each pod's last word was on the volume before its files were saved.
    try await site.scale(1)
    let saved = try await site.inPod("backup-restore", Self.restic + "restic --no-cache dump latest /attachments/beat")
    let words = saved.output.split(separator: "\n").map { $0.split(separator: " ")[0] }.sorted()
    #expect(words == ["begins", "begins", "begins", "ends", "ends", "ends"], "\(saved.output)")
    try await site.expect("front=2 gateway=1 idle=0", remembered: "")
    try await site.remove()
  }
  static let restic =
    "RESTIC_REPOSITORY=/repository/files RESTIC_PASSWORD_FILE=/var/run/secrets/backup-secrets/restic-password "

  /// Down for the swap alone: while the replacement is built and verified nothing live is touched.
  @Test func theApplicationIsDownForTheSwapOfARestoreAndOfARollback() async throws {
    let site = try await Self.site()
    try await site.prepareHolding()
    try await site.scale(1)
    #expect(try await site.exec("/usr/local/bin/backup.sh", terminal: false).code == 0)
    try await site.sql("TRUNCATE issue")
    try await site.holdRestores()
    async let run = site.exec("/usr/local/bin/restore.sh", terminal: false)
    try await site.untilHeld()
    try await site.expect("front=2 gateway=1 idle=0", remembered: "")
    try await site.release()
    let restored = try await run
    #expect(restored.code == 0 && restored.output.contains("; the application was down for "), "\(restored)")
    #expect(try await site.sql("SELECT count(*) FROM issue") == "5000")
    try await site.expect("front=2 gateway=1 idle=0", remembered: "")
    let back = try await site.exec("/usr/local/bin/restore", "--rollback", terminal: false)
    #expect(back.code == 0 && back.errors.contains("scaling deployment front from 2 to 0"), "\(back)")
    #expect(try await site.sql("SELECT count(*) FROM issue") == "0")
    try await site.expect("front=2 gateway=1 idle=0", remembered: "")
    let status = try await site.exec("/usr/local/bin/restore", "--status", terminal: false)
    #expect(status.output.contains("application: deployment front has 2 replicas"), "\(status)")
    try await site.remove()
  }

  @Test func whatIsMissingIsRefusedBeforehandWithTheLinesToAdd() async throws {
    let site = try await Self.site(["QUIESCE_DEPLOYMENTS": "front,nobody,gateway"])
    let missing = try await site.backUp("missing")
    #expect(missing.code == 22 && missing.message.contains("there is no deployment nobody"), "\(missing)")
    try await site.expect("front=2 gateway=1 idle=0", remembered: "")
    try await site.change(settings: Self.settings)
    try await site.kubectl("delete", "rolebinding", "backup-restore")
    let refused = try await site.backUp("refused")
    #expect(refused.code == 22, "\(refused)")
    let rules = APIServer.rules(["front", "gateway", "idle"])
    for rule in rules.split(separator: "\n") { #expect(refused.message.contains(rule), "\(refused)") }
    // Half the rights are refused too, while nothing has been scaled.
    try await site.kubectl("create", "role", "half", "--verb=get", "--resource=deployments.apps")
    try await site.kubectl("create", "rolebinding", "half", "--role=half", "--serviceaccount=\(site.namespace):backup-restore")
    let half = try await site.backUp("half")
    #expect(half.code == 22 && half.message.contains("may not list pods"), "\(half)")
    try await site.expect("front=2 gateway=1 idle=0", remembered: "")
    let plain = try await Application(settings: ["QUIESCE_DEPLOYMENTS": "front"])
    try await plain.fill()
    let blind = try await plain.backUp("blind")
    #expect(blind.code == 22 && blind.message.contains("docker/kubernetes/quiesce"), "\(blind)")
    try await plain.remove()
    try await site.remove()
  }

  @Test func everyWayOutScalesBack() async throws {
    let site = try await Self.site()
    // Pods that do not go in time.
    try await site.scale(1)
    let late = try await site.exec("env", "QUIESCE_TIMEOUT=1", "/usr/local/bin/backup.sh", terminal: false)
    #expect(late.code == 22 && late.errors.contains("QUIESCE_TIMEOUT"), "\(late)")
    try await site.expect("front=2 gateway=1 idle=0", remembered: "")
    // A signal while it waits for them.
    try await site.kubectl("rollout", "status", "deployment/front", "--timeout=600s")
    async let run = site.exec("sh", "-c", "/usr/local/bin/backup & echo $! >/tmp/pid; wait $!", terminal: false)
    try await until("the pods are waited for") { try await site.remembered() == "2 1" }
    try await site.inPod("backup-restore", "kill -TERM $(cat /tmp/pid)")
    let stopped = try await run
    #expect(stopped.code == 143 && stopped.errors.contains("deployment front is scaled back to 2"), "\(stopped)")
    try await site.expect("front=2 gateway=1 idle=0", remembered: "")
    // A source that fails after the application is down.
    try await site.holdBackups()
    let failed = try await site.exec("env", "LOCK_WAIT=2", "/usr/local/bin/backup.sh", terminal: false)
    try await site.release()
    #expect(failed.code == 20, "\(failed)")
    try await site.expect("front=2 gateway=1 idle=0", remembered: "")
    // Scaled to 0 by the operator before, as the runbook has it, it stays there.
    try await site.kubectl("scale", "deployment", "front", "gateway", "--replicas=0")
    let down = try await site.exec("/usr/local/bin/backup.sh", terminal: false)
    #expect(down.code == 0, "\(down)")
    try await site.expect("front=0 gateway=0 idle=0", remembered: "")
    try await site.remove()
  }

  struct Step: Sendable {
    /// Held against curl's configuration.
    let pattern: String
    let moment: Trap.Moment
    var skip = 0
    let isDown: Bool
  }

  static let steps = [
    Step(pattern: #"*PATCH*replicas*:0}}*"#, moment: .before, skip: 1, isDown: false),
    Step(pattern: #"*PATCH*replicas*:0}}*"#, moment: .after, skip: 1, isDown: true),
    Step(pattern: "*/pods?*", moment: .after, skip: 1, isDown: true),
    Step(pattern: #"*PATCH*replicas*:2}}*"#, moment: .before, isDown: true),
    Step(pattern: #"*PATCH*replicas*:2}}*"#, moment: .after, isDown: false),
  ]

  /// Killed at each question to the API server that matters: the number is never lost, and the next run of either scales back.
  @Test(arguments: ["backup", "restore"]) func aRunThatIsKilledAtAnyStepIsRepairedByTheNext(_ program: String) async throws {
    let site = try await Self.site(["QUIESCE_DEPLOYMENTS": "front"], seconds: 1)
    try await site.scale(1)
    #expect(try await site.exec("/usr/local/bin/backup.sh", terminal: false).code == 0)
    try await site.inPod("backup-restore", "mkdir /tmp/trap")
    let repairs = [["restore", "--resume-application"], ["backup"], ["restore", "--only", "files"]]
    for (number, step) in Self.steps.enumerated() where program == "backup" || step.isDown {
      try await site.kubectl("rollout", "status", "deployment/front", "--timeout=600s")
      let trap = Trap.script("curl", step.pattern, in: "/tmp/trap", onInput: true)
      let arm =
        "rm -rf /tmp/trap/calls; cat >/tmp/trap/curl; chmod 755 /tmp/trap/curl; echo \(step.skip) >/tmp/trap/skip; echo \(step.moment) >/tmp/trap/armed"
      try await site.inPod("backup-restore", arm, input: trap)
      let path = "PATH=/tmp/trap:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
      let killed = try await site.exec("env", path, "/usr/local/bin/" + program, terminal: false)
      #expect(killed.code == 137, "\(step): \(killed)")
      try await site.expect("front=\(step.isDown ? 0 : 2) gateway=1 idle=0", remembered: step.isDown ? "2" : "")
      if step.isDown {
        let status = try await site.exec("/usr/local/bin/restore", "--status", terminal: false)
        #expect(status.output.contains("deployment front is scaled down, 2 before"), "\(status)")
      }
      let repair = repairs[number % 3]
      let repaired = try await site.exec(["/usr/local/bin/" + repair[0]] + repair.dropFirst(), terminal: false)
      #expect(repaired.code == 0, "\(step): \(repaired)")
      try await site.expect("front=2 gateway=1 idle=0", remembered: "")
    }
    try await site.remove()
  }
}

extension Application {
  /// A deployment with the files' volume, whose pods write their first and last word there; the last comes some seconds after SIGTERM.
  func deploy(_ name: String, replicas: Int, seconds: Int) async throws {
    let script = """
      echo begins $$ >>/var/jira/attachments/beat; trap 'sleep \(seconds); echo ends $$ >>/var/jira/attachments/beat; exit' TERM; sleep infinity & wait
      """
    let deployment = """
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: \(name), namespace: \(namespace)}
      spec:
        replicas: \(replicas)
        selector: {matchLabels: {app: \(name)}}
        template:
          metadata: {labels: {app: \(name)}}
          spec:
            terminationGracePeriodSeconds: 30
            containers:
              - name: main
                image: \(Kube.server)
                imagePullPolicy: Never
                command: [sh, -c, "\(script)"]
                volumeMounts: [{name: data, mountPath: /var/jira}]
            volumes: [{name: data, persistentVolumeClaim: {claimName: app-data}}]
      """
    try await kubectl("apply", "-f", "-", input: deployment)
  }

  /// `front=2 gateway=1 idle=0`, as the deployments say.
  func replicas() async throws -> String {
    let path = #"jsonpath={range .items[*]}{.metadata.name}={.spec.replicas} {end}"#
    let all = try await kubectl("get", "deployments", "front", "gateway", "idle", "-o", path).output
    return all.trimming(" ")
  }

  /// What the deployments say, and what runs have remembered on them.
  func expect(_ replicas: String, remembered: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let found = try await self.replicas()
    #expect(found == replicas, sourceLocation: sourceLocation)
    let annotations = try await self.remembered()
    #expect(annotations == remembered, sourceLocation: sourceLocation)
  }

  func remembered() async throws -> String {
    let path = #"jsonpath={.items[*].metadata.annotations.backup-restore/replicas}"#
    return try await kubectl("get", "deployments", "-o", path).output
  }
}
