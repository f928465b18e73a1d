import FoundationEssentials

/// `--check`: restic's own, over a part of the data that changes with the day, so that everything is read within CHECK_DAYS days.
struct CheckRepositories: Sendable {
  let invocation: Invocation
  let now: Date

  /// Lets the run fail only where it is stopped: the set is saved, whatever is found. Says which sets are concerned.
  func run() async throws -> ExitStatus {
    let parts = invocation.configuration.checkDays
    let part = Self.part(of: parts, on: now)
    var isWhole = true
    for repositories in invocation.withCopy {
      await withTaskGroup(of: Bool.self) { group in
        for repository in repositories.all {
          group.addTask { await check(repository, part, parts, in: repositories) }
        }
        for await whole in group { isWhole = isWhole && whole }
      }
      // restic knows snapshots, not that they belong together.
      for entry in (try? await repositories.catalog().of(repositories.host)) ?? [] where !entry.gone.isEmpty {
        log.error(
          "set \(entry.id) in \(repositories.settings.shown) is damaged: \(entry.lost)\n  hint: it goes by retention; others are whole"
        )
        isWhole = false
      }
    }
    try Task.checkCancellation()
    if isWhole { output("checked: part \(part) of \(parts) of all data was read, the structure is whole") }
    invocation.metrics.change { $0.checkFailed = !isWhole }
    return isWhole ? .done : .attention
  }

  private func check(_ repository: Repository, _ part: Int, _ parts: Int, in repositories: Repositories) async -> Bool {
    do {
      guard let damage = try await repository.check(part: part, of: parts) else { return true }
      let sets = (try? await repositories.catalog())?.sets(with: damage.snapshots) ?? []
      log.error(
        """
        \(repository.shown) is damaged: \(damage.errors.joined(separator: "; ")); concerned: \
        \(sets.isEmpty ? "unknown, take every set for concerned" : sets.joined(separator: ", "))
          hint: those sets may not restore; find out why the storage lost data, then restic repair packs (restic's manual, "Troubleshooting")
        """)
    } catch {
      log.error("\(repository.shown) could not be checked", error)
    }
    return false
  }

  /// Days since 1970, counted round.
  static func part(of parts: Int, on day: Date) -> Int { Int(day.timeIntervalSince1970 / 86400) % parts + 1 }
}
