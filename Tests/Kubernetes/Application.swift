import Foundation
import Support
import Testing

@testable import BackupRestore

/// An application in a namespace of its own: PostgreSQL in a pod behind a Service, a pod that has the files' volume mounted, and the
/// project's manifests by an overlay. Both volumes, the files' and the repository's, are directories of the node.
final class Application: Sendable {
  let kube: Kube
  let namespace = "app-\(UInt32.random(in: 0...UInt32.max))"
  let directory: String
  let project: Project?
  private let schedule: String
  private let patches: String
  private let over: String
  private let components: [String]
  let holder = Locked<Daemon?>(nil)
  static let password = "server's own: pass=word"

  /// `settings` go into the ConfigMap, `secrets` into the Secret, over what every test has; `patches` into the overlay. A `project`
  /// has manifests of its own instead, which are applied later.
  init(
    settings: [String: String?] = [:], secrets: [String: String] = [:], schedule: String = "0 0 1 1 *", over: String = "base",
    components: [String] = [],
    patches: String = "", of project: Project? = nil
  )
    async throws
  {
    kube = try await Kube.shared.value
    self.project = project
    (self.schedule, self.over, self.components, self.patches) = (schedule, over, components, patches)
    directory = "/tmp/backup-restore-overlay.\(namespace)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try await apply(around)
    if project == nil { try await change(settings: settings, secrets: secrets) }
    try await untilReady()
  }

  func untilReady() async throws {
    try await kubectl("rollout", "status", "deployment/postgresql", "deployment/app", "--timeout=600s")
    try await until("PostgreSQL answers") { try await sql("SELECT 1", check: false) == "1" }
  }

  /// Applies the overlay, as an operator does who changed it.
  func change(settings: [String: String?] = [:], secrets: [String: String] = [:]) async throws {
    var config: [String: String?] = [
      "RESTIC_REPOSITORY": "/repository", "LOCK_WAIT": "20", "POSTGRES_HOST": try await address() + ":5432",
      "AWS_DEFAULT_REGION": nil, "AWS_ACCESS_KEY_ID_FILE": nil, "AWS_SECRET_ACCESS_KEY_FILE": nil,
    ]
    for (name, value) in settings { config[name] = value }
    let secret = [
      "restic-password": "repository's own: pass=word", "postgres-user": "app", "postgres-password": Self.password,
    ].merging(secrets) { $1 }
    let overlay = Overlay(
      namespace: namespace, config: config, secret: secret, schedule: schedule, isOld: kube.minor < 25, over: over,
      components: components, more: patches)
    try overlay.write(to: directory)
    var manifests = try await Shell.run("kubectl", ["kustomize", directory]).output
    if kube.minor < 21 { manifests = manifests.replacing("apiVersion: batch/v1\n", with: "apiVersion: batch/v1beta1\n") }
    try await apply(manifests)
  }

  deinit { try? FileManager.default.removeItem(atPath: directory) }

  /// Pods and volumes go; the directories on the node are emptied before.
  func remove() async throws {
    // An application on its way out writes its last word there.
    try await inPod(
      "app", "for i in 1 2 3 4 5; do rm -rf /var/jira/* /var/jira/.backup-restore /repository/* && break; sleep 1; done")
    try await kubectl("delete", "namespace", namespace, "--wait=false")
    try await kubectl("delete", "persistentvolume", "-l", "backup-restore/test=\(namespace)", "--wait=false")
    try await kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false")
  }

  @discardableResult
  func kubectl(_ arguments: String..., input: String? = nil, check: Bool = true) async throws -> Shell.Result {
    try await kube.kubectl(["-n", namespace] + arguments, input: input, check: check)
  }

  func apply(_ manifests: String) async throws { try await kubectl("apply", "-f", "-", input: manifests) }

  func address() async throws -> String {
    try await kubectl("get", "service", "postgresql-service", "-o", "jsonpath={.spec.clusterIP}").output
  }

  /// A script in a pod of the deployment, as the pod's own user.
  @discardableResult
  func inPod(_ deployment: String, _ script: String, input: String? = nil, check: Bool = true) async throws -> Shell.Result {
    try await kubectl("exec", "-i", "deployment/\(deployment)", "--", "sh", "-euc", script, input: input ?? "", check: check)
  }

  @discardableResult
  func sql(_ text: String, check: Bool = true) async throws -> String {
    try await inPod(
      "postgresql", "PGPASSWORD=$POSTGRES_PASSWORD psql -h 127.0.0.1 -U app -d $POSTGRES_DB -XAtq -v ON_ERROR_STOP=1 -f -",
      input: text, check: check
    ).output.trimming(" \n")
  }

  /// Everything an operator would miss: rows and files with owners, modes and times, as text.
  func state() async throws -> String {
    try await sql(
      """
      SELECT tablename, tableowner FROM pg_tables WHERE tablename = 'issue';
      SELECT count(*), md5(string_agg(i::text, ',' ORDER BY id)) FROM issue i
      """)
      + inPod(
        "app",
        """
        cd /var/jira; find . -mindepth 1 -path ./.backup-restore -prune -o -printf '\\n%p %y %m %U:%G %T@ %l' | sort
        find . -path ./.backup-restore -prune -o -type f -print0 | sort -z | xargs -0 -r sha256sum
        """
      ).output
  }

  /// 5,000 rows and files of several owners and modes, `megabytes` of them in one, below each of `paths`; `owner`: of that one alone.
  /// The repositories are made by `init.sh`, as an operator does before the first night.
  func fill(megabytes: Int = 1, owner: Int? = nil, paths: [String] = ["attachments"], initialised: Bool = true) async throws {
    try await sql(
      "CREATE TABLE issue (id serial PRIMARY KEY, title text); INSERT INTO issue (title) SELECT 'issue ' || g FROM generate_series(1, 5000) g"
    )
    try await inPod(
      "app",
      """
      cd /var/jira; for d in \(paths.joined(separator: " ")); do
        mkdir -p $d/deep; for i in $(seq 20); do echo $i >$d/$i; done
        head -c \(megabytes << 20) /dev/urandom >$d/deep/big; ln -s deep/big $d/link; chmod 0600 $d/2; chmod 0750 $d/deep
      done
      chown -hR \(owner ?? 901):\(owner ?? 902) .; chown \(owner ?? 1000):\(owner ?? 1000) $d/1
      \(owner.map { "chown \($0):\($0) /repository" } ?? "")
      """)
    if !initialised { return }
    try await startJob("first", running: "/usr/local/bin/init.sh")
    let made = try await ended("first")
    #expect(made.code == 0, "\(made)")
  }

  /// The disaster: another pod of PostgreSQL with nothing in it, and a volume with nothing on it.
  func lose() async throws {
    try await inPod("app", "rm -rf /var/jira/*")
    // By force: in order it took a busy kubelet a minute (measured).
    try await kubectl("delete", "pod", "-l", "app=postgresql", "--force", "--grace-period=0")
    try await untilReady()
    #expect(try await sql("SELECT count(*) FROM pg_class WHERE relname = 'issue'") == "0")
  }

  /// Scales the backup-restore deployment as an operator does, and waits until its pod is ready or gone.
  func scale(_ replicas: Int) async throws {
    try await kubectl("scale", "deployment/backup-restore", "--replicas=\(replicas)")
    if replicas > 0 {
      try await kubectl("rollout", "status", "deployment/backup-restore", "--timeout=600s")
    } else {
      try await kubectl("wait", "--for=delete", "pod", "-l", "app=backup-restore", "--timeout=600s")
    }
  }

  /// What the README tells the operator to type. `script` from util-linux gives kubectl a terminal.
  func exec(_ command: String..., terminal: Bool = true) async throws -> Shell.Result {
    try await exec(command, terminal: terminal)
  }

  func exec(_ command: [String], terminal: Bool) async throws -> Shell.Result {
    try await shell(typed(command, terminal: terminal), terminal: terminal)
  }

  /// A line of the README, where the namespace and the application are called `jira`.
  func type(_ line: String, terminal: Bool) async throws -> Shell.Result {
    let replacements = [
      "kubectl -n jira": "kubectl --kubeconfig \(kube.kubeconfig) -n \(namespace)", "deployment jira": "deployment app",
      "exec -it": terminal ? "exec -it" : "exec",
    ]
    return try await shell(replacements.reduce(line) { $0.replacing($1.key, with: $1.value) }, terminal: terminal)
  }

  private func shell(_ line: String, terminal: Bool) async throws -> Shell.Result {
    let arguments = terminal ? ["-qec", line, "/dev/null"] : ["-c", line + " <&-"]
    return try await Shell.run(terminal ? "script" : "sh", arguments, check: false)
  }

  func typed(_ command: [String], terminal: Bool) -> String {
    let kubectl = ["kubectl", "--kubeconfig", kube.kubeconfig, "-n", namespace, "exec"] + (terminal ? ["-it"] : [])
    return (kubectl + ["deployment/backup-restore", "--"] + command).map(quoted).joined(separator: " ")
  }

  struct Run: Sendable {
    let code: Int
    let message: String
    let log: String
  }

  /// Makes a Job of the CronJob, as the CronJob does. `restarting`: its container starts again in its pod until it ends with 0.
  func startJob(
    _ name: String, of cronJob: String = "backup", attempts: Int = 0, running command: String? = nil, restarting: Bool = false
  ) async throws {
    let text = try await kubectl("get", "cronjob", cronJob, "-o", "json").output
    let cron = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
    var spec = ((cron?["spec"] as? [String: Any])?["jobTemplate"] as? [String: Any])?["spec"] as? [String: Any] ?? [:]
    spec["backoffLimit"] = attempts
    if var template = spec["template"] as? [String: Any], var pod = template["spec"] as? [String: Any],
      var containers = pod["containers"] as? [[String: Any]]
    {
      if let command { (containers[0]["command"], containers[0]["args"]) = ([command], [String]()) }
      pod["containers"] = containers
      if restarting { (pod["restartPolicy"], spec["podFailurePolicy"]) = ("OnFailure", nil) }
      template["spec"] = pod
      spec["template"] = template
    }
    let job: [String: Any] = ["apiVersion": "batch/v1", "kind": "Job", "metadata": ["name": name], "spec": spec]
    try await apply(String(decoding: try JSONSerialization.data(withJSONObject: job), as: UTF8.self))
  }

  /// How the first pod of a job ended.
  func ended(_ job: String) async throws -> Run {
    let path = "{.items[0].status.containerStatuses[0].state.terminated"
    try await until("the pod of \(job) ended") {
      try await !kubectl("get", "pods", "-l", "job-name=\(job)", "-o", "jsonpath=\(path).finishedAt}", check: false).output
        .isEmpty
    }
    let code = try await kubectl("get", "pods", "-l", "job-name=\(job)", "-o", "jsonpath=\(path).exitCode}").output
    let message = try await kubectl("get", "pods", "-l", "job-name=\(job)", "-o", "jsonpath=\(path).message}").output
    let log = try await kubectl("logs", "job/\(job)").output
    return Run(code: Int(code) ?? -1, message: message, log: log)
  }

  /// The only pod of a Job that is to be completed: how often its container started again, after which exit code, and how it ended.
  func completed(_ job: String) async throws -> (restarts: String, run: Run) {
    try await kubectl("wait", "--for=condition=complete", "job/\(job)", "--timeout=600s")
    let status = "{.restartCount} {.lastState.terminated.exitCode}"
    let path = "jsonpath={range .items[*].status.containerStatuses[*]}\(status){end}"
    let restarts = try await kubectl("get", "pods", "-l", "job-name=\(job)", "-o", path).output
    return (restarts.trimming(" "), try await ended(job))
  }

  func backUp(_ job: String) async throws -> Run {
    try await startJob(job)
    return try await ended(job)
  }
}
