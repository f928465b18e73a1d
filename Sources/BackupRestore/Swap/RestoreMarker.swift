import FoundationEssentials

/// What the comment of a kept database says: what else the same restore replaced, so that nobody takes back half of it.
struct RestoreMarker: Codable, Equatable, Sendable {
  /// FILES_DIRECTORY, where files were exchanged with it.
  let files: String?
  /// The live names of all that were replaced together.
  let databases: [String]
  /// `--in-place`: no old files are kept; this set holds all that was live.
  let safety: SetID?
  var isBeingDiscarded: Bool? = nil
  /// What replaced it, and the restore that a rollback took back; nil in those of before.
  var source: RestoreSource.Name? = nil
  var rollbackOf: RestoreID? = nil
  /// RFC 3339; nil in those of before.
  var swapped: String? = nil

  private static let title = "kept by backup-restore: "

  /// Behind what the comment said before. ASCII alone: the maintenance database need not be UTF-8.
  func added(to comment: String?) -> String {
    let json = String(decoding: (try? JSON.encoded(self)) ?? [], as: UTF8.self).utf16.map { unit in
      unit < 128 ? String(Character(Unicode.Scalar(UInt8(unit)))) : "\\u" + String(0x10000 + Int(unit), radix: 16).dropFirst()
    }
    let own = Self.removed(from: comment)
    return (own.map { $0 + "\n" } ?? "") + Self.title + json.joined()
  }

  /// What the comment said before; nil: there was none.
  static func removed(from comment: String?) -> String? {
    // Somebody else's words may be the same.
    guard let comment, RestoreMarker(comment: comment) != nil, let range = comment.ranges(of: title).last else { return comment }
    return range.lowerBound == comment.startIndex ? nil : String(comment[..<range.lowerBound].dropLast())
  }

  /// Nil where the comment says nothing of the kind.
  init?(comment: String?) {
    guard let comment, let range = comment.ranges(of: Self.title).last,
      let mark = try? JSONDecoder().decode(Self.self, from: Data(comment[range.upperBound...].utf8))
    else { return nil }
    self = mark
  }

  init(
    files: String?, databases: [String], safety: SetID?, source: RestoreSource.Name? = nil, rollbackOf: RestoreID? = nil,
    swapped: String? = nil
  ) {
    (self.files, self.databases, self.safety) = (files, databases, safety)
    (self.source, self.rollbackOf, self.swapped) = (source, rollbackOf, swapped)
  }

  static func statement(_ database: String, _ comment: String?) -> String {
    "COMMENT ON DATABASE \(SQL.identifier(database)) IS \(comment.map(SQL.literal) ?? "NULL")"
  }
}
