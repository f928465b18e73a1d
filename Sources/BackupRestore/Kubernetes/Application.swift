import FoundationEssentials

/// Scales the application's deployments to 0 for a run, and back to what they were.
///
/// The number is kept on each deployment, so that whatever kills a run, the next one knows it. A deployment that had 0 before has no
/// number and is left alone.
struct Application: Sendable {
  let server: APIServer
  let names: [String]
  /// How long pods may take to go.
  let patience: Duration
  private let since = Locked<ContinuousClock.Instant?>(nil)
  private let lasted = Locked<Double?>(nil)

  init(server: APIServer, names: [String], patience: Duration) {
    (self.server, self.names, self.patience) = (server, names, patience)
  }

  /// What would keep a run from scaling them: asked by a patch that the server checks and does not apply.
  func check() async throws {
    var results: [Result<Void, any Error>] = []
    for name in names {
      results.append(
        await settled {
          let deployment = try await server.deployment(name)
          _ = try await server.pods(of: deployment)
          try await retrying(deployment) { try await server.patch($0, replicas: 0, remembering: $0.replicas, dryRun: true) }
        })
    }
    try Failure.merge(results)
  }

  /// Scales down and waits until the pods are gone.
  ///
  /// - Throws: `Failure` 22 where they do not go in time. What was scaled down until then is: `resume` is the caller's.
  func pause() async throws {
    let begin = ContinuousClock().now
    for name in names {
      try await retrying(try await server.deployment(name)) { deployment in
        if deployment.replicas == 0, deployment.remembered == nil { return }
        since.change { $0 = $0 ?? begin }
        if deployment.replicas == 0 { return }
        log.info("scaling deployment \(name) from \(deployment.replicas) to 0")
        try await server.patch(deployment, replicas: 0, remembering: deployment.replicas)
      }
    }
    var waiting = Waiting(patience)
    while true {
      let pods = try await running().joined(separator: ", ")
      if pods.isEmpty { return }
      try await waiting.pause(
        telling: "waiting for \(pods) to end, up to \(patience.components.seconds) s",
        until: Failure(
          .refused, "\(pods) did not end within \(patience.components.seconds) s",
          hint: "look at it (kubectl -n \(server.namespace) get pods); QUIESCE_TIMEOUT sets the deadline"))
    }
  }

  /// What is not gone yet: pods, or a deployment that may still make one.
  private func running() async throws -> [String] {
    var running: [String] = []
    for name in names {
      let deployment = try await server.deployment(name)
      let pods = try await server.pods(of: deployment)
      running += pods.isEmpty && !deployment.isDown ? [name] : pods
    }
    return running
  }

  /// Scales back to what is remembered. Never throws and is not cancelled: it is on every way out. The lines say what it did.
  ///
  /// - Returns: whether the application is as it was.
  func resume() async -> Bool {
    // After SIGTERM the pod has a minute left; otherwise an API server that is away is worth waiting for.
    var server = server
    server.patience = .seconds(Task.isCancelled ? 10 : 60)
    let asked = server
    return await Task {
      let isWhole = await withTaskGroup { group in
        for name in names { group.addTask { await resume(name, asked) } }
        return await group.reduce(true) { $0 && $1 }
      }
      if isWhole { lasted.change { $0 = since.value?.duration(to: .now).inSeconds } }
      return isWhole
    }.value
  }

  private func resume(_ name: String, _ server: APIServer) async -> Bool {
    do {
      try await retrying(try await server.deployment(name)) { deployment in
        if let replicas = deployment.remembered {
          try await server.patch(deployment, replicas: replicas, remembering: nil)
          log.info("deployment \(name) is scaled back to \(replicas)")
        } else if deployment.metadata.annotations?[Deployment.annotation] != nil {
          log.warning("somebody else scaled deployment \(name) to \(deployment.replicas) meanwhile: the application was running")
          try await server.patch(deployment, replicas: deployment.replicas, remembering: nil)
        }
      }
      return true
    } catch {
      log.error(
        "deployment \(name) is not scaled back: \(error)\n  hint: run restore --resume-application, which knows the number")
      return false
    }
  }

  /// For how many seconds this run kept the application down; nil where it did not, or it still is.
  var seconds: Double? { lasted.value }

  /// The same for the summary.
  var downtime: String { seconds.map { "; the application was down for \(Format.duration($0))" } ?? "" }

  /// What the deployments prove, a line each.
  func status() async -> [String] {
    var lines: [String] = []
    for name in names {
      do {
        let deployment = try await server.deployment(name)
        lines.append(
          deployment.remembered.map {
            "application: deployment \(name) is scaled down, \($0) before; back again: restore --resume-application"
          } ?? "application: deployment \(name) has \(deployment.replicas) replicas")
      } catch {
        lines.append("application: deployment \(name) is unknown: \(error)")
      }
    }
    return lines
  }

  /// Does it again with the deployment as it is now, where somebody changed it in between.
  private func retrying(_ deployment: Deployment, _ body: (Deployment) async throws -> Void) async throws {
    var deployment = deployment
    for _ in 0..<20 {
      do { return try await body(deployment) } catch is APIServer.Conflict {
        try await Task.sleep(for: .milliseconds(100))
        deployment = try await server.deployment(deployment.name)
      }
    }
    throw Failure(
      .refused, "deployment \(deployment.name) is changed all the time by somebody else", hint: "find out who, then run it again")
  }
}
