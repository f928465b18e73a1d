import FoundationEssentials
import SystemPackage
import Testing

@testable import BackupRestore

@Suite struct JournalTests {
  static func journal(
    entries: [SwapJournal.Entry] = [], phase: SwapJournal.Phase = .ready, paths: [String] = ["x"],
    renames: [Server.Rename] = [.init(from: "a", to: "b")]
  ) -> SwapJournal {
    SwapJournal(
      id: .day(2), source: .set(.day(1)), rollbackOf: nil, phase: phase, renames: renames, paths: paths,
      entries: entries, root: FileAttributes(user: 1, group: 2, mode: 0o2750), rootBefore: nil)
  }

  @Test func aJournalSurvivesItsRoundTrip() throws {
    let directory = try Temporary()
    let identity = SwapJournal.Identity(try directory.path.status())
    var journal = Self.journal(entries: [.init(path: "%FF%0A/b", staged: identity, live: nil)])
    let work = try Directory(directory.path)
    try journal.write(in: work)
    #expect(try SwapJournal.read(in: work, of: .day(2)) == journal)
    journal.phase = .done
    try journal.write(in: work)
    #expect(try SwapJournal.read(in: work, of: .day(2))?.phase == .done)
    #expect(try Tree.entries(directory.path) == [SwapJournal.name])
  }

  @Test func whereThereIsNoJournalThereIsNone() throws {
    let directory = try Temporary()
    #expect(try SwapJournal.read(in: Directory(directory.path), of: .day(2)) == nil)
    #expect(try Swap(directory: Directory(directory.path), server: nil).journal(.day(2)) == nil)
  }

  @Test func anEmptyJournalIsRefused() throws {
    let directory = try Temporary()
    _ = try directory.file("", SwapJournal.name.string)
    let failure = failure { _ = try SwapJournal.read(in: Directory(directory.path), of: .day(2)) }
    #expect(failure?.status == .refused)
    #expect(failure?.problems.first?.fact.contains("journal.json cannot be read") == true)
  }

  @Test(arguments: [
    (Set<String>(), [Server.Rename(from: "s", to: "app")]),
    (Set(["app"]), [Server.Rename(from: "app", to: "p"), Server.Rename(from: "s", to: "app")]),
  ]) func theLastRenameIsTheDecisiveOne(live: Set<String>, renames: [Server.Rename]) {
    #expect(Swap.renames(from: "s", to: "app", keeping: "p", live: live) == renames)
  }

  static let kept = [PreviousState(id: .day(1)), PreviousState(id: .day(2)), PreviousState(id: .day(12))]

  @Test func aRollbackTakesTheNewestOrTheNamedOne() throws {
    #expect(try PreviousState.choose(Self.kept, nil, newestByDefault: true).id == .day(12))
    #expect(try PreviousState.choose(Self.kept, "20260102", newestByDefault: true).id == .day(2))
    #expect(try PreviousState.choose([Self.kept[0]], nil, newestByDefault: false).id == .day(1))
  }

  @Test(
    arguments: [
      (kept, "2026010", true, "several previous states are kept"), (kept, nil, false, "several previous states are kept"),
      (kept, "2025", true, "no previous state 2025 is kept"), ([], nil, true, "no previous state is kept"),
    ] as [([PreviousState], String?, Bool, String)])
  func aPreviousStateThatIsNotUniqueIsRefused(kept: [PreviousState], beginning: String?, newest: Bool, fact: String) {
    let failure = failure { _ = try PreviousState.choose(kept, beginning, newestByDefault: newest) }
    #expect(failure?.status == .refused)
    #expect(failure?.problems.first?.fact.hasPrefix(fact) == true)
  }
}
