import Foundation
import Support
import Testing

@testable import BackupRestore

/// The README says how a set is restored with restic and PostgreSQL's programs alone: typed from there, on a new server.
@Test(.servers, .timeLimit(.minutes(45))) func aSetIsRestoredWithoutThisToolkit() async throws {
  let site = try await Site(cluster: try await Cluster.shared.value)
  let role = "owner_of_\(site.database)"
  try await site.createDatabase(
    """
    CREATE TABLE issue (id serial PRIMARY KEY, title text); INSERT INTO issue (title) SELECT 'issue ' || g FROM generate_series(1, 500) g;
    CREATE ROLE \(role); ALTER TABLE issue OWNER TO \(role)
    """)
  try await site.script("mkdir attachments; echo kept >attachments/4711; echo other >other")
  try await site.run("init")
  #expect(try await site.run("backup").code == 0)
  let document = try await site.restic("sets", ["dump", "latest", "set.json"]).output
  let record = try Record(decoding: Array(document.utf8), set: "latest")

  let machine = try await Cluster()
  let placeholders = [
    "…": "'repository'\\''s own: pass=word'", "BASE": site.repository, "DIRECTORY": site.root + "/by-hand",
    "FILES": try #require(record.files).snapshot, "DUMP": record.databases[0].snapshot, "jira": site.database,
  ]
  let filled = { (line: String) in placeholders.reduce(line) { $0.replacing($1.key, with: $1.value) } }
  let lines = Readme.block(after: "without this toolkit?**").map(filled)
  #expect(lines.count == 7)
  let environment = Shell.environment.merging(machine.environment) { $1 }
    .merging(["PATH": Cluster.binaries + ":" + Shell.environment["PATH"]!, "RESTIC_CACHE_DIR": site.root + "/cache"]) { $1 }
  try await Shell.script(lines.joined(separator: "\n"), in: site.root, environment: environment)
  expectSame(try await site.cluster!.schema(site.database), try await machine.schema(site.database))
  #expect(try await machine.psql(site.database, "SELECT count(*), sum(id) FROM issue").output == "500|125250\n")
  expectSame(try await fingerprint(site.files), try await fingerprint(site.root + "/by-hand"))

  let one = try #require(Readme.text.firstMatch(of: /\*\*And one file\?\*\* The same: `([^`]*)`/)).1
  try await Shell.check("rm", ["-r", site.root + "/by-hand"])
  try await Shell.script(lines[0] + "\n" + filled(String(one)), in: site.root, environment: environment)
  #expect(try await Shell.script("find . -type f", in: site.root + "/by-hand") == "./attachments/4711\n")
}
