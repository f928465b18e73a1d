/// Numbers in a program's own version line.
enum Version {
  /// `restic 0.19.1 compiled with…` → [0, 19, 1]; `pg_dump (PostgreSQL) 15.18 (Debian…)` → [15, 18].
  static func numbers(_ text: String) -> [Int] {
    let word = text.split(whereSeparator: \.isWhitespace).first { $0.first?.isNumber == true } ?? ""
    return word.split(separator: ".").compactMap { Int($0.prefix { $0.isNumber }) }
  }
}
