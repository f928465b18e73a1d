import FoundationEssentials
import Glibc
import Synchronization

/// One of the repositories below the base, and the restic verbs the toolkit uses on it.
struct Repository: Sendable {
  let name: RepositoryName
  let settings: RepositorySettings
  let waits: Waits
  /// The parent's environment that children may see.
  let base: [String: String]
  /// The words before `restic`, as `confined` has them.
  var wrapper: [String] = []
  /// Names of the pods of this namespace; nil where the API server cannot be asked.
  var pods: (@Sendable () async -> Set<String>?)?

  /// What every restic call gets: no secret in the arguments, no variable that was not asked for. RESTIC_FROM_REPOSITORY
  /// leaking in would break `init` (measured).
  func command(_ arguments: [String], directory: String? = nil) -> Command {
    var environment = base.merging(settings.backend) { $1 }
    environment.merge(settings.credentials.mapValues { $0.reveal() }) { $1 }
    environment["RESTIC_REPOSITORY"] = name.location(below: settings.base.reveal())
    environment["RESTIC_PASSWORD"] = password.reveal()
    environment["RESTIC_PROGRESS_FPS"] = "2"
    if let certificate = settings.certificateFile { environment["RESTIC_CACERT"] = certificate }
    let words = wrapper + ["restic", "--json"] + settings.limits + arguments
    return Command(words[0], Array(words.dropFirst()), environment: environment, directory: directory)
  }

  /// The one that opens it, as far as this run knows.
  var password: Secret { Self.rotated.value.contains(shown) ? settings.newPassword ?? settings.password : settings.password }

  /// Where its locks cannot be written, on a mounted file system: nobody writes there, so it can be read without one. restic itself
  /// would try for 15 minutes to write its lock (measured).
  var readOnly: FileError? {
    guard let directory = RepositorySettings.directory(name.location(below: settings.base.reveal())) else { return nil }
    return access(directory + "/locks", W_OK) == 0 ? nil : FileError("access", directory + "/locks")
  }

  /// Its name, for tables and lists of results.
  var title: String { (settings.prefix.isEmpty ? "" : "copy of ") + (name == .base ? "the base" : name.rawValue) }

  /// Where it lies, for messages.
  var shown: String { name.location(below: settings.shown) }

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

  /// Saves and returns the snapshot's id and sizes.
  func backup(
    _ arguments: [String], tags: [String], directory: String? = nil, extra: [String: String] = [:], part: String,
    tolerateUnreadable: Bool = false
  ) async throws -> Saved {
    let watch = watch()
    let meter = ProgressMeter(part, watch: watch)
    defer { meter.finish() }
    let summary = Mutex<ResticMessage?>(nil)
    let options = ["backup", "--host", settings.host] + tags.flatMap { ["--tag", $0] }
    let result = try await run(
      options + arguments, directory: directory, extra: extra,
      output: .lines { line in
        guard let message = ResticMessage(line: line) else { return }
        switch message.message_type {
        case "status": meter.update(done: message.bytes_done ?? 0, total: message.total_bytes)
        case "summary": summary.withLock { $0 = message }
        default: break
        }
      }, watch: watch, accept: [0, 3])
    let isComplete = result.ending == .exited(0) || result.onlyVanished
    if !isComplete, !tolerateUnreadable { throw failure("backup", result) }
    guard let message = summary.withLock({ $0 }), let id = message.snapshot_id else {
      throw Failure(
        .repositoryFailed, "restic reported no snapshot in \(shown)",
        hint: "run it again; if it stays, try restic backup by hand")
    }
    return Saved(
      snapshot: id, bytes: message.total_bytes_processed ?? 0, added: message.data_added_packed ?? 0,
      complete: isComplete, unreadable: result.items)
  }

  /// What retention would forget among the snapshots with `tag` of this host. Changes nothing, takes no lock.
  ///
  /// - Parameter hosts: the names of this one.
  func forgettable(tag: String, policy: [String], hosts: [String]) async throws -> [Snapshot] {
    let arguments = ["forget", "--dry-run", "--no-lock", "--tag", tag, "--group-by", ""] + hosts.flatMap { ["--host", $0] }
    let result = try await run(arguments + policy, output: .document(limit: 64 << 20), deadline: waits.connect)
    // Without any snapshot restic prints nothing at all.
    if result.document.isEmpty { return [] }
    return try decode([ForgetGroup].self, result.document, of: "forget").flatMap { $0.remove ?? [] }
  }

  /// Forgets these snapshots; pruning removes the data that nothing needs any more, too.
  func forget(_ ids: [String], prune: Bool) async throws {
    _ = try await run(["forget"] + (prune ? ["--prune"] : []) + ids, output: .document(limit: 64 << 20))
  }

  func prune() async throws { _ = try await run(["prune"], output: .document(limit: 64 << 20)) }

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

  /// Stores that leave even the locks of their runs where they are: a server that is append-only, a key that may not delete.
  private static let undeletable = Locked<Set<String>>([])
  /// Known from the first lock on that a run could not take away.
  var deletesNothing: Bool { Self.undeletable.value.contains(shown) }

  /// How restic says that it tries again, and why.
  static let retrying = " returned error, retrying after "
  static func reason(_ line: String) -> String? {
    guard line.contains(retrying), let colon = line.ranges(of: ": ").last else { return nil }
    return String(line[colon.upperBound...])
  }

  /// For verbs that report progress.
  func watch() -> StallDetector { StallDetector(limit: waits.stall, patience: waits.connect) }

  struct Saved: Sendable {
    let snapshot: String
    /// Read from the source and added to the repository.
    let bytes: Int
    let added: Int
    let complete: Bool
    let unreadable: [String]
  }

  /// Runs restic. A repository locked by another is waited for until LOCK_WAIT by restic itself; stale locks are removed before and at
  /// times meanwhile (restic removes only those it can prove dead).
  ///
  /// - Throws: `Failure` by restic's exit code where it is not in `accept`.
  func run(
    _ arguments: [String], directory: String? = nil, extra: [String: String] = [:], input: Input = .none,
    output: Output, deadline: Duration? = nil, watch: StallDetector? = nil, accept: Set<Int32> = [0]
  ) async throws -> Result {
    let watch = watch ?? StallDetector(limit: nil, patience: waits.connect)
    var (result, stopped) = try await attempt(
      command(arguments, directory: directory), extra, input, output, deadline, watch)
    if stopped == nil, result.ending == .exited(12), let next = settings.newPassword, !output.isDescriptor,
      !Self.rotated.value.contains(shown)
    {
      let result = try await with(password: next).run(
        arguments, directory: directory, extra: extra, input: input, output: output, deadline: deadline, watch: watch,
        accept: accept)
      Self.rotated.change { $0.insert(shown) }
      log.warning(
        "\(shown) does not open with \(settings.prefix)RESTIC_PASSWORD, but with \(settings.prefix)RESTIC_NEW_PASSWORD\n  hint: put that where \(settings.prefix)RESTIC_PASSWORD comes from"
      )
      return result
    }
    if stopped == nil, result.ending == .exited(11), waits.lock > .zero, !output.isDescriptor {
      let lock = result.errors.last ?? "by another run"
      log.warning("\(shown) is locked: \(lock); waiting up to LOCK_WAIT\(Self.ending(lock))")
      if Self.sharesItsHostName {
        log.warning(
          """
          no lock is taken for dead: this pod's host name is \(Self.sharedHostName), which older manifests gave to a pod of each namespace
            hint: take hostname out of the manifest, as docker/kubernetes has it, or set one that nobody else has
          """)
      }
      let end = ContinuousClock().now + waits.lock
      var wait = Duration.seconds(5)
      repeat {
        // Again each time: who holds the lock may die while it is waited for, as a restic whose toolkit was killed, and leave it.
        if !Self.sharesItsHostName {
          _ = try await attempt(command(["unlock"]), [:], .none, .document(limit: 1 << 20), waits.connect, nil)
        }
        // What is locked to everybody else waits for the locks of all nights before, and they stay.
        if deletesNothing { break }
        try? await removeLocksOfGonePods()
        try Task.checkCancellation()
        let seconds = min(wait, ContinuousClock().now.duration(to: end)).components.seconds + 1
        let patient = Array(arguments[..<1] + ["--retry-lock", "\(seconds)s"] + arguments[1...])
        (result, stopped) = try await attempt(command(patient, directory: directory), extra, input, output, nil, watch)
        wait = min(wait * 2, .seconds(60))
      } while stopped == nil && result.ending == .exited(11) && ContinuousClock().now < end
    }
    if let stopped { throw failure(stopped, arguments[0], result) }
    if case .exited(let code) = result.ending, accept.contains(code) { return result }
    throw failure(arguments[0], result)
  }

  /// Repositories that have been rotated, while the Secret with the password has not reached this pod: it reaches pods late.
  private static let rotated = Locked<Set<String>>([])

  private func attempt(
    _ command: Command, _ extra: [String: String], _ input: Input, _ output: Output, _ deadline: Duration?,
    _ watch: StallDetector?, again: Bool = true
  ) async throws -> (Result, Outcome.Stop?) {
    var command = command
    command.environment.merge(extra) { $1 }
    watch?.begin()
    let heard = ResticErrors(watch: watch, place: settings.shown)
    defer { heard.finish() }
    let outcome = try await Runner.run(
      command, input: input, output: output, deadline: deadline, watch: watch, errors: heard.take)
    let all = heard.all
    if all.errors.contains(where: ResticErrors.isLeftLock) { Self.undeletable.change { $0.insert(shown) } }
    let result = Result(
      ending: outcome.ending, document: outcome.document, items: all.items, errors: all.errors,
      onlyVanished: all.vanished > 0 && all.others == 0, refusals: all.others == all.refusals.count ? all.refusals : Refusals())
    if again, outcome.stopped == nil, result.keyVanished, !output.isDescriptor {
      return try await attempt(command, [:], input, output, deadline, watch, again: false)
    }
    return (result, outcome.stopped)
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
