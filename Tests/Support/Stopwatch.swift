import Synchronization

import BackupRestore

/// Time as a machine of any speed has it: each turn of a little work, which takes a twentieth of a second where nobody else is at work,
/// counts as much, however long it took. What waits for seconds is told from what only got no processor.
public final class Stopwatch: Sendable {
  private let elapsed = Locked(Duration.zero)
  private let turning: Task<Void, any Error>
  private static let turn = Duration.milliseconds(50)

  /// - Parameter work: what is measured with it, in little: an answer of the same server.
  public init(_ work: @escaping @Sendable () async throws -> Void) {
    turning = Task { [elapsed] in
      while true {
        let begin = ContinuousClock().now
        try await Task.sleep(for: Self.turn * 0.8)
        try await Shell.check("true", [])
        try await work()
        let took = begin.duration(to: .now)
        elapsed.change { $0 += min(took, Self.turn) }
      }
    }
  }

  public func time(_ body: () async throws -> Void) async throws -> Duration {
    let begin = elapsed.value
    try await body()
    return elapsed.value - begin
  }

  deinit { turning.cancel() }
}
