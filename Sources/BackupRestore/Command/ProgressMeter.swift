import Synchronization

/// Progress of one part: percent, bytes, rate and time left, from what is known.
final class ProgressMeter: Sendable {
  let part: String
  private let begin = ContinuousClock().now
  private let watch: StallDetector?
  private let last = Mutex(0)

  init(_ part: String, watch: StallDetector? = nil) {
    self.part = part
    self.watch = watch
    Screen.shared.progress(part, "begins")
  }

  /// `done` and `total` in bytes; a total of nil or 0 is unknown.
  func update(done: Int, total: Int?) {
    let moved = last.withLock { last in
      defer { last = done }
      return last != done
    }
    if moved { watch?.touch() }
    let seconds = begin.duration(to: .now).inSeconds
    let rate = seconds > 0.5 ? Double(done) / seconds : 0
    var line = ""
    if let total, total > 0 {
      line = "\(min(100, done * 100 / total)) %  \(Format.bytes(done)) of \(Format.bytes(total))"
    } else {
      line = Format.bytes(done)
    }
    if rate > 0 { line += "  \(Format.bytes(Int(rate)))/s" }
    if let total, total > done, rate > 0 { line += "  \(Format.duration(Double(total - done) / rate)) left" }
    Screen.shared.progress(part, line)
  }

  func finish() { Screen.shared.finish(part) }
}
