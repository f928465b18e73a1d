import Glibc
import SystemPackage

extension Repository {
  /// A file of a snapshot into a descriptor, which is closed. Who can tell how far it is touches `watch`: restic does not.
  func dump(
    _ path: String, of snapshot: String, into descriptor: FileDescriptor, locked: Bool = true, watch: Watch? = nil
  ) async throws {
    // A descriptor can be written once, so restic itself waits for the lock.
    let retry = locked && readOnly == nil ? ["--retry-lock", "\(waits.lock.components.seconds)s"] : ["--no-lock"]
    _ = try await run(["dump"] + retry + [snapshot, path], output: .descriptor(descriptor), watch: watch)
  }

  /// The last bytes of a file of a snapshot, read to its end: restic into tail, child to child.
  func tail(_ path: String, of snapshot: String, bytes: Int) async throws -> [UInt8] {
    let end = Command("tail", ["-c", String(bytes)], environment: base)
    return try await piped(path, of: snapshot) { input in
      let outcome = try await Runner.run(end, input: input, output: .document(limit: bytes), errors: { _ in })
      if outcome.ending.succeeded { return outcome.document }
      throw Failure(.unexpected, "tail failed (\(outcome.ending.text))", hint: "run it again")
    }
  }

  /// A file of a snapshot into another child's standard input. Both must succeed.
  func piped<T: Sendable>(_ path: String, of snapshot: String, into body: @Sendable (Input) async throws -> T) async throws -> T {
    let pipe = try FileDescriptor.pipe(options: .closeOnExec)
    async let dumping = settled { try await dump(path, of: snapshot, into: pipe.writeEnd) }
    async let reading = settled { try await body(.descriptor(pipe.readEnd)) }
    let (dumped, read) = await (dumping, reading)
    // Where the reader gave up, restic dies of SIGPIPE and leaves its lock (measured), which unlock knows for dead.
    if case .failure(let error) = dumped {
      guard "\(error)".contains("killed by signal \(SIGPIPE)"), case .failure(let cause) = read else { throw error }
      _ = await settled { try await run(["unlock"], output: .document(limit: 1 << 16), deadline: waits.connect) }
      throw cause
    }
    return try read.get()
  }

  /// The first bytes of a file of a snapshot. Without a lock, because restic is stopped by SIGPIPE.
  func head(_ path: String, of snapshot: String, bytes: Int) async throws -> [UInt8] {
    let pipe = try FileDescriptor.pipe(options: .closeOnExec)
    async let dumping = settled { try await dump(path, of: snapshot, into: pipe.writeEnd, locked: false) }
    let begin = try await Runner.run(
      Command("head", ["-c", String(bytes)], environment: base), input: .descriptor(pipe.readEnd),
      output: .document(limit: bytes), errors: { _ in })
    _ = await dumping
    return begin.document
  }

  /// A snapshot's tree below `target`.
  func restore(_ snapshot: String, to target: String, include: [String], total: Int?, part: String) async throws {
    let watch = watch()
    let meter = Meter(part, watch: watch)
    defer { meter.finish() }
    _ = try await run(
      Self.restoreArguments(snapshot, to: target, include: include) + (readOnly == nil ? [] : ["--no-lock"]),
      output: .lines { line in
        guard let message = ResticMessage(line: line), message.message_type == "status" else { return }
        meter.update(done: message.bytes_restored ?? 0, total: message.total_bytes ?? total)
      }, watch: watch)
  }

  /// `--verify` reads back every file it wrote; `--sparse` keeps holes. Never `--overwrite if-changed`: after a failed restore
  /// it leaves corrupt files and reports success (measured).
  static func restoreArguments(_ snapshot: String, to target: String, include: [String]) -> [String] {
    ["restore", snapshot, "--target", target, "--sparse", "--verify", "--overwrite", "always"]
      + include.flatMap { ["--include", "/" + ResticPattern.escaped($0)] }
  }
}
