import FoundationEssentials

/// A set, by the UTC second it began: `20261123T231000Z`.
package typealias SetID = SecondID<OfSet>

/// A restore, rollback or drill, by the UTC second it began.
package typealias RestoreID = SecondID<OfRestore>

package enum OfSet {}
package enum OfRestore {}

/// A UTC second, `20261123T231000Z`, as the name of something that began then. One of another thing is another type.
package struct SecondID<Thing>: Hashable, Comparable, Codable, Sendable, CustomStringConvertible {
  let text: String
  package var description: String { text }

  init(_ date: Date) {
    text = Format.time(date).filter { $0 != "-" && $0 != ":" }
  }

  /// Nil where the text is not such a second.
  package init?(_ text: String) {
    let bytes = Array(text.utf8)
    let digits = bytes.enumerated().allSatisfy { index, byte in
      index == 8 ? byte == UInt8(ascii: "T") : index == 15 ? byte == UInt8(ascii: "Z") : (0x30...0x39).contains(byte)
    }
    guard bytes.count == 16, digits else { return nil }
    self.text = text
    // The parser takes the 30th of February for a day in March.
    guard let date, Self(date).text == text else { return nil }
  }

  package init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let id = Self(text) else {
      throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "not an id: \(text)"))
    }
    self = id
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }

  var date: Date? {
    let t = Array(text)
    let at = { (range: Range<Int>) in String(t[range]) }
    return Format.read("\(at(0..<4))-\(at(4..<6))-\(at(6..<8))T\(at(9..<11)):\(at(11..<13)):\(at(13..<15))Z")?.date
  }

  func isAhead(of now: Date) -> Bool { date?.isAhead(of: now) == true }

  package static func < (a: Self, b: Self) -> Bool { a.text < b.text }
}

extension Date {
  /// By more than an hour: clocks that differ by less do no harm.
  func isAhead(of now: Date) -> Bool { self > now.addingTimeInterval(3600) }
}

extension Snapshot {
  func isAhead(of now: Date) -> Bool { date?.isAhead(of: now) == true }
}
