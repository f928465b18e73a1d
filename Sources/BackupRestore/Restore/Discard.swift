/// `restore --discard-previous`: removes for good what a restore or rollback replaced.
public struct Discard: Sendable {
  let invocation: Invocation
  let beginning: String?

  /// - Parameter beginning: of its id; nil where one alone is kept. In full, it takes away also what is not whole any more.
  public init(_ invocation: Invocation, _ beginning: String?) { (self.invocation, self.beginning) = (invocation, beginning) }

  /// - Throws: `Failure` 22 where none or several are meant.
  public func run() async throws -> ExitStatus {
    let invocation = try invocation.onVolume()
    var needs = Session.Needs.everything(invocation.configuration)
    needs.application = false
    return try await Session.open(invocation, needs) { session in
      try await session.finishEarlier()
      let previous = try PreviousState.choose(try await session.swap.kept(), beginning, newestByDefault: false)
      let missing = previous.missingProblems
      // Named in full somebody means it: what was removed by hand must not stand in the way of the rest for ever.
      if beginning != previous.id.text {
        try Failure.collect(
          .refused,
          missing.map {
            Problem($0.fact, hint: "\($0.hint); what is there is removed by restore --discard-previous \(previous.id)")
          })
      }
      for problem in missing { log.warning("\(problem.fact): it is not removed") }
      if let tree = try session.swap.exchange(previous.id)?.work.directory(Exchange.treeName) {
        try Failure.collect(.refused, try FilesPreflight.pinnedProblems(tree, [], deep: true))
      }
      try await session.swap.discard(previous)
      output("previous \(previous.id) discarded")
      return .done
    }
  }
}
