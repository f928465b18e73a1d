/// Why a new set is not to be trusted yet: it lacks what the last good one had, or shrank below half.
enum Doubt {
  static func reasons(files: FilesPart?, databases: [DatabasePart], since last: Record) -> [String] {
    var reasons: [String] = []
    if let before = last.files {
      if let files {
        let (now, then) = (files.evidence?.entries ?? 0, before.evidence?.entries ?? 0)
        if now * 2 < then {
          reasons.append(
            "\(Format.count(now, "file or directory", "files and directories")) (set \(last.id) had \(Format.count(then)))")
        }
      } else {
        reasons.append("no files (set \(last.id) had them)")
      }
    }
    for before in last.databases {
      guard let database = databases.first(where: { $0.name == before.name }) else {
        reasons.append("no database \(before.name) (set \(last.id) had it)")
        continue
      }
      let (now, then) = (database.evidence?.rows ?? 0, before.evidence?.rows ?? 0)
      if now * 2 < then {
        reasons.append(
          "\(Format.count(now, "row", "rows")) in database \(before.name) (set \(last.id) had \(Format.count(then)))")
      }
    }
    return reasons
  }
}
