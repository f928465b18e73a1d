import FoundationEssentials
import SystemPackage

/// `restore --status`: what is live, at work, left half done, kept and scaled down, as volume, database names, locks and API server prove
/// it; then what the repositories say. Takes no lock, and answers whatever does not.
public struct StatusReport: Sendable {
  let invocation: Invocation

  /// Nothing happens yet.
  public init(_ invocation: Invocation) { self.invocation = (try? invocation.onVolume()) ?? invocation }

  private var configuration: Configuration { invocation.configuration }

  /// For each of those that are asked at once: what is at hand is said within two seconds.
  private static let patience = Duration.milliseconds(1500)
  /// For what is far away, or busy.
  private static let longPatience = Duration.seconds(20)

  /// Never fails: what cannot be asked is said.
  public func run() async -> ExitStatus {
    async let repositories = repositoryLines()
    let first = await nearbyLines(Self.patience)
    output(first.lines.joined(separator: "\n"))
    output(await repositories.joined(separator: "\n"))
    if first.isLate {
      output("once more, with what did not answer at once:")
      output(await nearbyLines(Self.longPatience).lines.joined(separator: "\n"))
    }
    return .done
  }

  // MARK: At hand

  private struct Nearby: Sendable {
    var server: Server?
    /// Who is at work.
    var running: [String] = []
    /// Databases that a restore was building.
    var staging: [String] = []
    var unknown: [String] = []
    var isLate = false

    mutating func miss(_ what: String, _ error: any Error) {
      isLate = isLate || error is NoAnswer
      unknown.append("\(what): \(StatusReport.brief(error))")
    }
  }

  private func nearbyLines(_ patience: Duration) async -> (lines: [String], isLate: Bool) {
    async let asked = within(patience) { try await askServer() }
    async let application = within(patience) { try await invocation.application()?.status() ?? [] }
    let volume = await within(patience) { try await blocking { try askVolume() } }
    var found = Nearby()
    switch await asked {
    case .success(let answer): found = answer
    case .failure(let error): found.miss("database server", error)
    }
    var lines: [String] = []
    switch volume {
    case .success(let isHeld):
      if isHeld, found.running.isEmpty {
        found.running.append("another run has \(printable(configuration.files?.directory ?? ""))")
      }
    case .failure(let error): found.miss("files", error)
    }
    lines += found.running.map { "in progress: \($0)" }
    let server = found.server
    let isVolumeKnown = (try? volume.get()) != nil
    switch await within(patience, { try await kept(server, isVolumeKnown: isVolumeKnown) }) {
    case .success(let kept):
      lines = kept.live + lines
      if found.running.isEmpty {
        lines += kept.unfinished
        lines += found.staging.map { "staging: database \($0), which the next restore drops; nothing live was changed" }
      }
      if lines.count == kept.live.count, found.unknown.isEmpty {
        lines.append("quiet: no run is at work, and nothing waits to be finished")
      }
      lines += kept.volumes + ((try? await application.get()) ?? [])
      lines.append(kept.table)
    case .failure(let error): found.miss("kept for rollback", error)
    }
    if case .failure(let error) = await application { found.miss("application", error) }
    return (lines + found.unknown.map { "unknown: \($0)" }, found.isLate)
  }

  private func askServer() async throws -> Nearby {
    var found = Nearby()
    guard let settings = configuration.database else { return found }
    let server = try await Server.connect(settings, configuration.waits)
    found.server = server
    for name in settings.names {
      if let holder = try await server.holder(name) { found.running.append("database \(name) is held by \(holder.text)") }
      if let holder = try await server.holder(name, .repositories) {
        found.running.append("retention, copy or check of \(name) by \(holder.text); a restore need not wait for it")
      }
    }
    found.staging = try await server.databases().sorted().filter { name in
      settings.names.contains { DatabaseName.parse(name, live: $0)?.isStaging == true }
    }
    return found
  }

  /// Whether another run holds it.
  private func askVolume() throws -> Bool {
    guard let files = configuration.files else { return false }
    guard let directory = try files.open() else {
      throw Failure(.refused, "\(files.directory) does not exist or is not a directory", hint: "mount the volume there")
    }
    return DirectoryLock.isHeld(directory)
  }

  private struct Kept: Sendable {
    var live: [String] = []
    var unfinished: [String] = []
    var volumes: [String] = []
    var table = ""
  }

  private func kept(_ server: Server?, isVolumeKnown: Bool) async throws -> Kept {
    let swap = Swap(directory: isVolumeKnown ? try configuration.files?.open() : nil, server: server)
    var found = Kept()
    let states = try await swap.kept()
    found.live =
      states.last.map { last in
        ["live: since \(last.id.date.map(Format.time) ?? last.id.text) by \(last.replacedBy ?? "a restore"), verified"]
      } ?? ["live: no restore is known"]
    if let journal = try swap.replacing() { found.unfinished.append("unfinished: \(swap.incomplete(journal))") }
    for id in try swap.unfinished() where try swap.journal(id)?.phase != .replacing {
      let state = try swap.journal(id) == nil ? "; nothing live was changed" : ""
      found.unfinished.append("unfinished: restore \(id); the next restore finishes or undoes it\(state)")
    }
    found.volumes = try volumeLines(swap.directory)
    found.table =
      states.isEmpty ? "kept for rollback: nothing" : PreviousState.table(of: states, typing: configuration.typed)
    return found
  }

  /// What restores of single volumes below FILES_DIRECTORY left there.
  private func volumeLines(_ directory: Directory?) throws -> [String] {
    guard let directory else { return [] }
    return try Mount.below(directory).compactMap { mount in
      guard let volume = try directory.directory(at: FilePath(mount.path)),
        try !Swap(directory: volume, server: nil).restores().isEmpty
      else { return nil }
      return "on the volume \(printable(mount.path)): see FILES_PATHS=\(Format.shell(mount.path)) restore --status"
    }
  }

  // MARK: The repositories

  private func repositoryLines() async -> [String] {
    let repositories = invocation.repositories
    let found: Restorable
    switch await within(Self.longPatience, { try await invocation.restorable() }) {
    case .success(let answer): found = answer
    case .failure(let error): return ["repository: \(repositories.settings.shown): \(Self.brief(error))"]
    }
    let (catalog, host) = (found.catalog, repositories.host)
    var lines: [String] = []
    if let ahead = catalog.ahead(host) { lines.append("set \(ahead.id) is dated in the future: it is passed over") }
    if let last = catalog.of(host).last(where: { $0.record != nil && !$0.isAhead }) {
      lines.append("last set: \(last.id), \(Listing.age(last.id.date, Date())) old" + (last.mark.isEmpty ? "" : ", \(last.mark)"))
      if last.doubted, let sound = catalog.lastSound(host) { lines.append("last undoubted set: \(sound.id)") }
    } else {
      let legacy = found.legacy.items.isEmpty ? "" : "; old-style snapshots: \(found.legacy.items.count)"
      lines.append("last set: none of \(host)\(legacy)")
    }
    let drilled = catalog.of(host).last { $0.drilled != nil }
    lines.append(drilled.map { "last drill: set \($0.id) on \(($0.drilled ?? "").prefix(19))Z" } ?? "last drill: none")
    return lines
  }

  /// The fact alone, in one line.
  fileprivate static func brief(_ error: any Error) -> String {
    guard let failure = error as? Failure else { return printable("\(error)") }
    switch failure.status {
    case .wrongPassword: return "password refused"
    case .repositoryMissing: return "does not exist"
    default: return failure.problems[0].fact
    }
  }
}
