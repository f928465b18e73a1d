/// Builds the replacement beside what is live.
struct Staging: Sendable {
  let plan: RestorePlan
  let id: RestoreID
  let found: RestorePreflight.Found
  let session: Session
  /// Roles and the rest that is restored without, in words.
  var leftOut: [String] = []
  /// By the database's live name, where it was rehearsed.
  var keepsTablespaces: [String: Bool] = [:]

  init(plan: RestorePlan, id: RestoreID, found: RestorePreflight.Found, session: Session) {
    (self.plan, self.id, self.found, self.session) = (plan, id, found, session)
  }

  var invocation: Invocation { session.invocation }
  var configuration: Configuration { session.configuration }

  /// Makes the roles that are missing.
  mutating func restoreRoles() async throws {
    guard let server = session.server else { return }
    leftOut += try await SavedRoles(plan, server).restore(without: found.missingRoles)
  }

  /// Files and databases side by side; the first failure stops the others. Files in place wait until every database is verified.
  func build() async throws -> Staged {
    enum Part: Sendable {
      case files(StagedFiles)
      case database(RestorePlan.Target, StagedDatabase)
    }
    return try await invocation.namingAffectedSets(of: plan.source.catalog) {
      try await withThrowingTaskGroup(of: Part.self) { group in
        if let files = plan.files, !plan.isInPlace {
          group.addTask { .files(try await stage(files)) }
        }
        if let server = session.server {
          for target in plan.databases {
            group.addTask { .database(target, try await stage(target, on: server)) }
          }
        }
        var staged = Staged(leftOut: leftOut)
        tellUnasked()
        for try await part in group {
          switch part {
          case .files(let files): staged.take(files)
          case .database(let target, let database): staged.take(database, of: target)
          }
        }
        return staged
      }
    }
  }
}

extension Staging {
  /// - Throws: `Failure` 21 with what differs, unless the operator accepts it.
  func verify(_ staged: Staged) throws { try settle(staged.differences) }

  func settle(_ differences: [Difference]) throws {
    if differences.isEmpty { return }
    if plan.acceptsDifferences {
      for difference in differences { log.warning("accepted: \(difference)") }
      return
    }
    let state = try session.swap.replacing() == nil ? "nothing live was changed; " : ""
    let more = differences.count > 20 ? [Problem("and \(differences.count - 20) more differences", hint: "see above")] : []
    throw Failure(
      .verificationFailed,
      differences.prefix(20).map {
        Problem("\($0)", hint: "\(state)choose another set, or look closely and use --accept-differences")
      } + more)
  }
}

/// The replacement, complete, and how it differs from what was saved.
struct Staged: Sendable {
  var files: FilesEvidence?
  /// What the volume does not keep of the files.
  var limits = FilesLimits()
  var databases: [(target: RestorePlan.Target, evidence: DatabaseEvidence)] = []
  /// What makes the databases the application's, as they are swapped in.
  var opening: [String] = []
  /// In words.
  var leftOut: [String] = []
  var differences: [Difference] = []
  /// Queries of DRILL_SQL that are true.
  var assertions: [String] = []
  /// What PostgreSQL refused and the operator does without for now.
  var deferred: [DeferredStatements] = []

  mutating func take(_ staged: StagedFiles) {
    (files, limits) = (staged.evidence, staged.limits)
    differences += staged.differences.map { Difference(part: .files, text: $0) }
  }

  mutating func take(_ staged: StagedDatabase, of target: RestorePlan.Target) {
    databases.append((target, staged.evidence))
    opening += staged.opening
    leftOut += staged.leftOut
    assertions += staged.assertions
    if !staged.deferred.isEmpty {
      deferred.append(DeferredStatements(database: target.live, statements: staged.deferred))
    }
    differences += staged.differences.map { Difference(part: .database(target.live), text: $0) }
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
