/// Whether retention passes over a set: the newest mark in `sets` says so, because restic's own tags cannot be changed on append-only
/// repositories (measured).
enum HoldMark {
  static let kinds = (hold: "hold", release: "release")

  static func isOne(_ snapshot: Snapshot) -> Bool { [kinds.hold, kinds.release].contains(snapshot.tag("kind")) }

  /// Why a set is held, perhaps empty, by the marks that name it; nil: it is not.
  static func reason(_ marks: [Snapshot]) -> String? {
    let last = marks.filter(isOne).max { ($0.date ?? .distantPast, $0.time) < ($1.date ?? .distantPast, $1.time) }
    return last?.tag("kind") == kinds.hold ? last?.tag("reason") ?? "" : nil
  }

  /// - Parameter reason: nil releases it.
  static func tags(_ set: SetID, reason: String?) -> [String] {
    guard let reason else { return ["kind=\(kinds.release)", "set=\(set)"] }
    // restic separates tags by commas.
    return ["kind=\(kinds.hold)", "set=\(set)"]
      + (reason.isEmpty ? [] : ["reason=" + printable(reason).replacing(",", with: ";")])
  }
}
