import FoundationEssentials

/// `init --unlock`: the locks of every repository, and the removal of those that are named. What restic itself can prove dead it removes
/// without being asked; of a pod that is gone it knows that only after half an hour.
public struct Unlock: Sendable {
  let invocation: Invocation
  /// Beginnings of the locks' ids; empty: they are shown.
  let names: [String]

  /// Nothing happens yet.
  public init(_ invocation: Invocation, _ names: [String]) { (self.invocation, self.names) = (invocation, names) }

  private struct Found: Sendable {
    let repository: Repository
    let locks: [Repository.Lock]
  }

  /// - Throws: `Failure` 22 where a name fits no lock, or another lock of the same repository is not named; the repositories' own.
  public func run() async throws -> ExitStatus {
    var found: [Found] = []
    for repositories in invocation.withCopy {
      for repository in repositories.all { found.append(Found(repository: repository, locks: try await repository.locks())) }
    }
    let locked = found.filter { !$0.locks.isEmpty }
    if names.isEmpty { return show(locked) }
    var meant: Set<String> = []
    var problems: [Problem] = []
    for name in names {
      let found = locked.flatMap(\.locks).filter { $0.id.hasPrefix(name) }
      if found.count == 1 { meant.insert(found[0].id) }
      if found.isEmpty {
        problems.append(Problem("there is no lock \(printable(name))", hint: "init --unlock shows those that are there"))
      }
      if found.count > 1 { problems.append(Problem("\(printable(name)) is ambiguous", hint: "name more of it")) }
    }
    try Failure.collect(.refused, problems)
    let isNamed = { (lock: Repository.Lock) in meant.contains(lock.id) }
    let concerned = locked.filter { $0.locks.contains(where: isNamed) }
    let others = concerned.flatMap { one in one.locks.filter { !isNamed($0) }.map { (one.repository, $0) } }
    try Failure.collect(
      .refused,
      others.map { repository, lock in
        Problem(
          "\(repository.title) has another lock: \(lock.text(now: Date()))",
          hint: "restic removes all locks of a repository or none: name it as well, if its process is gone")
      })
    for one in concerned {
      try await one.repository.removeLocks()
      output("\(one.repository.title): removed \(one.locks.map { $0.id.prefix(8) }.joined(separator: ", "))")
    }
    return .done
  }

  private func show(_ locked: [Found]) -> ExitStatus {
    if locked.isEmpty {
      output("no repository is locked")
      return .done
    }
    let now = Date()
    for one in locked { for lock in one.locks { output("\(one.repository.title)  \(lock.text(now: now))") } }
    let ids = locked.flatMap(\.locks).map { String($0.id.prefix(8)) }.joined(separator: " ")
    output("where none of these processes runs any more: init --unlock \(ids)")
    return .done
  }
}
