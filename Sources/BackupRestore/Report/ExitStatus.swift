/// What a run tells its caller. The one table: `--help`, the README and the Job's podFailurePolicy follow it.
public enum ExitStatus: Int32, CaseIterable, Sendable {
  case done = 0
  case unexpected = 1
  case unreadable = 3
  case attention = 4
  case repositoryMissing = 10
  case locked = 11
  case wrongPassword = 12
  case sourceFailed = 20
  case verificationFailed = 21
  case refused = 22
  case repositoryFailed = 23
  case usage = 64
  case configuration = 78
  case interrupted = 130
  case terminated = 143

  /// One line, as all three tables have it.
  public var meaning: String {
    switch self {
    case .done: "done"
    case .unexpected: "unexpected error"
    case .unreadable: "done, but unreadable files were left out (only with FILES_ALLOW_UNREADABLE=true)"
    case .attention: "done, but look at it by daylight: retention is held, or it, copy, check, scaling back or tidying up failed"
    case .repositoryMissing: "a repository does not exist"
    case .locked: "locked by another run for longer than LOCK_WAIT"
    case .wrongPassword: "wrong repository password"
    case .sourceFailed: "a source failed: dump, files or database server; no set was made, or one without it"
    case .verificationFailed: "verification failed; nothing live was changed, unless --in-place had begun"
    case .refused: "refused before anything was changed"
    case .repositoryFailed: "the repository failed or cannot be reached"
    case .usage: "wrong usage of the command line"
    case .configuration: "configuration problem"
    case .interrupted: "stopped by SIGINT"
    case .terminated: "stopped by SIGTERM"
    }
  }

  /// The table as `--help` and the README show it, one line a code.
  public static var table: String {
    allCases.map { status in
      let code = String(status.rawValue)
      return "  " + code + String(repeating: " ", count: 5 - code.count) + status.meaning
    }.joined(separator: "\n")
  }
}
