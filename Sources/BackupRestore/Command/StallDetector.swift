import FoundationEssentials
import Synchronization

/// Notices a transfer that stands still, and a repository that never answered. restic itself retries for 15 minutes, also on
/// a read-only disk (measured); one that had answered may take that long.
package final class StallDetector: Sendable {
  private struct State {
    var last = ContinuousClock().now
    var moved = false
    var trouble: ContinuousClock.Instant?
    var isOver = false
  }
  private let limit: Duration?
  private let patience: Duration
  private let state = Mutex(State())

  /// `limit`: without progress at all; nil where none is reported. `patience`: failing before any progress.
  init(limit: Duration?, patience: Duration) { (self.limit, self.patience) = (limit, patience) }

  /// Progress.
  func touch() { state.withLock { $0 = State(moved: true) } }

  /// Another child begins: what the one before stood still is not its own.
  func begin() { state.withLock { $0.last = ContinuousClock().now } }

  /// A child says that it failed and tries again.
  func fail() { state.withLock { $0.trouble = $0.trouble ?? ContinuousClock().now } }

  /// When a child that fails is given up; nil: it has answered before, and goes on trying for itself.
  var givesUp: Date? {
    let now = ContinuousClock().now
    return state.withLock { state in
      guard !state.moved, let since = state.trouble else { return nil }
      return Date(timeIntervalSinceNow: now.duration(to: since + patience).inSeconds)
    }
  }

  /// Somebody else knows that it will not go on.
  func end() { state.withLock { $0.isOver = true } }

  /// Why the child should be stopped now.
  var verdict: Outcome.Stop? {
    let now = ContinuousClock().now
    return state.withLock { state in
      if !state.moved, let since = state.trouble, now - since > patience { return .deadline }
      if state.isOver { return .stalled }
      if let limit, now - state.last > limit { return .stalled }
      return nil
    }
  }
}
