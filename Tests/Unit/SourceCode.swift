import Foundation

/// A file of the core, as the tests that look after the house read it.
struct SourceCode: Sendable {
  let folder: String
  let name: String
  /// As it is written.
  let lines: [Substring]
  /// Without comments and without the texts of literals; what stands in `\(…)` is code.
  let code: String
  /// Types that are defined in it, outside of others.
  let definitions: Set<String>

  static let core = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Sources/BackupRestore")
    .standardizedFileURL

  static let all: [SourceCode] = {
    let files = FileManager.default.enumerator(at: core, includingPropertiesForKeys: nil)?.compactMap { $0 as? URL } ?? []
    return files.filter { $0.pathExtension == "swift" }.map { file in
      let text = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
      let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
      return SourceCode(
        folder: file.deletingLastPathComponent().lastPathComponent, name: file.lastPathComponent, lines: lines,
        code: code(of: text), definitions: definitions(in: lines))
    }.sorted { ($0.folder, $0.name) < ($1.folder, $1.name) }
  }()

  /// As far as this project writes Swift: no raw literals, no `/* */`, regular expressions on one line.
  static func code(of text: String) -> String {
    var scanner = Scanner(bytes: Array(text.utf8))
    scanner.code(until: nil)
    return String(decoding: scanner.result, as: UTF8.self)
  }

  private struct Scanner {
    let bytes: [UInt8]
    var place = 0
    var result: [UInt8] = []

    private func sees(_ text: StaticString) -> Bool {
      text.withUTF8Buffer { bytes[place...].starts(with: $0) }
    }

    mutating func code(until end: UInt8?) {
      var depth = 0
      while place < bytes.count {
        let byte = bytes[place]
        if byte == end, depth == 0 { return }
        if end != nil { depth += byte == UInt8(ascii: "(") ? 1 : byte == UInt8(ascii: ")") ? -1 : 0 }
        if sees("//") {
          while place < bytes.count, bytes[place] != UInt8(ascii: "\n") { place += 1 }
        } else if sees("\"\"\"") {
          literal("\"\"\"", length: 3)
        } else if sees("\"") {
          literal("\"", length: 1)
        } else if byte == UInt8(ascii: "/"), startsExpression() {
          literal("/", length: 1)
        } else {
          result.append(byte)
          place += 1
        }
      }
    }

    /// A `/` after what no division follows, and before what one does not.
    private func startsExpression() -> Bool {
      let before = bytes[..<place].last { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\n") } ?? 0
      let after = place + 1 < bytes.count ? bytes[place + 1] : 0
      return "(,=:".utf8.contains(before) && after != UInt8(ascii: " ") && after != UInt8(ascii: "\n")
    }

    private mutating func literal(_ mark: StaticString, length: Int) {
      place += length
      result.append(UInt8(ascii: " "))
      while place < bytes.count, !sees(mark) {
        if sees("\\("), length > 0, !(mark.utf8CodeUnitCount == 1 && mark.utf8Start.pointee == UInt8(ascii: "/")) {
          place += 2
          code(until: UInt8(ascii: ")"))
          place += 1
        } else {
          place += bytes[place] == UInt8(ascii: "\\") ? 2 : 1
        }
      }
      place += length
      result.append(UInt8(ascii: " "))
    }
  }

  /// Types that are named in it, without those behind a dot.
  var types: Set<String> {
    var found: Set<String> = []
    var word: [UInt8] = []
    var before: UInt8 = 0
    for byte in Array(code.utf8) + [0] {
      let isWord =
        byte == UInt8(ascii: "_") || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
        || (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"))
      if isWord {
        word.append(byte)
        continue
      }
      if let first = word.first, first >= UInt8(ascii: "A"), first <= UInt8(ascii: "Z"), before != UInt8(ascii: ".") {
        found.insert(String(decoding: word, as: UTF8.self))
      }
      word = []
      before = byte
    }
    return found
  }

  private static func definitions(in lines: [Substring]) -> Set<String> {
    let definition =
      /^(?:(?:public|package|final|indirect|private|fileprivate) )*(?:struct|class|enum|actor|protocol|typealias) (\w+)/
    // By far most lines are indented.
    return Set(
      lines.filter { $0.first?.isLowercase == true }.compactMap { try? definition.firstMatch(in: $0).map { String($0.1) } })
  }

  struct Function {
    let line: Int
    let head: Substring
    let length: Int
  }

  /// Those with a body of several lines, by the indentation that the formatter gives them.
  var functions: [Function] {
    lines.indices.compactMap { start in
      let line = lines[start]
      let indentation = line.prefix { $0 == " " }
      let head = line.dropFirst(indentation.count)
      let isFunction =
        head.contains("func ") || head.contains("init(") && !head.contains(".init(") && !head.contains("self.init(")
      if head.hasPrefix("//") || !isFunction || (head.contains("{") && head.hasSuffix("}")) { return nil }
      guard let end = lines[start...].firstIndex(of: indentation + "}") else { return nil }
      return Function(line: start + 1, head: head, length: end - start + 1)
    }
  }
}
