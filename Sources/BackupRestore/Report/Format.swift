import FoundationEssentials
import Glibc

/// Numbers and times as people read them.
package enum Format {
  /// 1536 → `1.5 KiB`.
  package static func bytes(_ count: Int) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(count)
    var unit = 0
    while value >= 1024, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return unit == 0 ? "\(count) B" : "\(tenths(value)) \(units[unit])"
  }

  /// 1234567 → `1,234,567`.
  package static func count(_ number: Int) -> String {
    var digits = String(number.magnitude)
    var position = digits.count - 3
    while position > 0 {
      digits.insert(",", at: digits.index(digits.startIndex, offsetBy: position))
      position -= 3
    }
    return (number < 0 ? "-" : "") + digits
  }

  /// 1 → `1 file`, 2000 → `2,000 files`.
  static func count(_ number: Int, _ one: String, _ many: String) -> String { "\(count(number)) \(number == 1 ? one : many)" }

  /// 3725 s → `1 h 2 min`; 12.3 s → `12 s`; 0.4 s → `0.4 s`.
  /// The first three: a tag is an argument, and Linux takes 128 KiB.
  static func some(_ names: [String]) -> String {
    names.prefix(3).joined(separator: " ") + (names.count > 3 ? " and \(names.count - 3) more" : "")
  }

  static func duration(_ seconds: Double) -> String {
    switch seconds {
    case ..<10: "\(tenths(max(0, seconds))) s"
    case ..<60: "\(Int(seconds)) s"
    case ..<3600: "\(Int(seconds) / 60) min \(Int(seconds) % 60) s"
    case ..<86400: "\(Int(seconds) / 3600) h \(Int(seconds) % 3600 / 60) min"
    default: "\(Int(seconds) / 86400) d \(Int(seconds) % 86400 / 3600) h"
    }
  }

  /// RFC 3339, UTC, whole seconds.
  static func time(_ date: Date) -> String { date.formatted(.iso8601) }

  /// As the clock on the wall has it where somebody reads it, in UTC where something does.
  static func local(_ date: Date) -> String {
    isatty(STDOUT_FILENO) == 1 ? local(date, "%Y-%m-%d %H:%M:%S %Z") : time(date)
  }

  /// The time of day, with its zone.
  static func clock(_ date: Date) -> String { local(date, "%H:%M:%S %Z") }

  /// In the zone of TZ, by strftime(3).
  private static func local(_ date: Date, _ format: String) -> String {
    var (seconds, parts) = (time_t(date.timeIntervalSince1970), tm())
    guard localtime_r(&seconds, &parts) != nil else { return time(date) }
    let text = [CChar](unsafeUninitializedCapacity: 64) { $1 = strftime($0.baseAddress, 64, format, &parts) }
    return String(decoding: text.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// RFC 3339 with up to nine digits of fraction, which the date leaves out; nil where it is no such text.
  static func read(_ time: String) -> (date: Date, nanoseconds: Int)? {
    guard let zone = time.dropFirst(19).firstIndex(where: { "Z+-".contains($0) }),
      let date = try? Date(String(time.prefix(19) + time[zone...]), strategy: .iso8601)
    else { return nil }
    let fraction = time[..<zone].dropFirst(20).prefix(9)
    return (date, Int(fraction + String(repeating: "0", count: 9 - fraction.count)) ?? 0)
  }

  private static func tenths(_ value: Double) -> String {
    let rounded = Int((value * 10).rounded())
    return "\(rounded / 10).\(rounded % 10)"
  }
}

extension Format {
  /// A path as a shell takes it.
  static func shell(_ path: String) -> String {
    let isPlain = path.unicodeScalars.allSatisfy {
      $0.isASCII && ($0.properties.isAlphabetic || "0123456789/._-+@%:,=".unicodeScalars.contains($0))
    }
    return isPlain ? path : "'" + printable(path).replacing("'", with: "'\\''") + "'"
  }
}

/// Columns of text, aligned; the first row is the heading.
struct TextTable {
  private var rows: [[String]]

  init(_ heading: [String]) { rows = [heading] }

  mutating func add(_ row: [String]) { rows.append(row.map(printable)) }

  /// As wide as the terminal; as wide as it needs to be where it is read by something else.
  var text: String { text(width: Terminal.columns(of: STDOUT_FILENO)) }

  /// No name and no id is broken: columns that do not fit make a second line.
  func text(width: Int?) -> String {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    var (fitting, used) = (0, 0)
    for column in widths {
      if let width, fitting > 0, used + column > width { break }
      (fitting, used) = (fitting + 1, used + column + 2)
    }
    return rows.flatMap { row in
      let first = Self.line(Array(row[..<fitting]), widths)
      let rest = row[fitting...].filter { !$0.isEmpty }.joined(separator: "  ")
      return rest.isEmpty ? [first] : [first, "  " + rest]
    }.joined(separator: "\n")
  }

  private static func line(_ cells: [String], _ widths: [Int]) -> String {
    var line = ""
    for (column, cell) in cells.enumerated() {
      line += cell
      if column < cells.count - 1 { line += String(repeating: " ", count: widths[column] - cell.count + 2) }
    }
    return line
  }
}

/// The text with control characters shown as `\u{…}`: a name from a repository must not move a terminal's cursor.
func printable(_ text: String) -> String { printable(text, keeping: nil) }

/// `kept` stays: what is shown as a whole has lines.
func printable(_ text: String, keeping kept: Unicode.Scalar?) -> String {
  // Cc holds C1 as well: U+009B starts a control sequence just as ESC [ does.
  let isControl = { (scalar: Unicode.Scalar) in scalar.properties.generalCategory == .control && scalar != kept }
  return text.unicodeScalars.contains(where: isControl)
    ? text.unicodeScalars.map { isControl($0) ? $0.escaped(asASCII: true) : String($0) }.joined() : text
}

extension ContinuousClock.Instant {
  /// Since then, as people read it.
  var elapsed: String { Format.duration(duration(to: .now).inSeconds) }
}

extension Duration {
  package var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

/// Bytes as printable text that can be turned back: everything but letters, digits, `_`, `-` and `.` as `%XX`.
func percentEncoded(_ bytes: some Sequence<UInt8>) -> String {
  bytes.map { byte in
    let scalar = Unicode.Scalar(byte)
    if scalar.isASCII, scalar.properties.isAlphabetic || (0x30...0x39).contains(byte) || "_-.".unicodeScalars.contains(scalar) {
      return String(Character(scalar))
    }
    return "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
  }.joined()
}

/// The bytes that `percentEncoded` made the text from; nil where it is not such a text.
func percentDecoded(_ text: some StringProtocol) -> [UInt8]? {
  var bytes: [UInt8] = []
  var rest = Array(text.utf8)[...]
  while let byte = rest.popFirst() {
    if byte != UInt8(ascii: "%") {
      bytes.append(byte)
    } else {
      guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else { return nil }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
  }
  return bytes
}

extension String {
  /// Puts `prefix` before each scalar of `special`. Scalars, not characters: a quote followed by a combining mark is one
  /// character to Swift and not equal to the quote, but to PostgreSQL and restic it is a quote (measured).
  func prefixing(_ special: String, with prefix: Unicode.Scalar) -> String {
    var result = String.UnicodeScalarView()
    for scalar in unicodeScalars {
      if special.unicodeScalars.contains(scalar) { result.append(prefix) }
      result.append(scalar)
    }
    return String(result)
  }
}
