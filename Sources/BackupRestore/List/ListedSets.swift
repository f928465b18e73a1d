/// `restore --list --json`. Fields that are not known are left out.
struct ListedSets: Encodable, Sendable {
  let sets: [ListedSet]
  let oldStyle: [ListedSnapshot]

  init(_ catalog: Catalog, _ old: LegacySnapshots) {
    sets = catalog.entries.map(ListedSet.init)
    oldStyle = old.items.map { item in
      ListedSnapshot(
        id: item.snapshot.id, repository: item.repository.rawValue, time: item.snapshot.time, kind: item.kind?.rawValue,
        paths: item.snapshot.paths ?? [], bytes: item.snapshot.summary?.total_bytes_processed)
    }
  }
}

struct ListedSet: Encodable, Sendable {
  let id: String
  let host: String
  /// RFC 3339.
  let began: String?
  /// Before compression.
  let bytes: Int
  let files: Bool
  let databases: Int
  let entries: Int?
  let tables: Int?
  let rows: Int?
  let unreadable: Int?
  /// RFC 3339.
  let lastDrill: String?
  /// Whether `restore` takes it without a second thought.
  let sound: Bool
  /// Why it does not, as the table has it.
  let note: String?
  /// Why retention passes over it, perhaps empty.
  let held: String?
  let excluded: String?

  init(_ entry: Catalog.Entry) {
    (id, host, began) = (entry.id.text, entry.host, entry.id.date.map(Format.time))
    bytes = entry.parts.reduce(0) { $0 + ($1.summary?.total_bytes_processed ?? 0) }
    (files, databases) = (entry.files != nil, entry.databases.count)
    (entries, tables, rows) = (entry.number("file-count"), entry.number("tables"), entry.number("rows"))
    (unreadable, lastDrill, sound) = (entry.number("unreadable"), entry.drilled, entry.sound)
    note = entry.mark.isEmpty ? nil : entry.mark
    (held, excluded) = (entry.held, entry.record?.tag("excluded"))
  }
}

/// A snapshot of the images before this one.
struct ListedSnapshot: Encodable, Sendable {
  let id: String
  let repository: String
  let time: String
  let kind: String?
  let paths: [String]
  let bytes: Int?
}

/// What a drill found, of `restore --list --drills --json`.
struct ListedDrill: Encodable, Sendable {
  let time: String
  let set: String?
  let proven: Bool
  /// The exit code, and its first reason.
  let code: Int?
  let reason: String?
  let seconds: Int?
  let postgres: String?
  let toolkit: String?
  let assertions: Int?

  init(_ drill: Snapshot) {
    (time, set, reason) = (drill.time, drill.tag("set"), drill.tag("reason"))
    let number = { (tag: String) in drill.tag(tag).flatMap { Int($0) } }
    (proven, code) = (drill.tag("kind") == DrillResult.kinds.proof, number("code"))
    (seconds, assertions) = (number("seconds"), number("assertions"))
    (postgres, toolkit) = (drill.tag("postgres"), drill.tag("toolkit"))
  }
}
