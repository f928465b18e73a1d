import FoundationEssentials

/// A Deployment as the API server prints it; only the fields read here.
struct Deployment: Decodable, Equatable, Sendable {
  let metadata: Metadata
  let spec: Spec
  let status: Status?

  struct Metadata: Decodable, Equatable, Sendable {
    let name: String
    let resourceVersion: String
    let generation: Int?
    let annotations: [String: String]?
  }

  struct Spec: Decodable, Equatable, Sendable {
    /// Absent means 1.
    let replicas: Int?
    let selector: Selector
  }

  struct Status: Decodable, Equatable, Sendable {
    let observedGeneration: Int?
    let replicas: Int?
  }

  struct Selector: Decodable, Equatable, Sendable {
    let matchLabels: [String: String]?
    let matchExpressions: [Requirement]?

    struct Requirement: Decodable, Equatable, Sendable {
      let key: String
      let `operator`: String
      let values: [String]?
    }

    /// As a query takes it: `app=jira,tier in (web,worker),!canary`.
    var text: String {
      let labels = (matchLabels ?? [:]).map { "\($0.key)=\($0.value)" }.sorted()
      let expressions = (matchExpressions ?? []).map { requirement in
        let values = "(" + (requirement.values ?? []).joined(separator: ",") + ")"
        return switch requirement.operator {
        case "In": "\(requirement.key) in \(values)"
        case "NotIn": "\(requirement.key) notin \(values)"
        case "DoesNotExist": "!\(requirement.key)"
        default: requirement.key
        }
      }
      return (labels + expressions).joined(separator: ",")
    }
  }

  var name: String { metadata.name }
  var replicas: Int { spec.replicas ?? 1 }

  /// Whether its controller has heard of 0 and has no pod in the making: one scaled up a moment ago has none to be seen yet.
  var isDown: Bool {
    replicas == 0 && (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) && (status?.replicas ?? 0) == 0
  }

  /// How many replicas a run took away: the number is kept on the deployment itself, so that it outlives the run.
  static let annotation = "backup-restore/replicas"

  /// Nil where no run scaled it down, or somebody scaled it up again since.
  var remembered: Int? {
    replicas > 0 ? nil : metadata.annotations?[Self.annotation].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
  }

  /// Number and annotation in one patch, so that there is never one without the other; the version makes it fail where somebody
  /// else changed the deployment meanwhile. `remembering` nil removes the annotation.
  func patch(replicas: Int, remembering: Int?) throws -> [UInt8] {
    struct Patch: Encodable {
      struct Metadata: Encodable {
        let resourceVersion: String
        let annotations: [String: String?]
      }
      let metadata: Metadata
      let spec: [String: Int]
    }
    return try JSON.encoded(
      Patch(
        metadata: .init(resourceVersion: metadata.resourceVersion, annotations: [Self.annotation: remembering.map(String.init)]),
        spec: ["replicas": replicas]))
  }
}

/// Pods with their metadata alone.
struct PodList: Decodable, Sendable {
  /// Null where there is none (seen with 1.20).
  let items: [Item]?

  struct Item: Decodable, Equatable, Sendable {
    let metadata: Metadata

    struct Metadata: Decodable, Equatable, Sendable {
      let name: String
      let labels: [String: String]?
      let ownerReferences: [Owner]?
    }

    struct Owner: Decodable, Equatable, Sendable {
      let kind: String
      let name: String
    }

    /// By the ReplicaSet that owns it, which carries the deployment's name and the hash of its template.
    func belongs(to deployment: String) -> Bool {
      let set = deployment + "-" + (metadata.labels?["pod-template-hash"] ?? "")
      return (metadata.ownerReferences ?? []).contains { $0.kind == "ReplicaSet" && $0.name == set }
    }
  }
}
