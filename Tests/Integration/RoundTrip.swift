import Support
import Testing

@testable import BackupRestore

@Test func aFileAndATableComeBack() async throws {
  let site = try await Site(cluster: try await Cluster.shared.value)
  try await site.createDatabase("CREATE TABLE t(id int); INSERT INTO t VALUES (1), (2)")
  try await site.script("echo hello > a")
  #expect(try await site.run("init").code == 0)
  #expect(try await site.run("backup").code == 0)
  _ = try await site.sql("DELETE FROM t")
  try await site.script("rm a")
  #expect(try await site.run("restore").code == 0)
  #expect(try await site.sql("SELECT count(*) FROM t") == "2")
  #expect(try await fingerprint(site.files).contains("./a"))
}
