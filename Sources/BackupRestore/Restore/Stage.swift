/// Builds the replacement beside what is live, and holds it against the evidence.
extension Restore {
  struct Staged: Sendable {
    var files: FilesEvidence?
    var databases: [(target: Target, evidence: DatabaseEvidence)] = []
    /// Each begins with its part.
    var differences: [String] = []

    func differs(_ part: String) -> Bool { differences.contains { $0.hasPrefix(part + ": ") } }
  }

  /// Files and databases side by side; the first failure stops the others. Files in place wait until every database is
  /// verified.
  func stage(_ ready: Ready, safety: SetID?) async throws -> Staged {
    enum Part: Sendable {
      case files(FilesEvidence, [String])
      case database(Target, DatabaseEvidence, [String])
    }
    if let server = ready.server, !options.drill, try await needsRoles(ready) {
      try await server.session.execute(ready.plan.source.roles)
    }
    let staged = try await withThrowingTaskGroup(of: Part.self) { group in
      if let files = ready.plan.files, !options.inPlace {
        group.addTask {
          let (evidence, differences) = try await stage(files, ready)
          return .files(evidence, differences)
        }
      }
      for target in ready.plan.databases {
        group.addTask {
          let (evidence, differences) = try await stage(target, ready)
          return .database(target, evidence, differences)
        }
      }
      var staged = Staged()
      for try await part in group {
        switch part {
        case .files(let evidence, let differences):
          staged.files = evidence
          staged.differences += differences.map { "files: " + $0 }
        case .database(let target, let evidence, let differences):
          staged.databases.append((target, evidence))
          staged.differences += differences.map { "database \(target.live): " + $0 }
        }
      }
      return staged
    }
    guard let files = ready.plan.files, options.inPlace else { return staged }
    try decide(staged, ready)
    return try await overwrite(files, ready, staged, safety: safety)
  }

  /// Whether roles that are missing are to be made. Where none is, what the operator has changed since, memberships too, is left alone.
  func needsRoles(_ ready: Ready) async throws -> Bool {
    guard let server = ready.server, ready.missingRoles.isEmpty, !ready.plan.source.roles.isEmpty else { return false }
    if ready.plan.source.isOldStyle { return true }
    return try await !DatabasePreflight(server: server, plan: ready.plan, live: [], options: options).missing().isEmpty
  }

  /// A difference ends the restore with the things named; the operator may accept it.
  func decide(_ staged: Staged, _ ready: Ready) throws {
    let differences = staged.differences
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
