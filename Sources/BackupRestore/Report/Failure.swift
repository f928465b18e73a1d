/// One thing that is wrong: a lowercase fact, and what to do next.
package struct Problem: Equatable, Sendable {
  let fact: String
  let hint: String

  init(_ fact: String, hint: String) {
    self.fact = fact
    self.hint = hint
  }
}

/// Why a run ends, with the exit code it ends with. Holds every problem found, not only the first.
package struct Failure: Error, Equatable, Sendable {
  let status: ExitStatus
  let problems: [Problem]
  /// Packs of a repository that could not be read, where that is the reason.
  var packs: Set<String> = []
  /// What lies on the volume where the toolkit's own should is not, and that is the reason.
  var isForeign = false
  /// The store of a repository deletes nothing for us, and that is the reason.
  var isAppendOnly = false
  /// What answered in the server's place is a pooler, and that is the reason.
  var isPooler = false

  init(_ status: ExitStatus, _ problems: [Problem]) {
    self.status = status
    self.problems = problems
  }

  package init(_ status: ExitStatus, _ fact: String, hint: String) {
    self.init(status, [Problem(fact, hint: hint)])
  }

  /// 22, for what lies on the volume in the toolkit's place.
  init(foreign problem: Problem) {
    self.init(.refused, [problem])
    isForeign = true
  }

  /// Throws all problems together, when there are any.
  static func collect(_ status: ExitStatus, _ problems: [Problem]) throws {
    if !problems.isEmpty { throw Failure(status, problems) }
  }
}

extension Failure: CustomStringConvertible {
  package var description: String {
    problems.map { "\($0.fact)\n  hint: \($0.hint)" }.joined(separator: "\n")
  }
}

extension Failure {
  /// Throws one failure that holds the problems of all; its status is the first one's.
  static func merge<T>(_ results: [Result<T, any Error>]) throws {
    var failures: [Failure] = []
    for case .failure(let error) in results {
      guard let failure = error as? Failure else { throw error }
      failures.append(failure)
    }
    guard let first = failures.first else { return }
    var problems: [Problem] = []
    for problem in failures.flatMap(\.problems) where !problems.contains(problem) { problems.append(problem) }
    throw Failure(first.status, problems)
  }
}
