import FoundationEssentials
import SystemPackage

/// `--drill`: the newest undoubted set restored into staging, verified and thrown away. Touches nothing live.
extension Restore {
  func drill(_ ready: Ready, since begin: ContinuousClock.Instant) async throws -> ExitStatus {
    let staged: Staged
    do {
      staged = try await cleaningUp(ready) {
        try await makeRoles(ready)
        var ready = ready
        _ = try await rehearse(&ready)
        let staged = try await telling(ready.catalog) { try await stage(ready, safety: nil) }
        try decide(staged.differences, ready)
        return staged
      }
    } catch {
      _ = await finishing { await dropRoles(ready.server) }
      throw error
    }
    try await throwAway(ready)
    await dropRoles(ready.server)
    let set = ready.plan.source.record.id
    let how = "restored\(ready.readsBack ? " or read back" : ""), verified and thrown away in \(begin.elapsed)"
    if let only = ready.plan.source.only {
      output(summary(staged, ready) + "\n\(only.rawValue) of set \(set): \(how); the set as a whole is not proven by that")
      return .done
    }
    let record = ready.plan.source.record
    let isDoubted = ready.catalog.of(record.host).contains { $0.id == set && $0.doubted }
    let empty = Doubt.empty(files: record.files, databases: record.databases)
    if isDoubted, !empty.isEmpty {
      output(summary(staged, ready))
      log.warning(
        "set \(set): \(how), which proves nothing: \(empty.joined(separator: "; "))\n  hint: if that is right, run backup --accept \(set)"
      )
      return .attention
    }
    struct Proof: Encodable { let set: SetID, proven: String }
    let proof = try JSONEncoder().encode(Proof(set: set, proven: Format.time(Date())))
    try await context.sets.write(["drill.json": Array(proof)], tags: ["kind=drill", "set=\(set)"])
    context.numbers.change { $0.lastDrill = Date() }
    output(summary(staged, ready) + "\nset \(set) is proven: \(how)")
    for problem in ready.refusals { log.warning("a restore here would be refused: \(problem.fact)\n  hint: \(problem.hint)") }
    return staged.limits.isAlarming || !ready.refusals.isEmpty ? .attention : .done
  }

  private func throwAway(_ ready: Ready) async throws {
    for target in ready.plan.databases { try await ready.server?.drop(target.staging) }
    try await blocking { try ready.commit.remove(ready.plan.id) }
    ready.scratch.remove()
  }

  /// On a server of its own a drill makes the roles that the set names, and takes them away again: they may come with password
  /// hashes. The comment tells them from others after a drill that was killed.
  private func makeRoles(_ ready: Ready) async throws {
    guard let server = ready.server, isElsewhere, needsRoles(try await missingRoles(ready).filter(\.isNeeded), ready) else {
      return
    }
    // The roles' own parents are made, too. One transaction: no role without its mark.
    let present = try await server.session.query("SELECT rolname FROM pg_catalog.pg_roles").map { $0[0]! }
    do {
      try await server.session.execute("BEGIN")
      for statement in RoleScript.statements(ready.plan.source.roles) { _ = try await server.session.query(statement) }
      for row in try await server.session.query("SELECT rolname FROM pg_catalog.pg_roles") where !present.contains(row[0]!) {
        _ = try await server.session.query("COMMENT ON ROLE \(SQL.identifier(row[0]!)) IS \(SQL.literal(Self.drillMark))")
      }
      try await server.session.execute("COMMIT")
    } catch {
      try? await server.session.execute("ROLLBACK")
      throw error
    }
  }

  static let drillMark = "made by a drill of backup-restore"

  /// What drills made, this one or one that was killed.
  func dropRoles(_ server: Server?) async {
    guard let server, isElsewhere else { return }
    do {
      let roles = try await server.session.query(
        "SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.shobj_description(oid, 'pg_authid') = $1", [Self.drillMark])
      for role in roles { _ = try await server.session.query("DROP ROLE \(SQL.identifier(role[0]!))") }
    } catch {
      log.warning("roles of a drill stay on \(server.settings.host): \(error)\n  hint: the next drill takes them away")
    }
  }

  /// Every file of the snapshot, decrypted and its hash verified by restic, and what is listed held against the evidence.
  func readBack(_ files: FilesPart, _ ready: Ready) async throws -> StagedFiles {
    if files.evidence?.entries == 0 { return StagedFiles() }
    let repository = context.repository(ready.plan.source.filesIn)
    let nowhere = try FileDescriptor.open("/dev/null", .writeOnly, options: .closeOnExec)
    try await repository.dump("/", of: files.snapshot, into: nowhere)
    let found = try await repository.evidence(of: files.snapshot)
    let isSame = files.evidence.map { $0.counts == found.counts && $0.bytes == found.bytes } ?? true
    return StagedFiles(evidence: found, differences: isSame ? [] : ["the snapshot holds other counts than its record says"])
  }

  /// A drill finishes no swap, because that would change what is live.
  func refuseUnfinished(_ commit: Commit) throws {
    let swaps = try commit.unfinished().filter { try commit.journal($0) != nil }
    try Failure.collect(
      .refused,
      swaps.map { Problem("restore \($0) is unfinished", hint: "run restore --status, then restore, which finishes it") })
  }
}
