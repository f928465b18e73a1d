import Foundation
import Support
import Testing

@testable import BackupRestore

/// Everything that `HostileApplication` and `HostileRole` try and more, by its uid and by its role, at random moments of all that a run does.
extension HostileApplication {
  /// The role's own server: nothing but it changes roles there.
  struct Base: Sendable {
    let ground: Ground
    let cluster: Cluster
    var site: Site { ground.site }
    /// Made by the server, for a superuser alone.
    var mark: String { cluster.directory + "/mark" }
    static let role = "hostile"

    init() async throws {
      cluster = try await Cluster()
      ground = try await Ground(cluster: cluster) { site in
        try await site.cluster!.psql(
          "postgres", "CREATE ROLE \(Self.role) LOGIN PASSWORD 'own'; CREATE DATABASE \(site.database) OWNER \(Self.role)")
        let table = "CREATE TABLE public.t AS SELECT 1 AS id, 'first'::text AS v"
        _ = try await site.sql("SET SESSION AUTHORIZATION \(Self.role); \(table)")
      }
    }

    /// The role alone gets farther into a restore, which refuses most of what the uid does.
    func attacks(withUser: Bool) -> [Daemon] {
      let environment = Shell.environment.merging([
        "PGHOST": "127.0.0.1", "PGPORT": "\(cluster.port)", "PGUSER": Self.role, "PGPASSWORD": "own",
      ]) { $1 }
      let program = "\(Preloaded.sources)/hostile-role.py"
      let role = Daemon("/usr/bin/python3", [program, site.database, mark], environment: environment, log: site.root + "/role")
      return withUser ? [role, ground.attack()] : [role]
    }

    /// What is planted works: it only wants a superuser.
    func expectMark() async throws {
      let attacks = attacks(withUser: false)
      let isPlanted = "SELECT count(*) FROM pg_proc WHERE proname = 'gain'"
      while try await site.sql(isPlanted) != "3" { try await Task.sleep(for: .milliseconds(50)) }
      for attack in attacks { await attack.stop() }
      // Stored for the database, `role` makes a superuser's session somebody else's.
      try await cluster.psql("postgres", "ALTER DATABASE \(site.database) RESET ALL")
      _ = try await site.sql("BEGIN; SELECT public.gain(); ROLLBACK")
      #expect(FileManager.default.fileExists(atPath: mark))
      try FileManager.default.removeItem(atPath: mark)
    }

    /// All that the role must not change: rights, other roles' settings, other databases.
    func rights() async throws -> String {
      try await cluster.psql(
        "postgres",
        """
        SELECT * FROM pg_authid ORDER BY rolname; SELECT * FROM pg_auth_members ORDER BY 1, 2, 3; SELECT * FROM pg_parameter_acl;
        SELECT setrole::regrole, setconfig FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = setdatabase
        WHERE setrole <> '\(Self.role)'::regrole AND coalesce(datname NOT LIKE '\(site.database)%', true) ORDER BY 1;
        SELECT datname, datdba::regrole, datacl FROM pg_database WHERE datname NOT LIKE '\(site.database)%' ORDER BY 1;
        """
      ).output
    }

    func state() async throws -> String { try await ground.words() + site.sql("SELECT id, v FROM public.t") }
  }

  @Test func whateverTheApplicationTriesItGainsNothingAndTheSetsRestore() async throws {
    let base = try await Base()
    let (ground, site) = (base.ground, base.site)
    let (before, rights, first) = try await (ground.outside(), base.rights(), site.sets()[0])
    let runs = [
      ("backup", []), ("restore", ["--drill", "newest"]), ("restore", [first]), ("restore", ["--rollback"]),
      ("restore", ["--in-place", first]), ("restore", ["--discard-previous"]),
    ]
    try await base.expectMark()
    var codes: [Int32: Int] = [:]
    for round in 0..<rounds * 2 {
      let withUser = round % 2 == 1
      for (program, arguments) in runs {
        if ["--rollback", "--discard-previous"].contains(arguments.first) { try await ground.succeed("restore", first) }
        let newest = try await site.sets().last!
        let attacks = base.attacks(withUser: withUser)
        let run = try await site.run(program, arguments.map { $0 == "newest" ? newest : $0 })
        // A name that the uid makes and never renames.
        if withUser { try await site.until("[ -L files/word.link ] || [ -e files/word.link ]") }
        for attack in attacks { await attack.stop() }
        codes[run.code, default: 0] += 1
        let fault = "\(program) \(arguments), round \(round)\(withUser ? ", with the uid" : "")"
        #expect(ExitStatus(rawValue: run.code) != nil && run.code != ExitStatus.unexpected.rawValue, "\(fault): \(run)")
        expectSame(before, try await ground.outside())
        expectSame(rights, try await base.rights())
        #expect(!FileManager.default.fileExists(atPath: base.mark), "\(fault): \(run)")
        // What the operator is told to do, at its shortest.
        try await site.script("rm -rf .backup-restore* .own.* d d.* word word.* hard.*; mkdir -p d/e")
        try await site.script("echo second | tee word >d/e/f; chown -R \(Ground.user) word d")
      }
      // Whatever the databases are like now, and whatever was saved meanwhile.
      try await ground.succeed("restore", first)
      #expect(try await base.state() == "first first 1|first")
    }
    print("a hostile application beside \(rounds * 2 * runs.count) runs, which ended so: \(codes)")
    try await ground.expectWhole()
    try await ground.succeed("restore", "--rollback")
    #expect(try await ground.words() == "second second ")
  }
}
