import FoundationEssentials
import SystemPackage

/// Why a new set is not to be trusted yet: it lacks what the last good one had, shrank below half, or begins from nothing.
enum Doubt {
  /// - Parameters:
  ///   - last: the newest undoubted record; nil where there is none.
  ///   - lost: databases, or nil for the files, of which something else is said already.
  static func reasons(files: FilesPart?, databases: [DatabasePart], since last: Record?, lost: [String?] = []) -> [String] {
    var reasons: [String] = []
    if let last {
      if let files, let before = last.files {
        // What is left out since says nothing about the rest, unless nothing is left at all.
        let isNarrower = !Set(files.excluded ?? []).isSubset(of: before.excluded ?? [])
        if !isNarrower { reasons += shrunk(files.evidence, before.evidence, last.id) + emptied(files, before, last.id) }
        if isNarrower, (before.evidence?.bytes ?? 0) > 0 { reasons += empty(files: files, databases: []) }
      } else if last.files != nil, !lost.contains(nil) {
        reasons.append("no files (set \(last.id) had them)")
      }
      for before in last.databases {
        if let database = databases.first(where: { $0.name == before.name }) {
          reasons += shrunk(database, before, last.id)
        } else if !lost.contains(before.name) {
          reasons.append("no database \(printable(before.name)) (set \(last.id) had it)")
        }
      }
    }
    // Told once, as what follows: what was accepted and is no more than before is no news.
    if let long = files?.evidence?.tooLong, long > last?.files?.evidence?.tooLong ?? 0 {
      reasons.append(
        "\(Format.count(long, "path is", "paths are")) over \(Format.count(FilesEvidence.longestPath)) bytes, too long to be restored"
      )
    }
    for database in databases {
      let before = last?.databases.first { $0.name == database.name }?.evidence?.unsaved ?? []
      let unsaved = (database.evidence?.unsaved ?? []).filter { !before.contains($0) }
      if unsaved.isEmpty { continue }
      reasons.append(
        "\(Format.some(unsaved.map(printable))) in database \(printable(database.name)): pg_dump saves no row of a member of an extension"
      )
    }
    return reasons
      + empty(
        files: last?.files == nil ? files : nil,
        databases: databases.filter { new in last?.databases.contains { $0.name == new.name } != true })
  }

  /// What a first set has nothing of: a volume that is not mounted, a database that is not the application's.
  static func empty(files: FilesPart?, databases: [DatabasePart]) -> [String] {
    var reasons: [String] = []
    if let files, files.evidence?.bytes == 0 { reasons.append("no file with content in \(printable(files.directory ?? ""))") }
    for database in databases where database.evidence.map({ $0.tables.isEmpty && $0.largeObjects.count == 0 }) == true {
      reasons.append("no table in database \(printable(database.name))")
    }
    return reasons
  }

  /// The databases are worth a set every night all the same.
  static func incomplete(_ source: String) -> String {
    "the files are incomplete: restore --in-place of \(source) was interrupted"
  }

  /// A name that has no set yet, beside those that may be this application's.
  static func renamed(_ host: String, _ others: [String]) -> String {
    "the first set of \(printable(host)) (there are sets of \(others.map(printable).joined(separator: " and of ")): RESTIC_HOST names what goes on)"
  }

  /// - Parameter gap: since the last undoubted set, longer than the policy's.
  static func gap(_ gap: TimeInterval) -> String { "\(Int((gap / 86400).rounded())) days after the last undoubted set" }

  private static func shrunk(_ now: FilesEvidence?, _ then: FilesEvidence?, _ id: SetID) -> [String] {
    let counted = shrunk(now?.entries ?? 0, then?.entries ?? 0, id) {
      Format.count($0, "file or directory", "files and directories")
    }
    return [counted ?? shrunk(now?.bytes ?? 0, then?.bytes ?? 0, id, bytes: "in files")].compactMap { $0 }
  }

  /// What FILES_PATHS names, and volumes mounted below: a small one that is empty is gone without a trace in the sum of all. What the operator
  /// names no more is left out, with all that lies in it.
  private static func emptied(_ now: FilesPart, _ then: FilesPart, _ id: SetID) -> [String] {
    guard let parts = now.evidence?.parts else { return [] }
    return (then.evidence?.parts ?? [:]).sorted { $0.key < $1.key }.compactMap { name, before in
      let isMeant = now.paths.isEmpty || now.paths.contains { FilePath(name).starts(with: FilePath($0)) }
      guard before.entries > 0, isMeant else { return nil }
      let had = "(set \(id) had \(Format.count(before.entries, "entry", "entries")), \(Format.bytes(before.bytes)))"
      guard let part = parts[name] else {
        return then.paths.contains(name) ? nil : "\(printable(name)) is no volume of its own any more \(had)"
      }
      return part.entries == 0 || part.bytes == 0 && before.bytes > 0 ? "nothing is left in \(printable(name)) \(had)" : nil
    }
  }

  /// Counts first: where rows are gone, so are their bytes.
  private static func shrunk(_ now: DatabasePart, _ then: DatabasePart, _ id: SetID) -> [String] {
    let name = printable(now.name)
    let objects = (now.evidence?.largeObjects, then.evidence?.largeObjects)
    // Of a table that was not counted in one of them nothing is known.
    let excluded = [now, then].flatMap { $0.excluded ?? [] }
    let unread = Set([now, then].flatMap { $0.evidence?.tables ?? [] }.filter { $0.unread == true }.map(\.name) + excluded)
    let isNarrower = !Set(now.excludedBy ?? []).isSubset(of: then.excludedBy ?? [])
    let rows = { (part: DatabasePart) in
      (part.evidence?.tables ?? []).filter { !unread.contains($0.name) }.reduce(0) { $0 + $1.rows }
    }
    let counted = shrunk(rows(now), rows(then), id) {
      Format.count($0, "row", "rows") + " in database \(name)"
    }
    let attached = shrunk(objects.0?.count ?? 0, objects.1?.count ?? 0, id) {
      Format.count($0, "large object", "large objects") + " in database \(name)"
    }
    // Records of before do not say how large they were.
    let weighed = objects.1?.bytes.flatMap { then in
      shrunk(objects.0?.bytes ?? then, then, id, bytes: "in large objects of database \(name)")
    }
    let lighter = isNarrower ? nil : shrunk(now.bytes, then.bytes, id, bytes: "in the dump of database \(name)")
    return [counted ?? lighter, attached ?? weighed].compactMap { $0 }
  }

  private static func shrunk(_ now: Int, _ then: Int, _ id: SetID, bytes place: String) -> String? {
    now * 2 < then ? "\(Format.bytes(now)) \(place) (set \(id) had \(Format.bytes(then)))" : nil
  }

  private static func shrunk(_ now: Int, _ then: Int, _ id: SetID, _ what: (Int) -> String) -> String? {
    now * 2 < then ? "\(what(now)) (set \(id) had \(Format.count(then)))" : nil
  }
}
