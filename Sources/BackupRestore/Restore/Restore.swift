import FoundationEssentials

/// `restore`: staging, verification, swap. Nothing live changes until its replacement is complete and verified.
///
/// Every run returns 0, or 4 where something wants to be looked at. It throws `Failure` with the exit code and every problem found;
/// what the database server says, `DatabaseError` and `ConnectionError`; and `CancellationError` after a signal, with what it had
/// staged removed.
public struct Restore: Sendable {
  /// What the command line chooses; each as its flag's help says.
  public struct Options: Sendable {
    /// A set's beginning, or old-style snapshots.
    public var names: [String] = []
    /// The newest set that had been read by this time; not together with `names`.
    public var at: Date?
    /// Nil: files and databases.
    public var only: Only?
    /// Checks and announces, changes nothing.
    public var dryRun = false
    /// Files where they are, after a set of what is live was saved: for volumes without room for two copies.
    public var inPlace = false
    /// Swaps although what is staged is not what its evidence says.
    public var acceptDifferences = false
    /// Logical replication slots of the databases that are replaced are dropped after the swap.
    public var dropSlots = false
    /// Loads databases as POSTGRES_USER also where the role that owns all could.
    public var asSuperuser = false
    /// Stages, verifies and throws away.
    public var drill = false

    /// The newest set, files and databases.
    public init() {}

    /// `latest` alone says no more than nothing: the newest set, old-style snapshots where there is none.
    var chosen: [String] { names.allSatisfy { $0 == "latest" } ? [] : names }
    var choice: Catalog.Choice { chosen.first.map { .named($0) } ?? at.map { .at($0) } ?? .newest }
  }

  let context: Context
  let options: Options

  /// Nothing happens yet.
  public init(_ context: Context, _ options: Options = Options()) {
    // What cannot be seen now is an error of the steps that look again.
    self.context = (try? context.onMount()) ?? context
    self.options = options
  }

  var configuration: Configuration { context.configuration }
  /// A drill's own server where it has one: what it writes would fill the live server's disk.
  var database: DatabaseSettings? { options.drill ? configuration.drill ?? configuration.database : configuration.database }
  var isElsewhere: Bool { options.drill && configuration.drill != nil }

  /// A restore, its dry run or a drill.
  ///
  /// - Throws: `Failure` 22 before anything was changed, 21 where the copy is not what its evidence says, 23 for the repository, 11 where
  ///   another run is at work.
  public func run() async throws -> ExitStatus {
    let begin = ContinuousClock().now
    var ready = try await preflight()
    output(announcement(ready))
    if let unreadable = ready.plan.files?.unreadable { log.warning("\(unreadable.text)") }
    if options.dryRun {
      defer { ready.scratch.remove() }
      _ = try await rehearse(&ready)
      output("dry run: nothing was changed")
      return .done
    }
    if options.drill { return try await drill(ready, since: begin) }
    let done = try await resuming(ready) { [ready] in try await replace(try await prepared(ready)) }
    let isResumed = await done.commit.resume(ready.quiesce)
    output(
      summary(done.staged, ready) + "\n\(ready.plan.source.title) restored in \(begin.elapsed)" + (ready.quiesce?.downtime ?? ""))
    tellMaintenance(done.commit)
    tellLater(done.staged, done.commit, ready.plan.id)
    await tellKept(done.commit)
    if let safety = done.safety {
      output(
        "what was live before is set \(safety); back again: \(volume)restore \(ready.plan.databases.isEmpty ? "--only files " : "")--in-place \(safety)"
      )
    }
    return isResumed && done.isTidy && !done.staged.limits.isAlarming ? .done : .attention
  }

  private struct Done: Sendable {
    let staged: Staged
    /// The set that `--in-place` saved before.
    let safety: SetID?
    let commit: Commit
    let isTidy: Bool
  }

  /// With the roles that are missing, and what is known beforehand to be refused.
  private func prepared(_ ready: Ready) async throws -> Ready {
    try await cleaningUp(ready) {
      var ready = ready
      ready.leftOut = try await restoreRoles(ready)
      let tablespaces = try await rehearse(&ready)
      ready.leftOut += tablespaces
      return ready
    }
  }

  private func replace(_ ready: Ready) async throws -> Done {
    let inPlace = options.inPlace && ready.plan.files != nil
    if inPlace { try await ready.quiesce?.pause() }
    let safety = inPlace ? try await saveLive(ready) : nil
    return try await cleaningUp(ready) {
      let staged = try await telling(ready.catalog) { try await stage(ready, safety: safety) }
      do {
        try decide(staged.differences, ready)
        // Only now: while the replacement was being built nothing live was touched, and it might have failed.
        try await ready.quiesce?.pause()
        let (commit, isTidy) = try await commit(ready, opening: staged.opening, safety: safety)
        return Done(staged: staged, safety: safety, commit: commit, isTidy: isTidy)
      } catch {
        // The files are the new ones already, and the databases are not.
        if let journal = try ready.commit.replacing() { log.error("\(ready.commit.incomplete(journal))") }
        throw error
      }
    }
  }

  /// Where a repository is damaged: which sets need what is damaged, and the newest one that does not.
  func telling<T: Sendable>(_ catalog: Catalog, _ body: () async throws -> T) async throws -> T {
    do { return try await body() } catch let failure as Failure where !failure.packs.isEmpty {
      var snapshots: Set<String> = []
      for repository in context.repositories {
        snapshots.formUnion((try? await repository.snapshots(needing: failure.packs)) ?? [])
      }
      let concerned = catalog.sets(with: snapshots)
      let whole = catalog.of(context.host).last { $0.sound && !concerned.contains($0.id.text) }
      throw Failure(
        failure.status,
        failure.problems + [
          Problem(
            "what is damaged is needed by \(concerned.isEmpty ? "unknown sets" : concerned.joined(separator: ", "))",
            hint: whole.map { "the newest set that does not need it: restore \($0.id)" }
              ?? "no other set can do without it: restic's manual, \"Troubleshooting\"")
        ])
    }
  }

  /// Runs what keeps the application down; when it fails, the application comes back before the error goes on.
  private func resuming<T: Sendable>(_ ready: Ready, _ body: () async throws -> T) async throws -> T {
    do { return try await body() } catch {
      _ = await ready.commit.resume(ready.quiesce)
      throw error
    }
  }

  /// Runs the steps up to the commit; when one fails, staging is removed before the error goes on. After the commit point
  /// there is nothing of ours to remove: `finishInterrupted` knows.
  func cleaningUp<T: Sendable>(_ ready: Ready, _ body: () async throws -> T) async throws -> T {
    do { return try await body() } catch {
      let cleared = await finishing { try await ready.commit.finishInterrupted(undoing: true, own: ready.plan.id) }
      if case .failure(let second) = cleared {
        let reason = second is CancellationError ? "the server did not answer in time" : "\(second)"
        log.warning("what this run left could not be cleared away now: \(reason)\n  hint: the next restore does that")
      }
      ready.scratch.remove()
      throw error
    }
  }

  /// What will be restored over what.
  struct Plan: Sendable {
    let id: RestoreID
    let source: Source
    let files: FilesPart?
    /// Entries of the tree that are restored; empty means all.
    let paths: [String]
    let databases: [Target]
  }

  struct Target: Sendable {
    let part: DatabasePart
    let live: String
    let id: RestoreID

    var staging: String { DatabaseName.staging(live, id) }
    var previous: String { DatabaseName.previous(live, id) }
  }

  // MARK: Words for the operator

  private static func proof(_ staged: Staged) -> String {
    let attributes =
      staged.limits.attributes.isEmpty
      ? staged.files?.attributes?.isEmpty == false ? ", attributes" : "" : "; see above what is left out"
    return "names, sizes, owners, modes, times\(attributes)"
  }

  private static let staging = "staging, thrown away"
  private static let accepted = "differences accepted"
  private static let readBack = "nothing: read back whole"

  private func announcement(_ ready: Ready) -> String {
    let plan = ready.plan
    var table = TextTable([
      plan.source.isOldStyle ? "FROM OLD-STYLE SNAPSHOTS" : "FROM \(plan.source.title)", "SIZE",
      options.drill ? "INTO" : "REPLACES",
    ])
    if let files = plan.files {
      let directory = configuration.files?.directory ?? ""
      let what = plan.paths.isEmpty ? directory : plan.paths.map { directory + "/" + $0 }.joined(separator: ", ")
      let size = files.evidence.map { Format.bytes($0.bytes) } ?? ""
      table.add([
        plan.source.isOldStyle ? "files \(files.snapshot.prefix(8))" : "files", size,
        ready.readsBack ? Self.readBack : options.drill ? Self.staging : options.inPlace ? "\(what), in place" : what,
      ])
    }
    for target in plan.databases {
      let there = ready.live.contains(target.live) ? "" : " (new)"
      table.add([
        "database \(plan.source.isOldStyle ? String(target.part.snapshot.prefix(8)) : target.part.name)",
        target.part.bytes == 0 ? "" : Format.bytes(target.part.bytes),
        options.drill
          ? Self.staging + (isElsewhere ? " (on \(database!.host):\(database!.port))" : "") : "database \(target.live)\(there)",
      ])
    }
    var text = table.text
    if options.inPlace, plan.files != nil {
      text +=
        "\nin place: the live files are removed before the others are restored; there is no old state to go back to but the set saved first"
    }
    if !plan.databases.isEmpty, let database {
      let bytes = plan.databases.reduce(0) { $0 + ($1.part.properties?.size ?? $1.part.bytes) }
      text += "\nabout \(Format.bytes(bytes)) and as much WAL will be written on \(database.host):\(database.port)"
    }
    return text
  }

  func summary(_ staged: Staged, _ ready: Ready) -> String {
    var table = TextTable(["RESTORED", "CONTENT", "VERIFIED"])
    if let files = staged.files {
      table.add([
        "files", "\(Format.count(files.entries, "entry", "entries")), \(Format.bytes(files.bytes))",
        staged.differs(.files) ? Self.accepted : ready.readsBack ? "every file read back" : Self.proof(staged),
      ])
    }
    for (target, evidence) in staged.databases {
      let proof =
        if staged.differs(.database(target.live)) { Self.accepted } else if target.part.isPlain {
          "every statement succeeded"
        } else if let saved = target.part.evidence { saved.proof(by: evidence) } else {
          "archive complete"
        }
      table.add([
        "database \(target.live)"
          + (target.part.name == target.live || target.part.isPlain ? "" : " (saved as \(target.part.name))"),
        "\(Format.count(evidence.tables.count, "table", "tables")), \(Format.count(evidence.rows, "row", "rows"))", proof,
      ])
    }
    return ([table.text] + staged.leftOut.map { "left out: " + $0 }).joined(separator: "\n")
  }
}
