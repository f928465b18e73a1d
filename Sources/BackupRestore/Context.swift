import FoundationEssentials
import Glibc
import SystemPackage

/// What every step works with: the configuration, the repositories and what of the environment children may see.
public struct Context: Sendable {
  let configuration: Configuration
  let base: [String: String]
  let restic: String

  static let oldestRestic = [0, 19]

  /// - Throws: `Failure` 78 for the configuration, 22 where restic is missing or too old.
  init(_ environment: [String: String]) async throws {
    configuration = try Configuration(environment)
    base = Command.baseEnvironment(environment)
    Screen.shared.use(configuration.reporting.format)
    Self.warnOfUnused(configuration)
    restic = try await Self.resticVersion(base)
  }

  func repository(_ name: Repository.Name) -> Repository {
    Repository(name: name, settings: configuration.repository, waits: configuration.waits, base: base)
  }

  var files: Repository { repository(.files) }
  var databases: Repository { repository(.database) }
  var sets: Repository { repository(.sets) }
  var host: String { configuration.repository.host }

  /// Every repository's snapshots at once: proves that all can be opened.
  func catalog() async throws -> (catalog: Catalog, sets: [Snapshot]) {
    let opened = await opened(Repository.Name.own)
    let results = Repository.Name.own.map { opened[$0]! }
    try Failure.merge(results)
    let lists = try results.map { try $0.get() }
    return (Catalog(files: lists[0], databases: lists[1], sets: lists[2]), lists[2])
  }

  /// The snapshots of each of these repositories, all opened at once.
  func opened(_ names: [Repository.Name]) async -> [Repository.Name: Result<[Snapshot], any Error>] {
    await withTaskGroup { group in
      for name in names { group.addTask { (name, await settled { try await repository(name).snapshots() }) } }
      return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
    }
  }

  /// What can be restored: sets, and the predecessor's snapshots. A repository that does not exist holds nothing; where none
  /// exists, that is the failure.
  func restorable() async throws -> (catalog: Catalog, sets: [Snapshot], old: OldStyle) {
    let opened = await opened(Repository.Name.own + Repository.Name.old)
    let own = Repository.Name.own.map { opened[$0]! }
    try Failure.merge(opened.values.allSatisfy(\.isMissing) ? own : own.filter { !$0.isMissing })
    let lists = opened.compactMapValues { try? $0.get() }
    for name in Repository.Name.old where !opened[name]!.isMissing {
      if case .failure(let error) = opened[name] { log.warning("old-style repository \(repository(name).shown): \(error)") }
    }
    let sets = lists[.sets] ?? []
    let catalog = Catalog(files: lists[.files] ?? [], databases: lists[.database] ?? [], sets: sets)
    for name in Repository.Name.own where opened[name]!.isMissing && !catalog.entries.isEmpty {
      log.warning("there is no repository at \(repository(name).shown): what it held is missing from the sets")
    }
    return (catalog, sets, OldStyle(([.files, .database] + Repository.Name.old).map { ($0, lists[$0] ?? []) }))
  }

  /// PostgreSQL's programs on this machine.
  func clients() async -> Clients {
    let base = base
    return await Clients.find(path: base["PATH"] ?? "") { program in
      let outcome = try? await Runner.run(
        Command(program, ["--version"], environment: base), output: .document(limit: 4096), errors: { _ in })
      return outcome.flatMap { Version.numbers(String(decoding: $0.document, as: UTF8.self)).first }
    }
  }

  private static func resticVersion(_ base: [String: String]) async throws -> String {
    let hint = "install restic 0.19 or newer: older ones can hang for ever on a full disk"
    let outcome: Outcome
    do {
      outcome = try await Runner.run(
        Command("restic", ["version"], environment: base), output: .document(limit: 4096), deadline: .seconds(30),
        errors: { _ in })
    } catch let failure as Failure {
      throw Failure(.refused, failure.problems[0].fact, hint: hint)
    }
    let text = String(decoding: outcome.document, as: UTF8.self)
    let version = Version.numbers(text)
    if !outcome.ending.succeeded || version.lexicographicallyPrecedes(oldestRestic) || version.count < 2 {
      throw Failure(.refused, "restic is too old: \(printable(text.trimming(" \n")))", hint: hint)
    }
    return version.map(String.init).joined(separator: ".")
  }

  /// Variables that are understood and not acted on yet are said, never swallowed.
  private static func warnOfUnused(_ configuration: Configuration) {
    let set: [(String, Bool)] = [
      ("COPY_RESTIC_REPOSITORY", configuration.copy != nil),
      ("METRICS_PUSHGATEWAY_URL", configuration.reporting.pushgateway != nil), ("PING_URL", configuration.reporting.ping != nil),
      ("QUIESCE_DEPLOYMENTS", !configuration.quiesceDeployments.isEmpty),
    ]
    for (name, isSet) in set where isSet { log.warning("\(name) is set, but version \(Program.version) does not act on it") }
  }
}

/// Numbers in a program's own version line.
enum Version {
  /// `restic 0.19.1 compiled with…` → [0, 19, 1]; `pg_dump (PostgreSQL) 15.18 (Debian…)` → [15, 18].
  static func numbers(_ text: String) -> [Int] {
    let word = text.split(whereSeparator: \.isWhitespace).first { $0.first?.isNumber == true } ?? ""
    return word.split(separator: ".").compactMap { Int($0.prefix { $0.isNumber }) }
  }
}

extension Failure {
  /// Throws one failure that holds the problems of all; its status is the first one's.
  static func merge<T>(_ results: [Result<T, any Error>]) throws {
    var failures: [Failure] = []
    for case .failure(let error) in results {
      guard let failure = error as? Failure else { throw error }
      failures.append(failure)
    }
    guard let first = failures.first else { return }
    var problems: [Problem] = []
    for problem in failures.flatMap(\.problems) where !problems.contains(problem) { problems.append(problem) }
    throw Failure(first.status, problems)
  }
}

extension Result where Success == [Snapshot], Failure == any Error {
  /// No repository there.
  var isMissing: Bool {
    if case .failure(let failure as BackupRestore.Failure) = self { return failure.status == .repositoryMissing }
    return false
  }
}

/// The value or the error of `body`: for steps that go on to report every problem.
func settled<T: Sendable>(_ body: @Sendable () async throws -> T) async -> Result<T, any Error> {
  do { return .success(try await body()) } catch { return .failure(error) }
}

/// A directory for this run's scratch files below TMPDIR, removed by `remove`. Its lock tells a later run that its owner is
/// dead and that it may be cleared away.
struct Scratch: Sendable {
  let path: FilePath
  private let lock: FileDescriptor

  init(_ base: [String: String]) throws {
    let parent = base["TMPDIR"] ?? "/tmp"
    let problem = { (error: any Error) in
      Failure(.refused, "TMPDIR \(parent) cannot be used: \(error)", hint: "mount a writable directory and set TMPDIR to it")
    }
    do {
      Self.clear(FilePath(parent))
      path = FilePath(parent).appending("backup-restore.\(getpid())")
      try Tree.remove(path)
      try Tree.makeDirectory(path)
      lock = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .directory])
      if flock(lock.rawValue, LOCK_EX | LOCK_NB) != 0 { throw FileError("flock", path.string) }
    } catch { throw problem(error) }
  }

  func remove() {
    try? Tree.remove(path)
    try? lock.close()
  }

  /// What a killed run left: nobody holds its lock.
  private static func clear(_ parent: FilePath) {
    for name in (try? Tree.entries(parent)) ?? [] where name.string.hasPrefix("backup-restore.") {
      let path = parent.appending(name)
      guard let directory = try? FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .directory, .noFollow]) else {
        continue
      }
      if flock(directory.rawValue, LOCK_EX | LOCK_NB) == 0 { try? Tree.remove(path) }
      try? directory.close()
    }
  }
}
