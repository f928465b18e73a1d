import Foundation
import Support
import Testing

@testable import BackupRestore

/// Repositories as they were: two sets of 0.1.0, and the same application as the image before it saved it.
@Suite(.servers, .timeLimit(.minutes(45))) struct Frozen {
  /// What is in `Tests/Frozen/tree.txt`; a directory's size is its file system's.
  private static let tree =
    #"find . -mindepth 1 ! -path './.backup*' -printf '%P %y %m %U:%G %T@ %s %l\n' | sed -E 's/^(\S.* d [0-9]+ \S+ \S+) [0-9]+ /\1 /' | LC_ALL=C sort"#

  /// One after the other: roles and databases have fixed names.
  @Test func whatEarlierVersionsSavedIsRestored() async throws {
    let cluster = try await Cluster.shared.value
    let frozen = Needs.project + "/Tests/Frozen"
    for base in ["old", "base"] {
      let site = try await Site(cluster: cluster, database: "frozen", settings: ["RESTIC_PASSWORD": "frozen password"])
      try await Shell.script(
        "tar -xzf '\(frozen)/repositories.tar.gz' && mkdir -p base/{files,pg-database,sets}/locks old/{files,pg-database,pg-role}/locks",
        in: site.root)
      let restored = try await site.run("restore", with: ["RESTIC_REPOSITORY": site.root + "/" + base])
      #expect(restored.code == 0, "\(base): \(restored.errors)")
      expectSame(
        try String(contentsOfFile: frozen + "/tree.txt", encoding: .utf8), try await Shell.script(Self.tree, in: site.files))
      let rows = try await cluster.psql("frozen", try String(contentsOfFile: frozen + "/rows.sql", encoding: .utf8)).output
      let expected = try String(contentsOfFile: frozen + "/rows.txt", encoding: .utf8)
      // A dump without CREATE DATABASE knows neither its owner nor its comment.
      let lines = base == "old" ? 29 : 30
      expectSame(
        expected.split(separator: "\n").prefix(lines).joined(separator: "\n"),
        rows.split(separator: "\n").prefix(lines).joined(separator: "\n"))
      // Old snapshots hold nothing that a drill could prove them by.
      let drilled = try await site.run("restore", ["--drill"], with: ["RESTIC_REPOSITORY": site.root + "/" + base])
      #expect(drilled.code == (base == "old" ? 22 : 0), "\(base): \(drilled.errors)")
      try await cluster.psql("postgres", "DROP DATABASE frozen WITH (FORCE)")
    }
  }
}
