import FoundationEssentials

/// An HTTP request, made by the `curl` program. URL, headers and body reach it through standard input, because each may hold a
/// secret: never as arguments.
struct Request: Equatable, Sendable {
  let method: String
  let url: String
  var headers: [String] = []
  var body: String?
  /// CA certificate of the server (PEM); nil: the system's.
  var certificate: String?
  /// Proxy variables as curl reads them; empty: a server that is asked directly.
  var proxies: [String: String] = [:]
  /// Seconds for the whole exchange.
  var seconds = 10

  struct Response: Sendable {
    let status: Int
    let body: [UInt8]

    var succeeded: Bool { (200..<300).contains(status) }
  }

  /// Why there was no answer, in curl's words.
  struct Unanswered: Error, CustomStringConvertible {
    let description: String
  }

  /// Answers over this are cut there: documents of one object or a list of names.
  static let largestAnswer = 8 << 20

  /// curl's configuration. The status comes behind the body, because curl has no other channel for it but a file.
  var configuration: String {
    var lines = [
      "url = \(Self.quoted(url))", "globoff", "request = \(method)", "silent", "show-error", "max-time = \(seconds)",
      #"write-out = "\n%{http_code}""#,
    ]
    lines += headers.map { "header = \(Self.quoted($0))" }
    if let body { lines.append("data-raw = \(Self.quoted(body))") }
    if let certificate { lines.append("cacert = \(Self.quoted(certificate))") }
    if proxies.isEmpty { lines.append(#"noproxy = "*""#) }
    return lines.joined(separator: "\n") + "\n"
  }

  /// In curl's configuration a backslash escapes, and `\n`, `\r` and `\t` are the only letters it means something with here.
  static func quoted(_ text: String) -> String {
    let escapes: [Character: String] = ["\\": "\\\\", "\"": "\\\"", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\r\n": "\\r\\n"]
    return "\"" + text.map { escapes[$0] ?? String($0) }.joined() + "\""
  }

  /// Asks once.
  ///
  /// - Throws: `Unanswered` without an HTTP answer; `Failure` where curl is missing.
  func send(_ base: [String: String]) async throws -> Response {
    let errors = Locked("")
    let command = Command("curl", ["--disable", "--config", "-"], environment: base.merging(proxies) { $1 })
    let outcome = try await Runner.run(
      command, input: .bytes(Array(configuration.utf8)), output: .document(limit: Self.largestAnswer),
      deadline: .seconds(seconds + 2)
    ) { line in errors.change { $0 = line } }
    guard outcome.ending.succeeded, let end = outcome.document.lastIndex(of: UInt8(ascii: "\n")),
      let status = Int(String(decoding: outcome.document[(end + 1)...], as: UTF8.self))
    else {
      let said = errors.value.isEmpty ? "no answer (\(outcome.ending.text))" : errors.value
      throw Unanswered(description: redacted(said))
    }
    return Response(status: status, body: Array(outcome.document[..<end]))
  }

  /// Asks again each second while nobody answers, or the server says that it cannot now, until `patience` is over.
  func send(_ base: [String: String], patience: Duration) async throws -> Response {
    let deadline = ContinuousClock().now + patience
    while true {
      do {
        let response = try await send(base)
        if ![429, 500, 502, 503, 504].contains(response.status) || ContinuousClock().now >= deadline { return response }
      } catch let error as Unanswered {
        if ContinuousClock().now >= deadline { throw error }
      }
      try await Task.sleep(for: .seconds(1))
    }
  }
}
