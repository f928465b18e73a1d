/// `restore --resume-application`: for an application that a killed run left scaled down.
public struct ResumeApplication: Sendable {
  let invocation: Invocation

  /// Nothing happens yet.
  public init(_ invocation: Invocation) { self.invocation = invocation }

  /// - Throws: `Failure` 22 without QUIESCE_DEPLOYMENTS.
  public func run() async throws -> ExitStatus {
    let invocation = try invocation.onVolume()
    if invocation.configuration.quiesceDeployments.isEmpty {
      throw Failure(
        .refused, "QUIESCE_DEPLOYMENTS is not set, so no run scales anything", hint: "set it, or scale by hand: kubectl scale")
    }
    return try await Session.open(invocation, .everything(invocation.configuration)) { session in
      // What cannot be cleared away now keeps no application down.
      let finished = await settled { try await session.finishEarlier() }
      await session.resume()
      output(await session.application?.status().joined(separator: "\n") ?? "")
      _ = try finished.get()
      return .done
    }
  }
}
