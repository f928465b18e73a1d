import FoundationEssentials
import SystemPackage

/// `restore --status`: what is in progress, unfinished, kept, scaled down, as repositories, database names and volume prove it.
public struct StatusReport: Sendable {
  let invocation: Invocation

  /// Nothing happens yet.
  public init(_ invocation: Invocation) { self.invocation = (try? invocation.onVolume()) ?? invocation }

  private var configuration: Configuration { invocation.configuration }

  /// - Throws: `Failure` where repositories or server cannot be asked.
  public func run() async throws -> ExitStatus {
    let found = try await invocation.restorable()
    let (catalog, old, host) = (found.catalog, found.legacy, invocation.repositories.host)
    var lines: [String] = []
    if let ahead = catalog.ahead(host) { lines.append("set \(ahead.id) is dated in the future: it is passed over") }
    if let last = catalog.of(host).last(where: { $0.record != nil && !$0.isAhead }) {
      lines.append("last set: \(last.id), \(Listing.age(last.id.date, Date())) old" + (last.mark.isEmpty ? "" : ", \(last.mark)"))
      if last.doubted, let sound = catalog.lastSound(host) { lines.append("last undoubted set: \(sound.id)") }
    } else {
      lines.append("last set: none of \(host)\(old.items.isEmpty ? "" : "; old-style snapshots: \(old.items.count)")")
    }
    if let (id, time) = catalog.of(host).compactMap({ entry in entry.drilled.map { (entry.id, $0) } }).last {
      lines.append("last drill: set \(id) on \(time.prefix(19))Z")
    } else {
      lines.append("last drill: none")
    }
    var server: Server?
    if let settings = configuration.database {
      server = try await Server.connect(settings, configuration.waits)
      for name in settings.names {
        if let holder = try await server?.holder(name) { lines.append("in progress: database \(name) is held by \(holder.text)") }
        if let holder = try await server?.holder(name, .repositories) {
          lines.append("in progress: retention, copy or check of \(name) by \(holder.text); a restore need not wait for it")
        }
      }
    }
    var kept: [PreviousState]?
    do {
      let swap = Swap(directory: try configuration.files?.open(), server: server)
      if let journal = try swap.replacing() { lines.append("unfinished: \(swap.incomplete(journal))") }
      for id in try swap.unfinished() { lines.append("unfinished: restore \(id); the next restore finishes or undoes it") }
      kept = try await swap.kept()
    } catch { lines.append("unknown: \(error)") }
    if let server {
      for name in try await server.databases().sorted() {
        for live in server.settings.names where DatabaseName.parse(name, live: live)?.isStaging == true {
          lines.append("staging: database \(name); the next restore drops it, unless one is in progress")
        }
      }
    }
    do { lines += try await invocation.application()?.status() ?? [] } catch { lines.append("application: unknown: \(error)") }
    do { lines += try mountedLines() } catch { lines.append("unknown: \(error)") }
    output(lines.joined(separator: "\n"))
    output(
      kept.map { $0.isEmpty ? "kept for rollback: nothing" : PreviousState.table(of: $0, typing: configuration.typed) }
        ?? "kept for rollback: unknown, see above")
    return .done
  }

  /// What restores of single volumes below FILES_DIRECTORY left there.
  private func mountedLines() throws -> [String] {
    guard let directory = try configuration.files?.open() else { return [] }
    return try Mount.below(directory).compactMap { mount in
      guard let volume = try directory.directory(at: FilePath(mount.path)),
        try !Swap(directory: volume, server: nil).restores().isEmpty
      else { return nil }
      return "on the volume \(printable(mount.path)): see FILES_PATHS=\(Format.shell(mount.path)) restore --status"
    }
  }
}
