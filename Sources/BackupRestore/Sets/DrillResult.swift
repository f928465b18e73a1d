import FoundationEssentials

/// What a drill found. Kept as a mark in `sets`, whose tags are enough to list it; it outlives its set, because it is evidence of its own.
struct DrillResult: Encodable, Sendable {
  let set: SetID
  /// When the set was proven, RFC 3339; nil: it was not.
  let proven: String?
  /// The exit code, and its reasons.
  let code: Int32
  let problems: [String]
  let seconds: Int
  let toolkit: String
  let restic: String
  /// `15.18`; nil: no database.
  let postgres: String?
  /// Queries of DRILL_SQL that were true.
  let assertions: [String]

  static let kinds = (proof: "drill", failure: "failed-drill")

  var tags: [String] {
    // restic separates tags by commas.
    let reason = problems.first.map { ["reason=" + String(redacted($0).prefix(200)).replacing(",", with: ";")] } ?? []
    return ["kind=\(proven == nil ? Self.kinds.failure : Self.kinds.proof)", "set=\(set)", "code=\(code)", "seconds=\(seconds)"]
      + ["toolkit=\(toolkit)", "assertions=\(assertions.count)"] + (postgres.map { ["postgres=\($0)"] } ?? []) + reason
  }

  static func isOne(_ mark: Snapshot) -> Bool { [kinds.proof, kinds.failure].contains(mark.tag("kind")) }

  /// More than a year, which an audit looks back on.
  private static let kept: TimeInterval = 400 * 86400

  static func expired(_ marks: [Snapshot], of host: String, now: Date) -> [Snapshot] {
    marks.filter { isOne($0) && $0.hostname == host && $0.date.map { now.timeIntervalSince($0) > kept } == true }
  }
}

extension Catalog {
  /// What drills of this host found, oldest first.
  func drills(_ host: String) -> [Snapshot] {
    sets.filter { DrillResult.isOne($0) && $0.hostname == host }
      .sorted { ($0.date ?? .distantPast, $0.time) < ($1.date ?? .distantPast, $1.time) }
  }
}
