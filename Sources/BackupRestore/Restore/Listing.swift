import FoundationEssentials
import SystemPackage

/// `--list` and `--status`: what repositories, database names and volume prove. They change nothing.
extension Restore {
  /// The sets, the old-style snapshots, and what has no record.
  public func list() async throws -> ExitStatus {
    let (catalog, _, old) = try await context.restorable()
    if catalog.entries.isEmpty, old.items.isEmpty, !context.settings.prefix.isEmpty {
      output("no sets in the second repository: the next backup copies them")
      return .done
    }
    output(Self.listing(catalog, old, host: context.host, now: Date()))
    return .done
  }

  static func listing(_ catalog: Catalog, _ old: OldStyle, host: String, now: Date) -> String {
    if catalog.entries.isEmpty, old.items.isEmpty { return "no sets: run backup first" }
    var table = TextTable(["SET", "AGE", "SIZE", "PARTS", "ENTRIES", "TABLES", "ROWS", "LAST DRILL", "NOTE"])
    for entry in catalog.entries {
      let size = entry.parts.reduce(0) { $0 + ($1.summary?.total_bytes_processed ?? 0) }
      let parts =
        (entry.files == nil ? [] : ["files"])
        + (entry.databases.isEmpty ? [] : ["\(entry.databases.count) database\(entry.databases.count == 1 ? "" : "s")"])
      let number = { (tag: String) in entry.number(tag).map { Format.count($0) } ?? "" }
      let unreadable = entry.number("unreadable").map { "\(Format.count($0, "file", "files")) could not be read" } ?? ""
      let note = [entry.mark, unreadable, entry.host == host ? "" : "of \(entry.host)"].filter { !$0.isEmpty }.joined(
        separator: ", ")
      table.add([
        entry.id.text, age(entry.id.date, now), Format.bytes(size), parts.joined(separator: ", "), number("file-count"),
        number("tables"), number("rows"), entry.drilled.map { String($0.prefix(10)) } ?? "", note,
      ])
    }
    for item in old.items {
      let snapshot = item.snapshot
      let size = snapshot.summary?.total_bytes_processed.map { Format.bytes($0) } ?? ""
      let held =
        item.kind.map { $0 == .files ? "files \((snapshot.paths ?? []).joined(separator: ", "))" : $0.rawValue } ?? "unknown"
      table.add([
        snapshot.short, age(snapshot.date, now), size, held, "", "", "", "",
        "old-style snapshot\(item.repository == .base ? "" : " in \(item.repository.rawValue)")",
      ])
    }
    let hint = "\nold-style snapshots are restored by their ids: restore DATABASE FILES, or one alone"
    return table.text + (old.items.isEmpty ? "" : hint)
  }

  private static func age(_ date: Date?, _ now: Date) -> String {
    date.map { date in
      date.isAhead(of: now) ? "in \(Format.duration(date.timeIntervalSince(now)))" : Format.duration(now.timeIntervalSince(date))
    } ?? ""
  }

  /// What is in progress, unfinished, kept, scaled down.
  public func status() async throws -> ExitStatus {
    let (catalog, _, old) = try await context.restorable()
    var lines: [String] = []
    if let ahead = catalog.ahead(context.host) { lines.append("set \(ahead.id) is dated in the future: it is passed over") }
    if let last = catalog.of(context.host).last(where: { $0.record != nil && !$0.isAhead }) {
      lines.append("last set: \(last.id), \(Self.age(last.id.date, Date())) old" + (last.mark.isEmpty ? "" : ", \(last.mark)"))
      if last.doubted, let sound = catalog.lastSound(context.host) { lines.append("last undoubted set: \(sound.id)") }
    } else {
      lines.append("last set: none of \(context.host)\(old.items.isEmpty ? "" : "; old-style snapshots: \(old.items.count)")")
    }
    if let drilled = catalog.of(context.host).filter({ $0.drilled != nil }).last {
      lines.append("last drill: set \(drilled.id) on \(drilled.drilled!.prefix(19))Z")
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
    var kept: [Commit.Kept]?
    do {
      let commit = Commit(directory: try context.directory(), server: server)
      if let journal = try commit.replacing() { lines.append("unfinished: \(commit.incomplete(journal))") }
      for id in try commit.unfinished() { lines.append("unfinished: restore \(id); the next restore finishes or undoes it") }
      kept = try await commit.kept()
    } catch { lines.append("unknown: \(error)") }
    if let server {
      for name in try await server.databases().sorted() {
        for live in server.settings.names where DatabaseName.parse(name, live: live)?.isStaging == true {
          lines.append("staging: database \(name); the next restore drops it, unless one is in progress")
        }
      }
    }
    do { lines += try await context.quiesce()?.status() ?? [] } catch { lines.append("application: unknown: \(error)") }
    do { lines += try mountedLines() } catch { lines.append("unknown: \(error)") }
    output(lines.joined(separator: "\n"))
    output(
      kept.map { $0.isEmpty ? "kept for rollback: nothing" : Self.keptText($0, volume: volume) }
        ?? "kept for rollback: unknown, see above")
    return .done
  }

  /// What restores of single volumes below FILES_DIRECTORY left there.
  private func mountedLines() throws -> [String] {
    guard let directory = try context.directory() else { return [] }
    return try Mount.below(directory).compactMap { mount in
      guard let volume = try directory.directory(at: FilePath(mount.path)),
        try !Commit(directory: volume, server: nil).restores().isEmpty
      else { return nil }
      return "on the volume \(printable(mount.path)): see FILES_PATHS=\(Format.shell(mount.path)) restore --status"
    }
  }

  /// Before commands that are to be typed: for one of several volumes they need the same.
  var volume: String { configuration.files?.mounted.map { "FILES_PATHS=\(Format.shell($0)) " } ?? "" }

  static func keptText(_ kept: [Commit.Kept], volume: String = "") -> String {
    var table = TextTable(["PREVIOUS", "HOLDS"])
    for previous in kept {
      var holds = previous.databases.map { "database \($0.to) (\($0.from))" } + (previous.files == nil ? [] : ["files"])
      holds += previous.missingDatabases.map { "NOT FOUND: database \($0)" }
      if let directory = previous.missingFiles { holds.append("NOT FOUND: files of \(printable(directory))") }
      if let safety = previous.mark?.safety { holds.append("its files are in set \(safety)") }
      if previous.isUnfinished { holds.append("unfinished: backup or the next restore finishes it") }
      if previous.isBeingDiscarded { holds.append("being discarded: the next restore removes the rest") }
      table.add([previous.id.text, holds.joined(separator: ", ")])
    }
    let newest = kept.last!
    if newest.isUnfinished { return table.text }
    let isWhole = !newest.isHalf && !newest.isBeingDiscarded
    let back = newest.mark?.safety.map { "--in-place \($0)" } ?? (isWhole ? "--rollback \(newest.id)" : nil)
    return table.text + "\n" + (back.map { "back again: \(volume)restore \($0); " } ?? "")
      + "free its room: \(volume)restore --discard-previous \(newest.id)"
  }
}
