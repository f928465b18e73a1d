import FoundationEssentials

/// The sets that the repositories' snapshots prove.
struct Catalog: Sendable {
  let entries: [Entry]
  /// Records, and what was said about sets since: drills, acceptances.
  let sets: [Snapshot]
  /// A name that counts as this application's own.
  let former: String?

  struct Entry: Sendable, Equatable {
    let id: SetID
    let host: String
    /// The record's snapshot; nil where none exists.
    let record: Snapshot?
    /// Parts that exist.
    let files: Snapshot?
    let databases: [Snapshot]
    /// Snapshot ids the record names and that are gone.
    let gone: [String]
    let accepted: Bool
    /// Dated over an hour ahead of the clock: it may be older than others, and nothing about times can be believed with it.
    let isAhead: Bool
    /// Why retention passes over it, perhaps empty; nil: it does not.
    var held: String? = nil
    /// When a drill last proved it.
    let drilled: String?
    /// No record, and no older record of its host: either the records are lost, or no backup had ever finished. Its tags stand
    /// in, and only an operator who names it gets it. With an older record it is a backup that never finished.
    let rebuilt: Bool

    var doubted: Bool { isAhead || (record?.tag("doubted") != nil && !accepted) }
    /// Saved by a restore before it replaced what was live: perhaps the very state somebody wants to get away from.
    var isSafety: Bool { record?.tag("before") != nil }
    var incomplete: Bool { record == nil && !rebuilt }
    /// Can be restored without a second thought.
    var sound: Bool { !doubted && !incomplete && gone.isEmpty && !isSafety }
    /// And has its record: the next set is held against it.
    var trusted: Bool { sound && !rebuilt }
    var parts: [Snapshot] { (files.map { [$0] } ?? []) + databases }

    /// When it had been read: nothing of it is younger. A dump shows the moment before its backup began, files are read until the end
    /// of theirs, minutes or hours after the set's own second.
    func read(_ only: Only?) -> Date {
      let files = only == .database ? nil : files?.ended
      let databases = only == .files ? [] : databases.compactMap(\.date)
      // Their fractions of a second are cut off, so each counts as the next whole one.
      let last = ((files.map { [$0] } ?? []) + databases).max()?.addingTimeInterval(1)
      return max(last ?? .distantPast, id.date ?? .distantFuture)
    }

    /// What of it is gone.
    var lost: String { "its part \(gone.map { String($0.prefix(8)) }.joined(separator: ", ")) is gone" }

    func number(_ tag: String) -> Int? { record?.tag(tag).flatMap { Int($0) } }

    /// How `--list` marks it.
    var mark: String {
      if !gone.isEmpty { return "damaged: a part is gone" }
      if incomplete { return "incomplete: no record, its backup never finished" }
      if rebuilt { return "no record: lost, or never finished" }
      if isAhead { return "doubted: dated in the future" }
      if isSafety { return "saved before restore --\(record?.tag("before") ?? "")" }
      if let reason = record?.tag("doubted") { return accepted ? "accepted" : "doubted: \(reason)" }
      return ""
    }
  }

  /// What lies ahead of `now` is doubted.
  init(files: [Snapshot], databases: [Snapshot], sets: [Snapshot], former: String? = nil, now: Date = Date()) {
    (self.sets, self.former) = (sets, former)
    // In a second repository a part has another id, and its own as `original`.
    let partsByID = Dictionary((files + databases).flatMap { [($0.id, $0), ($0.identity, $0)] }) { first, _ in first }
    let records = sets.filter { $0.tag("kind") == "set" }
    let marks = sets.filter { $0.tag("kind") != "set" }
    var entries: [Entry] = []
    var named: Set<String> = []
    for record in records {
      guard let id = record.tag("set").flatMap(SetID.init) else { continue }
      let filesID = record.tag("files")
      let databaseIDs = record.values("database")
      let all = (filesID.map { [$0] } ?? []) + databaseIDs
      named.formUnion(all)
      let own = marks.filter { $0.tag("set") == id.text && $0.hostname == record.hostname }
      entries.append(
        Entry(
          id: id, host: record.hostname ?? "", record: record, files: filesID.flatMap { partsByID[$0] },
          databases: databaseIDs.compactMap { partsByID[$0] }, gone: all.filter { partsByID[$0] == nil },
          accepted: own.contains { $0.tag("kind") == "accept" }, isAhead: record.isAhead(of: now) || id.isAhead(of: now),
          held: HoldMark.reason(own),
          drilled: own.filter { $0.tag("kind") == "drill" }.map(\.time).max(), rebuilt: false))
    }
    // Parts that no record names, together by set and host.
    struct Owner: Hashable {
      let id: SetID
      let host: String
    }
    var orphans: [Owner: (files: Snapshot?, databases: [Snapshot])] = [:]
    for (snapshot, isFiles) in files.map({ ($0, true) }) + databases.map({ ($0, false) })
    where !named.contains(snapshot.id) && !named.contains(snapshot.identity) {
      guard let id = snapshot.tag("set").flatMap(SetID.init) else { continue }
      let owner = Owner(id: id, host: snapshot.hostname ?? "")
      if isFiles {
        orphans[owner, default: (nil, [])].files = snapshot
      } else {
        orphans[owner, default: (nil, [])].databases.append(snapshot)
      }
    }
    for (owner, parts) in orphans {
      entries.append(
        Entry(
          id: owner.id, host: owner.host, record: nil, files: parts.files, databases: parts.databases, gone: [], accepted: false,
          isAhead: owner.id.isAhead(of: now), drilled: nil,
          rebuilt: !records.contains { $0.hostname == owner.host && ($0.tag("set") ?? "") < owner.id.text }))
    }
    self.entries = entries.sorted { ($0.id, $0.host) < ($1.id, $1.host) }
  }

  func of(_ host: String) -> [Entry] { entries.filter { $0.host == host } }

  func contains(_ beginning: String) -> Bool { entries.contains { $0.id.text.hasPrefix(beginning) } }

  /// The newest set of this host that can be trusted: what tonight's is compared with.
  func lastSound(_ host: String) -> Entry? { of(host).last(where: \.trusted) }

  /// What a container of this pod saved before it started again. Not of long ago: a pod that stays runs night after night.
  func saved(by pod: String?, host: String, now: Date) -> Entry? {
    guard let pod else { return nil }
    return of(host).last { entry in
      entry.record?.tag("pod") == pod && entry.id.date.map { (0..<12 * 3600).contains(now.timeIntervalSince($0)) } == true
    }
  }

  // MARK: Choosing

  enum Choice: Equatable, Sendable {
    case newest
    case at(Date)
    case named(String)
  }

  /// - Throws: `Failure` 22 where the choice is the operator's.
  func choose(_ choice: Choice, host: String, only: Only? = nil) throws(Failure) -> Entry {
    switch choice {
    case .named(let beginning): return try named(beginning, host: host)
    case .newest: return try newest(among: of(host), host, when: "")
    case .at(let time):
      return try newest(among: of(host).filter { $0.read(only) <= time }, host, when: " read by \(Format.time(time))")
    }
  }

  /// The newest set that began by this time and had not been read by then: part of it may be younger.
  func beingRead(at time: Date, host: String, only: Only?) -> Entry? {
    of(host).last { ($0.id.date ?? .distantFuture) <= time && $0.read(only) > time && !$0.incomplete && !$0.isSafety }
  }

  private func named(_ beginning: String, host: String) throws(Failure) -> Entry {
    var found = entries.filter { $0.id.text.hasPrefix(beginning) }
    // Two hosts that began in the same second, or a part too many: no longer beginning could tell them apart.
    if Set(found.map(\.id)).count == 1 {
      let own = found.filter { $0.host == host }
      found = (own.first { $0.record != nil } ?? own.first).map { [$0] } ?? found
    }
    if found.count > 1 {
      throw Failure(
        .refused, "\(beginning) is ambiguous: \(Set(found.map(\.id)).sorted().prefix(4).map(\.text).joined(separator: ", "))",
        hint: "name more of it; restore --list shows all sets")
    }
    guard let entry = found.first else {
      throw Failure(.refused, "there is no set \(printable(beginning))", hint: "restore --list shows all sets")
    }
    // Somebody else's data: a slip of the keyboard must not put it over this application's.
    if entry.host != host {
      throw Failure(
        .refused, "set \(entry.id) is of \(printable(entry.host)), and RESTIC_HOST is \(printable(host))",
        hint: "if it is the one you want, set RESTIC_HOST=\(printable(entry.host)) for this run")
    }
    try check(entry, host)
    return entry
  }

  private func newest(among candidates: [Entry], _ host: String, when: String) throws(Failure) -> Entry {
    let complete = candidates.filter { !$0.incomplete && !$0.rebuilt && !$0.isSafety }
    // What is dated in the future may be older than all others: it is passed over.
    let dated = complete.filter { !$0.isAhead }
    let restorable = dated.isEmpty ? complete : dated
    if restorable.isEmpty, let rebuilt = candidates.last(where: \.rebuilt) {
      throw Failure(
        .refused, "no set of \(host)\(when) has a record: they are lost, or no backup ever finished",
        hint: "choose by restore --list: restore \(rebuilt.id) takes it without evidence")
    }
    guard let entry = restorable.last(where: { $0.sound || !$0.gone.isEmpty }) else {
      if let doubted = restorable.last { throw Self.refusal(of: doubted, instead: nil) }
      let others = Set(entries.map(\.host)).subtracting([host])
      throw Failure(
        .refused, "there is no complete set of \(host)\(when)",
        hint: others.isEmpty
          ? "run backup first; restore --list shows what is there"
          : "there are sets of \(others.sorted().joined(separator: ", ")): set RESTIC_HOST to the one you want")
    }
    // A newer set that somebody should look at: the choice is not ours.
    if let doubted = restorable.last(where: { $0.doubted && $0.id > entry.id }) {
      throw Self.refusal(of: doubted, instead: entry)
    }
    try check(entry, host)
    return entry
  }

  private static func refusal(of doubted: Entry, instead: Entry?) -> Failure {
    let other = instead.map { "the newest undoubted one is \($0.id)" } ?? "there is no undoubted one"
    return Failure(
      .refused, "the newest set \(doubted.id) is \(doubted.mark); \(other)",
      hint: "name the one you want: restore \(instead?.id ?? doubted.id)\(instead == nil ? "" : " or restore \(doubted.id)")")
  }

  private func check(_ entry: Entry, _ host: String) throws(Failure) {
    if !entry.gone.isEmpty {
      let whole = of(host).last(where: \.sound).map { "the newest that is whole: restore \($0.id)" } ?? "no other set is whole"
      throw Failure(.refused, "set \(entry.id) is damaged: \(entry.lost)", hint: "\(whole); restore --list shows all")
    }
    if entry.incomplete {
      throw Failure(
        .refused, "set \(entry.id) is incomplete: it has no record, so its backup never finished", hint: "choose another set")
    }
  }
}

extension Catalog {
  /// The sets that hold one of these snapshots, named by the beginnings of their ids.
  func sets(with snapshots: Set<String>) -> [String] {
    entries.filter { entry in
      (entry.parts + (entry.record.map { [$0] } ?? [])).contains { part in snapshots.contains { part.id.hasPrefix($0) } }
    }.map(\.id.text)
  }
}
