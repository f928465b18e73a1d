/// What PostgreSQL refused and the operator does without for now.
extension Restore {
  /// As statements, also beside the old files that are kept: they go with those.
  func tellLater(_ staged: Staged, _ commit: Commit, _ id: RestoreID) {
    for (database, statements) in staged.later {
      let text = statements.joined(separator: "\n\n") + "\n"
      let header =
        "-- What restore \(id) left out of database \(printable(database)), to be run in it when its rows are mended.\n\n"
      var place = "run it with psql -d \(printable(database))"
      do {
        if let name = Directory.Name("left-out.\(percentEncoded(database.utf8)).sql"), let kept = try commit.exchange(id) {
          try kept.work.write(Array((header + text).utf8), to: name)
          place += " -f \(printable(kept.work.path.appending(name).string))"
        }
      } catch { log.warning("what was left out is not kept in a file: \(error)\n  hint: copy it from here") }
      output(
        "left out of database \(printable(database)); when its rows are mended, \(place):\n\(printable(text, keeping: "\n"))")
    }
  }
}
