import Dispatch

/// Runs blocking work on a thread outside Swift's small pool, which two blocked calls would exhaust on two cores.
func blocking<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
  try await withCheckedThrowingContinuation { continuation in
    blockingQueue().async { continuation.resume(with: Result { try body() }) }
  }
}

func blocking<T: Sendable>(_ body: @escaping @Sendable () -> T) async -> T {
  await withCheckedContinuation { continuation in
    blockingQueue().async { continuation.resume(returning: body()) }
  }
}

/// A queue of its own has its thread at once. The global queue gets one more thread a second while the others block, so
/// that 16 children ending at the same time were noticed half a minute late (measured).
func blockingQueue() -> DispatchQueue { DispatchQueue(label: "blocking") }

/// The value or the error of `body`: for steps that go on to report every problem.
func settled<T: Sendable>(_ body: @Sendable () async throws -> T) async -> Result<T, any Error> {
  do { return .success(try await body()) } catch { return .failure(error) }
}
