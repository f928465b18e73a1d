import Dispatch
import Glibc
import Synchronization

/// A child's process id while it may be signalled. Never signals an id that has been collected.
final class Child: Sendable {
  private struct State {
    var id: pid_t?
    var isOver = false
    var stopping = false
    var reason: Outcome.Stop?
  }
  private let state = Mutex(State())

  var reason: Outcome.Stop? { state.withLock { $0.reason } }

  func started(_ id: pid_t) {
    let stopNow = state.withLock {
      $0.id = id
      return $0.stopping
    }
    if stopNow { signal() }
  }

  var isOver: Bool { state.withLock { $0.isOver } }

  /// - Parameter ending: nil where it never began.
  func ended(_ ending: Ending?) {
    state.withLock { state in
      // One that was killed could not stop what it had started: a dump must not outlive its restic.
      if case .signalled = ending, let id = state.id { kill(-id, SIGTERM) }
      (state.id, state.isOver) = (nil, true)
    }
  }

  func stop(because reason: Outcome.Stop?) {
    let first = state.withLock { state in
      if state.stopping { return false }
      state.stopping = true
      state.reason = reason
      return true
    }
    if first { signal() }
  }

  private func signal() {
    state.withLock { if let id = $0.id { kill(id, SIGTERM) } }
    blockingQueue().asyncAfter(deadline: .now() + .seconds(Int(Runner.grace.components.seconds))) { [self] in
      // The whole group: a dump that hangs would otherwise outlive restic.
      state.withLock { if let id = $0.id { kill(-id, SIGKILL) } }
    }
  }
}
