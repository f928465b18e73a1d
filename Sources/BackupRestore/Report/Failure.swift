/// One thing that is wrong: a lowercase fact, and what to do next.
package struct Problem: Equatable, Sendable {
  let fact: String
  let hint: String

  /// - Parameter hint: empty: there is none that surely fits.
  init(_ fact: String, hint: String) {
    self.fact = fact
    self.hint = hint
  }

  /// Both, as a message has them.
  var text: String { fact + (hint.isEmpty ? "" : "\n  hint: \(hint)") }
}

/// Why a run ends, with the exit code it ends with. Holds every problem found, not only the first.
package struct Failure: Error, Equatable, Sendable {
  let status: ExitStatus
  let problems: [Problem]
  let cause: Cause

  /// What steps decide by where the exit code says too little. The words are for people.
  enum Cause: Equatable, Sendable {
    /// The exit code says enough.
    case plain
    /// Packs of a repository cannot be read.
    case damaged(packs: Set<String>)
    /// What lies on the volume in the toolkit's place is not its own.
    case foreign
    /// The repository's store deletes nothing for us.
    case appendOnly
    /// A snapshot does not hold the path.
    case notInSnapshot
    /// Who read a child's output is gone.
    case readerGone
    /// A pooler answers in the server's place.
    case pooler
    /// Another process has a repository to itself, or a dead one seems to.
    case locked
    /// The system lets this pod or user start no process more.
    case processLimit
  }

  init(_ status: ExitStatus, _ problems: [Problem], cause: Cause = .plain) {
    (self.status, self.problems, self.cause) = (status, problems, cause)
  }

  package init(_ status: ExitStatus, _ fact: String, hint: String) {
    self.init(status, [Problem(fact, hint: hint)])
  }

  init(_ status: ExitStatus, _ fact: String, hint: String, cause: Cause) {
    self.init(status, [Problem(fact, hint: hint)], cause: cause)
  }

  /// 22, for what lies on the volume in the toolkit's place.
  init(foreign problem: Problem) { self.init(.refused, [problem], cause: .foreign) }

  /// Of `Cause.damaged`; empty for every other.
  var packs: Set<String> {
    if case .damaged(let packs) = cause { return packs }
    return []
  }

  /// Throws all problems together, when there are any.
  static func collect(_ status: ExitStatus, _ problems: [Problem]) throws(Failure) {
    if !problems.isEmpty { throw Failure(status, problems) }
  }
}

extension Failure: CustomStringConvertible {
  package var description: String {
    problems.map(\.text).joined(separator: "\n")
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
