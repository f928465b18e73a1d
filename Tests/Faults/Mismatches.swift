import Foundation
import Support
import Testing

@testable import BackupRestore

/// Sets that do not fit the server, the clients, or their own evidence.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Mismatches {
  /// A record that promises more than the dump holds: refused by name, unless the operator accepts it.
  @Test(arguments: [
    ("a row is missing", "DELETE FROM rest WHERE id = 7"), ("a row is another", "UPDATE rest SET text = 'x' WHERE id = 7"),
    ("a table is missing", "DROP TABLE rest"),
  ]) func aDumpThatIsNotWhatItsEvidenceSaysChangesNothing(_ fault: String, _ sql: String) async throws {
    let broken = try await Broken(megabytes: 1)
    // The snapshot is exported and the evidence taken; then pg_dump is given another moment than that.
    let path = try broken.site.fake(
      "pg_dump",
      """
      [ "$1" = --version ] && exec \(Cluster.binaries)/pg_dump --version
      for argument; do shift; case $argument in --snapshot*) ;; *) set -- "$@" "$argument" ;; esac; done
      PGDATABASE='\(broken.site.database)_other' exec \(Cluster.binaries)/pg_dump "$@" --dbname='\(broken.site.database)_other'
      """)
    try await broken.cluster.psql(
      "postgres", "CREATE DATABASE \(broken.site.database)_other TEMPLATE \(SQL.identifier(broken.site.database))")
    try await broken.cluster.psql(broken.site.database + "_other", sql)
    // A dump that shrank so much is doubted the same night; somebody says that it is right.
    let saved = try await broken.site.run("backup", with: ["PATH": path])
    #expect(saved.code == (fault.contains("table") ? 4 : 0), "\(saved)")
    if saved.code == 4 { try await broken.succeed("backup", "--accept", try #require(try await broken.site.sets().last)) }
    try await broken.write("second")
    let refused = try await broken.site.run("restore")
    #expect(refused.code == 21 && refused.errors.contains("rest"), "\(fault): \(refused)")
    #expect(try await broken.live() == "second second")
    let drill = try await broken.site.run("restore", ["--drill"])
    #expect(drill.code == 21, "\(fault): \(drill)")
    try await broken.expectTidy(fault)
    try await broken.succeed("restore", try await broken.site.sets()[0])
    #expect(try await broken.live() == "first first")
  }

  @Test func anExtensionTheServerDoesNotHaveIsRefusedBeforeAnythingIsMade() async throws {
    let broken = try await Broken(megabytes: 1)
    _ = try await broken.site.sql("CREATE EXTENSION hstore; CREATE TABLE pairs AS SELECT 'a=>1'::hstore AS pair")
    try await broken.succeed("backup")
    let bare = try await Cluster(without: "hstore")
    let there = ["POSTGRES_HOST": "127.0.0.1:\(bare.port)", "POSTGRES_PASSWORD": bare.password]
    let refused = try await broken.site.run("restore", with: there)
    #expect(refused.code == 22 && refused.errors.contains("extension hstore is not installed on the server"), "\(refused)")
    #expect(try await bare.psql("postgres", "SELECT count(*) FROM pg_database").output == "3\n")
    try await broken.succeed("restore")
    #expect(try await broken.site.sql("SELECT pair -> 'a' FROM pairs") == "1")
  }

  @Test func aRoleThatIsMissingAndCannotBeMadeIsRefusedByName() async throws {
    let broken = try await Broken(megabytes: 1)
    let role = "reader_\(broken.site.database)"
    try await broken.cluster.psql("postgres", "CREATE ROLE \(role)")
    _ = try await broken.site.sql("GRANT SELECT ON word TO \(role)")
    try await broken.succeed("backup")
    let other = try await Cluster()
    try await other.psql("postgres", "CREATE ROLE app LOGIN CREATEDB PASSWORD 'app'")
    let there = ["POSTGRES_HOST": "127.0.0.1:\(other.port)", "POSTGRES_USER": "app", "POSTGRES_PASSWORD": "app"]
    let refused = try await broken.site.run("restore", with: there)
    #expect(refused.code == 22 && refused.errors.contains("CREATE ROLE \"\(role)\""), "\(refused)")
    #expect(try await other.psql("postgres", "SELECT count(*) FROM pg_database").output == "3\n")
  }

  /// An older pg_restore cannot read a newer archive; an older pg_dump cannot read a newer server.
  @Test func clientsThatAreTooOldAreRefusedByName() async throws {
    let broken = try await Broken(megabytes: 1)
    try await broken.write("second")
    let path = try broken.site.fake("pg_dump", "echo 'pg_dump (PostgreSQL) 14.1'")
    for (program, code, says) in [
      ("backup", 20, "the server is PostgreSQL 15, and the newest pg_dump here is 14"),
      ("restore", 22, "the archive was made by pg_dump 15, and the newest pg_restore here is 14"),
    ] as [(String, Int32, String)] {
      let run = try await Shell.run(
        "unshare", ["-m", "sh", "-c", "mount -t tmpfs none /usr/lib/postgresql && exec \"$0\"", Site.products + "/" + program],
        environment: broken.site.settings.merging(["PATH": path]) { $1 }, check: false)
      #expect(run.code == code && run.errors.contains(says), "\(run)")
    }
    #expect(try await broken.live() == "second second")
    #expect(try await broken.site.sets().count == 1)
  }
}
