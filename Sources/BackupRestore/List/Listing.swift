import FoundationEssentials

/// `restore --list`: the sets, the old-style snapshots, and what has no record.
public struct Listing: Sendable {
  let invocation: Invocation
  /// What drills found, and not the sets.
  let isOfDrills: Bool
  let asJSON: Bool

  /// Nothing happens yet.
  ///
  /// - Parameters:
  ///   - drills: what drills found, and not the sets.
  ///   - json: a document, not a table.
  public init(_ invocation: Invocation, drills: Bool = false, json: Bool = false) {
    (self.invocation, isOfDrills, asJSON) = (invocation, drills, json)
  }

  /// - Throws: `Failure` where no repository can be opened.
  public func run() async throws -> ExitStatus {
    if isOfDrills {
      let drills = try await invocation.repositories.catalog().drills(invocation.repositories.host)
      output(try asJSON ? JSON.text(drills.map(ListedDrill.init)) : Self.drills(drills))
      return .done
    }
    let found = try await invocation.restorable()
    let repositories = invocation.repositories
    if asJSON {
      output(try JSON.text(ListedSets(found.catalog, found.legacy)))
      return .done
    }
    if found.catalog.entries.isEmpty, found.legacy.items.isEmpty, !repositories.settings.prefix.isEmpty {
      output("no sets in the second repository: the next backup copies them")
      return .done
    }
    output(Self.table(found.catalog, found.legacy, host: repositories.host, now: Date()))
    return .done
  }

  static func table(_ catalog: Catalog, _ old: LegacySnapshots, host: String, now: Date) -> String {
    if catalog.entries.isEmpty, old.items.isEmpty { return "no sets: run backup first" }
    var table = TextTable(["SET", "AGE", "SIZE", "PARTS", "ENTRIES", "TABLES", "ROWS", "LAST DRILL", "NOTE"])
    for entry in catalog.entries {
      let size = entry.parts.reduce(0) { $0 + ($1.summary?.total_bytes_processed ?? 0) }
      let parts =
        (entry.files == nil ? [] : ["files"])
        + (entry.databases.isEmpty ? [] : ["\(entry.databases.count) database\(entry.databases.count == 1 ? "" : "s")"])
      let number = { (tag: String) in entry.number(tag).map { Format.count($0) } ?? "" }
      let unreadable = entry.number("unreadable").map { "\(Format.count($0, "file", "files")) could not be read" } ?? ""
      let excluded = entry.record?.tag("excluded").map { "without \($0)" } ?? ""
      let held = entry.held.map { $0.isEmpty ? "held" : "held: \($0)" } ?? ""
      let note = [entry.mark, held, unreadable, excluded, entry.host == host ? "" : "of \(entry.host)"].filter { !$0.isEmpty }
        .joined(
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

  static func drills(_ drills: [Snapshot]) -> String {
    if drills.isEmpty { return "no drill is known: run restore --drill" }
    var table = TextTable(["DRILL", "SET", "TOOK", "POSTGRESQL", "TOOLKIT", "ASSERTIONS", "RESULT"])
    for drill in drills {
      let isProof = drill.tag("kind") == DrillResult.kinds.proof
      let failure = "failed (\(drill.tag("code") ?? "")): \(drill.tag("reason") ?? "")"
      table.add([
        drill.date.map(Format.time) ?? "", drill.tag("set") ?? "",
        drill.tag("seconds").flatMap { Double($0) }.map(Format.duration) ?? "", drill.tag("postgres") ?? "",
        drill.tag("toolkit") ?? "", drill.tag("assertions") ?? "", isProof ? "proven" : failure,
      ])
    }
    return table.text
  }

  static func age(_ date: Date?, _ now: Date) -> String {
    date.map { date in
      date.isAhead(of: now) ? "in \(Format.duration(date.timeIntervalSince(now)))" : Format.duration(now.timeIntervalSince(date))
    } ?? ""
  }
}
