import Foundation
import Support
import Testing

@testable import BackupRestore

/// Claims mounted below FILES_DIRECTORY, each a file system of its own: nothing can be moved between them.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct SeveralVolumes {
  /// `one` and `deep/two` are volumes, `d` is not.
  static func site(_ body: (Site) async throws -> Void) async throws {
    let site = try await FileTruths.site()
    try await site.script(
      """
      mkdir -p one deep/two d; echo old >d/a
      for m in one deep/two; do mount -t tmpfs tmpfs $m; mkdir $m/sub $m/lost+found; echo old >$m/sub/a; chown 901:902 $m $m/sub; done
      """)
    let failed: (any Error)?
    do {
      try await body(site)
      failed = nil
    } catch { failed = error }
    try await site.script("umount one deep/two")
    if let failed { throw failed }
  }

  static func states(_ site: Site) async throws -> String {
    try await Shell.script("cat d/a one/sub/a deep/two/sub/a | paste -sd' '", in: site.files).trimming("\n")
  }

  /// The commands that the refusal names are those that work.
  @Test func aSetOfSeveralVolumesGoesBackVolumeByVolumeByTheCommandsThatTheRefusalNames() async throws {
    try await Self.site { site in
      let saved = try await site.run("backup")
      #expect(saved.code == 0 && saved.errors.contains("FILES_PATHS=deep/two"), "\(saved)")
      #expect(try await !site.restic("files", ["ls", "latest"]).output.contains("lost+found"))
      let drill = try await site.run("restore", ["--drill"])
      #expect(drill.code == 0 && drill.errors.contains("one restore for each volume"), "\(drill)")
      try await site.script("for d in d one/sub deep/two/sub; do echo new >$d/a; done")
      for arguments in [[], ["--in-place"]] {
        let refused = try await site.run("restore", arguments)
        #expect(refused.code == 22 && refused.errors.contains("mount point inside what is restored"), "\(refused)")
        #expect(try await Self.states(site) == "new new new")
      }
      let refused = try await site.run("restore").errors
      let commands = refused.matches(of: /FILES_PATHS=(\S+) restore --only files (\S+)/).map { (String($0.1), String($0.2)) }
      #expect(commands.map(\.0) == ["deep/two", "one", "d"], "\(refused)")
      for (paths, set) in commands {
        let restored = try await site.run("restore", ["--only", "files", set], with: ["FILES_PATHS": paths])
        #expect(restored.code == 0, "\(restored)")
      }
      #expect(try await Self.states(site) == "old old old")
      #expect(try await site.run("backup").code == 0)
      #expect(try await !site.restic("files", ["ls", "latest"]).output.contains(".backup-restore"))
    }
  }

  @Test func oneVolumeIsRestoredInPlaceRolledBackAndDiscardedOnItsOwn() async throws {
    try await Self.site { site in
      #expect(try await site.run("backup").code == 0)
      try await site.script("for d in d one/sub deep/two/sub; do echo new >$d/a; done")
      let one = ["FILES_PATHS": "one"] as [String: String?]
      let restored = try await site.run("restore", with: one)
      #expect(restored.code == 0 && restored.output.contains("FILES_PATHS=one restore --rollback"), "\(restored)")
      #expect(try await Self.states(site) == "new old new")
      #expect(try await site.run("restore", ["--status"]).output.contains("FILES_PATHS=one restore --status"))
      #expect(try await site.run("restore", ["--rollback"], with: one).code == 0)
      #expect(try await Self.states(site) == "new new new")
      #expect(try await site.run("restore", ["--discard-previous"], with: one).code == 0)
      let set = try await site.sets()[0]
      #expect(try await site.run("restore", ["--in-place", set], with: ["FILES_PATHS": "deep/two/sub"]).code == 0)
      #expect(try await Self.states(site) == "new new old")
      // What was live before it is a set of that volume alone.
      let safety = try await site.sets().last!
      #expect(try await site.run("restore", ["--in-place", safety], with: ["FILES_PATHS": "deep/two/sub"]).code == 0)
      #expect(try await Self.states(site) == "new new new")
      let absent = try await site.run("restore", [set], with: ["FILES_PATHS": "one/absent"])
      #expect(absent.code == 22 && absent.errors.contains("does not hold absent"), "\(absent)")
      let several = try await site.run("restore", [set], with: ["FILES_PATHS": "one,d"])
      #expect(several.code == 22 && several.errors.contains("FILES_PATHS=d restore"), "\(several)")
    }
  }

  @Test func anInPlaceOfOneVolumeThatWasInterruptedIsToldByTheNextBackup() async throws {
    try await Self.site { site in
      #expect(try await site.run("backup").code == 0)
      let set = try await site.sets()[0]
      let broken = try site.fake("restic", "[ \"$2\" = restore ] && exit 1; PATH=${PATH#*:} exec restic \"$@\"")
      let one = ["FILES_PATHS": "one"] as [String: String?]
      #expect(try await site.run("restore", ["--in-place"], with: one.merging(["PATH": broken]) { $1 }).code == 23)
      let backup = try await site.run("backup")
      #expect(
        backup.code == 4 && backup.errors.contains("with FILES_PATHS=one: restore --in-place \(set) finishes it"), "\(backup)")
      #expect(try await site.run("restore", ["--list"]).output.contains("doubted: the files are incomplete"))
      #expect(try await site.run("restore", ["--in-place", set], with: one).code == 0)
      #expect(try await site.run("backup").code == 0)
    }
  }

  /// A ConfigMap, say; and `.snapshot`, which an NFS server shows in its volumes.
  @Test func aVolumeThatIsMountedReadOnlyStaysAsItIs() async throws {
    let site = try await FileTruths.site()
    try await site.script("mkdir config .snapshot d; echo old >d/a")
    try await site.script(
      "for m in config .snapshot; do mount -t tmpfs tmpfs $m; echo theirs >$m/x; done; mount -o remount,ro config")
    do {
      let saved = try await site.run("backup")
      #expect(saved.code == 0 && saved.errors.contains(".snapshot is left out"), "\(saved)")
      #expect(try await !site.restic("files", ["ls", "latest"]).output.contains("snapshot/x"))
      let set = try await site.sets()[0]
      for arguments in [[], ["--rollback"], ["--in-place", set]] {
        try await site.script("echo new >d/a; touch d/new")
        let run = try await site.run("restore", arguments)
        #expect(run.code == 0, "\(arguments): \(run)")
        if arguments != ["--rollback"] { #expect(run.errors.contains(".snapshot, config: another volume"), "\(run)") }
        let expected = arguments == ["--rollback"] ? "new\na\nnew\n" : "old\na\n"
        #expect(try await Shell.script("cat d/a; ls d", in: site.files) == expected)
        #expect(try await Shell.script("cat config/x .snapshot/x", in: site.files) == "theirs\ntheirs\n")
      }
      let named = try await site.run("restore", with: ["FILES_PATHS": "config"])
      #expect(named.code == 22 && !named.errors.contains("another volume"), "\(named)")
    } catch { Issue.record(error) }
    try await site.script("umount config .snapshot")
  }

  /// Small beside all the rest: in the sum of all it is gone without a trace.
  @Test func aVolumeThatIsNotMountedOneNightIsADoubtHoweverSmallItIs() async throws {
    let site = try await FileTruths.site()
    try await site.script(
      "mkdir small; for i in $(seq 30); do echo $i >$i; done; mount -t tmpfs tmpfs small; echo a >small/a; mkdir small/d")
    #expect(try await site.run("backup").code == 0)
    try await site.script("umount small")
    let night = try await site.run("backup")
    let set = try #require(try await site.sets().first)
    #expect(
      night.code == 4 && night.errors.contains("small is no volume of its own any more (set \(set) had 2 entries"),
      "\(night)")
  }

  @Test func anEntryOfFILESPATHSThatIsEmptiedOrBecomesALinkIsTold() async throws {
    let site = try await FileTruths.site()
    try await site.script(
      "mkdir data uploads elsewhere; for i in $(seq 30); do echo $i >data/$i; done; echo u | tee uploads/a >uploads/b")
    let paths = ["FILES_PATHS": "data,uploads"] as [String: String?]
    #expect(try await site.run("backup", with: paths).code == 0)
    try await site.script("mv uploads/* elsewhere")
    let emptied = try await site.run("backup", with: paths)
    #expect(emptied.code == 4 && emptied.errors.contains("nothing is left in uploads (set "), "\(emptied)")
    try await site.script("rmdir uploads; ln -s elsewhere uploads")
    let linked = try await site.run("backup", with: paths)
    #expect(linked.code == 20 && linked.errors.contains("uploads, which FILES_PATHS names, is a link"), "\(linked)")
    // An entry that is a volume itself is one as well.
    try await site.script("rm uploads; mkdir uploads; mount -t tmpfs tmpfs uploads; echo u >uploads/a")
    let mounted = try await site.run("backup", with: paths)
    try await site.script("umount uploads")
    #expect(mounted.code == 0, "\(mounted)")
    // Who names less chooses so.
    #expect(try await site.run("backup", with: ["FILES_PATHS": "data"]).code == 0)
  }
}
