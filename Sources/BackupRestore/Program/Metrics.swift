import FoundationEssentials

/// A run as Prometheus reads it, in the text format, named by its conventions: base units, times as seconds since 1970, from which a
/// rule computes an age.
enum Metrics {
  static func text(_ numbers: RunMetrics, _ status: ExitStatus, ended: Date, seconds: Double) -> String {
    let flag = { (value: Bool?) in value.map { $0 ? 1.0 : 0.0 } }
    let count = { (value: Int?) in value.map(Double.init) }
    let time = { (value: Date?) in value.map { $0.timeIntervalSince1970.rounded(.down) } }
    let gauges: [(String, String, Double?)] = [
      ("last_run_timestamp_seconds", "When the last run ended.", time(ended)),
      ("last_success_timestamp_seconds", "When an undoubted set was last saved.", time(numbers.saved)),
      ("duration_seconds", "How long the last run took.", seconds),
      ("exit_code", "Exit code of the last run; 0 is success.", Double(status.rawValue)),
      ("size_bytes", "Bytes of the last set, before compression.", count(numbers.size)),
      ("added_bytes", "Bytes that the last set added to the repositories.", count(numbers.added)),
      ("rows", "Rows in the databases of the last set.", count(numbers.rows)),
      ("files", "Files and directories in the last set.", count(numbers.files)),
      ("unreadable_files", "Files that the last set lacks because they could not be read.", count(numbers.unreadable)),
      ("sets", "Sets that are kept.", count(numbers.sets)),
      ("oldest_set_timestamp_seconds", "When the oldest set that is kept was saved.", time(numbers.oldest)),
      ("last_drill_timestamp_seconds", "When a set was last proven by a drill.", time(numbers.lastDrill)),
      ("drill_duration_seconds", "How long the last drill took, as long as a restore would.", numbers.drillSeconds),
      ("retention_held", "1 while nothing is forgotten until the operator has looked.", flag(numbers.retentionHeld)),
      ("copy_failed", "1 where the second repository lacks a set.", flag(numbers.copyFailed)),
      ("check_failed", "1 where a repository is damaged or could not be checked.", flag(numbers.checkFailed)),
      ("application_down_seconds", "How long the last backup kept the application scaled down.", numbers.down),
    ]
    return gauges.compactMap { name, help, value in
      value.map { value in
        """
        # HELP backup_restore_\(name) \(help)
        # TYPE backup_restore_\(name) gauge
        backup_restore_\(name) \(value)

        """
      }
    }.joined()
  }

  /// Where it is pushed: what an earlier run pushed under other names stays, so that a failure does not erase the last success.
  static func path(_ run: Reporter.Run, host: String) -> String {
    // The gateway takes any label value as base64 for URLs, also one with a slash.
    let value = Data(host.utf8).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_")
    return "/metrics/job/\(run.rawValue)/instance@base64/\(value)"
  }
}
