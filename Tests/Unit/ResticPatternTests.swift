import Testing

@testable import BackupRestore

@Suite struct ResticPatternTests {
  /// As restic 0.19.1 leaves them out (measured, `restic backup --dry-run -vv`).
  @Test(arguments: [
    ("cache", "cache", true), ("cache", "a/cache", true), ("cache", "a/cache/b", true), ("cache", "mycache", false),
    ("/cache", "cache/x", true), ("/cache", "a/cache", false), ("*.tmp", "a/b.tmp", true), ("a/*/c", "x/a/b/c/d", true),
    ("/a/**/z", "a/b/c/z", true), ("/a/**/z", "b/z", false), ("[ab]?", "ax", true), ("[ab]?", "axx", false), ("a\\*", "a*", true),
    ("a\\*", "ab", false), ("/", "a", false),
  ]) func aPathIsLeftOut(_ pattern: String, _ path: String, _ isLeftOut: Bool) {
    #expect(ResticPattern.leavesOut(path, by: [pattern]) == isLeftOut)
  }

  @Test func theLastPatternThatFitsDecidesUnlessTheDirectoryAboveIsLeftOut() {
    #expect(!ResticPattern.leavesOut("keep.log", by: ["*.log", "!keep.log"]))
    #expect(ResticPattern.leavesOut("keep.log", by: ["!keep.log", "*.log"]))
    #expect(ResticPattern.leavesOut("d/keep.log", by: ["d", "!keep.log"]))
    #expect(!ResticPattern.leavesOut("a", by: []))
  }
}
