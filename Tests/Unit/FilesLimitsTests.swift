import Foundation
import Glibc
import SystemPackage
import Testing

@testable import BackupRestore

/// What a volume keeps, as plain values.
@Suite struct FilesLimitsTests {
  @Test(arguments: [
    (1, 5, 5, true), (1, 5, 4, false), (100, 987_654_321, 987_654_300, true), (100, 987_654_321, 987_654_221, false),
    (1_000_000_000, 999_999_999, 0, true), (2_000_000_000, 999_999_999, 0, true),
  ]) func aTimeIsKeptToTheVolumesStep(step: Int, saved: Int, found: Int, keeps: Bool) {
    let limits = FilesLimits(step: step)
    #expect(limits.keeps((7, saved), timespec(tv_sec: 7, tv_nsec: found)) == keeps)
    #expect(!limits.keeps((Int.min, saved), timespec(tv_sec: 7, tv_nsec: found)))
  }

  @Test func whatIsLeftOutIsOneLineOfEachKindAndOnlyTheNodesLabelAlarmsNobody() {
    let label = FilesLimits(
      attributes: ["security.selinux": .init(reason: "operation not permitted", count: 7)], step: 1_000_000_000)
    #expect(
      label.lines(entries: 3).map(\.fact).joined(separator: "|").contains("7 extended attributes security.selinux cannot be set"))
    #expect(label.lines(entries: 3).count == 2 && !label.isAlarming && !FilesLimits(step: 100).isAlarming)
    let capability = FilesLimits(attributes: ["security.capability": .init(reason: "Operation not permitted", count: 1)])
    #expect(capability.isAlarming && capability.lines(entries: 1)[0].hint.contains("SETFCAP"))
    let unsupported = FilesLimits(attributes: ["security.capability": .init(reason: "Operation not supported", count: 1)])
    #expect(!unsupported.lines(entries: 1)[0].hint.contains("SETFCAP"))
  }

  /// A kind is a pattern; a single one is its name.
  @Test func resticLeavesOutKindsByPatternAndNamesAsTheyAre() {
    let refusal = Refusals.Attribute(reason: "no")
    let limits = FilesLimits(attributes: ["user.*": refusal, "user.a*b": refusal, "security.capability": refusal])
    #expect(limits.excluded == ["security.capability", "user.*", #"user.a\*b"#])
    #expect(
      Repository.restoreArguments("s", to: "/t", include: ["a"], without: limits.excluded).suffix(8)
        == [
          "--exclude-xattr", "security.capability", "--exclude-xattr", "user.*", "--exclude-xattr", #"user.a\*b"#, "--include",
          "/a",
        ])
  }

  @Test(arguments: [
    ("user.label", "user.*"), ("trusted.a.b", "trusted.*"), ("security.capability", "security.capability"),
    ("system.posix_acl_access", "system.posix_acl_access"), ("odd", "odd"), ("", ""),
  ]) func attributesAreOfAKind(name: String, kind: String) { #expect(ExtendedAttribute.kind(name) == kind) }

  static func evidence(_ attributes: [(String, String, String)], unseen: Int? = nil) -> FilesEvidence {
    var evidence = FilesEvidence(attributes: [:], unseen: unseen)
    for (path, name, value) in attributes { evidence.add(.init(name: name, value: Array(value.utf8)), of: path, "file") }
    return evidence
  }

  static let saved = [
    ("a", "user.x", "1"), ("b", "user.x", "2"), ("b", "system.nfs4_acl", "acl"), ("c", "security.selinux", "l"),
  ]

  @Test func attributesDifferByNumberByValueAndByPlace() {
    let evidence = Self.evidence(Self.saved)
    let differences = { (found: [(String, String, String)], kinds: Set<String>) in
      evidence.differences(Self.evidence(found), without: kinds)
    }
    #expect(differences(Self.saved.reversed(), []) == [])
    #expect(differences(Self.saved.dropLast() + [("c", "user.y", "3")], []) == ["3 extended attributes user.* instead of 2"])
    #expect(
      differences([("a", "user.x", "1"), ("c", "user.x", "2")] + Self.saved[2...], []) == ["other extended attributes user.*"])
    #expect(differences(Array(Self.saved[2...]), ["user.*"]) == [])
    // The node's label and the ACLs that a server of NFS writes anew are not compared by value.
    #expect(differences(Self.saved[..<2] + [("b", "system.nfs4_acl", "else")], []) == [])
    #expect(differences(Array(Self.saved[..<2]), []) == ["0 extended attributes system.nfs4_acl instead of 1"])
  }

  @Test func whatChangedWhileItWasSavedIsCountedAsUnknown() {
    let evidence = Self.evidence([("a", "user.x", "1")], unseen: 1)
    for (count, isSame) in [(0, false), (1, true), (2, true), (3, false)] {
      let found = Self.evidence((0..<count).map { ("f\($0)", "user.x", "other") })
      #expect(evidence.differences(found, without: []).isEmpty == isSame, "\(count)")
    }
    #expect(FilesEvidence().differences(evidence, without: []) == [], "older records know of none")
  }

  @Test func whatIsTriedIsEveryOwnerWithEveryMode() {
    var evidence = FilesEvidence(owners: ["1:2", "3:4"])
    #expect(
      FilesProbe.wanted(evidence, nil).map(\.1) == [.init(user: 1, group: 2, mode: 0o600), .init(user: 3, group: 4, mode: 0o600)])
    evidence.kinds = ["dir 1:2 2750", "file 3:4 644", "damaged", "file x:4 644", "file 3:4 99"]
    #expect(
      FilesProbe.wanted(evidence, nil).map(\.1) == [
        .init(user: 1, group: 2, mode: 0o2750), .init(user: 3, group: 4, mode: 0o644),
      ])
    #expect(FilesProbe.wanted(evidence, .init(user: 9, group: 8)).map(\.1.user) == [9, 9])
  }

  @Test func whatAFileSystemRefusesIsNoOtherError() {
    let heard = ResticErrors()
    for text in ["xattr.LSet /t/a b: c user.x: operation not permitted", "lchown /t/a: operation not permitted"] {
      heard.take(#"{"message_type":"error","error":{"message":"\#(text)"},"during":"restore","item":"/a"}"#)
    }
    #expect(heard.all.refusals.attributes == ["user.x": .init(reason: "operation not permitted", count: 1)])
    #expect(heard.all.refusals.owners == 1 && heard.all.refusals.count == heard.all.others)
    heard.take(
      #"{"message_type":"error","error":{"message":"write /t/a: no space left on device"},"during":"restore","item":"/a"}"#)
    #expect(heard.all.refusals.count == 2 && heard.all.others == 3)
  }

  @Test(arguments: [("/a/b-1.c", "/a/b-1.c"), ("/a b", "'/a b'"), ("/it's", #"'/it'\''s'"#), ("/ü", "'/ü'")])
  func aPathIsShownAsAShellTakesIt(path: String, shown: String) { #expect(Format.shell(path) == shown) }

  @Test func theFilesOfOneVolumeAreAPartOfTheSet() throws {
    for (saved, below) in [([], []), (["d"], []), (["d/one"], []), (["d/one/x", "d/one/y/z", "e"], ["x", "y/z"])]
      as [([String], [String])]
    {
      let all = FilesPart(snapshot: "f1", directory: "/srv", paths: saved, root: nil, evidence: FilesEvidence())
      var record = record(files: all)
      record.take("d/one", of: all, FileAttributes(user: 1, group: 2, mode: 0o750), FilesEvidence(bytes: 7))
      let part = try #require(record.files)
      #expect((part.snapshot, part.directory, part.paths) == ("f1:/d/one", "/srv/d/one", below))
      #expect(part.root?.mode == 0o750 && part.evidence?.bytes == 7)
    }
  }

  @Test func aMountIsOnTheWayToWhatLiesOnIt() {
    let mount = Mount(path: "a/b", isReadOnly: true)
    #expect(mount.holds("a/b") && mount.holds("a/b/c") && !mount.holds("a") && !mount.holds("a/bc"))
    #expect(mount.lies(in: "a") && mount.lies(in: "a/b") && !mount.lies(in: "a/b/c"))
    #expect(
      !mount.isLeftOut && Mount(path: "config", isReadOnly: true).isLeftOut
        && Mount(path: ".snapshot", isReadOnly: false).isLeftOut)
  }
}
