import FoundationEssentials
import Testing

@testable import BackupRestore

@Suite struct ResticMessageTests {
  @Test func aStatusTellsBytesDoneAndTotal() throws {
    let message = try #require(ResticMessage(line: ResticOutput.status))
    #expect(message.message_type == "status")
    #expect(message.bytes_done == 4)
    #expect(message.total_bytes == 30_000_008)
    #expect(message.snapshot_id == nil)
  }

  @Test func aSummaryTellsTheSnapshotAndItsSizes() throws {
    let message = try #require(ResticMessage(line: ResticOutput.summary))
    #expect(message.snapshot_id == "d93db83b03a6d7e232415177f389b26e30b84f5e697fcb82ce335b547b7b65cf")
    #expect(message.total_bytes_processed == 30_000_008)
    #expect(message.data_added_packed == 30_004_593)
    #expect(ResticMessage(line: ResticOutput.restored)?.snapshot_id == nil)
  }

  @Test(arguments: zip([ResticOutput.wrongPassword, ResticOutput.missing, ResticOutput.dumpFailed], [12, 10, 1] as [Int32]))
  func anExitErrorTellsItsCode(line: String, code: Int32) throws {
    let message = try #require(ResticMessage(line: line))
    #expect(message.message_type == "exit_error")
    #expect(message.code == code)
  }

  struct Exit: Sendable {
    let code: Int32
    let lines: [String]
    let status: BackupRestore.ExitStatus
  }

  @Test(arguments: [
    Exit(code: 10, lines: [ResticOutput.missing], status: .repositoryMissing), Exit(code: 11, lines: [], status: .locked),
    Exit(code: 12, lines: [ResticOutput.wrongPassword], status: .wrongPassword),
    Exit(code: 1, lines: [ResticOutput.error, ResticOutput.dumpFailed], status: .sourceFailed),
    Exit(code: 3, lines: [ResticOutput.error], status: .sourceFailed),
    Exit(code: 1, lines: ["some error"], status: .repositoryFailed), Exit(code: 77, lines: [], status: .repositoryFailed),
    Exit(code: 0, lines: [ResticOutput.wrongPassword], status: .repositoryFailed),
  ]) func anExitCodeDecidesTheStatus(_ exit: Exit) throws {
    let errors = ResticErrors()
    for line in exit.lines { errors.take(line) }
    let result = Repository.Result(
      ending: .exited(exit.code), document: [], items: errors.all.items, errors: errors.all.errors)
    #expect(try repository().failure("backup", result).status == exit.status)
  }

  /// As restic printed it under `ulimit -v` and `ulimit -u`, and Go 1.26 where it clones threads itself.
  @Test(
    arguments: [
      (
        ["fatal error: failed to reserve page summary memory", "", "runtime stack:", "runtime.throw({0x190ab90?, 0x20000000?})"],
        "memory limit"
      ),
      (
        ["runtime/cgo: pthread_create failed: Resource temporarily unavailable", "SIGABRT: abort", "PC=0x7f6515d28eec m=0"],
        "podPidsLimit"
      ),
      (
        [
          "runtime: failed to create new OS thread (have 4 already; errno=11)",
          "runtime: may need to increase max user processes (ulimit -u)",
          "fatal error: newosproc", "goroutine 1 [running]:",
        ], "podPidsLimit"
      ),
    ]) func aCrashIsItsFirstLineAndTheHintIsItsCause(lines: [String], hint: String) throws
  {
    let errors = ResticErrors()
    for line in lines { errors.take(line) }
    let result = Repository.Result(ending: .exited(2), document: [], errors: errors.all.errors)
    let failure = try repository().failure("backup", result)
    #expect(failure.problems[0].hint.contains(hint), "\(failure)")
    #expect(failure.problems[0].fact.hasSuffix(lines[0]), "\(failure)")
  }

  @Test func snapshotsAreRead() throws {
    let snapshots = try JSONDecoder().decode([Snapshot].self, from: Data(ResticOutput.snapshots.utf8))
    #expect(snapshots.map(\.short) == ["d93db83b", "0b32fa2f"])
    #expect(snapshots.map(\.hostname) == ["h1", "h2"])
    #expect(snapshots[0].tag("set") == "20260101T000000Z")
    #expect(snapshots[0].tag("se") == nil)
    #expect(snapshots[0].summary?.total_bytes_processed == 30_000_008)
    #expect(snapshots[1].tags == nil)
    #expect(snapshots[1].summary == nil)
    #expect(snapshots.map(\.date?.timeIntervalSince1970) == [1_795_476_733, 1_795_476_734])
  }

  @Test(
    arguments: [
      ("2026-11-23T23:10:00Z", 1_795_475_400), ("2026-11-24T04:40:00+05:30", 1_795_475_400),
      ("2026-11-23T18:10:00.5-05:00", 1_795_475_400),
      ("yesterday", nil), ("2026-11-23", nil), (".", nil), ("", nil),
    ] as [(String, Double?)]) func aTimeIsReadInItsZone(text: String, seconds: Double?)
  {
    #expect(snapshot("x", [], time: text).date?.timeIntervalSince1970 == seconds)
  }

  @Test func whatRetentionWouldRemoveIsRead() throws {
    let groups = try JSONDecoder().decode([ForgetGroup].self, from: Data(ResticOutput.forget.utf8))
    #expect(groups.flatMap { $0.remove ?? [] }.map(\.short) == ["d93db83b"])
    #expect(groups.flatMap { $0.keep ?? [] }.map(\.short) == ["0b32fa2f"])
  }

  @Test func nodesAreReadAndTheSnapshotLineIsNone() throws {
    let nodes = ResticOutput.nodes.compactMap { Node(line: $0) }
    #expect(nodes.map(\.type) == ["file", "file", "dir", "file", "fifo", "dir", "symlink", "file", "file"])
    #expect(
      nodes.map(\.path) == ["/a", "/bad\u{FFFD}", "/d", "/d/setuid", "/f", "/g", "/l", "/new\nline", "/quo\"te\\"])
    #expect(nodes.map(\.permissions) == [0o644, 0o644, 0o1777, 0o6755, 0o644, 0o2750, 0o777, 0o644, 0o644])
    #expect(nodes.map(\.size) == [3, 1, nil, 2, nil, nil, nil, 1, 1])
    #expect(Node(line: ResticOutput.listed) == nil)
    #expect(Node(line: ResticOutput.status) == nil)
  }
}
