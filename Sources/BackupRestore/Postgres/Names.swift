/// The names of a restore's databases. Derived, never stored; the journal keeps their OIDs.
package enum DatabaseName {
  /// PostgreSQL cuts names after 63 bytes.
  static let longest = 63

  static func staging(_ live: String, _ id: RestoreID) -> String { stem(live) + ".staging.\(id)" }
  static func previous(_ live: String, _ id: RestoreID) -> String { stem(live) + ".previous.\(id)" }

  /// The part that stands for the live name: itself where it fits, else its beginning and a hash of the whole.
  private static func stem(_ live: String) -> String {
    let room = longest - ".previous.".utf8.count - 16
    if live.utf8.count <= room { return live }
    var head = live
    let hash = String(fnv1a(live), radix: 16)
    while head.utf8.count > room - hash.utf8.count - 1 { head.removeLast() }
    return head + "~" + hash
  }

  /// Whether it is the name of a kept database, whatever the live one is called.
  static func isPrevious(_ name: String) -> Bool {
    name.utf8.count > 26 && name.dropLast(16).hasSuffix(".previous.") && RestoreID(String(name.suffix(16))) != nil
  }

  /// The restore a database belongs to, where it is one of ours.
  package static func parse(_ name: String, live: String) -> (id: RestoreID, isStaging: Bool)? {
    for (prefix, isStaging) in [(stem(live) + ".staging.", true), (stem(live) + ".previous.", false)] {
      if name.hasPrefix(prefix), let id = RestoreID(String(name.dropFirst(prefix.count))) { return (id, isStaging) }
    }
    return nil
  }

  /// 32 bits of FNV-1a: tells long names apart that begin alike.
  private static func fnv1a(_ text: String) -> UInt32 {
    text.utf8.reduce(2_166_136_261) { ($0 ^ UInt32($1)) &* 16_777_619 }
  }
}
