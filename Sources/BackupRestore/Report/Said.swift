import Logging

/// What a run has said: for the container's termination message and a health check, which keep a few thousand bytes of it.
struct Said: Sendable {
  private struct Entry: Sendable {
    /// Nil: a result.
    let level: Logger.Level?
    let text: String
  }
  private var entries: [Entry] = []

  /// Warnings and errors are kept, the newest results as well.
  mutating func add(_ text: String, _ level: Logger.Level?) {
    entries.append(Entry(level: level, text: level.map { "\($0): \(text)" } ?? text))
    while size > 4 * Pod.longestMessage, let oldest = entries.firstIndex(where: { $0.level == nil }) ?? entries.indices.first {
      entries.remove(at: oldest)
    }
  }

  private var size: Int { entries.reduce(0) { $0 + $1.text.utf8.count + 1 } }

  /// The fact of the last error, or of the last warning where there is none: why a run that did its work wants to be looked at.
  var reason: String? {
    let entry = entries.last { $0.level.map { $0 >= .error } == true } ?? entries.last { $0.level != nil }
    return entry?.text.split(separator: "\n").first.map { String($0.drop { $0 != " " }.dropFirst()) }
  }

  /// Below a headline as much as fits: errors before warnings, what the operator has to act on before results, in the order in which they
  /// were said.
  func message(_ headline: String, limit: Int = Pod.longestMessage) -> String {
    var room = limit - headline.utf8.count - 1
    var chosen: [Int: String] = [:]
    let take = { (index: Int, fromEnd: Bool) in
      let lines = entries[index].text.split(separator: "\n", omittingEmptySubsequences: false)
      var (kept, size): ([Substring], Int) = ([], 0)
      for line in fromEnd ? lines.reversed() : lines {
        if size + line.utf8.count + 1 > room { break }
        kept.append(line)
        size += line.utf8.count + 1
      }
      if kept.isEmpty { return }
      chosen[index] = (fromEnd ? kept.reversed() : kept).joined(separator: "\n")
      room -= size
    }
    let of = { (isWanted: (Logger.Level?) -> Bool) in entries.indices.filter { isWanted(entries[$0].level) } }
    for index in of({ $0.map { $0 >= .error } == true }).reversed() { take(index, false) }
    // The first are the causes.
    for index in of({ $0.map { $0 < .error } == true }) { take(index, false) }
    for index in of({ $0 == nil }).reversed() { take(index, true) }
    return ([headline] + chosen.sorted { $0.key < $1.key }.map(\.value)).joined(separator: "\n") + "\n"
  }
}
