import Foundation
import Support
import Testing

@testable import BackupRestore

/// The alert rules in a real Prometheus, over what real runs push to a real Pushgateway.
@Suite(.servers, .timeLimit(.minutes(45))) struct Alerts {
  /// The alerts that fire, as `name instance`.
  private static func firing(_ port: Int) async throws -> Set<String> {
    let query = ["query", "instant", "http://127.0.0.1:\(port)", #"ALERTS{alertstate="firing"}"#]
    let lines = try await Shell.run("promtool", query).output.split(separator: "\n")
    return Set(
      lines.compactMap { line in
        guard let name = line.firstMatch(of: /alertname="([^"]*)"/)?.1 else { return nil }
        let instance = line.firstMatch(of: /instance="([^"]*)"/)?.1 ?? ""
        return "\(name) \(instance)"
      })
  }

  /// One that is dead and one that lives, with nothing set but their namespaces.
  @Test func ofTwoApplicationsOnOnePushgatewayEachHasItsOwnAlerts() async throws {
    let cluster = try await Cluster.shared.value
    let (pushed, asked) = (try Cluster.freePort(), try Cluster.freePort())
    let settings = ["METRICS_PUSHGATEWAY_URL": "http://127.0.0.1:\(pushed)"]
    let dead = try await Site(cluster: cluster, settings: settings.merging(["POD_NAMESPACE": "jira"]) { $1 })
    let alive = try await Site(cluster: cluster, settings: settings.merging(["POD_NAMESPACE": "wiki"]) { $1 })
    let gateway = Daemon(
      "prometheus-pushgateway", ["--web.listen-address=127.0.0.1:\(pushed)", "--persistence.file=\(dead.root)/gateway"],
      log: dead.root + "/gateway.log")
    try await Shell.untilListening(pushed)
    for site in [dead, alive] {
      try await site.createDatabase("CREATE TABLE t AS SELECT 1 AS id")
      try await site.script("echo content >a")
      try await Staged.succeed(site, "init")
    }
    // The last good night of the one is 27 hours ago, tonight its database refused the password, and the other's night is good.
    let ago = ["LD_PRELOAD": try Preloaded.library("Clock"), "TEST_CLOCK_AHEAD": "-97200"]
    try await Staged.succeed(dead, "backup", with: ago)
    #expect(try await dead.run("backup", with: ["POSTGRES_PASSWORD": "other"]).code == 20)
    try await Staged.succeed(alive, "backup")

    try """
    global: {scrape_interval: 1s, evaluation_interval: 1s}
    rule_files: ["\(Needs.project)/docker/prometheus/alerts.yaml"]
    scrape_configs: [{job_name: pushgateway, honor_labels: true, static_configs: [{targets: ["127.0.0.1:\(pushed)"]}]}]
    """.write(toFile: dead.root + "/prometheus.yaml", atomically: true, encoding: .utf8)
    let prometheus = Daemon(
      "prometheus",
      [
        "--config.file=\(dead.root)/prometheus.yaml", "--storage.tsdb.path=\(dead.root)/data",
        "--web.listen-address=127.0.0.1:\(asked)",
      ], log: dead.root + "/prometheus.log")
    try await Shell.untilListening(asked)
    let (missing, failed) = ("BackupMissing jira/\(dead.database)", "BackupFailed jira/\(dead.database)")
    var firing = Set<String>()
    for _ in 0..<600 where !firing.isSuperset(of: [missing, failed]) {
      firing = try await Self.firing(asked)
      try await Task.sleep(for: .milliseconds(200))
    }
    #expect(firing == [missing, failed])
    await prometheus.stop()
    await gateway.stop()
  }
}
