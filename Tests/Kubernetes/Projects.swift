import Foundation
import Support
import Testing

@testable import BackupRestore

/// Manifests that were written for the dda-backup images: what each project's public sources have, and what the README says to set.
struct Project: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let database: String
  let cronJob: String
  var containers = (backup: "backup-app", restore: "backup-app")
  var commands = (backup: "backup.bb", wait: "wait.bb", restore: "restore.bb")
  /// By which the deployment finds its pods.
  var label = "app"
  let claim: String
  var mount = "/var/backups"
  /// In the CronJob, whose pod then cannot write there.
  var isReadOnly = false
  var isNewPasswordNamedAtNight = false
  /// Secrets that are mounted besides; `true`: one that need not be there, and is not.
  var secrets: [(name: String, optional: Bool)] = []
  /// The documented variables that an operator adds.
  let settings: [String: String]
  var role = "app"

  static let all = [
    Project(
      testDescription: "jira", database: "jira", cronJob: "jira-backup",
      commands: ("/entrypoint.sh", "/entrypoint-start-and-wait.sh", "/usr/local/bin/restore.sh"), claim: "jira-pvc",
      settings: ["FILES_DIRECTORY": "/var/backups", "FILES_PATHS": "export", "FILES_OWNER": "901:901"]),
    Project(
      testDescription: "taiga", database: "taiga", cronJob: "taiga-backup", claim: "taiga-media-data", mount: "/media",
      isReadOnly: true, settings: ["FILES_DIRECTORY": "/media", "FILES_OWNER": "999:999"]),
    Project(
      testDescription: "forgejo", database: "forgejo", cronJob: "backup-cron", containers: ("backup-cron-job", "backup-restore"),
      label: "app.kubernetes.io/name", claim: "forgejo-data-pvc", isNewPasswordNamedAtNight: true,
      settings: ["FILES_DIRECTORY": "/var/backups", "FILES_PATHS": "gitea,git/repositories", "FILES_OWNER": "1000:1000"]),
    Project(
      testDescription: "nextcloud", database: "cloud", cronJob: "cloud-backup", claim: "cloud-pvc",
      secrets: [("cloud-secret", false), ("rotation-credential-secret", true)], settings: ["FILES_DIRECTORY": "/var/backups"],
      role: "oc_admin"),
  ]

  /// - Parameters:
  ///   - repository: what `backup-config` names.
  ///   - server: instead of `postgresql-service:5432`, because the cluster may have no DNS.
  ///   - version: of the API's CronJob.
  func manifests(repository: String, server: String, version: String) -> String {
    let required = secrets.filter { !$0.optional }.map {
      "---\napiVersion: v1\nkind: Secret\nmetadata: {name: \($0.name)}\nstringData: {some-key: some value}\n"
    }
    return required.joined() + """
      ---
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: backup-config}
      data: {restic-repository: "\(repository)"}
      ---
      apiVersion: v1
      kind: Secret
      metadata: {name: backup-secret}
      stringData: {aws-access-key-id: some id, aws-secret-access-key: some key, restic-password: the repository's own}
      ---
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: postgres-config}
      data: {postgres-db: \(database)}
      ---
      apiVersion: v1
      kind: Secret
      metadata: {name: postgres-secret}
      stringData: {postgres-user: app, postgres-password: "\(Application.password)"}
      ---
      apiVersion: \(version)
      kind: CronJob
      metadata: {name: \(cronJob)}
      spec:
        schedule: "10 23 * * *"
        # These tests may run at that time.
        suspend: true
        successfulJobsHistoryLimit: 1
        failedJobsHistoryLimit: 1
        jobTemplate:
          spec:
            template:
              spec: {restartPolicy: OnFailure, \(pod(isBackup: true, server))}
      ---
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: backup-restore}
      spec:
        replicas: 0
        strategy: {type: Recreate}
        selector: {matchLabels: {\(label): backup-restore}}
        template:
          metadata: {labels: {\(label): backup-restore}}
          spec: {\(pod(isBackup: false, server))}
      """
  }

  private func pod(isBackup: Bool, _ server: String) -> String {
    let directory = "/var/run/secrets/backup-secrets/"
    var values = [
      "POSTGRES_HOST": server, "POSTGRES_SERVICE": "postgresql-service", "POSTGRES_PORT": "5432",
      "AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID_FILE": directory + "aws-access-key-id",
      "AWS_SECRET_ACCESS_KEY_FILE": directory + "aws-secret-access-key", "RESTIC_PASSWORD_FILE": directory + "restic-password",
    ].merging(settings) { $1 }
    // The Secret holds it only while a password is changed.
    if !isBackup || isNewPasswordNamedAtNight { values["RESTIC_NEW_PASSWORD_FILE"] = directory + "restic-new-password" }
    let referred = [
      ("POSTGRES_USER", "secret", "postgres-secret", "postgres-user"),
      ("POSTGRES_PASSWORD", "secret", "postgres-secret", "postgres-password"),
      ("POSTGRES_DB", "configMap", "postgres-config", "postgres-db"),
      ("RESTIC_REPOSITORY", "configMap", "backup-config", "restic-repository"),
    ].map { "{name: \($0), valueFrom: {\($1)KeyRef: {name: \($2), key: \($3)}}}" }
    let environment = values.map { "{name: \($0), value: \"\($1)\"}" } + referred
    let volumes =
      [
        "{name: data, persistentVolumeClaim: {claimName: \(claim)}}",
        "{name: backup-secret, secret: {secretName: backup-secret}}",
      ] + secrets.map { "{name: \($0.name), secret: {secretName: \($0.name), optional: \($0.optional)}}" }
    let mounts =
      [
        "{name: data, mountPath: \(mount), readOnly: \(isBackup && isReadOnly)}",
        "{name: backup-secret, mountPath: \(directory), readOnly: true}",
      ] + secrets.map { "{name: \($0.name), mountPath: /var/run/secrets/\($0.name)s, readOnly: true}" }
    return """
      containers: [{name: \(isBackup ? containers.backup : containers.restore), image: \(Kube.image), imagePullPolicy: IfNotPresent,
        command: [\(isBackup ? commands.backup : commands.wait)], env: [\(environment.joined(separator: ", "))],
        volumeMounts: [\(mounts.joined(separator: ", "))]}], volumes: [\(volumes.joined(separator: ", "))]
      """.replacing("\n", with: " ")
  }
}

extension Application {
  /// A server of restic's in the application's pod, which has the repository's volume: where a base of repositories may lie.
  func startStore() async throws -> String {
    let path = "jsonpath={.items[0].metadata.name} {.items[0].status.podIP}"
    let pod = try await kubectl("get", "pods", "-l", "app=app", "-o", path).output.split(separator: " ")
    try await kubectl("cp", "/usr/bin/restic-rest-server", "\(pod[0]):/usr/bin/restic-rest-server")
    try await inPod(
      "app",
      """
      restic-rest-server --no-auth --path /repository --listen :8000 >/dev/null 2>&1 </dev/null &
      until bash -c ': </dev/tcp/127.0.0.1/8000' 2>/dev/null; do kill -0 $!; sleep 0.1; done
      """)
    return "rest:http://\(pod[1]):8000/base"
  }

  /// Runs a Job whose container ends with `code`, starts again in its pod, and saves no second set.
  func expectOneSet(_ job: String, of cronJob: String = "backup", after code: Int) async throws {
    try await startJob(job, of: cronJob, attempts: 6, restarting: project == nil)
    let (restarts, run) = try await completed(job)
    #expect(restarts == "1 \(code)" && run.code == 0, "\(run)")
    #expect(run.log.contains("was saved by this pod, whose container has started again: no other is saved"), "\(run)")
  }

  /// The ids of the sets, as the list has them in the pod that waits.
  func sets() async throws -> [String] {
    let list = try await exec("list-snapshots.sh", terminal: false)
    #expect(list.code == 0, "\(list)")
    return list.output.split(separator: "\n").map { String($0.prefix { $0 != " " }) }.filter { SetID($0) != nil }
  }
}

/// Side by side, each in a namespace of its own: most of what they do is waiting for pods.
@Suite(.servers, .cluster, .timeLimit(.minutes(30))) struct Projects {
  @Test(arguments: Project.all) func theManifestsOfAProjectNeedNothingButTheImageAndDocumentedVariables(_ project: Project)
    async throws
  {
    let site = try await Application(of: project)
    let paths = project.settings["FILES_PATHS"]?.split(separator: ",").map(String.init) ?? ["data"]
    let owner = project.settings["FILES_OWNER"].flatMap { Int($0.prefix { $0 != ":" }) } ?? 33
    try await site.fill(owner: owner, paths: paths, initialised: false)
    if project.role != "app" {
      try await site.sql("CREATE ROLE \(project.role) LOGIN PASSWORD 'own'; ALTER TABLE issue OWNER TO \(project.role)")
    }
    let version = site.kube.minor < 21 ? "batch/v1beta1" : "batch/v1"
    try await site.apply(
      project.manifests(repository: try await site.startStore(), server: try await site.address() + ":5432", version: version))

    // The first night makes the repositories, and wants to be looked at; restartPolicy starts its container again.
    try await site.expectOneSet("first", of: project.cronJob, after: 4)
    try await site.scale(1)
    let sets = try await site.sets()
    #expect(sets.count == 1)
    let accepted = try await site.exec("backup.sh", "--accept", sets[0], terminal: false)
    #expect(accepted.code == 0, "\(accepted)")

    // What lies above an entry of FILES_PATHS gets the time of the swap, as FILES_DIRECTORY does.
    let state = { try await site.state().replacing(/(\.\/git d .+:\d+) \S+/) { $0.1 } }
    let before = try await state()
    try await site.lose()
    let restored = try await site.exec(project.commands.restore)
    #expect(restored.code == 0, "\(restored)")
    expectSame(before, try await state())

    try await site.startJob("second", of: project.cronJob, attempts: 6)
    let (restarts, night) = try await site.completed("second")
    #expect(restarts == "0" && night.code == 0, "\(night)")
    #expect(try await site.sets().count == 2)
    try await site.remove()
  }

  /// `restartPolicy: OnFailure` starts a container again until it ends with 0.
  @Test func aContainerThatStartsAgainAfterExitCode3Or4SavesNoSecondSet() async throws {
    let site = try await Application(
      settings: ["POSTGRES_DB": "app", "FILES_PATHS": "attachments", "CERTIFICATE_FILE": nil, "FILES_ALLOW_UNREADABLE": "true"],
      over: "example")
    try await site.fill(owner: 1000)
    // Its mode is 0600, and the backup's pod does not run as root.
    try await site.inPod("app", "chown 0:0 /var/jira/attachments/2")
    try await site.expectOneSet("unreadable", after: 3)
    try await site.sql("TRUNCATE issue")
    try await site.expectOneSet("doubted", after: 4)
    try await site.scale(1)
    #expect(try await site.sets().count == 2)
    try await site.remove()
  }
}
