import Synchronization

/// What a file system refused while files were restored. restic goes on after it, but verifies nothing any more, and leaves out the other
/// attributes of that file (measured, 0.19.1).
struct Refusals: Equatable, Sendable {
  struct Attribute: Equatable, Sendable {
    let reason: String
    var count = 0
  }

  /// By name.
  var attributes: [String: Attribute] = [:]
  var owners = 0
  /// Links and special files that were not made.
  var nodes = 0
  var count = 0

  /// `xattr.LSet /path user.name: operation not permitted`, `lchown /path: operation not permitted`; nil: it is something else.
  fileprivate mutating func take(_ error: String) -> String? {
    guard let colon = error.ranges(of: ": ").last else { return nil }
    if error.hasPrefix("xattr.LSet "), let name = error[..<colon.lowerBound].split(separator: " ").last {
      attributes[String(name), default: Attribute(reason: String(error[colon.upperBound...]))].count += 1
    } else if error.hasPrefix("lchown ") {
      owners += 1
    } else if ["mknod ", "mkfifo ", "symlink "].contains(where: error.hasPrefix) {
      nodes += 1
    } else {
      return nil
    }
    count += 1
    return error
  }
}

/// restic's standard error: JSON mixed with plain text. Plain lines are passed on; JSON becomes facts.
final class ResticErrors: Sendable {
  /// Kept short, however many there are: memory must not grow with the data.
  struct Heard: Sendable {
    /// The files that could not be read.
    var items: [String] = []
    var errors: [String] = []
    /// How many errors say that a file was there and is no more, and how many say anything else.
    var vanished = 0
    var others = 0
    /// What the file system refused to a file that was restored otherwise.
    var refusals = Refusals()
    /// What follows is the stack of a crash.
    var isCrash = false
    /// It has said that it tries again.
    var isUnanswered = false
  }

  private let state = Mutex(Heard())
  private let watch: StallDetector?
  /// Of the repositories, for messages.
  private let place: String

  init(watch: StallDetector? = nil, place: String = "") { (self.watch, self.place) = (watch, place) }

  /// The call is over.
  func finish() { if state.withLock({ $0.isUnanswered }) { SilentRepository.end(place) } }

  var all: Heard { state.withLock { $0 } }

  static let most = 1000

  /// How restic says that a store refuses to remove a lock, after it has tried again for what may pass (measured, 0.19).
  static func isLeftLock(_ line: String) -> Bool {
    (line.hasPrefix("Remove(<lock/") && line.contains(") failed: ")) || line.hasPrefix("error while unlocking: ")
  }
  private static let toldOfLocks = Locked(false)

  @Sendable func take(_ line: String) {
    // Masked where it is remembered or logged, not here: a password that is also a JSON key would destroy the message.
    // restic clears its status line with a carriage return before some messages.
    let line = line.trimming(" \r")
    // The second is restic's answer to a signal of ours.
    guard !line.isEmpty, !line.hasPrefix("signal terminated received") else { return }
    if let reason = Repository.reason(line) {
      watch?.fail()
      state.withLock { $0.isUnanswered = true }
      SilentRepository.tell(place, redacted(reason), until: watch?.givesUp)
      return remember(error: line)
    }
    guard let message = ResticMessage(line: line) else {
      if state.withLock({ $0.isCrash }), !line.hasPrefix("subprocess ") { return }
      if ResticCrash(line) != nil { state.withLock { $0.isCrash = true } }
      // What the dump prints comes through restic, marked with the program restic started: env, which became pg_dump.
      let dump = "subprocess env: "
      let text = line.hasPrefix(dump) ? String(line.dropFirst(dump.count)) : "restic: " + line
      // Every call leaves one there.
      var isTold = false
      if Self.isLeftLock(line) { Self.toldOfLocks.change { (isTold, $0) = ($0, true) } }
      if !isTold { log.info("\(redacted(text))") }
      // A path of FILES_PATHS that went since preflight: plain text where all else is JSON (measured, 0.19.1).
      let skipped = " does not exist, skipping"
      return remember(
        error: line.hasPrefix(dump) ? text : line, item: line.hasSuffix(skipped) ? String(line.dropLast(skipped.count)) : nil)
    }
    switch message.message_type {
    case "error":
      // `check` has its messages one level higher, and empty lines among them.
      let text = (message.error?.message ?? message.message ?? line).trimming(" \n")
      // An application deletes its temporary files whenever it likes, which restic takes for a failure (measured, 0.19).
      if message.item?.isEmpty == false, text.hasSuffix(": no such file or directory") {
        log.info("restic: \(redacted(text))")
        state.withLock { $0.vanished += 1 }
        return remember(error: text)
      }
      if let refused = state.withLock({ $0.refusals.take(text) }) { return remember(error: refused, item: "") }
      // What follows there is advice in general; which sets are concerned is said by ourselves.
      if message.error != nil || !Repository.packs(in: text).isEmpty { log.warning("restic: \(redacted(text))") }
      remember(error: text, item: message.item ?? "")
    case "exit_error":
      // Fatal: several lines; the first is the fact.
      let text = message.message ?? line
      // Of a lock also the second: since when.
      let lines = text.split(separator: "\n").prefix(message.code == 11 ? 2 : 1)
      let first = lines.isEmpty ? text : lines.joined(separator: "; ")
      remember(error: first.replacing("Fatal: ", with: ""))
    default: log.info("restic: \(redacted(line))")
    }
  }

  private func remember(error: String, item: String? = nil) {
    // In URLs restic shows a password where there is none.
    let error = redacted(error).replacing("//:***@", with: "//")
    state.withLock { state in
      if item != nil { state.others += 1 }
      if state.errors.count >= Self.most { state.errors.removeFirst() }
      state.errors.append(error)
      if let item, !item.isEmpty, state.items.count < Self.most { state.items.append(printable(item)) }
    }
  }
}
