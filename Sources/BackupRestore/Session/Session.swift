import SystemPackage

/// What a run holds and has to give back: its locks, its scratch files, what it staged, the application's pause.
///
/// `open` gives it back on every way out, the last thing taken first, once, after a signal too. A step takes what it needs here, and
/// cannot forget it.
final class Session: Sendable {
  let invocation: Invocation
  /// Holds the locks of its databases; nil where none take part.
  let server: Server?
  /// FILES_DIRECTORY, locked; nil where it is not there.
  let directory: Directory?
  /// What restores left on both.
  let swap: Swap
  /// Nil where it stays up.
  let application: Application?
  /// Who has a lock that this run only looks at, in words; nil: it could have them all.
  let busy: String?
  /// What could not be had, of a session that reports it with whatever else is wrong: the server, and all else.
  let unreached: (any Error)?
  let missing: [any Error]
  private let needs: Needs
  private let state = Locked(State())

  struct Needs: Sendable {
    /// Whose databases are locked; nil: none.
    var database: DatabaseSettings?
    /// What to do where FILES_DIRECTORY is not there; nil: the run does without.
    var filesHint: String?
    /// Whether the run may pause the application, or find it paused by one that was killed.
    var application = true
    /// A dry run: it waits for nobody, and the way out changes nothing either.
    var looksOnly = false
    /// What cannot be had is `missing`, and no error yet.
    var isTolerant = false

    /// All that is configured.
    static func everything(_ configuration: Configuration) -> Needs {
      Needs(database: configuration.database, filesHint: "mount the volume there")
    }
  }

  private struct State: Sendable {
    var scratch: Scratch?
    var closing: [@Sendable (_ failed: Bool) async -> Void] = []
    var isPaused = false
    /// Nil: nobody has tried yet.
    var isResumed: Bool?
  }

  /// Takes the locks, runs `steps`, and gives back.
  ///
  /// - Returns: what `steps` return, or 4 where the application could not be scaled back.
  /// - Throws: what `steps` throw; `Failure` 11 where another run holds a lock for longer than LOCK_WAIT, 22 where something cannot be had.
  static func open(
    _ invocation: Invocation, _ needs: Needs, _ steps: @Sendable (Session) async throws -> ExitStatus
  ) async throws -> ExitStatus {
    let session = try await Session(invocation, needs)
    let telling = Task { if !needs.looksOnly, let server = session.server { await tellProgress(to: server) } }
    let result = await settled { try await steps(session) }
    telling.cancel()
    let isBack = await session.close(failed: (try? result.get()) == nil)
    let status = try result.get()
    return isBack ? status : .attention
  }

  /// For `restore --status` in another pod, until this task is cancelled or the session broke. What it sends is never cancelled: that would
  /// meet whatever the session does next.
  private static func tellProgress(to server: Server) async {
    var said = ""
    while (try? await Task.sleep(for: .seconds(5))) != nil {
      let standing = Screen.shared.standing
      if standing == said { continue }
      guard (try? await Task { try await server.say(standing) }.value) != nil else { return }
      said = standing
    }
  }

  private init(_ invocation: Invocation, _ needs: Needs) async throws {
    var missing: [any Error] = []
    let keep = { (error: any Error) in if needs.isTolerant { missing.append(error) } else { throw error } }
    (self.invocation, self.needs) = (invocation, needs)
    var application: Application?
    if needs.application { do { application = try invocation.application() } catch { try keep(error) } }
    self.application = application
    var (server, unreached): (Server?, (any Error)?)
    if let settings = needs.database {
      do { server = try await Server.connect(settings, invocation.configuration.waits) } catch {
        if !needs.isTolerant { throw error }
        unreached = error
      }
      if !needs.looksOnly { try await server?.lock(settings.names) }
    }
    (self.server, self.unreached) = (server, unreached)
    directory = try await needs.looksOnly ? Self.look(invocation.configuration) : Self.lockFiles(invocation.configuration)
    busy = needs.looksOnly ? try await Self.busy(server, invocation.configuration) : nil
    if directory == nil, let files = invocation.configuration.files, let hint = needs.filesHint {
      try keep(Failure(.refused, "\(files.directory) does not exist or is not a directory", hint: hint))
    }
    self.missing = missing
    swap = Swap(directory: directory, server: server)
  }

  /// The volume is locked whatever the run is about: to finish an earlier restore may touch it.
  private static func lockFiles(_ configuration: Configuration) async throws -> Directory? {
    guard let files = configuration.files, (try? FileStatus(files.directory))?.isDirectory == true else { return nil }
    if let outer = files.outer { try await DirectoryLock.take(outer, waits: configuration.waits) }
    return try await DirectoryLock.take(files.directory, waits: configuration.waits)
  }

  /// Without a lock, but with the same errors.
  private static func look(_ configuration: Configuration) throws -> Directory? {
    do { return try configuration.files?.open() } catch let error as FileError { throw DirectoryLock.refusal(error) }
  }

  /// Who has a lock that a run would need, in words.
  private static func busy(_ server: Server?, _ configuration: Configuration) async throws -> String? {
    for name in server?.settings.names ?? [] {
      if let holder = try await server?.holder(name) { return "database \(name) is in use by \(holder.text)" }
    }
    return try configuration.files?.heldDirectory().map { "\(printable($0)) is in use by another run" }
  }

  var configuration: Configuration { invocation.configuration }

  // MARK: Taking

  /// Below TMPDIR, removed on the way out.
  func scratch() throws -> Scratch {
    if let scratch = state.value.scratch { return scratch }
    let scratch = try Scratch(invocation.environment)
    state.change { $0.scratch = scratch }
    return scratch
  }

  /// To be done on the way out, the last one first; `failed`: the run ends with an error. Whoever puts something where it must not stay
  /// says so before.
  func onClose(_ body: @escaping @Sendable (_ failed: Bool) async -> Void) { state.change { $0.closing.append(body) } }

  /// Something of this restore may be on server and volume from now on: a run that fails removes it. After the swap there is nothing to
  /// remove, and `finishInterrupted` knows.
  func willStage(_ id: RestoreID) {
    onClose { [swap] failed in
      guard failed else { return }
      let cleared = await finishing { try await swap.finishInterrupted(undoing: true, own: id) }
      guard case .failure(let error) = cleared else { return }
      let reason = error is CancellationError ? "the server did not answer in time" : "\(error)"
      log.warning("what this run left could not be cleared away now: \(reason)\n  hint: the next restore does that")
    }
  }

  /// Finishes what earlier restores committed and undoes the rest of what they left, of files and databases also where this run is about
  /// one of them: the databases tell whether a restore was committed.
  ///
  /// - Returns: what it finished.
  @discardableResult
  func finishEarlier() async throws -> [SwapJournal] {
    var all = swap
    if server == nil, let settings = configuration.database, try !swap.unfinished().isEmpty {
      let server = try await Server.connect(settings, configuration.waits)
      try await server.lock(settings.names)
      all = Swap(directory: directory, server: server)
    }
    return try await all.finishInterrupted(undoing: true)
  }

  // MARK: The application

  /// - Throws: `Failure` 22 where its pods do not go in time.
  func pause() async throws {
    state.change { ($0.isPaused, $0.isResumed) = (true, nil) }
    try await application?.pause()
  }

  /// Scales the application back, but only over the old state or the new one as a whole. The way out does it where no step has.
  ///
  /// - Returns: whether it is as it was.
  @discardableResult
  func resume() async -> Bool {
    guard let application, state.value.isResumed != true else { return true }
    let isResumed = await resume(application)
    state.change { $0.isResumed = isResumed }
    return isResumed
  }

  private func resume(_ application: Application) async -> Bool {
    // It is on the way out after SIGTERM too.
    let ignoresForeign = needs.isTolerant
    switch await finishing({ [swap] in try await swap.isMixed(ignoringForeign: ignoresForeign) }) {
    case .success(false): return await application.resume()
    case .success(true):
      let problem = ((try? swap.replacing()) ?? nil).map(swap.incomplete)
      log.error(
        "the application stays down: \(problem?.description ?? "what is live is not whole yet\n  hint: mend what the lines above name, then run restore --resume-application, which finishes it first")"
      )
    case .failure(let error):
      log.error(
        "the application stays down: whether what is live is whole cannot be told (\(error))\n  hint: restore --resume-application, when that can be asked"
      )
    }
    return false
  }

  /// For how long this run kept the application down, for the summary.
  var downtime: String { application?.downtime ?? "" }

  // MARK: Giving back

  /// With all locks nobody else needs the application down: one that was killed may have left it so.
  private var holdsAll: Bool {
    (server != nil || needs.database == nil) && (directory != nil || configuration.files == nil)
  }

  private func close(failed: Bool) async -> Bool {
    let taken = state.value
    for body in taken.closing.reversed() { await body(failed) }
    taken.scratch?.remove()
    if needs.looksOnly || !(taken.isPaused || holdsAll) { return true }
    // A run that fails tries once more: the next one is a night away.
    if !failed, let isResumed = taken.isResumed { return isResumed }
    return await resume()
  }

  /// Lets others have database and volume, before a backup does what comes after its own set. No two are at that at once: each waits for
  /// the one before.
  ///
  /// - Throws: `Failure` 11 where that one takes longer than LOCK_WAIT.
  func release() async throws {
    do {
      try await server?.unlock(server?.settings.names ?? [])
      if let directory { try await DirectoryLock.release(directory.path.string, waits: configuration.waits) }
      try await server?.lock(server?.settings.names ?? [], for: .repositories)
    } catch let error as ConnectionError {
      // With the session its locks are gone. restic's own still keep two retentions from one repository.
      log.info("the session with the maintenance database broke: \(error)")
    }
  }
}
