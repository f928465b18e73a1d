import FoundationEssentials

/// The numbers of a run that outlive it; nil: this run does not know.
struct RunMetrics: Equatable, Sendable {
  /// When an undoubted set was last saved.
  var saved: Date?
  /// Bytes read from the sources, and added to the repositories.
  var size: Int?
  var added: Int?
  var rows: Int?
  /// Files, directories and all other entries.
  var files: Int?
  /// Files that could not be read and are not in the set.
  var unreadable: Int?
  /// Sets of this host, after retention, and when the oldest of them was saved.
  var sets: Int?
  var oldest: Date?
  var lastDrill: Date?
  /// How long that took: how long a restore would.
  var drillSeconds: Double?
  var retentionHeld: Bool?
  var copyFailed: Bool?
  var checkFailed: Bool?
  /// Seconds for which the application was scaled down.
  var down: Double?
  /// This run saved nothing because one before it had: what that one told stays.
  var isUntold = false
}
