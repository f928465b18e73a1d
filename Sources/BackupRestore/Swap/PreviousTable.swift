extension Swap {
  /// What each takes on server and volume, in bytes, without those of which either does not say it; nil where that is not known in time.
  func sizes(of kept: [PreviousState], within patience: Duration = .seconds(10)) async -> [RestoreID: Int]? {
    try? await BackupRestore.within(patience) { try await measure(kept) }.get()
  }

  private func measure(_ kept: [PreviousState]) async throws -> [RestoreID: Int] {
    var sizes: [RestoreID: Int] = [:]
    for state in kept {
      var parts: [Int?] = []
      for database in state.databases { parts.append(try await server?.size(of: database.from)) }
      if state.files != nil, let tree = try exchange(state.id)?.work.directory(Exchange.treeName) {
        parts.append(
          try await blocking {
            var bytes = 0
            try tree.walk { bytes += $2.allocated }
            return bytes
          })
      }
      let known = parts.compactMap { $0 }
      if known.count == parts.count { sizes[state.id] = known.reduce(0, +) }
    }
    return sizes
  }
}

/// What is kept, for the operator.
extension PreviousState {
  /// After a commit nothing makes a failure of it any more: neither the server nor a signal.
  static func tell(in swap: Swap, _ configuration: Configuration) async {
    let asked = await Task {
      await settled {
        let kept = try await swap.kept()
        return (kept, await swap.sizes(of: kept) ?? [:])
      }
    }.value
    switch asked {
    case .success(let (kept, sizes)): if !kept.isEmpty { output(table(of: kept, sizes, typing: configuration.typed)) }
    case .failure(let error): log.warning("what is kept cannot be listed now: \(error)\n  hint: restore --status, later")
    }
  }

  /// - Parameters:
  ///   - sizes: in bytes, where they are known.
  ///   - volume: what is typed before commands.
  static func table(of kept: [PreviousState], _ sizes: [RestoreID: Int], typing volume: String = "") -> String {
    var table = TextTable(["PREVIOUS", "SIZE", "LIVE UNTIL", "REPLACED BY", "HOLDS"])
    for previous in kept {
      table.add([
        previous.id.text, sizes[previous.id].map(Format.bytes) ?? "", previous.liveUntil.map(Format.local) ?? "",
        previous.replacedBy ?? "",
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
