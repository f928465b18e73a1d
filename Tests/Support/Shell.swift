import Foundation
import Glibc
import Testing

import BackupRestore

/// Runs real programs for tests, through the toolkit's own runner.
public enum Shell {
  public struct Result: Sendable {
    public let code: Int32
    public let output: String
    public let errors: String
  }

  /// PATH and little else: tests must not depend on the machine's variables. docker/coverage sets the other.
  public static let environment = [
    "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "", "LC_ALL": "C.UTF-8", "HOME": "/root",
  ].merging(ProcessInfo.processInfo.environment.filter { $0.key == "LLVM_PROFILE_FILE" }) { $1 }

  @discardableResult
  package static func run(
    _ program: String, _ arguments: [String] = [], environment: [String: String] = Shell.environment, directory: String? = nil,
    input: String? = nil, check: Bool = true, errors: Locked<String> = Locked("")
  ) async throws -> Result {
    let outcome = try await Runner.run(
      Command(program, arguments, environment: environment, directory: directory),
      input: input.map { .bytes(Array($0.utf8)) } ?? .none, output: .document(limit: 256 << 20)
    ) { line in errors.change { $0 += line + "\n" } }
    let code: Int32 =
      switch outcome.ending {
      case .exited(let code): code
      case .signalled(let signal): 128 + signal
      }
    let result = Result(code: code, output: String(decoding: outcome.document, as: UTF8.self), errors: errors.value)
    if check, code != 0 {
      throw Failure(
        .unexpected, "\(program) \(arguments.joined(separator: " ")) ended with \(code): \(result.errors)", hint: "see above")
    }
    return result
  }

  public static func check(_ program: String, _ arguments: [String]) async throws { try await run(program, arguments) }

  /// A script, with the directory as `$1`.
  @discardableResult
  public static func script(_ text: String, in directory: String, environment: [String: String] = Shell.environment) async throws
    -> String
  {
    try await run("bash", ["-euo", "pipefail", "-c", text], environment: environment, directory: directory).output
  }

  static func append(_ line: String, to path: String) {
    guard let file = fopen(path, "a") else { return }
    fputs(line + "\n", file)
    fclose(file)
  }
}

extension Shell {
  /// A program beside the test, whose next line can be waited for.
  public final class Running: Sendable {
    package let errors = Locked("")
    private let task: Task<Result, any Error>

    public init(_ program: String, _ arguments: [String], environment: [String: String]) {
      task = Task { [errors] in try await run(program, arguments, environment: environment, check: false, errors: errors) }
    }

    /// Until one of these has said this on standard error; an error after five minutes.
    public static func until(anyOf all: Running..., says text: String) async throws {
      for _ in 0..<6000 {
        if all.contains(where: { $0.errors.value.contains(text) }) { return }
        try await Task.sleep(for: .milliseconds(50))
      }
      throw Failure(.unexpected, "nobody said \(text): \(all.map(\.errors.value))", hint: "see above")
    }

    public func until(says text: String) async throws { try await Self.until(anyOf: self, says: text) }

    public var result: Result { get async throws { try await task.value } }
  }

  /// Until somebody listens on this port of loopback; an error after five minutes.
  public static func untilListening(_ port: Int) async throws {
    try await check(
      "bash",
      ["-c", "for i in $(seq 6000); do (exec 3<>/dev/tcp/127.0.0.1/\(port)) 2>/dev/null && exit; sleep 0.05; done; exit 1"])
  }
}

/// A server that a test needs, until it is stopped. timeout(1) bounds it should this process be killed.
public final class Daemon: Sendable {
  private let running: Task<Void, any Error>

  public init(
    _ program: String, _ arguments: [String], environment: [String: String] = Shell.environment, seconds: Int = 900, log: String
  ) {
    let command = Command("timeout", ["\(seconds)", program] + arguments, environment: environment)
    running = Task {
      _ = try await Runner.run(command, output: .document(limit: 1 << 16)) { Shell.append($0, to: log) }
    }
  }

  /// Ends it in order and waits until it is gone.
  public func stop() async {
    running.cancel()
    _ = await running.result
  }

  deinit { running.cancel() }
}

/// Fails with the lines that differ, which say more than two long texts.
public func expectSame(_ before: String, _ after: String, sourceLocation: SourceLocation = #_sourceLocation) {
  let (old, new) = (before.split(separator: "\n"), after.split(separator: "\n"))
  let lines = new.difference(from: old).map { change in
    switch change {
    case .insert(_, let line, _): "+ \(line)"
    case .remove(_, let line, _): "- \(line)"
    }
  }
  #expect(lines.isEmpty, "\(lines.joined(separator: "\n"))", sourceLocation: sourceLocation)
}

/// A tree as text: a line per entry with type, mode, owner, size, time, link target and link group; then content hashes and
/// extended attributes. Two trees are equal when their texts are.
public func fingerprint(_ directory: String, paths: String = ".") async throws -> String {
  try await Shell.script(
    #"""
    find \#(paths) -mindepth 1 -path ./.backup-restore -prune -o -path ./lost+found -prune -o \
      -type d -printf 'd\t%p\t%m\t%U:%G\t%T@\0' -o -printf '%i\t%p\t%y\t%m\t%U:%G\t%s\t%T@\t%l\t%n\0' |
      sort -z -t $'\t' -k 2 | perl -0 -pe 's{^(\d+)\t([^\t]*)}{"group=" . ($first{$1} ||= $2) . "\t$2"}e' |
      tr '\0' '\1' | tr '\n\1' '?\n'
    find \#(paths) -path ./.backup-restore -prune -o -type f -print0 | sort -z | xargs -0 -r sha256sum -z | tr '\0' '\1' | tr '\n\1' '?\n'
    find \#(paths) -mindepth 1 -path ./.backup-restore -prune -o -print0 | sort -z | xargs -0 -r getfattr -h -d -m - --absolute-names 2>/dev/null
    """#, in: directory)
}
