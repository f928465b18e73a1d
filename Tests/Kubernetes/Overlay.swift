import Foundation
import Support

/// An overlay as an operator writes one for an application, over the project's base.
struct Overlay {
  let namespace: String
  let config: [String: String?]
  let secret: [String: String]
  let schedule: String
  /// Before podFailurePolicy.
  let isOld: Bool
  /// What it builds on: `base` or `example`.
  let over: String
  let components: [String]
  let more: String

  func write(to directory: String) throws {
    let up = directory.split(separator: "/").map { _ in "../" }.joined()
    let image = Kube.image.split(separator: ":")
    // The example expects a Secret that was made by hand.
    let secret = "stringData: {\(Self.yaml(secret))}"
    let manifest = "apiVersion: v1\nkind: Secret\nmetadata: {name: backup-secret}\n"
    try (manifest + secret).write(toFile: directory + "/secret.yaml", atomically: true, encoding: .utf8)
    let text = """
      apiVersion: kustomize.config.k8s.io/v1beta1
      kind: Kustomization
      namespace: \(namespace)
      resources:
        - \(up)\(Kube.project.dropFirst())/docker/kubernetes/\(over)
        \(over == "base" ? "" : "- secret.yaml")
      components: [\(components.map { up + Kube.project.dropFirst() + "/docker/kubernetes/" + $0 }.joined(separator: ", "))]
      images:
        - {name: backup-restore, newName: \(image[0]), newTag: \(image[1])}
        - {name: registry.example.org/backup-restore, newName: \(image[0]), newTag: \(image[1])}
      patches:
        - patch: |
            apiVersion: v1
            kind: ConfigMap
            metadata:
              name: backup-config
            data: {\(Self.yaml(config))}
        \(over == "base" ? "- patch: '{apiVersion: v1, kind: Secret, metadata: {name: backup-secret}, \(secret.replacing("'", with: "''"))}'" : "")
        - target:
            kind: CronJob
            name: backup
          patch: |
            - {op: replace, path: /spec/schedule, value: "\(schedule)"}
        \(isOld ? Readme.block(after: "an older cluster takes").joined() : "")
        - target:
            kind: CronJob
            name: drill
          patch: |
            - {op: add, path: /spec/suspend, value: true}
        - target:
            kind: CronJob
          patch: |
            \(Self.volumes("/spec/jobTemplate/spec/template/spec"))
        - target:
            kind: Deployment
          patch: |
            - {op: add, path: /spec/template/spec/hostname, value: \(namespace)}
            \(Self.volumes("/spec/template/spec"))
        \(role)
      \(more)
      """
    try text.write(toFile: directory + "/kustomization.yaml", atomically: true, encoding: .utf8)
  }

  /// The deployments of QUIESCE_DEPLOYMENTS, in the Role too.
  private var role: String {
    guard components.contains("quiesce"), let names = config["QUIESCE_DEPLOYMENTS"] ?? nil else { return "" }
    let quoted = names.split(separator: ",").map { "\"\($0)\"" }.joined(separator: ",")
    return
      #"- {target: {kind: Role}, patch: '[{"op": "replace", "path": "/rules/0/resourceNames", "value": [\#(quoted)]}]'}"#
  }

  /// The application's claim and the repository's volume, as operations in JSON.
  private static func volumes(_ pod: String) -> String {
    [
      #"{"op": "replace", "path": "\#(pod)/volumes/0/persistentVolumeClaim/claimName", "value": "app-data"}"#,
      #"{"op": "add", "path": "\#(pod)/volumes/-", "value": {"name": "repository", "persistentVolumeClaim": {"claimName": "repository"}}}"#,
      #"{"op": "add", "path": "\#(pod)/containers/0/volumeMounts/-", "value": {"name": "repository", "mountPath": "/repository"}}"#,
    ].map { "- " + $0 }.joined(separator: "\n      ")
  }

  private static func yaml(_ values: [String: String?]) -> String {
    values.sorted { $0.key < $1.key }.map { name, value in
      name + ": " + (value.map { "'" + $0.replacing("'", with: "''") + "'" } ?? "null")
    }.joined(separator: ", ")
  }
}

extension Application {
  /// What the manifests take for granted: the namespace, volumes, a server, and the application's own pod.
  var around: String {
    """
    apiVersion: v1
    kind: Namespace
    metadata: {name: \(namespace), labels: {backup-restore/test: "true"}}
    ---
    \(volume(claim))
    ---
    \(volume("repository"))
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: postgresql-service, namespace: \(namespace)}
    spec: {selector: {app: postgresql}, ports: [{port: 5432}]}
    ---
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: postgresql, namespace: \(namespace)}
    spec:
      strategy: {type: Recreate}
      selector: {matchLabels: {app: postgresql}}
      template:
        metadata: {labels: {app: postgresql}}
        spec:
          containers:
            - name: postgresql
              image: \(Kube.server)
              imagePullPolicy: Never
              ports: [{containerPort: 5432}]
              env:
                - {name: POSTGRES_USER, value: app}
                - {name: POSTGRES_DB, value: \(project?.database ?? "app")}
                - {name: POSTGRES_PASSWORD, value: "\(Application.password)"}
    ---
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: app, namespace: \(namespace)}
    spec:
      selector: {matchLabels: {app: app}}
      template:
        metadata: {labels: {app: app, backup-restore/volume: app-data}}
        spec:
          containers:
            - name: app
              image: \(Kube.server)
              imagePullPolicy: Never
              command: [sleep, infinity]
              volumeMounts: [{name: data, mountPath: /var/jira}, {name: repository, mountPath: /repository}]
          volumes:
            - {name: data, persistentVolumeClaim: {claimName: \(claim)}}
            - {name: repository, persistentVolumeClaim: {claimName: repository}}
    """
  }

  private var claim: String { project?.claim ?? "app-data" }

  private func volume(_ name: String) -> String {
    """
    apiVersion: v1
    kind: PersistentVolume
    metadata: {name: \(namespace)-\(name), labels: {backup-restore/test: \(namespace)}}
    spec:
      capacity: {storage: 1Gi}
      accessModes: [ReadWriteOnce]
      persistentVolumeReclaimPolicy: Retain
      storageClassName: ""
      claimRef: {namespace: \(namespace), name: \(name)}
      hostPath: {path: \(kube.volumes)/\(namespace)/\(name), type: DirectoryOrCreate}
    ---
    apiVersion: v1
    kind: PersistentVolumeClaim
    metadata: {name: \(name), namespace: \(namespace)}
    spec:
      accessModes: [ReadWriteOnce]
      storageClassName: ""
      volumeName: \(namespace)-\(name)
      resources: {requests: {storage: 1Gi}}
    """
  }
}
