import Glibc
import SystemPackage

extension Repository {
  /// A file of a snapshot into a descriptor, which is closed. Who can tell how far it is touches `watch`: restic does not.
  func dump(
    _ path: String, of snapshot: String, into descriptor: FileDescriptor, locked: Bool = true, watch: StallDetector? = nil
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
    let dumping = Task { try await dump(path, of: snapshot, into: pipe.writeEnd) }
    return try await withTaskCancellationHandler {
      let read = await settled { try await body(.descriptor(pipe.readEnd)) }
      // A restic that stands still does not notice that nobody reads any more.
      let ending = Task {
        guard case .failure = read else { return }
        try? await Task.sleep(for: Runner.grace)
        dumping.cancel()
      }
      let dumped = await dumping.result
      ending.cancel()
      if case .failure(let error) = dumped {
        guard case .failure(let cause) = read, error is CancellationError || Self.isOfReader(error) else { throw error }
        // Where the reader gave up, restic dies of SIGPIPE and leaves its lock (measured), which unlock knows for dead.
        _ = await settled { try await run(["unlock"], output: .document(limit: 1 << 16), deadline: waits.connect) }
        throw cause
      }
      return try read.get()
    } onCancel: {
      dumping.cancel()
    }
  }

  private static func isOfReader(_ error: any Error) -> Bool { (error as? Failure)?.cause == .readerGone }

  /// The first bytes of a file of a snapshot: into memory, where nothing else is asked for.
  ///
  /// Without a lock, because restic is stopped by SIGPIPE.
  ///
  /// - Throws: `Failure` 23 where they do not come within STALL_TIMEOUT.
  @discardableResult
  func head(_ path: String, of snapshot: String, bytes: Int, into output: Output? = nil) async throws -> [UInt8] {
    let pipe = try FileDescriptor.pipe(options: .closeOnExec)
    async let dumping = settled {
      try await dump(path, of: snapshot, into: pipe.writeEnd, locked: false, watch: watch())
    }
    let begin = try await Runner.run(
      Command("head", ["-c", String(bytes)], environment: base), input: .descriptor(pipe.readEnd),
      output: output ?? .document(limit: bytes), errors: { _ in })
    if case .failure(let error) = await dumping, !Self.isOfReader(error) { throw error }
    return begin.document
  }

  /// A snapshot's tree into `directory`, below `name`.
  ///
  /// restic goes by paths, and a restore takes long enough for the application to put a link in the place of any of them. So the directory
  /// is restic's working directory, reached by this process's descriptor, and the target is named by way of that: whatever becomes of the
  /// path, it stays the same directory. As the target itself restic takes no link, and would remove it (measured, 0.19.1).
  ///
  /// - Parameter without: kinds of extended attributes.
  /// - Returns: what the file system refused, where that was all that failed, and how many bytes were written.
  func restore(
    _ snapshot: String, into directory: Directory, _ name: Directory.Name, include: [String], without kinds: [String],
    total: Int?,
    part: String
  ) async throws -> (refusals: Refusals, written: Int) {
    let watch = watch()
    let meter = ProgressMeter(part, watch: watch)
    defer { meter.finish() }
    let working = Self.working
    let arguments = Self.restoreArguments(snapshot, to: "\(working)/\(name.string)", include: include, without: kinds)
    let written = Locked(0)
    do {
      let result = try await run(
        arguments + (readOnly == nil ? [] : ["--no-lock"]), directory: directory.reached.string,
        output: .lines { line in
          guard let message = ResticMessage(line: line) else { return }
          if message.message_type == "summary" { written.change { $0 = message.bytes_restored ?? 0 } }
          if message.message_type == "status" {
            meter.update(done: message.bytes_restored ?? 0, total: message.total_bytes ?? total)
          }
        }, watch: watch, accept: [0, 1])
      if result.ending == .exited(1), result.refusals.count == 0 { throw failure("restore", result) }
      return (result.refusals, written.value)
    } catch let failure as Failure {
      let shown = { (text: String) in text.replacing(working, with: printable(directory.path.string)) }
      throw Failure(
        failure.status, failure.problems.map { Problem(shown($0.fact), hint: $0.hint) }, cause: failure.cause)
    }
  }

  static let working = "/proc/self/cwd"

  /// `--verify` reads back every file it wrote; `--sparse` keeps holes. Never `--overwrite if-changed`: after a failed restore
  /// it leaves corrupt files and reports success (measured). Reserved entries, which a set made below a linked FILES_DIRECTORY holds, stay
  /// out; restic takes either kind of pattern, and an entry that is named is none of them.
  static func restoreArguments(_ snapshot: String, to target: String, include: [String], without kinds: [String] = []) -> [String]
  {
    ["restore", snapshot, "--target", target, "--sparse", "--verify", "--overwrite", "always"]
      + kinds.flatMap { ["--exclude-xattr", $0] } + include.flatMap { ["--include", "/" + ResticPattern.escaped($0)] }
      + (include.isEmpty ? Tree.reserved.sorted().flatMap { ["--exclude", "/" + ResticPattern.escaped($0)] } : [])
  }
}
