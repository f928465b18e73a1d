import FoundationEssentials

/// The predecessor's snapshots: no record and no evidence, its repositories written one after the other. They are found without
/// host and tag, because each of its pods had another host name; they are restored, and never forgotten.
struct LegacySnapshots: Equatable, Sendable {
  enum Kind: String, Sendable { case roles, database, files }

  struct Item: Equatable, Sendable {
    let repository: RepositoryName
    let snapshot: Snapshot

    /// A dump lies under `/stdin`; nil: something else put into the repository of dumps.
    var kind: Kind? {
      if snapshot.paths == ["/stdin"] { return repository == .roles ? .roles : .database }
      return [.files, .base].contains(repository) ? .files : nil
    }

    var shown: String { "\(kind?.rawValue ?? "unknown") \(snapshot.short)" }
  }

  /// What one restore reads.
  struct Choice: Equatable, Sendable {
    var roles: Item?
    var database: Item?
    var files: Item?

    var items: [Item] { [roles, database, files].compactMap { $0 } }
    var isEmpty: Bool { items.isEmpty }
    /// As the command line names it.
    var arguments: String { items.map(\.snapshot.short).joined(separator: " ") }
  }

  /// Oldest first.
  let items: [Item]

  init(_ snapshots: [(RepositoryName, [Snapshot])] = []) {
    items = snapshots.flatMap { name, list in
      list.filter { $0.tag("set").flatMap(SetID.init) == nil }.map { Item(repository: name, snapshot: $0) }
    }.sorted { ($0.snapshot.date ?? .distantPast, $0.snapshot.id) < ($1.snapshot.date ?? .distantPast, $1.snapshot.id) }
  }

  /// Longer than the predecessor took from its first to its last repository, shorter than a day.
  static let sameNight: TimeInterval = 12 * 3600

  /// The newest of each kind, as the predecessor restored, that had been read by `time`.
  ///
  /// - Throws: `Failure` 22 where database and files are not of the same night: the choice is the operator's.
  func newest(at time: Date?, _ only: Only?) throws -> Choice {
    let candidates = items.filter { item in
      guard let time else { return true }
      return ((item.kind == .files ? item.snapshot.ended : item.snapshot.date) ?? .distantFuture) <= time
    }
    var choice = Choice()
    if only != .database { choice.files = candidates.last { $0.kind == .files } }
    if only != .files { choice.database = candidates.last { $0.kind == .database } }
    if let database = choice.database { choice.roles = nearest(.roles, to: database) }
    if let database = choice.database, let files = choice.files, Self.gap(database, files) > Self.sameNight {
      throw Failure(
        .refused,
        "the newest old-style database is of \(database.snapshot.time.prefix(16)), the newest files are of \(files.snapshot.time.prefix(16))",
        hint: "they do not belong together; name both: restore \(database.snapshot.short) \(files.snapshot.short), or use --only")
    }
    return choice
  }

  /// The predecessor's positional arguments: DATABASE FILES or ROLES DATABASE FILES, each a snapshot's id or `latest`; and any
  /// one snapshot alone.
  func named(_ names: [String]) throws -> Choice {
    if names.count == 1 {
      let item = try find(names[0], of: nil)
      return switch item.kind {
      case .roles?, nil:
        throw Failure(
          .refused, "snapshot \(item.snapshot.short) holds no database and no files",
          hint: "restore --list shows what the snapshots hold")
      case .database?: Choice(database: item)
      case .files?: Choice(files: item)
      }
    }
    let last = Array(names.suffix(2))
    return Choice(
      roles: names.count == 3 ? try find(names[0], of: .roles) : nil, database: try find(last[0], of: .database),
      files: try find(last[1], of: .files))
  }

  func contains(_ beginning: String) -> Bool { items.contains { $0.snapshot.id.hasPrefix(beginning) } }

  private func find(_ beginning: String, of kind: Kind?) throws -> Item {
    let what = kind.map { "old-style snapshot of \($0 == .database ? "a database" : $0.rawValue)" } ?? "old-style snapshot"
    let ofKind = items.filter { kind == nil || $0.kind == kind }
    let found = beginning == "latest" ? Array(ofKind.suffix(1)) : ofKind.filter { $0.snapshot.id.hasPrefix(beginning) }
    if found.count > 1 {
      throw Failure(
        .refused, "\(beginning) is ambiguous: \(found.prefix(4).map(\.shown).joined(separator: ", "))", hint: "name more of it")
    }
    guard let item = found.first else {
      throw Failure(
        .refused, "there is no \(what) \(printable(beginning))",
        hint: "the order is DATABASE FILES or ROLES DATABASE FILES; restore --list shows all")
    }
    return item
  }

  private func nearest(_ kind: Kind, to item: Item) -> Item? {
    items.filter { $0.kind == kind }.min { Self.gap($0, item) < Self.gap($1, item) }
  }

  private static func gap(_ a: Item, _ b: Item) -> TimeInterval {
    abs((a.snapshot.date ?? .distantPast).timeIntervalSince(b.snapshot.date ?? .distantPast))
  }
}

/// What can be restored: sets, and the predecessor's snapshots.
struct Restorable: Sendable {
  let catalog: Catalog
  let legacy: LegacySnapshots
}

extension Invocation {
  /// A repository that does not exist holds nothing; where none exists, that is the failure.
  func restorable() async throws -> Restorable {
    let opened = await repositories.opened(RepositoryName.own + RepositoryName.old)
    do { try repositories.merge(opened, ignoringMissing: !opened.present.isEmpty) } catch {
      guard let failure = error as? Failure, let copy, repositories.settings.prefix.isEmpty else { throw error }
      let other = Problem(
        "there is a second repository, \(copy.settings.shown)", hint: "restore --from-copy --list shows what it holds")
      throw Failure(failure.status, failure.problems + [other])
    }
    for name in RepositoryName.old {
      // Of one that does not answer nobody knows whether it exists; where there is no other, that matters.
      guard let error = opened.error(of: name),
        (error as? Failure)?.status == .wrongPassword || RepositoryName.own.allSatisfy(opened.isMissing)
      else { continue }
      log.warning("old-style repository \(repositories.repository(name).shown): \(error)")
    }
    let list = { (name: RepositoryName) in (try? opened.snapshots(in: name)) ?? [] }
    let catalog = repositories.catalog(
      of: .init(files: list(.files), databases: list(.database), sets: list(.sets)))
    for name in RepositoryName.own where opened.isMissing(name) && !catalog.entries.isEmpty {
      log.warning("there is no repository at \(repositories.repository(name).shown): what it held is missing from the sets")
    }
    return Restorable(
      catalog: catalog, legacy: LegacySnapshots(([.files, .database] + RepositoryName.old).map { ($0, list($0)) }))
  }
}
