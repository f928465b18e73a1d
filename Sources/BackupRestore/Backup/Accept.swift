import FoundationEssentials

/// `backup --accept SET`: the operator has looked, and the set is right. A new snapshot says so: restic's own tags cannot be changed on
/// append-only repositories (measured).
public struct Accept: Sendable {
  let invocation: Invocation
  /// Of the set's id.
  let beginning: String
  let now = Date()

  /// - Parameter beginning: of the set's id.
  public init(_ invocation: Invocation, _ beginning: String) { (self.invocation, self.beginning) = (invocation, beginning) }

  /// - Throws: `Failure` 22 where no set, several, or another host's are meant.
  public func run() async throws -> ExitStatus {
    let (repositories, host) = (invocation.repositories, invocation.repositories.host)
    let entry = try await repositories.catalog().choose(.named(beginning), host: host)
    guard entry.host == host else {
      throw Failure(.refused, "set \(entry.id) belongs to \(entry.host)", hint: "set RESTIC_HOST=\(entry.host)")
    }
    if entry.isAhead {
      throw Failure(
        .refused, "set \(entry.id) lies in the future: whatever is saved until then is older",
        hint:
          "mend the clock of the machine that made it; be rid of it by \(ApplyRetention(invocation: invocation, repositories: repositories).forgetting(entry))"
      )
    }
    let copyHolds = await copyHolds()
    if !entry.doubted, !copyHolds {
      guard try await takesMuch(in: repositories) else {
        output("set \(entry.id) is not doubted, and retention is not held: nothing to accept")
        return .done
      }
    }
    struct Acceptance: Encodable { let set: SetID, accepted: String }
    let document = try JSON.encoded(Acceptance(set: entry.id, accepted: Format.time(now)))
    // In both: retention here may forget the set, and what says that it is accepted, before the next copy.
    for repositories in copyHolds ? invocation.withCopy : [repositories] {
      try await repositories.sets.write(["accept.json": document], tags: ["kind=accept", "set=\(entry.id)"])
    }
    output("set \(entry.id) is accepted: retention goes on with the next backup")
    return .done
  }

  private func takesMuch(in repositories: Repositories) async throws -> Bool {
    let retention = ApplyRetention(invocation: invocation, repositories: repositories)
    guard case .much = try await retention.plan(try await repositories.catalog(), keeping: SetID(now)).hold else { return false }
    return true
  }

  /// Where the second repository cannot be asked, the next backup copies the acceptance.
  private func copyHolds() async -> Bool {
    guard let copy = invocation.copy else { return false }
    return (try? await takesMuch(in: copy)) == true
  }
}
