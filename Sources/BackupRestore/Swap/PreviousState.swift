import FoundationEssentials

/// What a restore or rollback replaced and kept.
struct PreviousState: Equatable, Sendable {
  let id: RestoreID
  /// (name of the kept database, live name)
  var databases: [Server.Rename] = []
  var files: SwapJournal?
  /// What a kept database says that belongs to it.
  var mark: RestoreMarker?
  /// Its swap was committed, and the files are not all exchanged.
  var isUnfinished = false

  /// When it was swapped away: its restore had begun before, perhaps hours.
  var liveUntil: Date? { (files?.swapped ?? mark?.swapped).flatMap { Format.read($0)?.date } }

  /// What took its place: a set, or what a rollback brought back; nil where it was kept by an older toolkit.
  var replacedBy: String? {
    if let origin = files?.rollbackOf ?? mark?.rollbackOf { return "rollback of \(origin)" }
    switch files?.source ?? mark?.source {
    case .set(let id): return "set \(id)"
    case .snapshots(let ids): return "old-style snapshots \(ids)"
    case nil: return nil
    }
  }

  /// What its swap put in place, as far as that is kept.
  var replacement: String {
    let parts = databases.map { "database \(printable($0.to))" } + (files == nil ? [] : ["files"])
    let time = liveUntil.map { " since \(Format.local($0))" } ?? ""
    return "\(replacedBy ?? "a restore")\(time) (\(parts.joined(separator: ", ")), by restore \(id))"
  }

  /// Somebody began to remove it: what is left is no state to go back to.
  var isBeingDiscarded: Bool { files?.phase == .discarding || mark?.isBeingDiscarded == true }

  /// The live names of the databases that were replaced with the rest and are not found.
  var missingDatabases: [String] {
    let replaced = (files?.renames ?? []).filter { DatabaseName.isPrevious($0.to) }.map(\.from) + (mark?.databases ?? [])
    return Set(replaced).filter { name in !databases.contains { $0.to == name } }.sorted()
  }

  /// The directory whose files were replaced with the rest and are not found.
  var missingFiles: String? { files == nil && !isUnfinished ? mark?.files : nil }

  var isHalf: Bool { !missingDatabases.isEmpty || missingFiles != nil }
}

extension Swap {
  func kept() async throws -> [PreviousState] {
    var kept: [RestoreID: PreviousState] = [:]
    for id in try restores() {
      guard let exchange = try exchange(id), let journal = try SwapJournal.read(in: exchange.work, of: id) else { continue }
      let isWhole = try journal.phase == .done && exchange.hasTree
      if isWhole || journal.phase == .discarding { kept[id, default: PreviousState(id: id)].files = journal }
    }
    if let server {
      for (name, comment) in try await server.comments() {
        for live in server.settings.names {
          guard let (id, isStaging) = DatabaseName.parse(name, live: live), !isStaging else { continue }
          let mark = RestoreMarker(comment: comment)
          guard try await isKept(name, live, id, mark, kept[id], server) else {
            log.warning(
              "database \(printable(name)) is called like one that a restore keeps, and no restore of this application kept it\n  hint: it is passed over; ask who made it before it is dropped"
            )
            continue
          }
          var state = kept[id] ?? PreviousState(id: id)
          state.databases.append(.init(from: name, to: live))
          state.mark = mark ?? state.mark
          kept[id] = state
        }
      }
    }
    for journal in try unfinished().compactMap(journal) { kept[journal.id]?.isUnfinished = true }
    return kept.values.sorted { $0.id < $1.id }
  }

  /// Whether a restore kept this database: whoever owns the live one may make another of such a name. What the volume says of the restore
  /// cannot be written by the application, its OIDs least of all; without files the comment says it, which every one of ours has.
  private func isKept(
    _ name: String, _ live: String, _ id: RestoreID, _ mark: RestoreMarker?, _ state: PreviousState?, _ server: Server
  ) async throws -> Bool {
    guard let journal = try state?.files ?? journal(id), journal.phase != .replacing else {
      return mark.map { !id.isAhead(of: Date()) && ($0.databases.isEmpty || $0.databases.contains(live)) } ?? false
    }
    guard let rename = journal.renames.first(where: { $0.to == name }) else { return false }
    // Of a server that was built anew from its dump the OIDs say nothing.
    guard let then = journal.databases, let oid = then.oids[rename.from], let system = then.system,
      try await server.system() == system
    else { return true }
    return try await server.name(ofDatabase: oid) == name
  }

  /// First everything says that it is being discarded, so that nobody goes back to half of it when this is interrupted.
  func discard(_ kept: PreviousState) async throws {
    if var journal = kept.files, let exchange = try exchange(kept.id) {
      journal.phase = .discarding
      try journal.write(in: exchange.work)
    }
    if let server, var mark = kept.mark {
      mark.isBeingDiscarded = true
      var statements: [String] = []
      for database in kept.databases {
        statements.append(RestoreMarker.statement(database.from, mark.added(to: try await server.comment(database.from))))
      }
      try await server.session.execute(statements.joined(separator: "; "))
    }
    for database in kept.databases { try await server?.drop(database.from) }
    if kept.files != nil { try remove(kept.id) }
  }
}

extension PreviousState {
  /// The live names of databases that came with it and replaced none: a rollback leaves them.
  var newDatabases: [String] {
    (files?.renames ?? []).map(\.to).filter { name in !DatabaseName.isPrevious(name) && !databases.contains { $0.to == name } }
  }

  /// Files and databases that one restore replaced belong together; those of a database or directory that is not configured now, or that
  /// somebody removed, are not found.
  var missingProblems: [Problem] {
    var problems = missingDatabases.map { name in
      let rest =
        files == nil
        ? "what is there can be renamed by hand"
        : "if it was dropped, the old files are in .backup-restore/\(id)/tree, to be moved by hand"
      return Problem(
        "restore \(id) replaced database \(name) too, and \(DatabaseName.previous(name, id)) is not found",
        hint: "set POSTGRES_DB and POSTGRES_HOST as in that restore; \(rest)")
    }
    if let directory = missingFiles {
      problems.append(
        Problem(
          "restore \(id) replaced the files of \(printable(directory)) too, and its .backup-restore/\(id) is not found",
          hint:
            "set FILES_DIRECTORY as in that restore; if it was removed, the old files are gone: choose a set by restore --list"))
    }
    return problems
  }

  /// - Throws: `Failure` 22 where what is kept is not all that was live.
  func refuseIncomplete() throws(Failure) {
    try Failure.collect(.refused, missingProblems)
    if isBeingDiscarded {
      throw Failure(
        .refused, "\(id) is being discarded",
        hint: "restore --discard-previous \(id) removes what is left of it")
    }
    if let safety = mark?.safety {
      throw Failure(
        .refused, "restore \(id) replaced the files in place, so only its databases are kept",
        hint: "what was live before is set \(safety): restore --in-place \(safety)")
    }
  }

  /// - Parameter beginning: of the id of one; nil: the newest, or where several are kept and not `newestByDefault`, none.
  /// - Throws: `Failure` 22 where not one is meant.
  static func choose(_ kept: [PreviousState], _ beginning: String?, newestByDefault: Bool) throws(Failure) -> PreviousState {
    let found = beginning.map { text in kept.filter { $0.id.text.hasPrefix(text) } } ?? kept
    guard let newest = found.last else {
      throw Failure(
        .refused, beginning.map { "no previous state \(printable($0)) is kept" } ?? "no previous state is kept",
        hint: "restore --status shows what is")
    }
    if found.count > 1, beginning != nil || !newestByDefault {
      throw Failure(
        .refused, "several previous states are kept: \(found.map(\.id.text).joined(separator: ", "))", hint: "name one of them")
    }
    return newest
  }
}
