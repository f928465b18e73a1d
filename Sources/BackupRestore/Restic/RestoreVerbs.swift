import SystemPackage

extension Repository {
  /// A file of a snapshot into a descriptor, which is closed.
  func dump(_ path: String, of snapshot: String, into descriptor: FileDescriptor) async throws {
    // A descriptor can be written once, so restic itself waits for the lock.
    let retry = ["--retry-lock", "\(waits.lock.components.seconds)s"]
    _ = try await run(["dump"] + retry + [snapshot, path], output: .descriptor(descriptor))
  }

  /// A snapshot's tree below `target`.
  func restore(_ snapshot: String, to target: String, include: [String], total: Int?, part: String) async throws {
    let watch = watch()
    let meter = Meter(part, watch: watch)
    defer { meter.finish() }
    _ = try await run(
      Self.restoreArguments(snapshot, to: target, include: include),
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
