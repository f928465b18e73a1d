import Glibc

/// restic's patterns are Go's filepath.Match, component by component: a name with `*` or `[` must be escaped to mean itself.
enum ResticPattern {
  static func escaped(_ path: String) -> String {
    path.prefixing("*?[]\\", with: "\\")
  }

  /// Whether restic leaves out a path below FILES_DIRECTORY by patterns of FILES_EXCLUDE: what fits it, or a directory above it. The last
  /// pattern that fits decides, and `!` takes back.
  static func leavesOut(_ path: String, by patterns: [String]) -> Bool {
    if patterns.isEmpty { return false }
    let names = path.split(separator: "/").map(String.init)
    return names.indices.contains { end in
      let last = patterns.last { fits(names[...end], $0.hasPrefix("!") ? String($0.dropFirst()) : $0) }
      return last.map { !$0.hasPrefix("!") } ?? false
    }
  }

  /// A pattern that begins with `/` from the beginning, any other from any component on.
  private static func fits(_ names: ArraySlice<String>, _ pattern: String) -> Bool {
    let parts = pattern.split(separator: "/").map(String.init)[...]
    if parts.isEmpty { return false }
    return (pattern.hasPrefix("/") ? [names.startIndex] : Array(names.indices)).contains { fit(names[$0...], parts) }
  }

  private static func fit(_ names: ArraySlice<String>, _ parts: ArraySlice<String>) -> Bool {
    guard let part = parts.first else { return names.isEmpty }
    if part == "**" { return (names.startIndex...names.endIndex).contains { fit(names[$0...], parts.dropFirst()) } }
    guard let name = names.first, fnmatch(part, name, 0) == 0 else { return false }
    return fit(names.dropFirst(), parts.dropFirst())
  }
}
