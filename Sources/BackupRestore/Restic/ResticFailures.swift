import FoundationEssentials
import Glibc

/// How a call ended, and what went wrong, in words and as this toolkit's exit code.
extension Repository {
  struct Result: Sendable {
    let ending: Ending
    let document: [UInt8]
    /// The files that could not be read.
    var items: [String] = []
    var errors: [String] = []
    /// All that was not read had been deleted meanwhile.
    var onlyVanished = false
    /// Where that was all that failed.
    var refusals = Refusals()

    /// restic lists the keys, then reads each; one that was removed in between (`key passwd`) ends it with 1 (measured, 0.19), not with
    /// 12 or by trying the next.
    var keyVanished: Bool {
      ending == .exited(1)
        && errors.contains { line in
          line.hasPrefix("Load(<key/") && ["no such file", "404", "does not exist"].contains { line.contains($0) }
        }
    }
  }

  /// restic's exit codes, as it documents them; unknown ones are failures.
  func failure(_ verb: String, _ result: Result) -> Failure {
    let said = result.errors.last.map { ": " + $0 } ?? ""
    let has = { (words: String) in result.errors.contains { $0.contains(words) } }
    switch result.ending {
    case .exited(11) where deletesNothing:
      return Failure(
        .repositoryFailed, "\(shown) deletes nothing, so the locks of earlier runs stay\(said)",
        hint: "what keeps others out, as forgetting does, is its server's business", cause: .appendOnly)
    case .exited(10):
      return Failure(
        .repositoryMissing, "no repository at \(shown)",
        hint: "run init; if it existed, check \(settings.prefix)RESTIC_REPOSITORY and that its volume is mounted")
    case .exited(11):
      return Failure(
        .locked, "\(shown) is locked by another run\(said)",
        hint: "wait for it to end, raise LOCK_WAIT, or run init --unlock, which shows who has it and removes what is named"
          + Self.ending(said), cause: .locked)
    case .exited(12):
      return Failure(
        .wrongPassword, "\(shown): wrong repository password",
        hint: "check \(settings.prefix)RESTIC_PASSWORD or the file \(settings.prefix)RESTIC_PASSWORD_FILE names"
          + (settings.hasNewPassword ? "; it changed just now: a changed Secret reaches pods up to two minutes late" : ""))
    case .exited(3) where verb == "forget" && has("403 Forbidden"):
      return Failure(
        .repositoryFailed, "\(shown) answered 403 Forbidden to forget",
        hint: "an append-only server forgets by itself; otherwise look at its access rights", cause: .appendOnly)
    case .exited(1) where has("invalid value for "):
      return Failure(.configuration, "restic\(said)", hint: "correct that variable")
    case .exited(1) where verb == "backup" && has("snapshot is empty"):
      return Failure(
        .sourceFailed, "nothing is left to save of the files\(said)", hint: "look at FILES_EXCLUDE, and at FILES_DIRECTORY itself"
      )
    case .exited(1) where verb == "init" && has("404 Not Found"):
      return Failure(
        .repositoryFailed, "restic init failed on \(shown)\(said)",
        hint: "restic's own rest-server takes two levels of path and no more: RESTIC_REPOSITORY may name one below the host")
    // restic 0.19 fails where it cannot create its cache (measured): a user without a home, a read-only root.
    case .exited(1) where has("unable to open cache"):
      return Failure(
        .refused, "restic cannot create its cache\(said)",
        hint: "mount a writable directory for it and set RESTIC_CACHE_DIR to that")
    default: break
    }
    if let crash = result.errors.last.flatMap(ResticCrash.init) {
      return Failure(.repositoryFailed, "restic \(verb) crashed (\(result.ending.text))\(said)", hint: crash.hint)
    }
    if let failure = sourceFailure(verb, result) { return failure }
    let packs = Set(result.errors.flatMap(Self.packs))
    let cause: Failure.Cause =
      if !packs.isEmpty { .damaged(packs: packs) } else if result.ending == .signalled(SIGPIPE) {
        .readerGone
      } else if has(
        "not found in snapshot")
      { .notInSnapshot } else if verb == "key", has("403 Forbidden") { .appendOnly } else { .plain }
    return Failure(
      .repositoryFailed, "restic \(verb) failed on \(shown) (\(result.ending.text))\(said)",
      hint: packs.isEmpty
        ? result.ending.hint(hint(verb, result))
        : "the repository is damaged: backup --check names the sets concerned; others are whole", cause: cause)
  }

  /// What names a file of the target is the volume's doing.
  private func hint(_ verb: String, _ result: Result) -> String {
    verb == "restore" && result.errors.contains { $0.contains(Self.working) }
      ? "look at the volume: has it room and inodes left, is it writable, does it take such names"
      : Reason.hint(for: result.errors.reversed(), in: Reason.repository, prefix: settings.prefix) ?? ""
  }

  /// What has a repository to itself is a backup's retention or check, and it can wait.
  static func ending(_ lock: String) -> String {
    lock.contains("exclusively")
      ? "; a backup that forgets, prunes or checks can be ended at any time, its set is saved: kubectl delete job NAME, or kill PID"
      : ""
  }

  /// restic takes the lock of a process that is not here for dead where the host name is its own. Of this name nobody can know.
  static let sharedHostName = "backup-restore"
  static var sharesItsHostName: Bool { ProcessInfo.processInfo.hostName == sharedHostName }

  private static let byHand = "nothing was saved; run pg_dump by hand and look at what it prints"

  /// Of what pg_dump says.
  private static func hint(_ said: String) -> String {
    let unconnected = said.contains("connection to server") ? Reason.hint(for: [said], in: Reason.database) : nil
    return "nothing was saved; \(unconnected ?? "mend what PostgreSQL names above and run it again")"
  }

  /// Nil where it was not what restic reads from that failed.
  private func sourceFailure(_ verb: String, _ result: Result) -> Failure? {
    switch result.ending {
    case .exited(1) where result.errors.contains { $0.contains("command failed: signal: killed") }:
      return Failure(
        .sourceFailed, "pg_dump was killed by signal 9", hint: "nothing was saved; " + Ending.signalled(SIGKILL).hint(""))
    case .exited(1) where result.errors.contains { $0.contains("command failed: ") || $0.contains("failed to start command") }:
      // On a busy machine restic can lose what a command says that ends at once (seen).
      let cause = result.errors.first { $0.contains("error: ") }
      return Failure(
        .sourceFailed, "the dump failed: \(cause ?? result.errors.last ?? "")",
        hint: cause.map(Self.hint) ?? Self.byHand)
    case .exited(3) where result.errors.contains { $0.hasSuffix(": no data read") }:
      return Failure(.sourceFailed, "the dump is empty", hint: Self.byHand)
    case .exited(3) where verb == "backup":
      return Failure(
        .sourceFailed,
        "\(Format.count(result.items.count, "file", "files")) could not be read: \(result.items.prefix(5).joined(separator: ", "))",
        hint: "make them readable, or set FILES_ALLOW_UNREADABLE=true to leave them out")
    default: return nil
    }
  }

  func failure(_ stop: Outcome.Stop, _ verb: String, _ result: Result) -> Failure {
    // The last word is restic's own about being stopped by us; what it kept trying is the cause.
    let tried = result.errors.last { $0.contains(Self.retrying) }
    let cause =
      tried.flatMap { line in line.firstRange(of: "s: ").map { String(line[$0.upperBound...]) } } ?? result.errors.last
    let said = cause.map { ": " + $0 } ?? ""
    switch stop {
    case .deadline:
      return Failure(
        .repositoryFailed, "\(shown) did not answer within \(waits.connect.components.seconds) s\(said)",
        hint: hint(cause, "CONNECT_TIMEOUT"))
    case .stalled:
      return Failure(
        .repositoryFailed, "restic \(verb) on \(shown) made no progress for \(waits.stall.components.seconds) s\(said)",
        hint: hint(cause, "STALL_TIMEOUT"))
    }
  }

  /// Of what it kept trying, and what sets its deadline.
  private func hint(_ cause: String?, _ deadline: String) -> String {
    let known = cause.flatMap { Reason.hint(for: [$0], in: Reason.repository, prefix: settings.prefix) }
    return (known.map { $0 + "; " } ?? "") + "\(deadline) sets the deadline"
  }
}
