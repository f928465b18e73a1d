import FoundationEssentials

/// `--check`: restic's own, over a part of the data that changes with the day, so that everything is read within CHECK_DAYS days.
struct CheckRepositories: Sendable {
  let invocation: Invocation
  let now: Date

  private enum Found { case whole, damaged, locked }

  /// Lets the run fail only where it is stopped: the set is saved, whatever is found. Says which sets are concerned.
  func run() async throws -> ExitStatus {
    let parts = invocation.configuration.checkDays
    let part = Self.part(of: parts, on: now)
    var found: [Found] = []
    for repositories in invocation.withCopy { found.append(try await check(repositories, part, parts)) }
    try Task.checkCancellation()
    if found.allSatisfy({ $0 == .whole }) {
      output("checked: part \(part) of \(parts) of all data was read, the structure is whole")
    }
    let isGood = !found.contains(.damaged)
    invocation.metrics.change { $0.checkFailed = !isGood }
    return isGood ? .done : .attention
  }

  private func check(_ repositories: Repositories, _ part: Int, _ parts: Int) async throws -> Found {
    let found = await withTaskGroup(of: Found.self) { group in
      for repository in repositories.all { group.addTask { await check(repository, part, parts, in: repositories) } }
      return await group.reduce(into: [Found]()) { $0.append($1) }
    }
    let catalog = try? await repositories.catalog()
    // restic knows snapshots, not that they belong together.
    let halves = Postponement(repositories: repositories, work: .retention).halves(catalog?.sets ?? [])
    let damaged = catalog?.of(repositories.host).filter { !$0.gone.isEmpty && !halves.contains($0.id.text) } ?? []
    for entry in damaged {
      log.error(
        "set \(entry.id) in \(repositories.settings.shown) is damaged: \(entry.lost)\n  hint: it goes by retention; others are whole"
      )
    }
    if found.contains(.damaged) || !damaged.isEmpty { return .damaged }
    let postponement = Postponement(repositories: repositories, work: .check)
    if found.contains(.locked) {
      guard let catalog else { return .damaged }
      return await postponement.begin(catalog.sets) ? .locked : .damaged
    }
    // Where a mark cannot go, the next night that is locked out is told at once.
    if let catalog { try? await postponement.end(catalog.sets) }
    return .whole
  }

  private func check(_ repository: Repository, _ part: Int, _ parts: Int, in repositories: Repositories) async -> Found {
    do {
      guard let damage = try await repository.check(part: part, of: parts) else { return .whole }
      let sets = (try? await repositories.catalog())?.sets(with: damage.snapshots) ?? []
      log.error(
        """
        \(repository.shown) is damaged: \(damage.errors.joined(separator: "; ")); concerned: \
        \(sets.isEmpty ? "unknown, take every set for concerned" : sets.joined(separator: ", "))
          hint: those sets may not restore; find out why the storage lost data, then restic repair packs (restic's manual, "Troubleshooting")
        """)
      return .damaged
    } catch let failure as Failure where failure.cause == .locked {
      log.warning("\(repository.shown) is not checked tonight, and the next backup --check does it: \(failure)")
      return .locked
    } catch {
      log.error("\(repository.shown) could not be checked", error)
      return .damaged
    }
  }

  /// Days since 1970, counted round.
  static func part(of parts: Int, on day: Date) -> Int { Int(day.timeIntervalSince1970 / 86400) % parts + 1 }
}
