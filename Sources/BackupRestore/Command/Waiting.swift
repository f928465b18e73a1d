/// Waits for what others have, tells so once, and gives up at its deadline.
struct Waiting {
  private let deadline: ContinuousClock.Instant
  private var isTold = false

  init(_ patience: Duration) { deadline = ContinuousClock().now + patience }

  /// After it was asked for in vain.
  ///
  /// - Throws: `failure` at the deadline.
  mutating func pause(
    _ interval: Duration = .milliseconds(500), telling text: @autoclosure () -> String, until failure: @autoclosure () -> Failure
  ) async throws {
    if ContinuousClock().now >= deadline { throw failure() }
    if !isTold { log.info("\(text())") }
    isTold = true
    try await Task.sleep(for: interval)
  }
}
