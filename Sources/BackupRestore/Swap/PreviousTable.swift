/// What is kept, for the operator.
extension PreviousState {
  /// After a commit nothing makes a failure of it any more: neither the server nor a signal.
  static func tell(in swap: Swap, _ configuration: Configuration) async {
    switch await Task(operation: { await settled { try await swap.kept() } }).value {
    case .success(let kept): if !kept.isEmpty { output(table(of: kept, typing: configuration.typed)) }
    case .failure(let error): log.warning("what is kept cannot be listed now: \(error)\n  hint: restore --status, later")
    }
  }

  /// - Parameter volume: what is typed before commands.
  static func table(of kept: [PreviousState], typing volume: String = "") -> String {
    var table = TextTable(["PREVIOUS", "LIVE UNTIL", "REPLACED BY", "HOLDS"])
    for previous in kept {
      table.add([
        previous.id.text, previous.liveUntil.map(Format.local) ?? "", previous.replacedBy ?? "",
        previous.contents.joined(separator: ", "),
      ])
    }
    guard let newest = kept.last, !newest.isUnfinished else { return table.text }
    let isWhole = !newest.isHalf && !newest.isBeingDiscarded
    let back = newest.mark?.safety.map { "--in-place \($0)" } ?? (isWhole ? "--rollback \(newest.id)" : nil)
    return table.text + "\n" + (back.map { "back again: \(volume)restore \($0); " } ?? "")
      + "free its room: \(volume)restore --discard-previous \(newest.id)"
  }

  private var contents: [String] {
    var contents = databases.map { "database \($0.to) (\($0.from))" } + (files == nil ? [] : ["files"])
    contents += missingDatabases.map { "NOT FOUND: database \($0)" }
    if let directory = missingFiles { contents.append("NOT FOUND: files of \(printable(directory))") }
    if let safety = mark?.safety { contents.append("its files are in set \(safety)") }
    if isUnfinished { contents.append("unfinished: backup or the next restore finishes it") }
    if isBeingDiscarded { contents.append("being discarded: the next restore removes the rest") }
    return contents
  }
}
