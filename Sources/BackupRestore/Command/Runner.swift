import Glibc
import Subprocess
import SystemPackage

/// How a child ended.
package enum Ending: Equatable, Sendable {
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
      ? "it was most likely killed for its memory: " + Reason.memoryLimit : other
  }
}

/// Where a child's standard output goes.
package enum Output {
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
package struct Outcome: Sendable {
  package let ending: Ending
  /// Standard output, where it was asked for as a document.
  package let document: [UInt8]
  /// Why the runner stopped the child, where it did.
  let stopped: Stop?

  package enum Stop: Sendable { case deadline, stalled }
}

/// Runs children. The only file that imports Subprocess.
///
/// Cancelling the task sends the child SIGTERM and waits for it to end in order. Subprocess's own cancellation is kept
/// out of the way by an unstructured task: it closes the pipes first, and restic then dies of SIGPIPE while it cleans
/// up and leaves its lock behind (measured).
package enum Runner {
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
  package static func run(
    _ command: Command, input: Input = .none, output: Output, deadline: Duration? = nil, watch: StallDetector? = nil,
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

  /// Where a child writes its output, and who reads it meanwhile.
  private static func reader(_ output: Output, _ child: Child) throws -> (FileDescriptor, Task<[UInt8], Never>?) {
    if case .descriptor(let descriptor) = output { return (descriptor, nil) }
    let pipe = try FileDescriptor.pipe(options: .closeOnExec)
    let reading = Task<[UInt8], Never> {
      switch output {
      case .descriptor: break
      case .lines(let line): await readLines(pipe.readEnd, of: child, line)
      case .document(let limit): return await readAll(pipe.readEnd, of: child, limit: limit)
      }
      return []
    }
    return (pipe.writeEnd, reading)
  }

  private static func launch(
    _ command: Command, input: Input, output: Output, child: Child, errors: @escaping @Sendable (String) -> Void
  ) async throws -> (Ending, [UInt8]) {
    let errorPipe = try FileDescriptor.pipe(options: .closeOnExec)
    let errorLines = Task { await readLines(errorPipe.readEnd, of: child) { errors($0) } }
    let (standardOutput, document) = try reader(output, child)
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
      let ending: Ending =
        switch result.terminationStatus {
        case .exited(let code): .exited(code)
        case .signaled(let signal): .signalled(signal)
        }
      child.ended(ending)
      await errorLines.value
      return (ending, await document?.value ?? [])
    } catch {
      child.ended(nil)
      let isLimit = (error as? SubprocessError)?.underlyingError == .resourceTemporarilyUnavailable
      throw Failure(
        .unexpected, "\(command.name) could not be started: \(Secret.mask("\(error)"))",
        hint: isLimit ? Reason.processLimit : "is \(command.name) installed and on PATH?", cause: isLimit ? .processLimit : .plain
      )
    }
  }

  /// Reads lines that end in LF, on a thread that may block. A line over 1 MiB is cut there.
  private static func readLines(_ descriptor: FileDescriptor, of child: Child, _ line: @escaping @Sendable (String) -> Void) async
  {
    await blocking {
      var rest: [UInt8] = []
      readChunks(descriptor, of: child) { chunk in
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
  private static func readAll(_ descriptor: FileDescriptor, of child: Child, limit: Int) async -> [UInt8] {
    await blocking {
      var all: [UInt8] = []
      readChunks(descriptor, of: child) { if all.count <= limit { all += $0.prefix(limit + 1 - all.count) } }
      return all
    }
  }

  /// To the end, or until the child is gone and nothing comes any more: what it started may live on and hold the pipe, as ssh with
  /// ControlPersist does behind an sftp repository.
  private static func readChunks(_ descriptor: FileDescriptor, of child: Child, _ body: ([UInt8]) -> Void) {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let isOver = child.isOver
      var ready = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
      if poll(&ready, 1, 500) == 0 {
        if isOver { break }
        continue
      }
      guard let count = try? buffer.withUnsafeMutableBytes({ try descriptor.read(into: $0) }), count > 0 else { break }
      body(Array(buffer[..<count]))
    }
    try? descriptor.close()
  }
}

/// What a child reads.
package enum Input: Sendable {
  case none
  case bytes([UInt8])
  case descriptor(FileDescriptor)

  fileprivate func open() throws -> FileDescriptor {
    switch self {
    case .none: return try FileDescriptor.open("/dev/null", .readOnly, options: .closeOnExec)
    case .descriptor(let descriptor): return descriptor
    case .bytes(let bytes):
      let pipe = try FileDescriptor.pipe(options: .closeOnExec)
      // A child may end before it has read: that is its ending's to tell, not this process's end. Children get the default again.
      signal(SIGPIPE, SIG_IGN)
      blockingQueue().async {
        _ = try? pipe.writeEnd.writeAll(bytes)
        try? pipe.writeEnd.close()
      }
      return pipe.readEnd
    }
  }
}
