/// `restore --discard-previous`: removes for good what restores and rollbacks replaced.
public struct Discard: Sendable {
  /// Which of them.
  public enum Choice: Sendable {
    /// By the beginning of its id; nil where one alone is kept. In full, it takes away also what is not whole any more.
    case one(String?)
    /// All but the newest ones.
    case allBut(Int)
  }

  let invocation: Invocation
  let choice: Choice

  /// Nothing happens yet.
  public init(_ invocation: Invocation, _ choice: Choice) { (self.invocation, self.choice) = (invocation, choice) }

  /// - Throws: `Failure` 22 where none or several are meant.
  public func run() async throws -> ExitStatus {
    let invocation = try invocation.onVolume()
    var needs = Session.Needs.everything(invocation.configuration)
    needs.application = false
    return try await Session.open(invocation, needs) { session in
      try await session.finishEarlier()
      let kept = try await session.swap.kept()
      switch choice {
      case .one(let beginning):
        let previous = try PreviousState.choose(kept, beginning, newestByDefault: false)
        try await discard(previous, isMeant: beginning == previous.id.text, session.swap)
      case .allBut(let number):
        if kept.count <= number {
          output("nothing to discard: \(Format.count(kept.count, "previous state", "previous states")) kept")
        }
        for previous in kept.dropLast(number) { try await discard(previous, isMeant: false, session.swap) }
      }
      return .done
    }
  }

  /// - Parameter isMeant: named in full somebody means it: what was removed by hand must not stand in the way of the rest for ever.
  private func discard(_ previous: PreviousState, isMeant: Bool, _ swap: Swap) async throws {
    let missing = previous.missingProblems
    if !isMeant {
      try Failure.collect(
        .refused,
        missing.map {
          Problem($0.fact, hint: "\($0.hint); what is there is removed by restore --discard-previous \(previous.id)")
        })
    }
    for problem in missing { log.warning("\(problem.fact): it is not removed") }
    if let tree = try swap.exchange(previous.id)?.work.directory(Exchange.treeName) {
      try Failure.collect(.refused, try FilesPreflight.pinnedProblems(tree, [], deep: true))
    }
    try await swap.discard(previous)
    output("previous \(previous.id) discarded")
  }
}
