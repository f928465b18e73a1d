/// How long a query may go on without a sign of work: a long one is looked at by another session.
final class Patience {
  private let backend: BackendWatch?
  private let begin = ContinuousClock().now
  private var looking: Task<Void, Never>?

  init(_ backend: BackendWatch?) { self.backend = backend }

  deinit { looking?.cancel() }

  /// - Throws: `ConnectionError` where there was none for STALL_TIMEOUT.
  func check() throws {
    guard let backend else { return }
    if looking == nil, begin.duration(to: .now) > min(.seconds(30), backend.limit / 4) {
      looking = Task { await backend.look(every: min(.seconds(5), backend.limit / 10)) }
    }
    if backend.watch.verdict != nil { throw ConnectionError(message: backend.failure("a query").problems[0].fact) }
  }
}
