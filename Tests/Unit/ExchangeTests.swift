import Glibc
import SystemPackage
import Testing

@testable import BackupRestore

@Suite struct ExchangeTests {
  static let old = [
    "same": "old", "grows": "old", "was-file": "old", "was-dir/a/b": "old", "goes": "old", "goes-too/x": "old",
    "old%0Aname": "old",
    "bad%FF": "old", "caf%C3%A9": "old",
  ]
  static let new = [
    "same": "new", "grows": "new and longer", "was-file/now/dir": "new", "was-dir": "new", "comes": "new", "comes-too/y": "new",
    "new%0Aname": "new", "bad%FF": "new", "bad%FE": "new", "cafe%CC%81": "new", "empty": "/",
  ]

  func volume(_ exchanges: Bool, onDisk: Bool = false) throws -> (Volume, [SwapJournal.Entry]) {
    let volume = try Volume(
      Self.old.merging(["lost%2Bfound/kept": "kept"]) { $1 }, staged: Self.new, exchanges: exchanges, onDisk: onDisk)
    return (volume, try volume.exchange.entries(from: volume.exchange.work, paths: []))
  }

  func expectExchanged(_ volume: Volume, _ note: Comment) throws {
    #expect(try volume.live() == Self.new.merging(["lost%2Bfound/kept": "kept"]) { $1 }, note)
    #expect(try volume.aside() == Self.old, note)
    #expect(try volume.leftovers() == [], note)
  }

  @Test func everyNameOfBothSidesIsAnEntryButTheReservedOnes() throws {
    let (volume, entries) = try volume(true)
    let names = Set((Array(Self.old.keys) + Self.new.keys).map { String($0.prefix { $0 != "/" }) })
    #expect(entries.map(\.path) == names.sorted())
    #expect(entries.filter { $0.staged == nil }.map(\.path) == ["caf%C3%A9", "goes", "goes-too", "old%0Aname"])
    #expect(
      entries.filter { $0.live == nil }.map(\.path) == ["bad%FE", "cafe%CC%81", "comes", "comes-too", "empty", "new%0Aname"])
    #expect(try volume.live()["lost%2Bfound/kept"] == "kept")
  }

  @Test(arguments: zip([true, false, true], [false, false, true]))
  func whatIsStagedAndWhatIsLiveChangePlaces(exchanges: Bool, onDisk: Bool) throws {
    let (volume, entries) = try volume(exchanges, onDisk: onDisk)
    try volume.exchange.apply(entries)
    try expectExchanged(volume, "once")
    try volume.exchange.apply(entries)
    try expectExchanged(volume, "again")
  }

  @Test(arguments: [true, false]) func anInterruptionAfterAnyEntryIsFinished(_ exchanges: Bool) throws {
    for done in 0...Self.old.count + Self.new.count {
      let (volume, entries) = try volume(exchanges)
      if done > entries.count { break }
      try volume.exchange.apply(Array(entries.prefix(done)))
      try volume.exchange.apply(entries)
      try expectExchanged(volume, "interrupted after \(done) entries")
    }
  }

  @Test(arguments: [1, 2], [true, false]) func anInterruptionBetweenTwoRenamesIsFinished(renames: Int, exchangesLater: Bool)
    throws
  {
    let replaced = try volume(false).1.enumerated().filter { $1.staged != nil && $1.live != nil }.map(\.offset)
    #expect(replaced.count == 5)
    for index in replaced {
      let (volume, entries) = try volume(false)
      try volume.exchange.apply(Array(entries.prefix(index)))
      let name = FilePath(bytes: percentDecoded(entries[index].path)!)
      let live = volume.directory.appending(name.components)
      try Volume.rename(live, volume.exchange.work.path.appending("held.\(index)"))
      if renames == 2 { try Volume.rename(volume.exchange.tree.appending(name.components), live) }
      try Volume.exchange(volume.directory, .day(2), exchangesLater).apply(entries)
      try expectExchanged(volume, "interrupted in entry \(index) after \(renames) renames")
    }
  }

  /// Where the file system goes on refusing: after any number of entries, and between the two renames of one.
  @Test(arguments: [true, false]) func whatWasExchangedOfItIsTakenBack(_ exchanges: Bool) throws {
    let old = Self.old.merging(["lost%2Bfound/kept": "kept"]) { $1 }
    for done in 0...Self.old.count + Self.new.count {
      let (volume, entries) = try volume(exchanges)
      if done > entries.count { break }
      try volume.exchange.apply(Array(entries.prefix(done)))
      for _ in 1...2 {
        try volume.exchange.undo(entries)
        #expect(try volume.live() == old && volume.aside() == Self.new && volume.leftovers() == [], "after \(done) entries")
      }
    }
    for renames in 1...2 {
      let (volume, entries) = try volume(exchanges)
      let index = try #require(entries.firstIndex { $0.path == "same" })
      try volume.exchange.apply(Array(entries.prefix(index)))
      try Volume.rename(volume.directory.appending("same"), volume.exchange.work.path.appending("held.\(index)"))
      if renames == 2 { try Volume.rename(volume.exchange.tree.appending("same"), volume.directory.appending("same")) }
      try volume.exchange.undo(entries)
      #expect(try volume.live() == old && volume.aside() == Self.new && volume.leftovers() == [], "\(renames) renames")
    }
  }

  @Test(arguments: [true, false]) func rollingBackBringsTheOldStateBackAndKeepsTheNew(_ exchanges: Bool) throws {
    let (volume, entries) = try volume(exchanges)
    try volume.exchange.apply(entries)
    let back = try Volume.exchange(volume.directory, .day(3), exchanges)
    let entriesBack = try back.entries(from: volume.exchange.work, paths: [])
    try Volume.rename(volume.exchange.tree, back.tree)
    try back.apply(Array(entriesBack.prefix(3)))
    try back.apply(entriesBack)
    #expect(try volume.live() == Self.old.merging(["lost%2Bfound/kept": "kept"]) { $1 })
    #expect(try Volume.state(back.tree) == Self.new)
  }

  @Test(arguments: [true, false]) func onlyTheNamedPathsAreExchanged(_ exchanges: Bool) throws {
    let volume = try Volume(
      ["a/b/x": "old", "a/b/goes": "old", "a/other": "live", "gone/deep/f": "old", "rest": "live"],
      staged: ["a/b/x": "new", "a/other": "not asked for", "fresh/deep/f": "new", "rest": "not asked for"], exchanges: exchanges)
    #expect(chmod(volume.exchange.tree.appending("fresh").string, 0o2751) == 0)
    let paths = ["a/b", "fresh/deep/f", "gone/deep/f", "nowhere/at/all"]
    let entries = try volume.exchange.entries(from: volume.exchange.work, paths: paths)
    #expect(entries.map(\.path) == ["a/b", "fresh/deep/f", "gone/deep/f"])
    for _ in 1...2 {
      try volume.exchange.apply(entries)
      #expect(
        try volume.live() == ["a/b/x": "new", "a/other": "live", "fresh/deep/f": "new", "gone/deep": "/", "rest": "live"])
      #expect(
        try volume.aside() == [
          "a/b/x": "old", "a/b/goes": "old", "a/other": "not asked for", "fresh/deep": "/", "gone/deep/f": "old",
          "rest": "not asked for",
        ])
    }
    #expect(try volume.directory.appending("fresh").status().mode == 0o2751)
  }

  @Test func whatAppearsAfterwardsIsLeftAlone() throws {
    let (volume, entries) = try volume(true)
    try Volume.write(["later": "live"], below: volume.directory)
    try volume.exchange.apply(entries)
    #expect(try volume.live()["later"] == "live")
  }

  @Test func reservedNamesInAStagedTreeAreNotBroughtIn() throws {
    let volume = try Volume(["a": "old"], staged: ["a": "new", "lost%2Bfound/x": "new", ".backup-restore/x": "new"])
    let entries = try volume.exchange.entries(from: volume.exchange.work, paths: [])
    #expect(entries.map(\.path) == ["a"])
  }

  /// The device number changes when a volume is attached to another node; the inode does not.
  @Test func anEntryIsKnownByItsInodeAlone() throws {
    let volume = try Volume(["a": "old"], staged: ["a": "new"])
    let entries = try volume.exchange.entries(from: volume.exchange.work, paths: [])
    let directory = try Temporary()
    try JournalTests.journal(entries: entries).write(in: Directory(directory.path))
    let path = directory.path.appending(SwapJournal.name)
    let text = try FileDescriptor.open(path, .readOnly).closeAfterReading()
    #expect(text.contains("\"inode\" : \(try volume.directory.appending("a").status().inode)"))
    #expect(!text.contains("device"))
  }

  @Test func aRenameNeverOverwrites() throws {
    let volume = try Volume(["a": "a", "b": "b"], staged: [:])
    #expect(throws: FileError.self) { try volume.exchange.directory.rename("a", to: volume.exchange.directory, "b") }
    #expect(try volume.live() == ["a": "a", "b": "b"])
  }

  @Test func removingGoesThroughDirectoriesWithoutRightsButNotThroughLinks() throws {
    let volume = try Volume(["d/e/f": "1", "kept/x": "2"], staged: [:])
    let link = volume.directory.appending("d/link").string
    #expect(symlink(volume.directory.appending("kept").string, link) == 0)
    #expect(chmod(volume.directory.appending("d/e").string, 0) == 0)
    try Tree.remove(volume.directory.appending("d"))
    try Tree.remove(volume.directory.appending("d"))
    #expect(try volume.live() == ["kept/x": "2"])
  }
}

extension FileDescriptor {
  /// The first 64 KiB as text.
  func closeAfterReading() throws -> String {
    try closeAfter {
      var bytes = [UInt8](repeating: 0, count: 1 << 16)
      let count = try bytes.withUnsafeMutableBytes { try read(into: $0) }
      return String(decoding: bytes[..<count], as: UTF8.self)
    }
  }
}
