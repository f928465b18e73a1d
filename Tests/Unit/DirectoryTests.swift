import FoundationEssentials
import Glibc
import SystemPackage
import Testing

@testable import BackupRestore

@Suite struct DirectoryTests {
  /// A directory, and another that nothing may change.
  struct Ground {
    let inside: Temporary
    let outside: Temporary
    var directory: Directory

    init() throws {
      (inside, outside) = (try Temporary(), try Temporary())
      directory = try Directory(inside.path)
      try Volume.write(["kept": "kept", "d/kept": "kept"], below: outside.path)
    }

    func link(_ name: String, _ target: String) {
      #expect(symlink(outside.path.appending(target).string, inside.path.appending(name).string) == 0)
    }

    func expectKept() throws { #expect(try Volume.state(outside.path) == ["kept": "kept", "d/kept": "kept"]) }
  }

  @Test func aDirectoryStaysTheSameWhateverItsNameLeadsTo() throws {
    let ground = try Ground()
    try Volume.write(["d/a": "1"], below: ground.inside.path)
    let held = try ground.directory.open("d")
    #expect(rename(ground.inside.path.appending("d").string, ground.inside.path.appending("aside").string) == 0)
    ground.link("d", "d")
    try held.write(Array("2".utf8), to: "b")
    try held.make("c")
    try held.remove("a")
    #expect(try Volume.state(ground.inside.path.appending("aside")) == ["b": "2", "c": "/"])
    #expect(try Tree.entries(held.reached).map(\.string).sorted() == ["b", "c"])
    try ground.expectKept()
  }

  @Test func noNameIsFollowedWhereItIsALink() throws {
    let ground = try Ground()
    ground.link("d", "d")
    ground.link("kept", "kept")
    ground.link("journal.json.new", "kept")
    #expect(throws: FileError.self) { try ground.directory.open("d") }
    #expect(try ground.directory.directory("d") == nil)
    #expect(try ground.directory.existing(at: "d/kept") == nil)
    #expect(throws: FileError.self) { try ground.directory.read("kept") { _ in } }
    #expect(try !ground.directory.make("d"))
    // What a crash may have left, or somebody made.
    try ground.directory.write(Array("{}".utf8), to: "journal.json")
    try ground.directory.write(Array("{}".utf8), to: "kept")
    #expect(try ground.directory.read("kept") { _ in } == Array("{}".utf8))
    try ground.directory.remove("d")
    try ground.expectKept()
    #expect(throws: FileError.self) { try Directory(ground.inside.path.appending("none")) }
  }

  /// A parent that became a link since the journal was written.
  @Test(arguments: [true, false]) func anExchangeGoesThroughNoLink(exchanges: Bool) throws {
    let outside = try Ground()
    let volume = try Volume(["d/kept": "old", "e/f": "old"], staged: ["d/kept": "new", "e/f": "new"], exchanges: exchanges)
    let entries = try volume.exchange.entries(from: volume.exchange.work, paths: ["d/kept", "e/f"])
    try Tree.remove(volume.directory.appending("d"))
    #expect(symlink(outside.outside.path.appending("d").string, volume.directory.appending("d").string) == 0)
    #expect(throws: FileError.self) { try volume.exchange.apply(entries) }
    try outside.expectKept()
    // Once the link is gone, the rest is done.
    try Tree.remove(volume.directory.appending("d"))
    try volume.exchange.apply(entries)
    #expect(try volume.live() == ["d/kept": "new", "e/f": "new"])
  }

  /// Deeper than a process usually has descriptors, and than a path can be long.
  @Test func aTreeOfAnyDepthIsRemoved() throws {
    let ground = try Ground()
    try ground.directory.make("deep")
    var place = try ground.directory.open("deep")
    for _ in 0..<2500 {
      try place.make("d")
      try place.make("e")
      place = try place.open("d")
    }
    try place.write([1], to: "file")
    try ground.directory.remove("deep")
    #expect(try ground.directory.entries().isEmpty)
  }

  /// They are to be ours alone, and everybody may write to a shared TMPDIR.
  @Test func scratchIsNewWhateverHasANameLikeIt() throws {
    let ground = try Ground()
    for number in 0..<3 { ground.link("backup-restore.\(getpid()).\(number)", "d") }
    try Volume.write(["backup-restore.1.left/x": "of a run that was killed"], below: ground.inside.path)
    let scratch = try Scratch(["TMPDIR": ground.inside.path.string])
    #expect(try scratch.path.status().attributes == FileAttributes(user: geteuid(), group: getegid(), mode: 0o700))
    try scratch.directory.write([1], to: "x")
    let other = try Scratch(["TMPDIR": ground.inside.path.string])
    #expect(try Tree.entries(scratch.path).map(\.string) == ["x"], "one that is in use is left alone")
    for each in [scratch, other] { each.remove() }
    #expect(try ground.directory.entries().count == 3)
    try ground.expectKept()
  }
}
