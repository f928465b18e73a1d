import FoundationEssentials
import Testing

@testable import BackupRestore

@Suite struct KubernetesTests {
  /// As an API server 1.20 prints it, shortened.
  static let json = #"""
    {"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"taiga-front","namespace":"taiga","resourceVersion":"482","generation":7,
    "annotations":{"deployment.kubernetes.io/revision":"1"ANNOTATION}},
    "spec":{"replicas":REPLICAS,"selector":{"matchLabels":{"app":"taiga","part":"front"},
    "matchExpressions":[{"key":"tier","operator":"In","values":["web","edge"]},{"key":"canary","operator":"DoesNotExist"},
    {"key":"zone","operator":"NotIn","values":["a"]},{"key":"live","operator":"Exists"}]},"strategy":{"type":"RollingUpdate"}},
    "status":STATUS}
    """#

  static func deployment(_ replicas: Int, _ annotation: String? = nil, status: String = "{}") throws -> Deployment {
    let note = annotation.map { ",\"backup-restore/replicas\":\"\($0)\"" } ?? ""
    let text = json.replacing("REPLICAS", with: "\(replicas)").replacing("ANNOTATION", with: note).replacing(
      "STATUS", with: status)
    return try JSONDecoder().decode(Deployment.self, from: Data(text.utf8))
  }

  @Test func aSelectorBecomesAQuery() throws {
    #expect(
      try Self.deployment(2).spec.selector.text
        == "app=taiga,part=front,tier in (web,edge),!canary,zone notin (a),live")
  }

  @Test(
    arguments: [
      (2, nil, nil), (0, nil, nil), (0, "2", 2), (1, "2", nil), (0, "two", nil),
    ] as [(Int, String?, Int?)])
  func onlyANumberOnADeploymentThatIsStillDownIsRemembered(replicas: Int, annotation: String?, remembered: Int?) throws {
    #expect(try Self.deployment(replicas, annotation).remembered == remembered)
  }

  /// Its controller may not have heard of the new number yet, and make a pod that nobody waited for.
  @Test(
    arguments: [
      (0, #"{"observedGeneration":7}"#, true), (0, #"{"observedGeneration":6}"#, false), (0, "{}", false),
      (0, #"{"observedGeneration":7,"replicas":1}"#, false), (1, #"{"observedGeneration":7}"#, false),
    ])
  func aDeploymentIsDownWhenItsControllerSaysSo(replicas: Int, status: String, isDown: Bool) throws {
    #expect(try Self.deployment(replicas, status: status).isDown == isDown)
  }

  @Test func numberAndAnnotationAreOnePatchOfThisVersion() throws {
    let deployment = try Self.deployment(2)
    for (replicas, remembering, annotation) in [(0, 2, #""2""#), (2, nil, "null")] as [(Int, Int?, String)] {
      let patch = String(decoding: try deployment.patch(replicas: replicas, remembering: remembering), as: UTF8.self)
      #expect(
        patch
          == #"{"metadata":{"annotations":{"backup-restore/replicas":\#(annotation)},"resourceVersion":"482"},"spec":{"replicas":\#(replicas)}}"#
      )
    }
  }

  /// A Role without names is one for every deployment of the namespace.
  @Test func theRulesToAddNameTheDeployments() {
    let rule = "{apiGroups: [apps], resources: [deployments], resourceNames: [front, gateway], verbs: [get, patch]}"
    #expect(APIServer.rules(["front", "gateway"]).contains(rule))
  }

  static let pods = #"""
    {"kind":"PartialObjectMetadataList","items":[
    {"metadata":{"name":"web-1","labels":{"pod-template-hash":"9f"},"ownerReferences":[{"kind":"ReplicaSet","name":"web-9f"}]}},
    {"metadata":{"name":"web-canary-1","labels":{"pod-template-hash":"9f"},"ownerReferences":[{"kind":"ReplicaSet","name":"web-canary-9f"}]}},
    {"metadata":{"name":"backup-1","labels":{},"ownerReferences":[{"kind":"Job","name":"web-"}]}},
    {"metadata":{"name":"alone"}}]}
    """#

  /// A Job's pod, or another deployment's, may carry the same labels: nobody would wait for it to end.
  @Test func onlyTheDeploymentsOwnPodsAreWaitedFor() throws {
    let pods = try JSONDecoder().decode(PodList.self, from: Data(Self.pods.utf8)).items ?? []
    #expect(try JSONDecoder().decode(PodList.self, from: Data(#"{"items":null}"#.utf8)).items == nil)
    #expect(pods.filter { $0.belongs(to: "web") }.map(\.metadata.name) == ["web-1"])
  }

  @Test func outsideAPodThereIsNoAPIServer() throws {
    let directory = try Temporary()
    let inPod = ["KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"]
    #expect(APIServer(inPod, base: [:], account: directory.path.string) == nil)
    _ = try directory.file("taiga\n", "namespace")
    #expect(APIServer(inPod, base: [:], account: directory.path.string) == nil)
    _ = try directory.file("t0ken", "token")
    #expect(APIServer([:], base: [:], account: directory.path.string) == nil)
    let server = try #require(APIServer(inPod, base: [:], account: directory.path.string))
    #expect(server.server == "https://10.0.0.1:443" && server.namespace == "taiga")
    let wide = ["KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"]
    #expect(APIServer(wide, base: [:], account: directory.path.string)?.server == "https://[fd00::1]:6443")
  }
}
