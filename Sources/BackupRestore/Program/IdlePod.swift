import Glibc

/// `init --wait`: what the backup-restore pod does all day, until an operator runs something in it by `kubectl exec`.
///
/// `sleep infinity` as PID 1 ignores SIGTERM and collects zombies, and when it is killed every run in the pod dies with it
/// (measured). This ends at once when idle; where a run is on its way it passes SIGTERM on and waits for it.
public enum IdlePod {
  /// Returns when SIGTERM or SIGINT came and every other run in this pod has ended.
  public static func run() async {
    Screen.bootstrap(.text)
    // The kernel collects orphans by itself where SIGCHLD is ignored; nothing is started here.
    signal(SIGCHLD, SIG_IGN)
    signal(SIGHUP, SIG_IGN)
    log.info("waiting: run init, backup or restore here by kubectl exec; their lines appear in this log too")
    await terminated()
    var told: Set<pid_t> = []
    while true {
      let runs = Run.others()
      if runs.isEmpty { break }
      for run in runs where told.insert(run.id).inserted {
        kill(run.id, SIGTERM)
        log.info("SIGTERM passed on to \(run.name) (process \(run.id)): waiting for it to end in order")
      }
      try? await Task.sleep(for: .milliseconds(100))
    }
    log.info("done waiting")
  }

  private static func terminated() async {
    let (signals, arrived) = AsyncStream.makeStream(of: Int32.self)
    let sources = Program.onStop { arrived.yield($0) }
    for await _ in signals { break }
    for source in sources { source.cancel() }
  }
}
