import FoundationEssentials

/// Kubernetes, as the pod's service account may use it.
struct APIServer: Sendable {
  /// Where Kubernetes mounts token, CA and namespace.
  static let account = "/var/run/secrets/kubernetes.io/serviceaccount"

  let server: String
  let namespace: String
  let account: String
  let base: [String: String]
  /// How long it may be away.
  var patience = Duration.seconds(30)
  /// The deployments that this pod must be allowed to scale.
  var deployments: [String] = []

  /// Nil outside a pod, and in one without a token.
  init?(_ environment: [String: String], base: [String: String], account: String = APIServer.account) {
    guard let host = environment["KUBERNETES_SERVICE_HOST"], !host.isEmpty,
      let namespace = try? String(contentsOfFile: account + "/namespace", encoding: .utf8),
      FileManager.default.isReadableFile(atPath: account + "/token")
    else { return nil }
    // An IPv6 address is bracketed in a URL.
    let shown = host.contains(":") ? "[\(host)]" : host
    server = "https://\(shown):\(environment["KUBERNETES_SERVICE_PORT"] ?? "443")"
    self.namespace = namespace.trimming(" \n")
    (self.account, self.base) = (account, base)
  }

  func deployment(_ name: String) async throws -> Deployment {
    try await decoded(try request("GET", path(name)), name)
  }

  /// - Parameter dryRun: asks whether it would be allowed, changes nothing.
  /// - Throws: `Conflict` where the deployment was changed since it was read.
  func patch(_ deployment: Deployment, replicas: Int, remembering: Int?, dryRun: Bool = false) async throws {
    var request = try request("PATCH", path(deployment.name) + (dryRun ? "?dryRun=All" : ""))
    request.headers.append("Content-Type: application/merge-patch+json")
    request.body = String(decoding: try deployment.patch(replicas: replicas, remembering: remembering), as: UTF8.self)
    let _: Deployment = try await decoded(request, deployment.name)
  }

  /// Names of the deployment's pods that run or may still run.
  func pods(of deployment: Deployment) async throws -> [String] {
    // A pod that ended, for example an evicted one, stays in the list for as long as somebody keeps it.
    let query = ["labelSelector=" + percentEncoded(deployment.spec.selector.text.utf8), "fieldSelector=" + Self.alive]
    var request = try request("GET", "/api/v1/namespaces/\(namespace)/pods?" + query.joined(separator: "&"))
    request.headers.append("Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
    let list: PodList = try await decoded(request, deployment.name)
    return (list.items ?? []).filter { $0.belongs(to: deployment.name) }.map(\.metadata.name).sorted()
  }

  private static let alive = percentEncoded("status.phase!=Succeeded,status.phase!=Failed".utf8)

  /// Names of all pods of the namespace that run or may still run.
  func pods() async throws -> Set<String> {
    // Those that ended, killed for their memory for example, stay in the list.
    var request = try request("GET", "/api/v1/namespaces/\(namespace)/pods?fieldSelector=\(Self.alive)")
    request.headers.append("Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
    let list: PodList = try await decoded(request, "")
    return Set((list.items ?? []).map(\.metadata.name))
  }

  private func path(_ deployment: String) -> String {
    "/apis/apps/v1/namespaces/\(namespace)/deployments/\(percentEncoded(deployment.utf8))"
  }

  /// The token is read each time, because Kubernetes replaces it while the pod runs.
  private func request(_ method: String, _ path: String) throws -> Request {
    let token: Secret
    do {
      token = Secret(try String(contentsOfFile: account + "/token", encoding: .utf8).trimming(" \n"))
    } catch {
      throw Failure(.refused, "the service account's token cannot be read: \(error)", hint: Self.hint)
    }
    return Request(
      method: method, url: server + path, headers: ["Authorization: Bearer \(token.reveal())"], certificate: account + "/ca.crt")
  }

  struct Conflict: Error {}

  static let hint =
    "give the pod a service account and its token: docker/kubernetes/quiesce does; or unset QUIESCE_DEPLOYMENTS and scale by hand"

  private func decoded<T: Decodable>(_ request: Request, _ deployment: String) async throws -> T {
    let response: Request.Response
    do { response = try await request.send(base, patience: patience) } catch let error as Request.Unanswered {
      throw Failure(
        .refused, "the API server \(server) did not answer: \(error)",
        hint: "check that this pod may reach it (NetworkPolicy), then run it again")
    }
    switch response.status {
    case 200..<300:
      do { return try JSONDecoder().decode(T.self, from: Data(response.body)) } catch {
        throw Failure(.refused, "the API server's answer cannot be read: \(error)", hint: "is \(server) a Kubernetes API server?")
      }
    case 409: throw Conflict()
    case 404:
      throw Failure(
        .refused, "there is no deployment \(printable(deployment)) in namespace \(namespace)",
        hint: "correct QUIESCE_DEPLOYMENTS: kubectl -n \(namespace) get deployments")
    case 401: throw Failure(.refused, "the API server does not accept the service account's token", hint: Self.hint)
    case 403:
      throw Failure(
        .refused, "this pod's service account may not \(Self.verb(request)) in namespace \(namespace): \(Self.message(response))",
        hint: "its Role must hold, with every name of QUIESCE_DEPLOYMENTS and no other:\n" + Self.rules(deployments))
    default:
      throw Failure(
        .refused, "the API server answered \(response.status) for deployment \(printable(deployment)): \(Self.message(response))",
        hint: "run it again; restore --resume-application scales the application up")
    }
  }

  private static func verb(_ request: Request) -> String {
    request.url.contains("/pods?") ? "list pods" : "\(request.method == "GET" ? "get" : "patch") deployments"
  }

  /// What a Role must hold, and no more: who may patch a deployment may run any image in it, with any Secret of the namespace.
  static func rules(_ deployments: [String]) -> String {
    let names = deployments.map { printable($0) }.joined(separator: ", ")
    return """
        - {apiGroups: [apps], resources: [deployments], resourceNames: [\(names)], verbs: [get, patch]}
        - {apiGroups: [""], resources: [pods], verbs: [list]}
      """
  }

  private static func message(_ response: Request.Response) -> String {
    struct Status: Decodable { let message: String? }
    let message = (try? JSONDecoder().decode(Status.self, from: Data(response.body)))?.message
    return printable(message ?? String(decoding: response.body.prefix(200), as: UTF8.self))
  }
}
