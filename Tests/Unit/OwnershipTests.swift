import FoundationEssentials
import Glibc
import SystemPackage
import Testing

@testable import BackupRestore

/// The application owns the top of FILES_DIRECTORY: what it puts in the toolkit's place is refused by name, and leads nowhere.
@Suite struct OwnershipTests {
  /// What somebody else may have made under a name of the toolkit's.
  enum Planted: String, CaseIterable, Sendable {
    case link, fifo, file, directory, writable, owned

    /// In place of the directory, or the file, at `path`; `real` is what a link leads to.
    func put(at path: FilePath, real: FilePath, file isFile: Bool) throws {
      try Tree.remove(path)
      let name = path.string
      switch self {
      case .link: #expect(symlink(real.string, name) == 0)
      case .fifo: #expect(mkfifo(name, 0o600) == 0)
      case .file where !isFile: try Self.write(name)
      case .directory where isFile: #expect(mkdir(name, 0o700) == 0)
      default:
        if isFile { try Self.write(name) } else { #expect(mkdir(name, 0o700) == 0) }
        if self == .owned { #expect(chown(name, 4242, 4242) == 0) } else { #expect(chmod(name, isFile ? 0o666 : 0o770) == 0) }
      }
    }

    private static func write(_ name: String) throws { try Data("{}".utf8).write(to: URL(filePath: name)) }
  }

  static var possible: [Planted] { Planted.allCases.filter { $0 != .owned || geteuid() == 0 } }

  func foreign(_ body: () async throws -> Void) async -> Failure? {
    do { try await body() } catch { return error as? Failure }
    return nil
  }

  /// At each step down to what is believed: the directory, a restore's own, its journal.
  @Test(arguments: possible, 0..<3) func whatIsNotTheToolkitsIsRefusedByName(planted: Planted, step: Int) async throws {
    let volume = try Volume(["a": "old"], staged: ["a": "new"])
    try JournalTests.journal().write(in: volume.exchange.work)
    let work = volume.directory.appending(Tree.workDirectory)
    let place = [work, volume.exchange.work.path, volume.exchange.work.path.appending(SwapJournal.name)][step]
    let elsewhere = try Temporary()
    let real = elsewhere.path.appending("real")
    #expect(rename(place.string, real.string) == 0)
    try planted.put(at: place, real: real, file: step == 2)
    let commit = Swap(directory: volume.exchange.directory, server: nil)
    for (what, body) in [
      ("kept", { _ = try await commit.kept() }), ("unfinished", { _ = try commit.unfinished() }),
      ("finish", { try await commit.finishInterrupted(undoing: true) }),
      ("backup", { try await commit.finishInterrupted(undoing: false) }),
    ] as [(String, () async throws -> Void)] {
      let failure = await foreign(body)
      #expect(failure?.status == .refused && failure?.cause == .foreign, "\(what): \(failure?.description ?? "nothing")")
      #expect(failure?.problems.first?.fact.hasPrefix(place.string) == true, "\(what): \(failure?.description ?? "")")
      #expect(failure?.problems.first?.hint.contains("mv -T \(place) \(place).foreign") == true, "\(what)")
    }
    if step < 2 { #expect(await foreign { _ = try commit.makeExchange(.day(2)) }?.cause == .foreign) }
    #expect(try Tree.entries(volume.directory).map(\.string).sorted() == [Tree.workDirectory, "a"])
    #expect(try Volume.state(volume.directory) == ["a": "old"])
  }

  @Test func whatWasRenamedAsideIsNamed() async throws {
    let volume = try Volume(["a": "old"], staged: ["a": "new"])
    let work = volume.directory.appending(Tree.workDirectory)
    #expect(rename(work.string, volume.directory.appending("aside").string) == 0)
    #expect(symlink("aside", work.string) == 0)
    let failure = await foreign { _ = try Swap(directory: volume.exchange.directory, server: nil).unfinished() }
    #expect(failure?.problems.first?.hint.contains("mv -T \(volume.directory)/aside \(work)") == true, "\(failure!)")
  }

  @Test func whatIsTheToolkitsIsFinishedBesideWhatIsNot() async throws {
    let volume = try Volume(["a": "old"], staged: ["a": "new"])
    var journal = JournalTests.journal(
      entries: try volume.exchange.entries(from: volume.exchange.work, paths: []), renames: [])
    journal.phase = .ready
    try journal.write(in: volume.exchange.work)
    #expect(symlink("/", volume.directory.appending(Tree.workDirectory).appending(RestoreID.day(1).text).string) == 0)
    let commit = Swap(directory: volume.exchange.directory, server: nil)
    #expect(await foreign { try await commit.finishInterrupted(undoing: false) }?.cause == .foreign)
    #expect(try volume.live() == ["a": "new"])
  }

  static let nowhere = [
    "..", "../x", "a/../../x", "/etc/shadow", "", "a//b", "a/", ".", "./a", "lost+found", ".backup-restore/x",
  ]

  @Test(arguments: nowhere) func aPathThatLeadsElsewhereIsNoEntry(path: String) throws {
    #expect(!Tree.isEntry(path.utf8))
    let volume = try Volume([:], staged: [:])
    let work = volume.exchange.work
    let journals = [
      JournalTests.journal(entries: [.init(path: path, staged: nil, live: nil)]), JournalTests.journal(paths: ["x", path]),
    ]
    for journal in journals {
      try journal.write(in: work)
      let failure = failure { _ = try SwapJournal.read(in: work, of: .day(2)) }
      #expect(failure?.status == .refused && failure?.cause == .foreign, "\(path)")
      #expect(failure?.problems.first?.hint.contains("\(work.path) away") == true)
    }
  }

  @Test(arguments: ["%2E%2E/x", "..%2Fx", "%2Fetc", "a%00b", "..%00", "a%2F%2Fb", "%", "%zz", "lost%2Bfound/x"])
  func anEncodedPathThatLeadsElsewhereIsRefused(path: String) throws {
    let volume = try Volume([:], staged: [:])
    try JournalTests.journal(entries: [.init(path: path, staged: nil, live: nil)]).write(in: volume.exchange.work)
    #expect(failure { _ = try SwapJournal.read(in: volume.exchange.work, of: .day(2)) }?.cause == .foreign)
  }

  @Test(arguments: ["a", "a/b", "...", "..a", "a/lost+found", " ", "-", "\n", "é"]) func anyOtherIsOne(path: String) {
    #expect(Tree.isEntry(path.utf8))
  }

  @Test func aJournalOfAnotherRestoreIsRefused() throws {
    let volume = try Volume([:], staged: [:])
    try JournalTests.journal().write(in: volume.exchange.work)
    let failure = failure { _ = try SwapJournal.read(in: volume.exchange.work, of: .day(3)) }
    #expect(failure?.cause == .foreign && failure?.problems.first?.fact.contains("the id \(RestoreID.day(2))") == true)
  }

  @Test func aJournalOverItsSizeIsNotRead() throws {
    let volume = try Volume([:], staged: [:])
    try JournalTests.journal().write(in: volume.exchange.work)
    #expect(truncate(volume.exchange.work.path.appending(SwapJournal.name).string, SwapJournal.largest + 1) == 0)
    let failure = failure { _ = try SwapJournal.read(in: volume.exchange.work, of: .day(2)) }
    #expect(failure?.cause == .foreign && failure?.problems.first?.fact.contains("over \(SwapJournal.largest)") == true)
  }
}
