/// One thing that is wrong: a lowercase fact, and what to do next.
public struct Problem: Equatable, Sendable {
  public let fact: String
  public let hint: String

  public init(_ fact: String, hint: String) {
    self.fact = fact
    self.hint = hint
  }
}

/// Why a run ends, with the exit code it ends with. Holds every problem found, not only the first.
public struct Failure: Error, Equatable, Sendable {
  public let status: ExitStatus
  public let problems: [Problem]
  /// Packs of a repository that could not be read, where that is the reason.
  var packs: Set<String> = []

  public init(_ status: ExitStatus, _ problems: [Problem]) {
    self.status = status
    self.problems = problems
  }

  public init(_ status: ExitStatus, _ fact: String, hint: String) {
    self.init(status, [Problem(fact, hint: hint)])
  }

  /// Throws all problems together, when there are any.
  static func collect(_ status: ExitStatus, _ problems: [Problem]) throws {
    if !problems.isEmpty { throw Failure(status, problems) }
  }
}

extension Failure: CustomStringConvertible {
  public var description: String {
    problems.map { "\($0.fact)\n  hint: \($0.hint)" }.joined(separator: "\n")
  }
}
