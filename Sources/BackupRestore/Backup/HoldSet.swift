import FoundationEssentials

/// `backup --hold SET` and `backup --release SET`.
public struct HoldSet: Sendable {
  let invocation: Invocation
  /// Of the set's id.
  let beginning: String
  /// Why, perhaps empty; nil: it is released.
  let reason: String?

  /// Nothing happens yet.
  ///
  /// - Parameters:
  ///   - beginning: of the set's id.
  ///   - reason: why it is held, perhaps empty; nil releases it.
  public init(_ invocation: Invocation, _ beginning: String, reason: String?) {
    (self.invocation, self.beginning, self.reason) = (invocation, beginning, reason)
  }

  /// - Throws: `Failure` 22 where no set, several, or another host's are meant.
  public func run() async throws -> ExitStatus {
    let repositories = invocation.repositories
    let entry = try await repositories.catalog().choose(.named(beginning), host: repositories.host)
    guard entry.record != nil else {
      throw Failure(.refused, "set \(entry.id) has no record to hold on to", hint: "choose another set by restore --list")
    }
    if reason == nil, entry.held == nil {
      output("set \(entry.id) is not held")
      return .done
    }
    struct Document: Encodable { let set: SetID, reason: String?, at: String }
    let document = try JSON.encoded(Document(set: entry.id, reason: reason, at: Format.time(Date())))
    let tags = HoldMark.tags(entry.id, reason: reason)
    try await repositories.sets.write(["hold.json": document], tags: tags)
    // In both: retention here may forget the set, and what says that it is released, before the next copy.
    if let copy = invocation.copy {
      do { try await copy.sets.write(["hold.json": document], tags: tags) } catch let failure as Failure {
        log.warning("the second repository does not know of it: \(failure.problems[0].fact)\n  hint: run it again")
      }
    }
    // Retention may have been at work, or a clock that was ahead have said the opposite for later.
    let now = try await repositories.catalog().of(repositories.host).first { $0.id == entry.id && $0.record != nil }
    guard let now, (now.held == nil) == (reason == nil) else {
      throw Failure(
        .unexpected, now == nil ? "set \(entry.id) was forgotten meanwhile" : "a mark with a later time says the opposite",
        hint: "look at restore --list, and at the clocks")
    }
    output(
      reason == nil
        ? "set \(entry.id) is released: it goes when RESTIC_KEEP_LAST and RESTIC_…_TO_KEEP say so"
        : "set \(entry.id) is held: retention passes over it until backup --release \(entry.id)")
    return .done
  }
}
