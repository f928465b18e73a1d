import SystemPackage
import Testing

@testable import BackupRestore

/// Files alone: no server is needed, and the journal is the commit point.
@Suite struct SwapTests {
  static let old = ["a": "old", "goes": "old"]
  static let new = ["a": "new", "comes/x": "new"]

  func commit(_ volume: Volume) -> Swap { Swap(directory: volume.exchange.directory, server: nil) }

  func journal(_ volume: Volume, renames: [Server.Rename] = [], root: FileAttributes? = nil) throws -> SwapJournal {
    SwapJournal(
      id: .day(2), source: .set(.day(1)), rollbackOf: nil, phase: .ready, renames: renames, paths: [],
      entries: try volume.exchange.entries(from: volume.exchange.work, paths: []), root: root, rootBefore: nil)
  }

  @Test func aCommitExchangesAndKeepsThePreviousState() async throws {
    let volume = try Volume(Self.old, staged: Self.new)
    let status = try volume.directory.status()
    try await commit(volume).run(
      try journal(volume, root: FileAttributes(user: status.user, group: status.group, mode: 0o2750)))
    #expect(try volume.live() == Self.new)
    #expect(try volume.aside() == Self.old)
    #expect(try volume.directory.status().mode == 0o2750)
    let kept = try await commit(volume).kept()
    #expect(kept.map(\.id) == [.day(2)])
    #expect(kept.first?.files?.phase == .done)
    #expect(try commit(volume).unfinished() == [])
  }

  @Test(arguments: 0...4, [true, false]) func anInterruptedCommitIsFinishedByEither(done: Int, undoing: Bool) async throws {
    let volume = try Volume(Self.old, staged: Self.new)
    let journal = try journal(volume)
    try journal.write(in: volume.exchange.work)
    try volume.exchange.apply(Array(journal.entries.prefix(done)))
    #expect(try commit(volume).unfinished() == [.day(2)])
    #expect(try await commit(volume).kept() == [])
    try await commit(volume).finishInterrupted(undoing: undoing)
    #expect(try volume.live() == Self.new)
    #expect(try volume.aside() == Self.old)
    #expect(try commit(volume).journal(.day(2))?.phase == .done)
  }

  @Test func stagingWithoutAJournalIsRemovedByARestoreOnly() async throws {
    let volume = try Volume(Self.old, staged: Self.new)
    try await commit(volume).finishInterrupted(undoing: false)
    #expect(try volume.aside() == Self.new)
    try await commit(volume).finishInterrupted(undoing: true)
    #expect(try FileStatus.existing(volume.exchange.work.path) == nil)
    #expect(try volume.live() == Self.old)
  }

  @Test func anInterruptedRestoreWithDatabasesIsNotFinishedWithoutThem() async throws {
    let volume = try Volume(Self.old, staged: Self.new)
    try journal(volume, renames: [.init(from: "s", to: "app")]).write(in: volume.exchange.work)
    await #expect(throws: Failure.self) { try await commit(volume).finishInterrupted(undoing: true) }
    #expect(try volume.live() == Self.old)
    #expect(try volume.aside() == Self.new)
  }

  /// Over such a state no application is scaled up.
  @Test func onlyACommitWhoseFilesAreNotAllInPlaceIsMixed() async throws {
    let volume = try Volume(Self.old, staged: Self.new)
    #expect(try await !commit(volume).isMixed(), "staged, not committed")
    try journal(volume).write(in: volume.exchange.work)
    #expect(try await commit(volume).isMixed(), "committed, not finished")
    try await commit(volume).finishInterrupted(undoing: false)
    #expect(try await !commit(volume).isMixed(), "finished")
    var replacing = try journal(volume)
    replacing.phase = .replacing
    try replacing.write(in: volume.exchange.work)
    #expect(try await commit(volume).isMixed(), "in place, not ended")
    try journal(volume, renames: [.init(from: "s", to: "app")]).write(in: volume.exchange.work)
    #expect(try await commit(volume).isMixed(), "nobody can ask the databases")
    #expect(try await !Swap(directory: nil, server: nil).isMixed())
  }

  func rollback(_ volume: Volume, of origin: RestoreID, as id: RestoreID) throws -> SwapJournal {
    let source = try Volume.exchange(volume.directory, origin)
    return SwapJournal(
      id: id, source: nil, rollbackOf: origin, phase: .ready, renames: [], paths: [],
      entries: try source.entries(from: source.work, paths: []), root: nil, rootBefore: nil)
  }

  @Test func aRollbackCanItselfBeRolledBack() async throws {
    let volume = try Volume(Self.old, staged: Self.new)
    try await commit(volume).run(try journal(volume))
    try await commit(volume).run(try rollback(volume, of: .day(2), as: .day(3)))
    #expect(try volume.live() == Self.old)
    #expect(try await commit(volume).kept().map(\.id) == [.day(3)])
    #expect(try FileStatus.existing(volume.exchange.work.path) == nil)
    try await commit(volume).run(try rollback(volume, of: .day(3), as: .day(4)))
    #expect(try volume.live() == Self.new)
    #expect(try await commit(volume).kept().map(\.id) == [.day(4)])
  }

  /// Killed after the tree moved, after some entries, or just before the restore it takes back is removed.
  @Test(arguments: [0, 1, 3, nil]) func anInterruptedRollbackIsFinished(_ done: Int?) async throws {
    let volume = try Volume(Self.old, staged: Self.new)
    try await commit(volume).run(try journal(volume))
    var rollback = try rollback(volume, of: .day(2), as: .day(3))
    let back = try Volume.exchange(volume.directory, .day(3))
    try rollback.write(in: back.work)
    try Volume.rename(volume.exchange.tree, back.tree)
    try back.apply(Array(rollback.entries.prefix(done ?? rollback.entries.count)))
    if done == nil {
      rollback.phase = .done
      try rollback.write(in: back.work)
      #expect(try await commit(volume).kept().map(\.id) == [.day(3)])
    }
    try await commit(volume).finishInterrupted(undoing: true)
    #expect(try volume.live() == Self.old)
    #expect(try Volume.state(back.tree) == Self.new)
    #expect(try await commit(volume).kept().map(\.id) == [.day(3)])
    #expect(try FileStatus.existing(volume.exchange.work.path) == nil)
  }

  @Test func discardingRemovesOnlyWhatIsNamed() async throws {
    let volume = try Volume(Self.old, staged: Self.new)
    try await commit(volume).run(try journal(volume))
    let kept = try #require(try await commit(volume).kept().first)
    try await commit(volume).discard(kept)
    #expect(try FileStatus.existing(volume.exchange.work.path) == nil)
    #expect(try await commit(volume).kept() == [])
    #expect(try volume.live() == Self.new)
  }

  @Test func withoutFilesThereIsNothingToFinish() async throws {
    let commit = Swap(directory: nil, server: nil)
    #expect(try commit.unfinished() == [])
    #expect(try await commit.kept() == [])
    let directory = try Temporary()
    #expect(try Swap(directory: Directory(directory.path), server: nil).unfinished() == [])
  }
}
