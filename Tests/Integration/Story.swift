import Foundation
import Support
import Testing

@testable import BackupRestore

/// The whole job, as an operator lives it.
@Test(.servers, .timeLimit(.minutes(45))) func anOperatorLosesEverythingAndGetsItBack() async throws {
  let server = try await Cluster.shared.value
  let site = try await tracker(on: server)

  // A backup before init is refused, and says what to do.
  let early = try await site.run("backup")
  #expect(early.code == 10)
  #expect(early.errors.contains("run init"))
  #expect(try await site.run("init").code == 0)

  // Two nights.
  #expect(try await site.run("backup").code == 0)
  _ = try await site.sql("INSERT INTO issue (title) VALUES ('written today')")
  try await site.script("echo today > attachments/today")
  let second = try await site.run("backup")
  #expect(second.code == 0)
  #expect(second.output.contains("5,001 rows"))
  let schema = try await server.schema(site.database)
  let rows = try await site.sql("SELECT md5(string_agg(i::text, ',' ORDER BY id)) FROM issue i")
  let tree = try await fingerprint(site.files)

  // Somebody empties the tracker, and the third night saves what is left of it.
  _ = try await site.sql("TRUNCATE issue")
  try await site.script("rm -r attachments")
  let third = try await site.run("backup")
  #expect(third.code == 4)
  #expect(third.errors.contains("doubted"))

  // The operator, tired, types restore: it does not choose the emptied set, and does not choose for them.
  let refused = try await site.run("restore")
  #expect(refused.code == 22)
  let good = try await site.sets()[1]
  #expect(refused.errors.contains("restore \(good)"))
  let restored = try await site.run("restore", [good])
  #expect(restored.code == 0, "\(restored.errors)")

  // Everything is back, proven the same.
  expectSame(schema, try await server.schema(site.database))
  #expect(try await site.sql("SELECT md5(string_agg(i::text, ',' ORDER BY id)) FROM issue i") == rows)
  expectSame(tree, try await fingerprint(site.files))
  #expect(try await site.sql("INSERT INTO issue (title) VALUES ('goes on') RETURNING id") == "5002")

  // It was the wrong day after all: back to the emptied state, and again to the good one; then the room is freed.
  #expect(try await site.run("restore", ["--rollback"]).code == 0)
  #expect(try await site.sql("SELECT count(*) FROM issue") == "0")
  #expect(try await site.run("restore", ["--rollback"]).code == 0)
  #expect(try await site.sql("SELECT count(*) FROM issue") == "5002")
  #expect(try await site.run("restore", ["--discard-previous"]).code == 0)
  #expect(try await site.databases() == [site.database])

  // The machine is lost: an empty server, an empty volume, only the repository and its password are left.
  let machine = try await Cluster()
  let fresh = try await restore(site, good, on: machine)
  expectSame(schema, try await machine.schema(site.database))
  expectSame(tree, try await fingerprint(fresh))
}

/// An application that is installed: a database, a directory of attachments.
private func tracker(on server: Cluster) async throws -> Site {
  let site = try await Site(cluster: server)
  try await site.createDatabase(
    "CREATE TABLE issue (id serial PRIMARY KEY, title text); INSERT INTO issue (title) SELECT 'issue ' || g FROM generate_series(1, 5000) g"
  )
  try await site.script(
    "mkdir attachments; for i in $(seq 1 50); do head -c 20000 /dev/urandom > attachments/$i; done; chown -R 901:901 .")
  return site
}

/// Restores into an empty directory, which it returns.
private func restore(_ site: Site, _ set: String, on machine: Cluster) async throws -> String {
  let fresh = site.root + "/fresh"
  try FileManager.default.createDirectory(atPath: fresh, withIntermediateDirectories: true)
  let there = ["POSTGRES_HOST": "127.0.0.1:\(machine.port)", "POSTGRES_PASSWORD": machine.password, "FILES_DIRECTORY": fresh]
  let moved = try await site.run("restore", [set], with: there)
  #expect(moved.code == 0, "\(moved.errors)")
  return fresh
}
