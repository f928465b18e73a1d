/// restic's patterns are Go's filepath.Match: a name with `*` or `[` must be escaped to mean itself.
enum ResticPattern {
  static func escaped(_ path: String) -> String {
    path.prefixing("*?[]\\", with: "\\")
  }
}
