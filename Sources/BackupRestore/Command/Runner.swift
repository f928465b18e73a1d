import Dispatch
import Glibc
import Subprocess
import Synchronization
import SystemPackage

/// How a child ended.
public enum Ending: Equatable, Sendable {
  case exited(Int32)
  case signalled(Int32)

  var succeeded: Bool { self == .exited(0) }

  /// As a message says it: `exit code 1`, `killed by signal 9`.
  var text: String {
    switch self {
    case .exited(let code): "exit code \(code)"
    case .signalled(let signal): "killed by signal \(signal)"
    }
  }

  /// What to do next: nothing of this toolkit sends SIGKILL to a child that it does not report as stopped by itself.
  func hint(_ other: String) -> String {
    self == .signalled(SIGKILL)
      ? "it was most likely killed for its memory: raise the container's memory limit (resources.limits.memory)" : other
  }
}

/// Where a child's standard output goes.
enum Output {
  /// Line by line to a function. The function is called on a thread of its own.
  case lines(@Sendable (String) -> Void)
  /// Into memory, at most `limit` bytes: only for documents that do not grow with the data.
  case document(limit: Int)
  /// Into a file or a pipe, never through this process. The descriptor is closed here.
  case descriptor(FileDescriptor)

  /// Then a command cannot be run a second time: the descriptor is closed, and its number may be another file's by now.
  var isDescriptor: Bool {
    if case .descriptor = self { return true }
    return false
  }
}

/// What a child left behind.
struct Outcome: Sendable {
  let ending: Ending
  /// Standard output, where it was asked for as a document.
  let document: [UInt8]
  /// Why the runner stopped the child, where it did.
  let stopped: Stop?

  enum Stop: Sendable { case deadline, stalled }
}

/// Runs children. The only file that imports Subprocess.
///
/// Cancelling the task sends the child SIGTERM and waits for it to end in order. Subprocess's own cancellation is kept
/// out of the way by an unstructured task: it closes the pipes first, and restic then dies of SIGPIPE while it cleans
/// up and leaves its lock behind (measured).
enum Runner {
  /// How long a child has between SIGTERM and SIGKILL.
  static let grace = Duration.seconds(8)

  /// Runs `command` until it ends.
  ///
  /// - Parameters:
  ///   - input: bytes for its standard input, or a descriptor that is closed here; nil is /dev/null.
  ///   - deadline: how long it may take in all.
  ///   - watch: stops the child when its verdict says so.
  ///   - errors: called with each line of standard error, as the child wrote it: what is shown of it goes through `Secret.mask`.
  /// - Throws: `CancellationError` after the child ended, when the task was cancelled; `Failure` when it cannot start.
  static func run(
    _ command: Command, input: Input = .none, output: Output, deadline: Duration? = nil, watch: Watch? = nil,
    errors: @escaping @Sendable (String) -> Void
  ) async throws -> Outcome {
    try Task.checkCancellation()
    let child = Child()
    let running = Task { try await launch(command, input: input, output: output, child: child, errors: errors) }
    let watching = Task {
      let clock = ContinuousClock()
      let begin = clock.now
      while !Task.isCancelled {
        try await clock.sleep(for: .milliseconds(200))
        if let deadline, clock.now - begin > deadline { return child.stop(because: .deadline) }
        if let verdict = watch?.verdict { return child.stop(because: verdict) }
      }
    }
    defer { watching.cancel() }
    let (ending, document) = try await withTaskCancellationHandler {
      try await running.value
    } onCancel: {
      child.stop(because: nil)
    }
    try Task.checkCancellation()
    return Outcome(ending: ending, document: document, stopped: child.reason)
  }

  private static func launch(
    _ command: Command, input: Input, output: Output, child: Child, errors: @escaping @Sendable (String) -> Void
  ) async throws -> (Ending, [UInt8]) {
    let errorPipe = try FileDescriptor.pipe(options: .closeOnExec)
    let errorLines = Task { await readLines(errorPipe.readEnd) { errors($0) } }
    var document: Task<[UInt8], Never>?
    let standardOutput: FileDescriptor
    switch output {
    case .descriptor(let descriptor): standardOutput = descriptor
    case .lines(let line):
      let pipe = try FileDescriptor.pipe(options: .closeOnExec)
      standardOutput = pipe.writeEnd
      document = Task {
        await readLines(pipe.readEnd, line)
        return []
      }
    case .document(let limit):
      let pipe = try FileDescriptor.pipe(options: .closeOnExec)
      standardOutput = pipe.writeEnd
      document = Task { await readAll(pipe.readEnd, limit: limit) }
    }
    let standardInput = try input.open()
    var options = PlatformOptions()
    // A group of its own: Ctrl-C at a terminal reaches us alone, and we stop the children in order.
    options.processGroupID = 0
    do {
      let result = try await Subprocess.run(
        command.program.contains("/") ? .path(FilePath(command.program)) : .name(command.program),
        arguments: Arguments(command.arguments),
        environment: .custom(
          Dictionary(
            uniqueKeysWithValues: command.environment.map { (Subprocess.Environment.Key(stringLiteral: $0.key), $0.value) })),
        workingDirectory: command.directory.map { FilePath($0) }, platformOptions: options,
        input: .fileDescriptor(standardInput, closeAfterSpawningProcess: true),
        output: .fileDescriptor(standardOutput, closeAfterSpawningProcess: true),
        error: .fileDescriptor(errorPipe.writeEnd, closeAfterSpawningProcess: true)
      ) { execution in
        child.started(execution.processIdentifier.value)
      }
      child.ended()
      await errorLines.value
      let bytes = await document?.value ?? []
      switch result.terminationStatus {
      case .exited(let code): return (.exited(code), bytes)
      case .signaled(let signal): return (.signalled(signal), bytes)
      }
    } catch {
      child.ended()
      throw Failure(
        .unexpected, "\(command.name) could not be started: \(Secret.mask("\(error)"))",
        hint: "is \(command.name) installed and on PATH?")
    }
  }

  /// Reads lines that end in LF, on a thread that may block. A line over 1 MiB is cut there.
  private static func readLines(_ descriptor: FileDescriptor, _ line: @escaping @Sendable (String) -> Void) async {
    await blocking {
      var rest: [UInt8] = []
      readChunks(descriptor) { chunk in
        var slice = chunk[...]
        while let end = slice.firstIndex(of: 0x0A) {
          line(String(decoding: rest + slice[..<end], as: UTF8.self))
          rest.removeAll(keepingCapacity: true)
          slice = slice[(end + 1)...]
        }
        if rest.count < 1 << 20 { rest += slice }
      }
      if !rest.isEmpty { line(String(decoding: rest, as: UTF8.self)) }
    }
  }

  /// Reads to the end and keeps the first `limit` bytes and one more, so that the caller can tell.
  private static func readAll(_ descriptor: FileDescriptor, limit: Int) async -> [UInt8] {
    await blocking {
      var all: [UInt8] = []
      readChunks(descriptor) { if all.count <= limit { all += $0.prefix(limit + 1 - all.count) } }
      return all
    }
  }

  private static func readChunks(_ descriptor: FileDescriptor, _ body: ([UInt8]) -> Void) {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while let count = try? buffer.withUnsafeMutableBytes({ try descriptor.read(into: $0) }), count > 0 {
      body(Array(buffer[..<count]))
    }
    try? descriptor.close()
  }
}

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
private func blockingQueue() -> DispatchQueue { DispatchQueue(label: "blocking") }

/// What a child reads.
enum Input: Sendable {
  case none
  case bytes([UInt8])
  case descriptor(FileDescriptor)

  fileprivate func open() throws -> FileDescriptor {
    switch self {
    case .none: return try FileDescriptor.open("/dev/null", .readOnly, options: .closeOnExec)
    case .descriptor(let descriptor): return descriptor
    case .bytes(let bytes):
      let pipe = try FileDescriptor.pipe(options: .closeOnExec)
      blockingQueue().async {
        _ = try? pipe.writeEnd.writeAll(bytes)
        try? pipe.writeEnd.close()
      }
      return pipe.readEnd
    }
  }
}

/// Notices a transfer that stands still, and a repository that never answered. restic itself retries for 15 minutes, also on
/// a read-only disk (measured); one that had answered may take that long.
final class Watch: Sendable {
  private struct State {
    var last = ContinuousClock().now
    var moved = false
    var trouble: ContinuousClock.Instant?
  }
  private let limit: Duration?
  private let patience: Duration
  private let state = Mutex(State())

  /// `limit`: without progress at all; nil where none is reported. `patience`: failing before any progress.
  init(limit: Duration?, patience: Duration) { (self.limit, self.patience) = (limit, patience) }

  /// Progress.
  func touch() { state.withLock { $0 = State(moved: true) } }

  /// A child says that it failed and tries again.
  func fail() { state.withLock { $0.trouble = $0.trouble ?? ContinuousClock().now } }

  /// Why the child should be stopped now.
  var verdict: Outcome.Stop? {
    let now = ContinuousClock().now
    return state.withLock { state in
      if !state.moved, let since = state.trouble, now - since > patience { return .deadline }
      if let limit, now - state.last > limit { return .stalled }
      return nil
    }
  }
}

/// A child's process id while it may be signalled. Never signals an id that has been collected.
private final class Child: Sendable {
  private struct State {
    var id: pid_t?
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

  func ended() {
    state.withLock { $0.id = nil }
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
