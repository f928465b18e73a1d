/// What PostgreSQL refused and the operator does without for now.
struct DeferredStatements: Sendable {
  let database: String
  let statements: [String]
}

extension Staged {
  /// As statements, also beside the old files that are kept: they go with those.
  func tellDeferred(keptIn swap: Swap, _ id: RestoreID) {
    for later in deferred {
      let (database, text) = (printable(later.database), later.statements.joined(separator: "\n\n") + "\n")
      let header = "-- What restore \(id) left out of database \(database), to be run in it when its rows are mended.\n\n"
      var place = "run it with psql -d \(database)"
      do {
        if let name = Directory.Name("left-out.\(percentEncoded(later.database.utf8)).sql"), let kept = try swap.exchange(id) {
          try kept.work.write(Array((header + text).utf8), to: name)
          place += " -f \(printable(kept.work.path.appending(name).string))"
        }
      } catch { log.warning("what was left out is not kept in a file: \(error)\n  hint: copy it from here") }
      output("left out of database \(database); when its rows are mended, \(place):\n\(printable(text, keeping: "\n"))")
    }
  }
}
