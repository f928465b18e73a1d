import FoundationEssentials
import Synchronization

/// One of the repositories below the base, and the restic verbs the toolkit uses on it.
struct Repository: Sendable {
  enum Name: String, Sendable {
    case files
    case database = "pg-database"
    case sets
    /// The predecessor's, read only: beside `files` and `pg-database` its roles; before that `db`; at first the base itself.
    case roles = "pg-role"
    case oldDatabase = "db"
    case base = ""

    static let own: [Name] = [.files, .database, .sets]
    static let old: [Name] = [.roles, .oldDatabase, .base]
  }

  let name: Name
  let settings: RepositorySettings
  let waits: Waits
  /// The parent's environment that children may see.
  let base: [String: String]

  /// What every restic call gets: no secret in the arguments, no variable that was not asked for. RESTIC_FROM_REPOSITORY
  /// leaking in would break `init` (measured).
  func command(_ arguments: [String], directory: String? = nil) -> Command {
    var environment = base.merging(settings.backend) { $1 }
    environment.merge(settings.credentials.mapValues { $0.reveal() }) { $1 }
    environment["RESTIC_REPOSITORY"] = Self.location(settings.base.reveal(), name)
    environment["RESTIC_PASSWORD"] = settings.password.reveal()
    environment["RESTIC_PROGRESS_FPS"] = "2"
    if let certificate = settings.certificateFile { environment["RESTIC_CACERT"] = certificate }
    return Command("restic", ["--json"] + arguments, environment: environment, directory: directory)
  }

  /// Below the base. Backends written `scheme:bucket:path` need the second colon where the base is the bucket alone.
  static func location(_ base: String, _ name: Name) -> String {
    if name == .base { return base }
    let parts = base.split(separator: ":", omittingEmptySubsequences: false)
    let bucketAlone = parts.count == 2 && ["b2", "gs", "azure", "swift"].contains(parts[0])
    return base + (bucketAlone ? ":/" : "/") + name.rawValue
  }

  /// Its directory, where it lies on a mounted file system.
  var localPath: String? {
    let location = Self.location(settings.base.reveal(), name)
    return location.hasPrefix("/") ? location : nil
  }

  /// Its name, for tables and lists of results.
  var title: String { name == .base ? "the base" : name.rawValue }

  /// Where it lies, for messages.
  var shown: String { Self.location(settings.shown, name) }

  // MARK: Verbs

  /// Whether it can be opened with the password, and all its snapshots. Takes no lock.
  func snapshots() async throws -> [Snapshot] {
    // 64 MiB of snapshots are some 60,000 of them.
    let result = try await run(["snapshots", "--no-lock"], output: .document(limit: 64 << 20), deadline: waits.connect)
    return try decode([Snapshot].self, result.document, of: "snapshots")
  }

  func initialise() async throws {
    _ = try await run(["init"], output: .document(limit: 1 << 20), deadline: waits.connect)
  }

  /// Saves and returns the snapshot's id and sizes. `input` is read by `--files-from-raw -`.
  func backup(
    _ arguments: [String], tags: [String], directory: String? = nil, input: Input = .none, extra: [String: String] = [:],
    part: String, expected: Int? = nil, tolerateUnreadable: Bool = false
  ) async throws -> Saved {
    let watch = watch()
    let meter = Meter(part, watch: watch)
    defer { meter.finish() }
    let summary = Mutex<ResticMessage?>(nil)
    let options = ["backup", "--host", settings.host] + tags.flatMap { ["--tag", $0] }
    let result = try await run(
      options + arguments, directory: directory, extra: extra, input: input,
      output: .lines { line in
        guard let message = ResticMessage(line: line) else { return }
        switch message.message_type {
        case "status": meter.update(done: message.bytes_done ?? 0, total: message.total_bytes ?? expected)
        case "summary": summary.withLock { $0 = message }
        default: break
        }
      }, watch: watch, accept: tolerateUnreadable ? [0, 3] : [0])
    guard let message = summary.withLock({ $0 }), let id = message.snapshot_id else {
      throw Failure(
        .repositoryFailed, "restic reported no snapshot in \(shown)",
        hint: "run it again; if it stays, try restic backup by hand")
    }
    return Saved(
      snapshot: id, bytes: message.total_bytes_processed ?? 0, added: message.data_added_packed ?? 0,
      complete: result.ending == .exited(0), unreadable: result.items)
  }

  /// What retention would forget among the snapshots with `tag` of this host. Changes nothing, takes no lock.
  func forgettable(tag: String, policy: [String]) async throws -> [Snapshot] {
    let arguments = ["forget", "--dry-run", "--no-lock", "--host", settings.host, "--tag", tag, "--group-by", "host"]
    let result = try await run(arguments + policy, output: .document(limit: 64 << 20), deadline: waits.connect)
    // Without any snapshot restic prints nothing at all.
    if result.document.isEmpty { return [] }
    return try decode([ForgetGroup].self, result.document, of: "forget").flatMap { $0.remove ?? [] }
  }

  /// Forgets these snapshots and removes data that nothing needs any more.
  func forget(_ ids: [String]) async throws {
    _ = try await run(["forget", "--prune"] + ids, output: .document(limit: 64 << 20))
  }

  /// A small file of a snapshot, into memory.
  func read(_ path: String, of snapshot: String, limit: Int) async throws -> [UInt8] {
    let result = try await run(
      ["dump", "--no-lock", snapshot, path], output: .document(limit: limit), deadline: waits.connect)
    if result.document.count > limit {
      throw Failure(.refused, "\(path) in snapshot \(snapshot.prefix(8)) is over \(limit) bytes", hint: "choose another set")
    }
    return result.document
  }

  /// Every file of a snapshot, one after the other, never all in memory.
  func list(_ snapshot: String, _ body: @escaping @Sendable (Node) -> Void) async throws {
    _ = try await run(
      ["ls", "--no-lock", snapshot], output: .lines { if let node = Node(line: $0) { body(node) } },
      watch: watch())
  }

  // MARK: Running

  /// How restic says that it tries again.
  static let retrying = " returned error, retrying after "

  /// For verbs that report progress.
  func watch() -> Watch { Watch(limit: waits.stall, patience: waits.connect) }

  struct Saved: Sendable {
    let snapshot: String
    /// Read from the source and added to the repository.
    let bytes: Int
    let added: Int
    let complete: Bool
    let unreadable: [String]
  }

  struct Result: Sendable {
    let ending: Ending
    let document: [UInt8]
    /// The files that error messages named.
    let items: [String]
    let errors: [String]
  }

  /// Runs restic. A repository locked by another is waited for: stale locks are removed first (restic removes only
  /// those it can prove dead), then restic itself retries until LOCK_WAIT.
  ///
  /// - Throws: `Failure` by restic's exit code where it is not in `accept`.
  func run(
    _ arguments: [String], directory: String? = nil, extra: [String: String] = [:], input: Input = .none,
    output: Output, deadline: Duration? = nil, watch: Watch? = nil, accept: Set<Int32> = [0]
  ) async throws -> Result {
    let watch = watch ?? Watch(limit: nil, patience: waits.connect)
    var (result, stopped) = try await attempt(
      command(arguments, directory: directory), extra, input, output, deadline, watch)
    if stopped == nil, result.ending == .exited(11), waits.lock > .zero, case .none = input, !output.isDescriptor {
      log.warning("\(shown) is locked: \(result.errors.last ?? "by another run"); waiting up to LOCK_WAIT")
      _ = try await attempt(command(["unlock"]), [:], .none, .document(limit: 1 << 20), waits.connect, nil)
      let retry = ["--retry-lock", "\(waits.lock.components.seconds)s"]
      let patient = Array(arguments[..<1] + retry + arguments[1...])
      (result, stopped) = try await attempt(command(patient, directory: directory), extra, input, output, nil, watch)
    }
    if let stopped { throw failure(stopped, arguments[0], result) }
    if case .exited(let code) = result.ending, accept.contains(code) { return result }
    throw failure(arguments[0], result)
  }

  private func attempt(
    _ command: Command, _ extra: [String: String], _ input: Input, _ output: Output, _ deadline: Duration?,
    _ watch: Watch?
  ) async throws -> (Result, Outcome.Stop?) {
    var command = command
    command.environment.merge(extra) { $1 }
    let heard = ResticErrors(watch: watch)
    let outcome = try await Runner.run(
      command, input: input, output: output, deadline: deadline, watch: watch, errors: heard.take)
    let (items, errors) = heard.all
    return (Result(ending: outcome.ending, document: outcome.document, items: items, errors: errors), outcome.stopped)
  }

  /// restic's exit codes, as it documents them; unknown ones are failures.
  func failure(_ verb: String, _ result: Result) -> Failure {
    let said = result.errors.last.map { ": " + $0 } ?? ""
    switch result.ending {
    case .exited(10):
      return Failure(
        .repositoryMissing, "no repository at \(shown)",
        hint: "run init; if it existed, check RESTIC_REPOSITORY and that its volume is mounted")
    case .exited(3) where verb == "forget" && result.errors.contains { $0.contains("403 Forbidden") }:
      return Failure(
        .repositoryFailed, "\(shown) answered 403 Forbidden to forget",
        hint: "an append-only server forgets by itself; otherwise look at its access rights")
    case .exited(11):
      return Failure(
        .locked, "\(shown) is locked by another run\(said)",
        hint: "wait for it to end, raise LOCK_WAIT, or run restic unlock if it is known to be dead")
    case .exited(12):
      return Failure(
        .wrongPassword, "\(shown): wrong repository password",
        hint: "check RESTIC_PASSWORD or the file RESTIC_PASSWORD_FILE names")
    case .exited(1) where result.errors.contains { $0.contains("command failed: ") || $0.contains("failed to start command") }:
      let cause = result.errors.first { $0.contains("error: ") } ?? result.errors.last ?? ""
      return Failure(
        .sourceFailed, "the dump failed: \(cause)",
        hint: "nothing was saved; mend what PostgreSQL names above and run it again")
    case .exited(3) where result.errors.contains { $0.hasSuffix(": no data read") }:
      return Failure(
        .sourceFailed, "the dump is empty", hint: "run pg_dump by hand and look at what it prints; nothing was saved")
    case .exited(3) where verb == "backup":
      return Failure(
        .sourceFailed, "\(result.items.count) files could not be read: \(result.items.prefix(5).joined(separator: ", "))",
        hint: "make them readable, or set FILES_ALLOW_UNREADABLE=true to leave them out")
    case .exited(1) where verb == "init" && result.errors.contains { $0.contains("404 Not Found") }:
      return Failure(
        .repositoryFailed, "restic init failed on \(shown)\(said)",
        hint: "restic's own rest-server takes two levels of path and no more: RESTIC_REPOSITORY may name one below the host")
    // restic 0.19 fails where it cannot create its cache (measured): a user without a home, a read-only root.
    case .exited(1) where result.errors.contains { $0.contains("unable to open cache") }:
      return Failure(
        .refused, "restic cannot create its cache\(said)",
        hint: "mount a writable directory for it and set RESTIC_CACHE_DIR to that")
    default:
      return Failure(
        .repositoryFailed, "restic \(verb) failed on \(shown) (\(result.ending.text))\(said)",
        hint: result.ending.hint("check that the repository can be reached and has room; the lines above are restic's own"))
    }
  }

  private func failure(_ stop: Outcome.Stop, _ verb: String, _ result: Result) -> Failure {
    // The last word is restic's own about being stopped by us; what it kept trying is the cause.
    let tried = result.errors.last { $0.contains(Self.retrying) }
    let cause =
      tried.flatMap { $0.firstRange(of: "s: ").map { range in String(tried![range.upperBound...]) } } ?? result.errors.last
    let said = cause.map { ": " + $0 } ?? ""
    switch stop {
    case .deadline:
      return Failure(
        .repositoryFailed, "\(shown) did not answer within \(waits.connect.components.seconds) s\(said)",
        hint:
          "check RESTIC_REPOSITORY, CERTIFICATE_FILE, the network and that it can be written; CONNECT_TIMEOUT sets the deadline")
    case .stalled:
      return Failure(
        .repositoryFailed, "restic \(verb) on \(shown) made no progress for \(waits.stall.components.seconds) s\(said)",
        hint: "check the network and the room in the repository and TMPDIR; STALL_TIMEOUT sets the deadline")
    }
  }

  func decode<T: Decodable>(_ type: T.Type, _ document: [UInt8], of verb: String) throws -> T {
    do {
      return try JSONDecoder().decode(type, from: Data(document))
    } catch {
      throw Failure(
        .repositoryFailed, "restic \(verb) printed JSON that cannot be read: \(error)",
        hint: "is the restic on PATH 0.19 or newer?")
    }
  }
}

/// restic's standard error: JSON mixed with plain text. Plain lines are passed on; JSON becomes facts.
final class ResticErrors: Sendable {
  private let state = Mutex<(items: [String], errors: [String])>(([], []))
  private let watch: Watch?

  init(watch: Watch? = nil) { self.watch = watch }

  /// What errors said. Kept short, however many there are: memory must not grow with the data.
  var all: (items: [String], errors: [String]) { state.withLock { $0 } }

  static let most = 1000

  @Sendable func take(_ line: String) {
    // Masked where it is remembered or logged, not here: a password that is also a JSON key would destroy the message.
    // restic clears its status line with a carriage return before some messages.
    let line = line.trimming(" \r")
    // The second is restic's answer to a signal of ours.
    guard !line.isEmpty, !line.hasPrefix("signal terminated received") else { return }
    if line.contains(Repository.retrying) { watch?.fail() }
    guard let message = ResticMessage(line: line) else {
      // What the dump prints comes through restic, marked with the program restic started: env, which became pg_dump.
      let dump = "subprocess env: "
      let text = line.hasPrefix(dump) ? String(line.dropFirst(dump.count)) : "restic: " + line
      log.info("\(Secret.mask(printable(text)))")
      return remember(error: line.hasPrefix(dump) ? text : line)
    }
    switch message.message_type {
    case "error":
      log.warning("restic: \(Secret.mask(printable(message.error?.message ?? line)))")
      remember(error: message.error?.message ?? line, item: message.item)
    case "exit_error":
      // Fatal: several lines; the first is the fact.
      let text = message.message ?? line
      let first = text.split(separator: "\n").first.map(String.init) ?? text
      remember(error: first.replacing("Fatal: ", with: ""))
    default: log.info("restic: \(Secret.mask(printable(line)))")
    }
  }

  private func remember(error: String, item: String? = nil) {
    let error = Secret.mask(error)
    state.withLock { state in
      if state.errors.count >= Self.most { state.errors.removeFirst() }
      state.errors.append(printable(error))
      if let item, !item.isEmpty, state.items.count < Self.most { state.items.append(printable(item)) }
    }
  }
}
