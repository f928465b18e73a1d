import FoundationEssentials

/// Tells a health check and a Pushgateway how a run goes. Neither ever changes how it went.
public struct Reporter: Sendable {
  /// What is reported; a list or a rotation is nobody's business.
  public enum Run: String, Sendable { case backup, drill }

  let run: Run
  let settings: ReportingSettings
  let host: String
  private let base: [String: String]
  private let proxies: [String: String]

  init(_ run: Run, _ settings: ReportingSettings, _ variables: [String: String]) {
    var environment = Environment(variables)
    (self.run, self.settings) = (run, settings)
    // A RESTIC_HOST of one's own may be every application's: the namespace tells them apart.
    let (name, namespace) = (RepositorySettings.host(&environment), environment.text("POD_NAMESPACE"))
    host = namespace.map { name.hasPrefix($0 + "/") ? name : "\($0)/\(name)" } ?? name
    base = Command.baseEnvironment(variables)
    proxies = variables.filter { ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"].contains($0.key.uppercased()) }
  }

  /// healthchecks.io's protocol: `URL/start`, then `URL/EXIT-CODE` with the last words as its body.
  func started() async {
    guard let ping = settings.ping else { return }
    await send("PING_URL", Self.url(ping, "start"), "")
  }

  /// - Parameter hurried: after SIGTERM, when Kubernetes has begun to count.
  func ended(_ status: ExitStatus, _ numbers: RunMetrics, seconds: Double, said: String, hurried: Bool) async {
    if numbers.isUntold { return }
    async let pinged: Void = ping(status, said, hurried)
    if let gateway = settings.pushgateway {
      let text = Metrics.text(numbers, status, ended: Date(), seconds: seconds)
      await send("METRICS_PUSHGATEWAY_URL", gateway.reveal() + Metrics.path(run, host: host), text, hurried: hurried)
    }
    await pinged
  }

  private func ping(_ status: ExitStatus, _ said: String, _ hurried: Bool) async {
    guard let ping = settings.ping else { return }
    await send("PING_URL", Self.url(ping, String(status.rawValue)), said, hurried: hurried)
  }

  /// Below the path, before a query.
  static func url(_ url: Secret, _ last: String) -> String {
    let parts = url.reveal().split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    let path = parts[0].hasSuffix("/") ? parts[0] : parts[0] + "/"
    return path + last + (parts.count > 1 ? "?" + parts[1] : "")
  }

  private func send(_ name: String, _ url: String, _ body: String, hurried: Bool = false) async {
    let request = Request(
      method: "POST", url: url, headers: ["Content-Type: text/plain; charset=utf-8"], body: body, proxies: proxies,
      seconds: hurried ? 3 : 10)
    // A task of its own: the end of a run that was stopped is reported too.
    let sending = Task { try await request.send(base, patience: hurried ? .zero : .seconds(10)) }
    let problem: String
    switch await sending.result {
    case .success(let response) where response.succeeded: return
    case .success(let response):
      let said = String(decoding: response.body.prefix(300), as: UTF8.self).trimming(" \n")
      problem = "answered \(response.status)" + (said.isEmpty ? "" : ": \(redacted(said))")
    case .failure(let error): problem = "was not reached: \(error)"
    }
    log.warning("\(name) \(problem)\n  hint: the run itself is not affected; correct \(name), or look at its server")
  }
}
