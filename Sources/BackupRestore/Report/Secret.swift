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
    if masked, value.count >= Self.shortestMasked { Self.known.withLock { _ = $0.insert(Array(value.utf8)) } }
  }

  func reveal() -> String { value }

  /// Texts shorter than this are not masked: replacing every "app" would make a message unreadable.
  static let shortestMasked = 4

  /// As bytes: to Swift a quote before a password that begins with a combining mark is part of its first character.
  private static let known = Mutex<Set<[UInt8]>>([])

  /// The text with every secret of this process replaced by `***`, longest first, so that none survives in part.
  static func mask(_ text: String) -> String {
    let secrets = known.withLock { $0 }.sorted { $0.count > $1.count }
    let masked = secrets.reduce(Array(text.utf8)) { $0.replacing($1, with: Array("***".utf8)) }
    return String(decoding: masked, as: UTF8.self)
  }
}

/// What somebody else printed, for people. In this order: a secret with a control character in it is found as it was given alone.
func redacted(_ text: String) -> String { printable(Secret.mask(text)) }

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  var description: String { "***" }
  var debugDescription: String { "***" }
  var customMirror: Mirror { Mirror(self, children: []) }
}
