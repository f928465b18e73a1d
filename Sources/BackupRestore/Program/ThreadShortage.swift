import CLinux
import Dispatch
import FoundationEssentials
import Glibc
import Synchronization

/// Ends a process that can have no thread more: a pod's limit of processes counts threads, too.
///
/// libdispatch asks for one again each second, for ever, and with it waits every task and every signal: in a container with a limit of 4
/// processes a backup stood still until SIGKILL (measured).
enum ThreadShortage {
  /// How long, in seconds, libdispatch may do nothing new meanwhile.
  private static let patience = 30
  private static let beats = Atomic(0)

  /// Begins to look, to the end of the process, on a thread that calls nothing of libdispatch: it would wait there. What is returned beats,
  /// and must be kept.
  static func watch() -> any DispatchSourceTimer {
    if !begins({ _ in ThreadShortage.look() }) { end() }
    let heart = DispatchSource.makeTimerSource(queue: .global())
    heart.schedule(deadline: .now(), repeating: .seconds(5))
    // Where readers of children run: a thread of the global queue may still be there when those have none (measured).
    heart.setEventHandler { blockingQueue().async { beats.add(1, ordering: .relaxed) } }
    heart.resume()
    return heart
  }

  /// Whether a thread could be had.
  private static func begins(_ body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?) -> Bool {
    var thread = pthread_t()
    guard pthread_create(&thread, nil, body, nil) == 0 else { return false }
    pthread_detach(thread)
    return true
  }

  private static func look() -> Never {
    var (last, still) = (0, 0)
    while true {
      sleep(1)
      // At the limit the run goes on as long as the threads there are take what is new.
      let now = beats.load(ordering: .relaxed)
      still = now != last || begins({ _ in nil }) ? 0 : still + 1
      last = now
      if still >= patience { end() }
    }
  }

  /// As after SIGKILL: the next run finishes or takes away what this one leaves. Nothing here may need a thread.
  private static func end() -> Never {
    let status = ExitStatus.unexpected
    let said =
      "error: no thread more can be had: the pod or its user is at its limit of processes\n  hint: \(Reason.processLimit)\n"
    var ready = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
    let line = Array("\(Format.time(Date())) \(said)".utf8)
    if poll(&ready, 1, 1000) == 1 { _ = write(STDERR_FILENO, line, line.count) }
    Pod.writeTerminationMessage("exit code \(status.rawValue): " + said)
    linux_exit(status.rawValue)
  }
}
