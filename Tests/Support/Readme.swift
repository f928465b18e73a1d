import Foundation

/// What the README tells somebody to type.
public enum Readme {
  public static let text = {
    let path = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../README.md")
    return (try? String(contentsOf: path, encoding: .utf8)) ?? ""
  }()

  /// The lines of the first block of code after that text, without comments.
  public static func block(after beginning: String) -> [String] {
    guard let start = text.range(of: beginning) else { return [] }
    let fenced = text[start.upperBound...].components(separatedBy: "```")
    guard fenced.count > 1 else { return [] }
    return fenced[1].split(separator: "\n").map { line in
      let command = line.firstRange(of: "  #").map { line[..<$0.lowerBound] } ?? line
      return command.trimmingCharacters(in: .whitespaces)
    }
  }
}
