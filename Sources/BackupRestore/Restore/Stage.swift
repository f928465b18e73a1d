/// Builds the replacement beside what is live, and holds it against the evidence.
extension Restore {
  struct Staged: Sendable {
    var files: FilesEvidence?
    /// What the volume does not keep of the files.
    var limits = FilesLimits()
    var databases: [(target: Target, evidence: DatabaseEvidence)] = []
    /// What makes the databases the application's, as they are swapped in.
    var opening: [String] = []
    /// Of the roles and what they may, in words.
    var leftOut: [String] = []
    var differences: [Difference] = []
    /// Statements for what PostgreSQL refused, with the database they are for.
    var later: [(database: String, statements: [String])] = []

    mutating func take(_ staged: StagedFiles) {
      (files, limits) = (staged.evidence, staged.limits)
      differences += staged.differences.map { Difference(part: .files, text: $0) }
    }

    func differs(_ part: Difference.Part) -> Bool { differences.contains { $0.part == part } }
  }

  /// One way in which what is staged is not what was saved.
  struct Difference: Sendable, CustomStringConvertible {
    enum Part: Equatable, Sendable {
      case files
      /// By its live name.
      case database(String)
    }
    let part: Part
    let text: String

    var description: String {
      switch part {
      case .files: "files: \(text)"
      case .database(let name): "database \(name): \(text)"
      }
    }
  }

  /// Files and databases side by side; the first failure stops the others. Files in place wait until every database is
  /// verified.
  func stage(_ ready: Ready, safety: SetID?) async throws -> Staged {
    enum Part: Sendable {
      case files(StagedFiles)
      case database(Target, StagedDatabase)
    }
    var staged = try await withThrowingTaskGroup(of: Part.self) { group in
      if let files = ready.plan.files, !options.inPlace {
        group.addTask {
          return .files(try await stage(files, ready))
        }
      }
      for target in ready.plan.databases {
        group.addTask {
          return .database(target, try await stage(target, ready))
        }
      }
      var staged = Staged()
      for try await part in group {
        switch part {
        case .files(let files): staged.take(files)
        case .database(let target, let database):
          staged.databases.append((target, database.evidence))
          staged.opening += database.opening
          staged.leftOut += database.leftOut
          if !database.later.isEmpty { staged.later.append((target.live, database.later)) }
          staged.differences += database.differences.map { Difference(part: .database(target.live), text: $0) }
        }
      }
      return staged
    }
    staged.leftOut = ready.leftOut + staged.leftOut
    guard let files = ready.plan.files, options.inPlace else { return staged }
    try decide(staged.differences, ready)
    return try await overwrite(files, ready, staged, safety: safety)
  }

  /// Whether roles that are missing are to be made. Where none is, what the operator has changed since, memberships too, is left alone.
  func needsRoles(_ missing: [RoleUse], _ ready: Ready) -> Bool {
    guard ready.missingRoles.isEmpty, !ready.plan.source.roles.isEmpty else { return false }
    return ready.plan.source.isOldStyle || !missing.isEmpty
  }

  func missingRoles(_ ready: Ready) async throws -> [RoleUse] {
    guard let server = ready.server else { return [] }
    return try await DatabasePreflight(server: server, plan: ready.plan, live: [], options: options).missing()
  }

  /// Makes the roles that are missing.
  ///
  /// - Returns: what is left out, and the database does without.
  func restoreRoles(_ ready: Ready) async throws -> [String] {
    guard let server = ready.server else { return [] }
    let missing = try await missingRoles(ready)
    let members = missing.filter { !$0.isNeeded }.map { printable($0.name) }.joined(separator: ", ")
    guard needsRoles(missing, ready) else {
      return members.isEmpty ? [] : ["\(members), which logs in by its membership alone: CREATE ROLE and GRANT by hand"]
    }
    do { try await server.session.transaction(RoleScript.statements(ready.plan.source.roles)) } catch let error as DatabaseError
      where !ready.plan.source.isOldStyle && !missing.contains(where: \.isNeeded)
    {
      log.warning("\(members) cannot be made: \(error.message)\n  hint: CREATE ROLE and GRANT by hand, run by a superuser")
      return ["\(members), which logs in by its membership alone and cannot be made: \(printable(error.message))"]
    }
    if !ready.plan.source.roles.contains(" ON PARAMETER ") { return [] }
    if server.major >= 15, try await DatabasePreflight.isSuperuser(server.session) { return [] }
    return ["what roles may set by GRANT … ON PARAMETER: only a superuser grants it, on 15 and newer"]
  }

  /// A difference ends the restore with the things named; the operator may accept it.
  func decide(_ differences: [Difference], _ ready: Ready) throws {
    if differences.isEmpty { return }
    if options.acceptDifferences {
      for difference in differences { log.warning("accepted: \(difference)") }
      return
    }
    let state = try ready.commit.replacing() == nil ? "nothing live was changed; " : ""
    let more = differences.count > 20 ? [Problem("and \(differences.count - 20) more differences", hint: "see above")] : []
    throw Failure(
      .verificationFailed,
      differences.prefix(20).map {
        Problem("\($0)", hint: "\(state)choose another set, or look closely and use --accept-differences")
      } + more)
  }
}
