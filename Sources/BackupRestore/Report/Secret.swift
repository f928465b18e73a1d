import Synchronization

/// A value that must never be shown: every way of printing it gives `***`.
///
/// `reveal()` is the one way out, for a child's environment or libpq. Each secret made is also remembered, so that
/// `Secret.mask` can hide it in text that children print.
struct Secret: Sendable, Equatable {
  private let value: String

  /// `masked` false: not shown either, but not looked for in other texts, because most of it is no secret (a URL).
  init(_ value: String, masked: Bool = true) {
    self.value = value
    if masked { Self.known.withLock { _ = $0.insert(value) } }
  }

  func reveal() -> String { value }

  /// Texts shorter than this are not masked: replacing every "app" would make a message unreadable.
  static let shortestMasked = 4

  private static let known = Mutex<Set<String>>([])

  /// The text with every secret of this process replaced by `***`, longest first, so that none survives in part.
  static func mask(_ text: String) -> String {
    let secrets = known.withLock { $0 }.filter { $0.count >= shortestMasked }
    return secrets.sorted { $0.count > $1.count }.reduce(text) { $0.replacing($1, with: "***") }
  }
}

/// What somebody else printed, for people. In this order: a secret with a control character in it is found as it was given alone.
func redacted(_ text: String) -> String { printable(Secret.mask(text)) }

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  var description: String { "***" }
  var debugDescription: String { "***" }
  var customMirror: Mirror { Mirror(self, children: []) }
}
