import Foundation
import Support
import Testing

@testable import BackupRestore

/// PING_URL, METRICS_PUSHGATEWAY_URL, LOG_FORMAT and the alert rules, on a real Pushgateway and a local HTTP server.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Reporting {
  /// A server that writes each request, its path and body, into a file; it answers `status` after `delay` seconds.
  static func listener(_ site: Site, port: Int, status: Int = 200, delay: Int = 0) async throws -> Daemon {
    let script = """
      import http.server, sys, time
      class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
          time.sleep(\(delay))
          body = self.rfile.read(int(self.headers["Content-Length"])).decode()
          open("\(site.root)/requests", "a").write(self.path + "\\n" + body + "\\0")
          self.send_response(\(status)); self.end_headers()
        def log_message(self, *a): pass
      http.server.HTTPServer(("127.0.0.1", \(port)), Handler).serve_forever()
      """
    let daemon = Daemon("python3", ["-c", script], seconds: 120, log: site.root + "/listener.log")
    try await Shell.untilListening(port)
    return daemon
  }

  static func requests(_ site: Site) -> [(path: String, body: String)] {
    let text = (try? String(contentsOfFile: site.root + "/requests", encoding: .utf8)) ?? ""
    return text.split(separator: "\0").map { request in
      let lines = request.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
      return (String(lines[0]), lines.count > 1 ? String(lines[1]) : "")
    }
  }

  @Test func aHealthCheckIsToldOfStartAndExitCode() async throws {
    let site = try await Site(settings: ["LOCK_WAIT": "1"])
    try await site.script("echo 1 > a")
    let port = try Cluster.freePort()
    let server = try await Self.listener(site, port: port)
    let ping = ["PING_URL": "http://127.0.0.1:\(port)/uu-id?create=1"]
    #expect(try await site.run("init", with: ping).code == 0)
    #expect(Self.requests(site).isEmpty)
    #expect(try await site.run("backup", with: ping).code == 0)
    #expect(Self.requests(site).map(\.path) == ["/uu-id/start?create=1", "/uu-id/0?create=1"])
    #expect(Self.requests(site)[1].body.contains("saved in"))
    // A failure says why; what is no backup is not reported; what cannot even begin is.
    #expect(try await site.run("backup", with: ping.merging(["RESTIC_PASSWORD": "wrong"]) { $1 }).code == 12)
    #expect(Self.requests(site).last?.path == "/uu-id/12?create=1")
    #expect(Self.requests(site).last?.body.contains("wrong repository password") == true)
    for arguments in [["--dry-run"], ["--accept", "2"]] { _ = try await site.run("backup", arguments, with: ping) }
    #expect(try await site.run("restore", ["--list"], with: ping).code == 0)
    #expect(Self.requests(site).count == 4)
    #expect(try await site.run("backup", with: ping.merging(["RESTIC_KEEP_LAST": "many"]) { $1 }).code == 78)
    #expect(Self.requests(site).last?.path == "/uu-id/78?create=1")
    #expect(try await site.run("restore", ["--drill"], with: ping).code == 0)
    #expect(Self.requests(site).last?.body.contains("is proven") == true)
    await server.stop()
  }

  /// Whoever is told, and however badly that goes, the run ends as it would have ended.
  @Test(arguments: [404, 500, 0]) func aHealthCheckThatFailsChangesNothing(status: Int) async throws {
    let site = try await Site()
    try await site.script("echo 1 > a")
    #expect(try await site.run("init").code == 0)
    let port = try Cluster.freePort()
    let server = status == 0 ? nil : try await Self.listener(site, port: port, status: status)
    let url = "http://127.0.0.1:\(port)/the-secret-part"
    let run = try await site.run("backup", with: ["PING_URL": url, "METRICS_PUSHGATEWAY_URL": url])
    #expect(run.code == 0, "\(run)")
    for name in ["PING_URL", "METRICS_PUSHGATEWAY_URL"] {
      #expect(run.errors.contains(status == 0 ? "\(name) was not reached" : "\(name) answered \(status)"), "\(run.errors)")
    }
    #expect(!(run.output + run.errors).contains("the-secret-part"))
    await server?.stop()
  }

  @Test func aStoppedRunIsReportedQuickly() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase("CREATE TABLE t AS SELECT 1 AS id")
    #expect(try await site.run("init").code == 0)
    let port = try Cluster.freePort()
    let server = try await Self.listener(site, port: port, delay: 120)
    let script = """
      psql -c 'BEGIN; LOCK TABLE t; SELECT pg_sleep(900)' >/dev/null & holder=$!
      count() { psql -XAtc "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE relname = 't' AND $1"; }
      until [ "$(count granted)" = 1 ]; do sleep 0.1; done; PING_URL=http://127.0.0.1:\(port)/x \(Site.products)/backup & run=$!
      until [ "$(count 'NOT granted')" != 0 ]; do sleep 0.1; done; kill -TERM $run; begin=$(date +%s); wait $run && code=0 || code=$?
      kill $holder; echo $code $(( $(date +%s) - begin < 60 ))
      """
    let environment = site.settings.merging(site.cluster!.environment) { $1 }.merging(["PGDATABASE": site.database]) { $1 }
    #expect(try await Shell.script(script, in: site.root, environment: environment) == "143 1\n")
    await server.stop()
  }

  @Test func aPushgatewayHoldsTheNumbersOfTheRuns() async throws {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
    try await site.script("for i in $(seq 1 20); do echo $i > file-$i; done")
    #expect(try await site.run("init").code == 0)
    let port = try Cluster.freePort()
    let gateway = Daemon(
      "prometheus-pushgateway",
      // Debian's own default keeps what was pushed in /var/lib.
      ["--web.listen-address=127.0.0.1:\(port)", "--persistence.file=\(site.root)/gateway"], seconds: 120,
      log: site.root + "/gateway.log")
    try await Shell.script("until curl -sf http://127.0.0.1:\(port)/-/ready; do sleep 0.1; done", in: site.root)
    let push = ["METRICS_PUSHGATEWAY_URL": "http://127.0.0.1:\(port)/", "RESTIC_HOST": "wiki/1"]
    #expect(try await site.run("backup", ["--check"], with: push).code == 0)
    var metrics = try await Self.metrics(port)
    let labels = "{instance=\"wiki/1\",job=\"backup\"}"
    for (name, value) in [
      ("rows", 1000.0), ("files", 20), ("sets", 1), ("exit_code", 0), ("retention_held", 0), ("check_failed", 0),
    ] {
      #expect(metrics["backup_restore_\(name)\(labels)"] == value, "\(metrics)")
    }
    let saved = try #require(metrics["backup_restore_last_success_timestamp_seconds\(labels)"])
    #expect(abs(saved - Date().timeIntervalSince1970) < 60)
    #expect(try #require(metrics["backup_restore_added_bytes\(labels)"]) > 1000)
    #expect(metrics["backup_restore_last_drill_timestamp_seconds\(labels)"] == nil)
    // A failure does not erase the last success; a drill is a job of its own.
    #expect(try await site.run("backup", with: push.merging(["POSTGRES_DB": "nobody"]) { $1 }).code == 20)
    #expect(try await site.run("restore", ["--drill"], with: push).code == 0)
    metrics = try await Self.metrics(port)
    #expect(metrics["backup_restore_exit_code\(labels)"] == 20)
    #expect(metrics["backup_restore_last_success_timestamp_seconds\(labels)"] == saved)
    #expect(metrics["backup_restore_last_drill_timestamp_seconds{instance=\"wiki/1\",job=\"drill\"}"] != nil)
    // promtool knows Prometheus' conventions: help texts, base units, names.
    let linted = try await Shell.script(
      "curl -sf http://127.0.0.1:\(port)/metrics | grep backup_restore_ | promtool check metrics 2>&1", in: site.root)
    #expect(linted == "", "\(linted)")
    // A doubted night is no success: what can be restored without a second thought is as old as before.
    _ = try await site.sql("DELETE FROM t WHERE id > 3")
    #expect(try await site.run("backup", with: push).code == 4)
    metrics = try await Self.metrics(port)
    #expect(metrics["backup_restore_retention_held\(labels)"] == 1 && metrics["backup_restore_rows\(labels)"] == 3)
    #expect(try #require(metrics["backup_restore_last_success_timestamp_seconds\(labels)"]) <= saved)
    _ = try await site.sql("INSERT INTO t SELECT generate_series(4, 1000)")
    #expect(try await site.run("backup", with: push).code == 0)
    #expect(try #require(try await Self.metrics(port)["backup_restore_last_success_timestamp_seconds\(labels)"]) > saved)
    #expect(try await Self.metrics(port)["backup_restore_last_drill_timestamp_seconds\(labels)"] != nil)
    await gateway.stop()
  }

  static func metrics(_ port: Int) async throws -> [String: Double] {
    let text = try await Shell.run("curl", ["-sf", "http://127.0.0.1:\(port)/metrics"]).output
    return text.split(separator: "\n").filter { $0.hasPrefix("backup_restore_") }.reduce(into: [:]) { found, line in
      let words = line.split(separator: " ")
      found[String(words[0])] = Double(words[1])
    }
  }

  @Test func theAlertRulesAreRightAndFireWhenTheyShould() async throws {
    let rules = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../docker/prometheus").standardized.path
    _ = try await Shell.run("promtool", ["check", "rules", rules + "/alerts.yaml"])
    _ = try await Shell.run("promtool", ["test", "rules", rules + "/alerts_test.yaml"], directory: rules)
    // Every metric that a rule names is one that is pushed.
    let pushed = Metrics.text(RunMetrics.whole, .done, ended: Date(), seconds: 1)
    let text = try String(contentsOfFile: rules + "/alerts.yaml", encoding: .utf8)
    let named = Set(text.split { !($0.isLetter || $0.isNumber || $0 == "_") }.filter { $0.hasPrefix("backup_restore_") })
    for name in named { #expect(pushed.contains("\n\(name) "), "\(name)") }
    #expect(named.count == 7)
  }

  @Test func asJSONEveryLineIsAnObject() async throws {
    let site = try await Site(settings: ["LOG_FORMAT": "json"])
    try await site.script("echo 1 > a")
    #expect(try await site.run("init").code == 0)
    let run = try await site.run("backup")
    struct Line: Decodable { let time, level, message: String, process: Int }
    let lines = (run.output + run.errors).split(separator: "\n")
    let read = try lines.map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
    #expect(read.contains { $0.message.contains("saved in") } && read.count >= 2)
    let wrong = try await site.run("backup", with: ["RESTIC_KEEP_LAST": "many"])
    let error = try JSONDecoder().decode(Line.self, from: Data(wrong.errors.utf8))
    #expect(error.level == "error" && error.message.contains("hint: "))
  }
}

extension RunMetrics {
  static let whole = RunMetrics(
    saved: Date(), size: 1, added: 1, rows: 1, files: 1, sets: 1, oldest: Date(), lastDrill: Date(), retentionHeld: false,
    copyFailed: false, checkFailed: false, down: 1)
}
