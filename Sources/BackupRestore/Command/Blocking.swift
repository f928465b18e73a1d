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

/// The same for what cannot be told to end: where the task is cancelled, its thread is left alone.
func abandonable<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
  let waiting = Locked<CheckedContinuation<T, any Error>?>(nil)
  let finish = { @Sendable (result: Result<T, any Error>) in
    var first: CheckedContinuation<T, any Error>?
    waiting.change { (first, $0) = ($0, nil) }
    first?.resume(with: result)
  }
  return try await withTaskCancellationHandler {
    try await withCheckedThrowingContinuation { continuation in
      waiting.change { $0 = continuation }
      if Task.isCancelled { return finish(.failure(CancellationError())) }
      blockingQueue().async { finish(Result { try body() }) }
    }
  } onCancel: {
    finish(.failure(CancellationError()))
  }
}

/// Clears up, in a task of its own: a signal must not cancel that. But what does not answer does not hold it up for ever then: Kubernetes
/// waits for 60 s.
func finishing<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async -> Result<T, any Error> {
  let task = Task { try await body() }
  return await withTaskCancellationHandler {
    await task.result
  } onCancel: {
    Task {
      try? await Task.sleep(for: .seconds(30))
      task.cancel()
    }
  }
}

/// A queue of its own has its thread at once. The global queue gets one more thread a second while the others block, so
/// that 16 children ending at the same time were noticed half a minute late (measured).
func blockingQueue() -> DispatchQueue { DispatchQueue(label: "blocking") }

/// The value or the error of `body`: for steps that go on to report every problem.
func settled<T: Sendable>(_ body: @Sendable () async throws -> T) async -> Result<T, any Error> {
  do { return .success(try await body()) } catch { return .failure(error) }
}

/// What did not answer in time.
struct NoAnswer: Error, CustomStringConvertible {
  let limit: Duration
  var description: String { "no answer within \(Format.duration(limit.inSeconds))" }
}

/// The outcome of `body`, or after `limit` that there is none: for who asks many, and waits for nobody. What does not end is cancelled and
/// left alone.
func within<T: Sendable>(_ limit: Duration, _ body: @escaping @Sendable () async throws -> T) async -> Result<T, any Error> {
  let (first, continuation) = AsyncStream.makeStream(of: Result<T, any Error>.self)
  let work = Task { continuation.yield(await settled(body)) }
  let clock = Task {
    try? await Task.sleep(for: limit)
    continuation.yield(.failure(NoAnswer(limit: limit)))
  }
  defer {
    work.cancel()
    clock.cancel()
  }
  for await result in first { return result }
  return .failure(CancellationError())
}
