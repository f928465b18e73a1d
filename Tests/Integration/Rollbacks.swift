import Foundation
import Glibc
import Support
import SystemPackage
import Testing

@testable import BackupRestore

/// What a restore leaves behind: the way back, and what the next run makes of an interrupted one.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Rollbacks {
  @Test func filesAndDatabaseThatWereReplacedTogetherGoBackTogether() async throws {
    let site = try await Restores.site()
    try await Restores.change(site, to: "live")
    #expect(try await site.run("restore").code == 0)
    for (option, changes) in [("--rollback", ["POSTGRES_DB": nil]), ("--discard-previous", ["POSTGRES_DB": "elsewhere"])]
      as [(String, [String: String?])]
    {
      let refused = try await site.run("restore", [option], with: changes)
      #expect(refused.code == 22 && refused.errors.contains("replaced database \(site.database) too"), "\(refused.errors)")
      #expect(try await Restores.state(site) == "saved saved")
    }
    #expect(try await site.run("restore", ["--rollback"]).code == 0)
    #expect(try await Restores.state(site) == "live live")
    #expect(try await site.run("restore", ["--discard-previous"]).code == 0)
    // Where there was no database before, none can come back, and it is said.
    try await site.cluster!.psql("postgres", "DROP DATABASE \(site.database)")
    #expect(try await site.run("restore").code == 0)
    let back = try await site.run("restore", ["--rollback"])
    #expect(back.code == 0 && back.output.contains("database \(site.database) stays as it is"), "\(back.output)\(back.errors)")
    // --in-place saves what is live first: without the records' repository it is refused before a part is saved.
    try await Shell.check("mv", [site.repository + "/sets", site.root + "/sets"])
    let parts = try await site.restic("files", ["snapshots", "--json"]).output
    #expect(try await site.run("restore", ["--in-place", "20"]).code == 10)
    #expect(try await site.restic("files", ["snapshots", "--json"]).output == parts)
  }

  @Test func whatWasLiveIsKeptRolledBackAndDiscarded() async throws {
    let site = try await Restores.site()
    try await Restores.change(site, to: "one")
    #expect(try await site.run("restore").code == 0)
    try await Restores.change(site, to: "two")
    #expect(try await site.run("restore").code == 0)
    let status = try await site.run("restore", ["--status"])
    #expect(status.code == 0)
    #expect(status.output.components(separatedBy: ".previous.").count == 3)
    let kept = try await Self.kept(site)
    #expect(kept.count == 2)
    // Two are kept, so discarding wants a name; rolling back takes the newest.
    #expect(try await site.run("restore", ["--discard-previous"]).code == 22)
    let rolled = try await site.run("restore", ["--rollback"])
    #expect(rolled.code == 0, "\(rolled.errors)")
    #expect(try await Restores.state(site) == "two two")
    #expect(FileManager.default.fileExists(atPath: site.files + "/only-two"))
    // The older one by name, after new writes.
    try await Restores.change(site, to: "three")
    #expect(try await site.run("restore", ["--rollback", kept[0]]).code == 0)
    #expect(try await Restores.state(site) == "one one")
    // What each rollback replaced is kept as well.
    let after = try await Self.kept(site)
    #expect(after.count == 2)
    for id in after { #expect(try await site.run("restore", ["--discard-previous", id]).code == 0) }
    #expect(try await site.databases() == [site.database])
    #expect(try FilePath(site.work).entryNames().isEmpty)
    #expect(try await site.run("restore", ["--rollback"]).code == 22)
    #expect(try await Restores.state(site) == "one one")
  }

  static func kept(_ site: Site) async throws -> [String] {
    try await site.databases().compactMap { DatabaseName.parse($0, live: site.database) }.filter { !$0.isStaging }.map(\.id.text)
      .sorted()
  }

  @Test func anInterruptedRestoreIsFinishedOrUndoneByTheNextRun() async throws {
    let site = try await Restores.site()
    try await Restores.change(site, to: "live")
    var outcomes: Set<String> = []
    for delay in [600, 1200, 1800, 2200, 2600, 3000, 3400, 4000, 5000] {
      let process = Process()
      process.executableURL = URL(filePath: Site.products + "/restore")
      process.environment = site.settings
      process.standardError = FileHandle.nullDevice
      process.standardOutput = FileHandle.nullDevice
      try process.run()
      try await Task.sleep(for: .milliseconds(delay))
      kill(process.processIdentifier, SIGKILL)
      process.waitUntilExit()
      // The orphans of a killed run end by themselves.
      try await site.untilIdle()
      let next = try await site.run("restore", ["--only", "files", "--dry-run"])
      #expect([0, 22].contains(next.code))
      #expect(try await site.run("backup").code != 1, "backup finishes what was committed")
      let state = try await Restores.state(site)
      #expect(["live live", "saved saved"].contains(state), "never a mixture: \(state)")
      outcomes.insert(state)
      if state == "saved saved" { try await Restores.change(site, to: "live") }
    }
    let first = try await site.sets()[0]
    let last = try await site.run("restore", [first])
    #expect(last.code == 0, "\(last.errors)")
    #expect(try await Restores.state(site) == "saved saved")
    #expect(try await site.databases().allSatisfy { !$0.contains(".staging.") })
  }

  @Test func aCrashBetweenTheCommitAndTheFilesIsFinishedByBackupToo() async throws {
    let site = try await Restores.site()
    try await Restores.change(site, to: "live")
    // The state that kill -9 leaves right after the databases were renamed: staged files, a ready journal, new names.
    let id = RestoreID(Date())
    let exchange = try Swap(directory: Directory(.init(site.files)), server: nil).makeExchange(id)
    try exchange.work.make(Exchange.treeName)
    try await Shell.script("echo saved > a", in: exchange.tree.string)
    let staging = DatabaseName.staging(site.database, id)
    try await site.cluster!.psql("postgres", "CREATE DATABASE \(SQL.identifier(staging)) TEMPLATE \(site.database)")
    try await site.cluster!.psql(staging, "UPDATE t SET v = 'saved'")
    let renames = [
      Server.Rename(from: site.database, to: DatabaseName.previous(site.database, id)),
      Server.Rename(from: staging, to: site.database),
    ]
    var oids: [String: String] = [:]
    for name in renames.map(\.from) {
      let oid = "SELECT oid FROM pg_database WHERE datname = \(SQL.literal(name))"
      oids[name] = try await site.cluster!.psql("postgres", oid).output.trimming("\n")
    }
    let system = try await site.cluster!.psql("postgres", "SELECT system_identifier FROM pg_control_system()").output
    let journal = SwapJournal(
      id: id, source: nil, rollbackOf: nil, phase: .ready, renames: renames, paths: ["a"],
      entries: try exchange.entries(from: exchange.work, paths: ["a"]), root: nil, rootBefore: nil,
      databases: Server.Identities(system: system.trimming("\n"), oids: oids))
    try journal.write(in: exchange.work)
    // Before the rename: backup leaves it, and the live state is the old one.
    #expect(try await site.run("restore", ["--status"]).output.contains("unfinished: restore \(id)"))
    #expect(try await site.run("backup").code == 0)
    #expect(try await Restores.state(site) == "live live")
    for rename in renames {
      try await site.cluster!.psql(
        "postgres", "ALTER DATABASE \(SQL.identifier(rename.from)) RENAME TO \(SQL.identifier(rename.to))")
    }
    let finishing = try await site.run("backup")
    #expect(finishing.code == 0, "\(finishing.errors)")
    #expect(finishing.errors.contains("restore \(id) was interrupted after its commit: finished now"))
    #expect(try await Restores.state(site) == "saved saved")
    #expect(try await site.run("restore", ["--rollback", id.text]).code == 0)
    #expect(try await Restores.state(site) == "live live")
  }
}
