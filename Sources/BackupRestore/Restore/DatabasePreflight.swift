/// What would keep the server from taking a restore.
struct DatabasePreflight: Sendable {
  let server: Server
  let plan: RestorePlan
  /// Names of the databases on the server, as far as they would be replaced.
  let live: Set<String>
  /// Whether roles that are missing are made.
  let makesRoles: Bool

  private var session: Connection { server.session }
  private var user: String { server.settings.user }

  func problems(clients: Clients, base: [String: String]) async throws -> [Problem] {
    var problems: [Problem] = []
    if server.major < 13 {
      problems.append(
        Problem("the server is PostgreSQL \(server.major)", hint: "restore into 13 or newer, which can drop a database in use"))
    }
    for target in plan.databases {
      do {
        if target.part.isPlain {
          _ = try await clients.psql(server: server.major) { await Clients.version(of: $0, base) }
        } else {
          _ = try clients.restore(archive: target.part.pgDump ?? clients.newestMajor, server: server.major)
        }
      } catch let failure as Failure { problems += failure.problems }
    }
    // It takes nothing, and answers what is asked below as if it did.
    let recovery = try await session.problems([Self.recovery])
    if !recovery.isEmpty { return problems + recovery }
    problems += try await session.problems([databases])
    problems += try await roleProblems()
    problems += try await session.problems([inactiveSlots, Self.archiver]) + spaceProblems()
    for target in plan.databases {
      if !plan.acceptsDifferences { problems += try await session.problems([extensions(of: target)]) }
      if live.contains(target.live) { problems += try await server.swapProblems(target.live, dropsSlots: plan.dropsSlots) }
    }
    return problems
  }

  // MARK: Roles

  private func roleProblems() async throws -> [Problem] {
    var problems: [Problem] = []
    let roles = SavedRoles(plan, server)
    if plan.source.makesAllRoles, let error = try await roles.error() {
      problems.append(
        Problem(
          "the saved roles cannot be created: \(error)",
          hint: "create what is missing by hand, then name the snapshots without roles: restore DATABASE FILES"))
    }
    let missing = try await roles.missing()
    if !makesRoles {
      return missing.filter(\.isNeeded).map {
        Problem(
          "role \($0.name), which the set names, is missing on the server, and a drill creates none",
          hint: "CREATE ROLE \(SQL.identifier($0.name)), run by a superuser")
      }
    }
    if !missing.isEmpty, let error = try await roles.error() {
      for role in missing where role.granted {
        if plan.acceptsDifferences {
          log.warning(
            "accepted: role \(printable(role.name)) is missing and cannot be created: what was granted to it is left out")
          continue
        }
        problems.append(
          Problem(
            "role \(role.name) is named in grants, is missing, and \(user) cannot create it: \(error)",
            hint: "CREATE ROLE \(SQL.identifier(role.name)), run by a superuser"))
      }
    }
    return try await problems + session.problems([strangers(roles.uses.filter(\.owns).map(\.name))])
  }

  /// Not of superusers: that would give away every right. What belongs to one is tried, and PostgreSQL says whether it can.
  private func strangers(_ owners: [String]) -> ServerCheck {
    ServerCheck(
      query: """
        SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = ANY ($1::text[]) AND NOT rolsuper
          AND NOT pg_catalog.pg_has_role(current_user, oid, 'MEMBER') ORDER BY 1
        """, values: [SQL.array(owners)],
      fact: { [user] in "\(user) is not a member of \(try $0.text(0)), which owns objects of the set" },
      hint: { [user] in "GRANT \(SQL.identifier(try $0.text(0))) TO \(SQL.identifier(user)), run by a superuser" })
  }

  // MARK: The server

  private static let recovery = ServerCheck(
    query: "SELECT 1 WHERE pg_catalog.pg_is_in_recovery()",
    fact: { _ in "the server is a standby, which takes no writes" },
    hint: { _ in "set POSTGRES_HOST to the primary, or promote this one: SELECT pg_promote()" })

  private var databases: ServerCheck {
    ServerCheck(
      query: "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = current_user AND NOT (rolsuper OR rolcreatedb)",
      fact: { [user] _ in "role \(user) may not create databases" },
      hint: { [user] _ in "ALTER ROLE \(SQL.identifier(user)) CREATEDB, run by a superuser" })
  }

  /// Retained WAL grows by all that is restored; a full pg_wal stops the whole server, live database included (measured).
  private var inactiveSlots: ServerCheck {
    ServerCheck(
      query: """
        SELECT slot_name FROM pg_catalog.pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL
          AND current_setting('max_slot_wal_keep_size') = '-1' AND (database IS NULL OR NOT (database = ANY (SELECT unnest($1::text[]))) OR NOT $2::bool)
        """, values: [SQL.array(plan.databases.map(\.live)), plan.dropsSlots ? "t" : "f"],
      fact: { "replication slot \(try $0.text(0)) is inactive and retains WAL: a restore would fill the server's disk" },
      hint: { "start its consumer, or SELECT pg_drop_replication_slot(\(SQL.literal(try $0.text(0))))" })
  }

  private static let archiver = ServerCheck(
    query: """
      SELECT last_failed_wal FROM pg_catalog.pg_stat_archiver WHERE current_setting('archive_mode') <> 'off'
        AND last_failed_time > coalesce(last_archived_time, '-infinity')
      """,
    fact: { "archiving WAL fails (last \($0[0] ?? "")): a restore would fill the server's disk" },
    hint: { _ in "mend archive_command, then run it again" })

  private func spaceProblems() async throws -> [Problem] {
    guard let free = server.settings.freeBytes else { return [] }
    let size = plan.databaseBytes
    let limit = try await session.number("SELECT pg_catalog.pg_size_bytes(current_setting('max_wal_size'))")
    let need = size + min(size, limit)
    if need <= free { return [] }
    return [
      Problem(
        "the databases and their WAL need about \(Format.bytes(need)), and \(server.settings.prefix)POSTGRES_FREE_BYTES is \(Format.bytes(free))",
        hint:
          "make room on the server, discard what is kept (restore --status), and correct \(server.settings.prefix)POSTGRES_FREE_BYTES"
      )
    ]
  }

  /// Who may make it is asked by trying: managed servers allow more than the catalogs say.
  private func extensions(of target: RestorePlan.Target) -> ServerCheck {
    ServerCheck(
      query: "SELECT n FROM unnest($1::text[]) n WHERE n NOT IN (SELECT name FROM pg_catalog.pg_available_extensions) ORDER BY 1",
      values: [SQL.array(target.part.evidence?.extensions ?? [])],
      fact: { "extension \(try $0.text(0)) is not installed on the server" },
      hint: { _ in "install its package on the server, or do without what needs it: restore --accept-differences" })
  }
}
