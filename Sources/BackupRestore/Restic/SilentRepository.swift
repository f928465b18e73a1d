import FoundationEssentials

/// A repository that does not answer is one line: in place at a terminal, once a minute elsewhere, however many calls are waiting.
enum SilentRepository {
  private static let told = Locked<[String: ContinuousClock.Instant]>([:])

  /// - Parameters:
  ///   - place: of the repositories.
  ///   - end: when it is given up; nil: when restic gives up itself, after 15 minutes.
  static func tell(_ place: String, _ reason: String, until end: Date?) {
    let text =
      "does not answer (\(reason)); \(end.map { "trying until \(Format.clock($0))" } ?? "restic goes on trying for up to 15 min")"
    if Screen.shared.isTerminal { return Screen.shared.progress("repository \(place)", text) }
    let now = ContinuousClock().now
    var isDue = false
    told.change { told in
      isDue = told[place].map { now - $0 > .seconds(60) } ?? true
      if isDue { told[place] = now }
    }
    if isDue { log.warning("repository \(place) \(text)") }
  }

  static func end(_ place: String) { Screen.shared.finish("repository \(place)") }
}
