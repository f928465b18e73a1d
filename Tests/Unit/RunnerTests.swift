import FoundationEssentials
import Glibc
import SystemPackage
import Testing

@testable import BackupRestore

@Suite struct RunnerTests {
  static func shell(_ script: String, _ environment: [String: String] = ["PATH": "/usr/bin:/bin"]) -> Command {
    Command("/bin/sh", ["-c", script], environment: environment)
  }

  @discardableResult
  func run(
    _ script: String, input: Input = .none, output: Output = .document(limit: 1 << 20), deadline: Duration? = nil,
    watch: StallDetector? = nil, errors: @escaping @Sendable (String) -> Void = { _ in }
  ) async throws -> Outcome {
    try await Runner.run(
      Self.shell(script), input: input, output: output, deadline: deadline, watch: watch, errors: errors)
  }

  @Test(arguments: [
    ("exit 0", Ending.exited(0)), ("exit 7", .exited(7)), ("exit 255", .exited(255)), ("kill -9 $$", .signalled(9)),
    ("kill -15 $$", .signalled(15)), ("nonsense-program", .exited(127)),
  ]) func anEndingIsToldAsItWas(script: String, ending: Ending) async throws {
    let outcome = try await run(script)
    #expect(outcome.ending == ending)
    #expect(outcome.stopped == nil)
    #expect(outcome.ending.succeeded == (script == "exit 0"))
    // The kernel kills by signal 9 for memory; every other ending has its own hint.
    #expect((outcome.ending.hint("other") != "other") == (ending == .signalled(9)))
  }

  /// ssh with ControlPersist stays behind and holds the standard error of an sftp repository's restic.
  @Test func aGrandchildThatHoldsThePipesIsNotWaitedFor() async throws {
    let begin = ContinuousClock().now
    let lines = Locked<[String]>([])
    let outcome = try await run("sleep 3600 & echo said >&2; echo done") { line in lines.change { $0.append(line) } }
    #expect(outcome.ending == .exited(0) && String(decoding: outcome.document, as: UTF8.self) == "done\n")
    #expect(lines.value == ["said"])
    #expect(ContinuousClock().now - begin < .seconds(1800))
  }

  @Test func whatAKilledChildHadStartedEndsToo() async throws {
    let directory = try Temporary()
    let file = directory.path.appending("pid").string
    let outcome = try await run("sleep 300 & echo $! >'\(file)'; kill -9 $$")
    #expect(outcome.ending == .signalled(9))
    let pid = try #require(pid_t(try String(contentsOfFile: file, encoding: .utf8).trimming("\n")))
    for _ in 0..<6000 where kill(pid, 0) == 0 { try await Task.sleep(for: .milliseconds(50)) }
    #expect(kill(pid, 0) == -1)
  }

  @Test func theEnvironmentIsExactlyTheGivenOne() async throws {
    let command = Command("/usr/bin/env", ["-0"], environment: ["A": "1", "B": "x=y\nz"])
    let outcome = try await Runner.run(command, output: .document(limit: 4096), errors: { _ in })
    let variables = String(decoding: outcome.document, as: UTF8.self).split(separator: "\0").sorted()
    #expect(variables == ["A=1", "B=x=y\nz"])
  }

  @Test func argumentsReachTheChildUnchanged() async throws {
    let arguments = ["a b", "", "$HOME", "*", "'\"\\", "-n", "ü\n"]
    let command = Command("/usr/bin/printf", ["%s\\0"] + arguments, environment: [:])
    let outcome = try await Runner.run(command, output: .document(limit: 4096), errors: { _ in })
    #expect(outcome.document == Array((arguments.joined(separator: "\0") + "\0").utf8))
  }

  @Test func theDirectoryAndTheInputAreTheGivenOnes() async throws {
    let directory = try Temporary()
    var command = Self.shell("pwd -P; cat")
    command.directory = directory.path.string
    let outcome = try await Runner.run(command, input: .bytes(Array("in".utf8)), output: .document(limit: 4096), errors: { _ in })
    #expect(String(decoding: outcome.document, as: UTF8.self) == "\(directory.path)\nin")
    #expect(try await run("cat").document == [])
  }

  @Test func aDocumentIsCutOneByteAfterItsLimit() async throws {
    #expect(try await run("printf 12345", output: .document(limit: 5)).document.count == 5)
    #expect(try await run("printf 1234567", output: .document(limit: 5)).document.count == 6)
    #expect(try await run("head -c 3000000 /dev/zero; exit 3", output: .document(limit: 5)).ending == .exited(3))
  }

  @Test func linesAreGivenOneByOneAndALongOneIsCut() async throws {
    let lines = Locked<[String]>([])
    try await run(
      "printf 'one\\n\\ntwo\\r\\n'; head -c 5000000 /dev/zero | tr '\\0' x; printf '\\nbad\\377\\nlast'",
      output: .lines { line in lines.change { $0.append(line) } })
    let all = lines.value
    #expect(all.map { $0.prefix(5) } == ["one", "", "two\r", "xxxxx", "bad\u{FFFD}", "last"])
    #expect(all[3].utf8.count >= 1 << 20 && all[3].utf8.count < 2 << 20)
  }

  @Test func whatIsRememberedOfStandardErrorIsMasked() async throws {
    // A password that is also a key of restic's JSON must not destroy the message.
    let secret = Secret("message")
    let heard = ResticErrors()
    heard.take(#"{"message_type":"error","error":{"message":"no message here"},"item":"/a"}"#)
    heard.take(#"{"message_type":"exit_error","code":1,"message":"Fatal: message wrong\nmore"}"#)
    heard.take("plain message\r")
    #expect(heard.all.errors == ["no *** here", "*** wrong", "plain ***"])
    #expect(heard.all.items == ["/a"])
    let restore = ClientErrors("pg_restore")
    restore.take("pg_restore: error: could not execute \(secret.reveal())")
    #expect(restore.first == "could not execute ***")
  }

  @Test func aChildOverItsDeadlineIsTerminated() async throws {
    let begin = ContinuousClock().now
    let outcome = try await run("exec sleep 3600", deadline: .milliseconds(300))
    #expect(outcome.ending == .signalled(SIGTERM))
    #expect(outcome.stopped == .deadline)
    #expect(ContinuousClock().now - begin < .seconds(1800))
  }

  @Test func aChildThatStandsStillIsTerminatedAndOneThatMovesIsNot() async throws {
    let still = try await run("exec sleep 600", watch: StallDetector(limit: .milliseconds(300), patience: .seconds(60)))
    #expect(still.ending == .signalled(SIGTERM))
    #expect(still.stopped == .stalled)
    // As long as it may stand still in all, and never a tenth of it at once on a machine that is not busy.
    let watch = StallDetector(limit: .seconds(20), patience: .seconds(600))
    let moving = try await run(
      "for i in $(seq 21); do echo $i; sleep 1; done", output: .lines { _ in watch.touch() }, watch: watch)
    #expect(moving.ending == .exited(0))
    #expect(moving.stopped == nil)
  }

  @Test func aChildThatIgnoresSIGTERMIsKilledAfterItsGrace() async throws {
    let outcome = try await run("trap '' TERM; while :; do sleep 0.1; done", deadline: .milliseconds(300))
    #expect(outcome.ending == .signalled(SIGKILL))
    #expect(outcome.stopped == .deadline)
  }

  @Test func cancellingSendsSIGTERMAndWaitsForTheChildToEndInOrder() async throws {
    let directory = try Temporary()
    let left = directory.path.appending("left").string
    let started = Locked(false)
    let script = "trap 'sleep 0.5; echo done > \(left); exit 0' TERM; echo up; while :; do sleep 0.1; done"
    let task = Task { try await run(script, output: .lines { _ in started.change { $0 = true } }) }
    while !started.value { try await Task.sleep(for: .milliseconds(20)) }
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    #expect(try FileStatus.existing(FilePath(left)) != nil)
  }

  @Test func aCancelledTaskStartsNoChild() async throws {
    let directory = try Temporary()
    let left = directory.path.appending("left").string
    let task = Task {
      while !Task.isCancelled { await Task.yield() }
      return try await run("echo > \(left)")
    }
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    #expect(try FileStatus.existing(FilePath(left)) == nil)
  }

  @Test(arguments: ["no-such-program-anywhere", "/no/such/program", "/etc/passwd"])
  func aProgramThatCannotStartIsNamed(_ program: String) async throws {
    let command = Command(program, [], environment: ["PATH": "/usr/bin:/bin"])
    let outcome = await settled { try await Runner.run(command, output: .document(limit: 1), errors: { _ in }) }
    guard case .failure(let error as Failure) = outcome else {
      Issue.record("\(outcome)")
      return
    }
    #expect(error.problems.first?.fact.hasPrefix("\(command.name) could not be started") == true)
  }

  /// Otherwise the other end of a pipe between two children would wait for ever.
  @Test func aProgramThatCannotStartClosesItsDescriptors() async throws {
    let output = try FileDescriptor.pipe(options: .closeOnExec)
    let input = try FileDescriptor.pipe(options: .closeOnExec)
    let command = Command("/no/such/program", [])
    _ = await settled {
      try await Runner.run(command, input: .descriptor(input.readEnd), output: .descriptor(output.writeEnd), errors: { _ in })
    }
    var ready = pollfd(fd: output.readEnd.rawValue, events: Int16(POLLIN), revents: 0)
    #expect(poll(&ready, 1, 2000) == 1)
    #expect(ready.revents & Int16(POLLHUP) != 0)
    var broken = pollfd(fd: input.writeEnd.rawValue, events: Int16(POLLOUT), revents: 0)
    #expect(poll(&broken, 1, 2000) == 1)
    #expect(broken.revents & Int16(POLLERR) != 0)
    try output.readEnd.close()
    try input.writeEnd.close()
  }

  @Test func aChildThatEndsBeforeItHasReadEndsNothingElse() async throws {
    let tooMuch = Input.bytes([UInt8](repeating: 0x61, count: 1 << 20))
    #expect(try await run("exit 3", input: tooMuch).ending == .exited(3))
    // Children still end where nobody reads them.
    #expect(try await run("kill -PIPE $$; exit 3").ending == .signalled(SIGPIPE))
  }

  @Test func outputGoesStraightIntoADescriptorWhichIsClosed() async throws {
    let pipe = try FileDescriptor.pipe(options: .closeOnExec)
    let outcome = try await run("printf straight", output: .descriptor(pipe.writeEnd))
    #expect(outcome.ending == .exited(0))
    #expect(outcome.document == [])
    #expect(try pipe.readEnd.closeAfterReading() == "straight")
  }

  /// A lock may be waited for longer than a transfer may stand still: each attempt begins anew.
  @Test func whatOneChildStoodStillIsNotTheNextOnes() async throws {
    let watch = StallDetector(limit: .seconds(1), patience: .seconds(60))
    while watch.verdict == nil { try await Task.sleep(for: .milliseconds(20)) }
    #expect(watch.verdict == .stalled)
    watch.begin()
    #expect(watch.verdict == nil)
  }

  /// Each ends only when all of them are there. Not by the clock: on a busy machine 16 times two seconds took 28.
  @Test func manyChildrenSideBySideDoNotBlockEachOther() async throws {
    let directory = try Temporary()
    let meet = """
      : >'\(directory.path)'/$$
      for i in $(seq 1200); do [ "$(ls '\(directory.path)' | wc -l)" = 16 ] && { echo done; exit; }; sleep 0.1; done
      """
    try await withThrowingTaskGroup(of: Outcome.self) { group in
      for _ in 0..<16 { group.addTask { try await run(meet) } }
      for try await outcome in group { #expect(outcome.document == Array("done\n".utf8)) }
    }
  }
}
