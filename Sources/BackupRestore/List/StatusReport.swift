import FoundationEssentials
import SystemPackage

/// `restore --status`: what is live, at work, left half done, kept and scaled down, as volume, database names, locks and API server prove
/// it; then what the repositories say. Takes no lock, and answers whichever of them does not.
public struct StatusReport: Sendable {
  let invocation: Invocation

  /// Nothing happens yet.
  public init(_ invocation: Invocation) { self.invocation = invocation }

  /// For those that are asked at once, and then for what is kept on them: what is at hand is said within two seconds.
  private static let patience = (asking: Duration.milliseconds(1200), kept: Duration.milliseconds(600))
  /// For what is far away, or busy.
  private static let longPatience = (asking: Duration.seconds(20), kept: Duration.seconds(20))

  /// Never fails: what cannot be asked is said.
  public func run() async -> ExitStatus {
    async let repositories = repositoryLines()
    let first = await nearbyLines(Self.patience)
    output((first.text + (first.kept.map { [$0] } ?? [])).joined(separator: "\n"))
    output(await repositories.joined(separator: "\n"))
    if first.isLate {
      let (said, late) = (Set(first.text), await nearbyLines(Self.longPatience))
      var more = late.text.filter { !said.contains($0) }
      if first.kept == nil {
        more += late.kept.map { [$0] } ?? []
      } else if first.sizes == nil {
        more += (late.sizes ?? [:]).sorted { $0.key < $1.key }.map { "size of previous \($0.key): \(Format.bytes($0.value))" }
      }
      if !more.isEmpty { output((["later:"] + more).joined(separator: "\n")) }
    }
    return .done
  }

  // MARK: At hand

  /// What a database server proves.
  private struct Asked: Sendable {
    var server: Server?
    /// Who saves, restores or swaps.
    var holders: [String] = []
    /// Who does what a restore need not wait for.
    var others: [String] = []
    /// Databases that a restore was building.
    var staging: [String] = []
  }

  /// What restores left.
  private struct Left: Sendable {
    var states: [PreviousState] = []
    /// Of the states; nil: not known in time.
    var sizes: [RestoreID: Int]?
    var unfinished: [String] = []
    /// Those that got no further than staging: somebody may be at it.
    var begun: [String] = []
    var volumes: [String] = []
  }

  private struct Lines {
    var text: [String] = []
    /// What can be rolled back to, as a table, and how large it is where that is known.
    var kept: String?
    var sizes: [RestoreID: Int]?
    var isLate = false

    /// - Parameter what: nil: the error names it.
    mutating func miss(_ what: String?, _ error: any Error) {
      isLate = isLate || error is NoAnswer
      text.append("unknown: \(what.map { $0 + ": " } ?? "")\(StatusReport.brief(error))")
    }
  }

  /// The volume, as far as it has answered.
  private struct Volume: Sendable {
    /// For the volume alone where FILES_PATHS names one.
    var configuration: Configuration
    var directory: Directory?
    /// The directory that another run has.
    var held: String?
  }

  private func nearbyLines(_ patience: (asking: Duration, kept: Duration)) async -> Lines {
    async let asking = within(patience.asking) { try await askServer() }
    async let application = within(patience.asking) { try await invocation.application()?.status() ?? [] }
    let looked = await within(patience.asking) { try await blocking { try askVolume() } }
    let asked = await asking
    let found = (try? asked.get()) ?? Asked()
    var running = found.holders
    let volume = try? looked.get()
    if running.isEmpty, let held = volume?.held { running.append("another run has \(printable(held))") }
    let left = await within(patience.kept) { try await whatIsLeft(found.server, volume?.directory, patience.kept / 2) }

    var lines = Lines()
    lines.text = (running + found.others).map { "in progress: \($0)" }
    let isKnown = volume != nil && (try? asked.get()) != nil
    switch left {
    case .success(let left):
      lines.isLate = left.sizes == nil
      tell(left, found.staging, isKnown: isKnown, isBusy: !running.isEmpty, typing: volume?.configuration.typed ?? "", &lines)
    case .failure(let error):
      lines.miss(nil, error)
      lines.text.append("kept for rollback: unknown, see above")
    }
    if case .failure(let error) = asked { lines.miss("database server", error) }
    if case .failure(let error) = looked { lines.miss("files", error) }
    switch await application {
    case .success(let text): lines.text += text
    case .failure(let error): lines.miss("application", error)
    }
    return lines
  }

  /// - Parameter isKnown: whether volume and server have both answered: of half of it nothing is said to be missing.
  private func tell(_ left: Left, _ staging: [String], isKnown: Bool, isBusy: Bool, typing volume: String, _ lines: inout Lines) {
    let isQuiet = isKnown && lines.text.isEmpty && left.unfinished.isEmpty && left.begun.isEmpty && staging.isEmpty
    lines.text += left.unfinished.map { "unfinished: \($0)" }
    if !isBusy {
      lines.text += left.begun.map { "unfinished: \($0)" }
      lines.text += staging.map { "staging: database \($0), which the next restore drops; nothing live was changed" }
    }
    lines.text += left.volumes
    if isQuiet, !left.states.contains(where: \.isBeingDiscarded) {
      lines.text.append("quiet: no run is at work, and nothing waits to be finished")
    }
    guard isKnown else { return lines.text.append("kept for rollback: unknown, until the rest answers") }
    if left.unfinished.isEmpty, let last = left.states.last { lines.text.insert("live: \(last.replacement)", at: 0) }
    if left.unfinished.isEmpty, left.states.isEmpty { lines.text.insert("live: no restore is known", at: 0) }
    if left.states.isEmpty { return lines.text.append("kept for rollback: nothing") }
    (lines.kept, lines.sizes) = (PreviousState.table(of: left.states, left.sizes ?? [:], typing: volume), left.sizes)
  }

  private func askServer() async throws -> Asked {
    var found = Asked()
    guard let settings = invocation.configuration.database else { return found }
    let server = try await Server.connect(settings, invocation.configuration.waits)
    found.server = server
    for name in settings.names {
      if let holder = try await server.holder(name) {
        let progress = holder.progress.map { ": \($0)" } ?? ""
        found.holders.append("database \(name) is held by \(holder.text)\(progress)")
      }
      if let holder = try await server.holder(name, .repositories) {
        found.others.append("retention, copy or check of \(name) by \(holder.text); a restore need not wait for it")
      }
    }
    found.staging = try await server.databases().sorted().filter { name in
      settings.names.contains { DatabaseName.parse(name, live: $0)?.isStaging == true }
    }
    return found
  }

  private func askVolume() throws -> Volume {
    let configuration = try invocation.configuration.onVolume()
    guard let files = configuration.files else { return Volume(configuration: configuration) }
    guard let directory = try files.open() else {
      throw Failure(.refused, "\(files.directory) does not exist or is not a directory", hint: "mount the volume there")
    }
    return Volume(configuration: configuration, directory: directory, held: try files.heldDirectory())
  }

  /// - Parameter directory: FILES_DIRECTORY; nil: there is none, or it has not answered.
  private func whatIsLeft(_ server: Server?, _ directory: Directory?, _ patience: Duration) async throws -> Left {
    let swap = Swap(directory: directory, server: server)
    var left = Left(states: try await swap.kept())
    left.sizes = await swap.sizes(of: left.states, within: patience)
    if let journal = try swap.replacing() { left.unfinished.append("\(swap.incomplete(journal))") }
    for id in try swap.unfinished() {
      guard let journal = try swap.journal(id) else {
        left.begun.append("restore \(id); the next restore finishes or undoes it; nothing live was changed")
        continue
      }
      if journal.phase != .replacing { left.unfinished.append("restore \(id); the next restore finishes or undoes it") }
    }
    left.volumes = try volumeLines(swap.directory)
    return left
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
    switch await within(Self.longPatience.asking, { try await invocation.restorable() }) {
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
  private static func brief(_ error: any Error) -> String {
    guard let failure = error as? Failure else { return printable("\(error)") }
    switch failure.status {
    case .wrongPassword: return "password refused"
    case .repositoryMissing: return "does not exist"
    default: return failure.problems[0].fact
    }
  }
}
