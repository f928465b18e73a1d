import FoundationEssentials

/// `--drill`: the newest undoubted set restored into staging, verified and thrown away. Touches nothing live.
extension Restore {
  func drill(_ ready: Ready, since begin: ContinuousClock.Instant) async throws -> ExitStatus {
    let staged = try await cleaningUp(ready) {
      let staged = try await stage(ready, safety: nil)
      try await verify(staged, ready)
      return staged
    }
    try await throwAway(ready)
    let set = ready.plan.source.record.id
    struct Proof: Encodable { let set: SetID, proven: String }
    let proof = try JSONEncoder().encode(Proof(set: set, proven: Format.time(Date())))
    try await context.writeToSets(["drill.json": Array(proof)], tags: ["kind=drill", "set=\(set)"])
    output(summary(staged, ready) + "\nset \(set) is proven: restored, verified and thrown away in \(begin.elapsed)")
    return .done
  }

  private func throwAway(_ ready: Ready) async throws {
    for target in ready.plan.databases { try await ready.server?.drop(target.staging) }
    if let exchange = ready.commit.exchange(ready.plan.id) { try await blocking { try Tree.remove(exchange.work) } }
    ready.scratch.remove()
  }

  /// A drill finishes no swap, because that would change what is live.
  func refuseUnfinished(_ commit: Commit) throws {
    let swaps = try commit.unfinished().filter { try commit.journal($0) != nil }
    try Failure.collect(
      .refused,
      swaps.map { Problem("restore \($0) is unfinished", hint: "run restore --status, then restore, which finishes it") })
  }
}
