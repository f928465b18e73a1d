/// What one run of an executable was given: its configuration, the repositories, the programs it starts.
public struct Invocation: Sendable {
  let configuration: Configuration
  let repositories: Repositories
  /// The second ones; nil where none are configured.
  let copy: Repositories?
  /// What of the environment children may see.
  let environment: [String: String]
  /// restic's version.
  let restic: String
  /// The API server of the cluster this pod is in; nil where it may not be asked.
  let apiServer: APIServer?
  /// What the run reports besides its text.
  let metrics: Locked<RunMetrics>

  static let oldestRestic = [0, 19]

  /// - Throws: `Failure` 78 for the configuration, 22 where restic is missing or too old.
  init(_ variables: [String: String], _ metrics: Locked<RunMetrics>, isLooking: Bool = false) async throws {
    let configuration = try Configuration(variables, isLooking: isLooking)
    let environment = Command.baseEnvironment(variables)
    let server = APIServer(variables, base: environment)
    func repositories(_ settings: RepositorySettings) -> Repositories {
      Repositories(
        settings: settings, waits: configuration.waits, environment: environment,
        pods: server.map { server in { @Sendable in try? await server.pods() } })
    }
    (self.configuration, self.environment, self.metrics) = (configuration, environment, metrics)
    self.repositories = repositories(configuration.repository)
    copy = configuration.copy.map(repositories)
    apiServer = server
    restic = try await Self.resticVersion(environment)
    let settings = [configuration.repository] + (configuration.copy.map { [$0] } ?? [])
    try Failure.collect(.configuration, settings.compactMap { $0.transportProblem(path: environment["PATH"] ?? "") })
  }

  private init(_ other: Invocation, repositories: Repositories, configuration: Configuration) {
    (self.configuration, self.repositories, copy) = (configuration, repositories, other.copy)
    (environment, restic, apiServer, metrics) = (other.environment, other.restic, other.apiServer, other.metrics)
  }

  /// The same, where FILES_PATHS names what lies on another volume below FILES_DIRECTORY.
  func onVolume() throws -> Invocation {
    Invocation(self, repositories: repositories, configuration: try configuration.onVolume())
  }

  /// The same, of single entries of the files: files or directories below FILES_DIRECTORY.
  ///
  /// - Throws: `Failure` 22 with what is no such entry.
  public func with(paths: [String]) throws -> Invocation {
    Invocation(self, repositories: repositories, configuration: try configuration.with(paths: paths))
  }

  /// The same over the second repositories.
  ///
  /// - Throws: `Failure` 78 where no second repository is configured.
  public func second() throws -> Invocation {
    if let copy { return Invocation(self, repositories: copy, configuration: configuration) }
    throw Failure(
      .configuration, "there is no second repository", hint: "set COPY_RESTIC_REPOSITORY and COPY_RESTIC_PASSWORD")
  }

  /// The main repositories, and the second ones where they are configured.
  var withCopy: [Repositories] { [repositories] + (copy.map { [$0] } ?? []) }

  /// Nil where the application is not to be scaled down.
  ///
  /// - Throws: `Failure` 22 where this pod may not ask the API server.
  func application() throws -> Application? {
    if configuration.quiesceDeployments.isEmpty { return nil }
    guard var apiServer else {
      throw Failure(
        .refused, "QUIESCE_DEPLOYMENTS is set, and there is no service account's token in \(APIServer.account)",
        hint: APIServer.hint)
    }
    apiServer.deployments = configuration.quiesceDeployments
    return Application(server: apiServer, names: configuration.quiesceDeployments, patience: configuration.waits.quiesce)
  }

  /// PostgreSQL's programs on this machine.
  func clients() async -> Clients {
    await Clients.find(path: environment["PATH"] ?? "") { await Clients.version(of: $0, environment).first }
  }

  private static func resticVersion(_ environment: [String: String]) async throws -> String {
    let hint = "install restic 0.19 or newer: older ones can hang for ever on a full disk"
    let outcome: Outcome
    let crash = Locked<ResticCrash?>(nil)
    do {
      outcome = try await Runner.run(
        Command("restic", ["version"], environment: environment), output: .document(limit: 4096), deadline: .seconds(30),
        errors: { line in crash.change { $0 = $0 ?? ResticCrash(line) } })
    } catch let failure as Failure where failure.cause != .processLimit {
      throw Failure(.refused, failure.problems[0].fact, hint: hint)
    }
    let text = String(decoding: outcome.document, as: UTF8.self)
    let version = Version.numbers(text)
    if !outcome.ending.succeeded {
      throw Failure(
        .refused, "restic version failed (\(outcome.ending.text))", hint: crash.value?.hint ?? outcome.ending.hint(hint))
    }
    if version.lexicographicallyPrecedes(oldestRestic) || version.count < 2 {
      throw Failure(.refused, "restic is too old: \(printable(text.trimming(" \n")))", hint: hint)
    }
    return version.map(String.init).joined(separator: ".")
  }
}
