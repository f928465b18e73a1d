import Glibc

/// How text is laid out for a terminal's real width.
enum Terminal {
  /// Of a descriptor in columns; nil: it is no terminal, or does not say.
  static func columns(of descriptor: Int32) -> Int? {
    var size = winsize()
    return ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 20 ? Int(size.ws_col) : nil
  }

  /// The text with its long lines broken between words, their rest indented by two columns more. A line in columns stays as it is, and
  /// a command stays on one line however long it is: of one that is copied in halves the first would run, and `restore` alone restores.
  static func wrapped(_ text: String, width: Int?) -> String {
    guard let width else { return text }
    return text.split(separator: "\n", omittingEmptySubsequences: false).map { wrapped(line: $0, width) }.joined(separator: "\n")
  }

  private static func wrapped(line: Substring, _ width: Int) -> String {
    let indent = line.prefix { $0 == " " }
    let words = line.dropFirst(indent.count).split(separator: " ", omittingEmptySubsequences: false)
    if line.count <= width || words.contains("") { return String(line) }
    var (lines, current) = ([String](), String(indent))
    for unit in units(words) {
      if current.count > indent.count, current.count + unit.count + (current.hasSuffix(" ") ? 0 : 1) > width {
        lines.append(current)
        current = indent + "  "
      }
      current += (current.last.map { $0 == " " } ?? true ? "" : " ") + unit
    }
    return (lines + [current]).joined(separator: "\n")
  }

  /// Words, and commands as one each.
  private static func units(_ words: [Substring]) -> [String] {
    words.reduce(into: []) { units, word in
      if let last = units.last, isPart(word, of: last) {
        units[units.count - 1] = last + " " + word
      } else {
        units.append(String(word))
      }
    }
  }

  private static func isPart(_ word: Substring, of command: String) -> Bool {
    let words = command.split(separator: " ")
    guard let name = words.first?.drop(while: { "(\"".contains($0) }), let end = command.last else { return false }
    if statements.contains(String(name)) { return !";)".contains(end) }
    if ";,:)".contains(end) { return false }
    if programs.contains(String(name)) { return true }
    guard own.contains(String(name)) || name.firstMatch(of: /^[A-Z_]+=\S/) != nil else { return false }
    // In a sentence a word of it follows a command's name as well.
    return word.first?.isLowercase == false || own.contains(String(word)) || words.last?.hasPrefix("--") == true
  }

  private static let own: Set<String> = ["init", "backup", "restore", "backup.sh", "restore.sh", "init.sh"]
  private static let programs: Set<String> = ["kubectl", "restic", "chattr", "chown", "chmod", "mv", "psql", "pg_dump"]
  private static let statements: Set<String> = ["ALTER", "CREATE", "DROP", "GRANT", "REVOKE", "SELECT"]
}
