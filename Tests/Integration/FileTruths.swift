import Foundation
import Glibc
import Support
import SystemPackage
import Testing

@testable import BackupRestore

@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct FileTruths {
  /// Everything a tree can hold that is easily lost.
  static let tree = #"""
    mkdir -p empty deep/er/est "with space" $'new\nline' 'many'; echo content > plain; echo x > "with space/-dash"; echo y > $'new\nline/\xff\xfe'
    echo z > $'invalid\xff'; echo s > '*star[1]?\x'; : > zero; truncate -s 30M sparse; printf end >> sparse
    ln -s plain link; ln -s /nowhere/at/all dangling; ln plain hard-1; ln plain deep/hard-2; mkfifo pipe
    head -c 100000 /dev/urandom > random; setfattr -n user.note -v "a value" plain; setfattr -n user.dir -v d empty
    chmod 4755 plain; chmod 1777 empty; chmod 2750 deep; chmod 000 random; chmod 400 zero
    chown 901:902 plain deep/er; chown -h 903:904 link; touch -d '2001-02-03 04:05:06.123456789Z' random deep; touch -h -d '1999-01-01Z' link
    mkdir .backup-restore lost+found; echo ours > .backup-restore/x; echo lost > lost+found/y
    """#

  static func site(_ settings: [String: String] = [:]) async throws -> Site {
    let site = try await Site(settings: settings)
    try await site.run("init")
    return site
  }

  @Test func aTreeWithEveryTruthComesBackTheSame() async throws {
    let site = try await Self.site()
    try await site.script(Self.tree + "\nchmod 751 .; chown 905:906 .")
    let before = try await fingerprint(site.files)
    let saved = try await site.run("backup")
    #expect(saved.code == 0, "\(saved.errors)")
    #expect(try await site.restic("files", ["ls", "latest"]).output.contains("/lost+found") == false)
    try await site.script("rm -rf plain deep many *star* sparse; echo changed > zero; echo new > added; chmod 700 .; chown 0:0 .")
    let changed = try await fingerprint(site.files)
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(try await fingerprint(site.files) == before)
    let root = try FilePath(site.files).status()
    #expect(root.attributes == FileAttributes(user: 905, group: 906, mode: 0o751))
    // What is not ours to touch is still there.
    #expect(try String(contentsOfFile: site.files + "/lost+found/y", encoding: .utf8) == "lost\n")
    #expect(try await Shell.script("stat -c %b sparse", in: site.files).trimming("\n").count < 4, "the holes are holes again")
    // And back.
    let back = try await site.run("restore", ["--rollback"])
    #expect(back.code == 0, "\(back.errors)")
    #expect(try await fingerprint(site.files) == changed)
    #expect(try FilePath(site.files).status().attributes == FileAttributes(user: 0, group: 0, mode: 0o700))
    // Rolling back the rollback brings the restored state again.
    #expect(try await site.run("restore", ["--rollback"]).code == 0)
    #expect(try await fingerprint(site.files) == before)
  }

  @Test func twentyThousandSmallFilesComeBack() async throws {
    let site = try await Self.site()
    try await site.script("for d in $(seq 1 20); do mkdir d$d; for i in $(seq 1 1000); do echo $d.$i > d$d/$i; done; done")
    let before = try await fingerprint(site.files)
    #expect(try await site.run("backup").output.contains("20,000 files"))
    try await site.script("rm -rf d1 d2")
    #expect(try await site.run("restore").code == 0)
    #expect(try await fingerprint(site.files) == before)
  }

  @Test func onlyTheNamedPathsAreSavedAndReplaced() async throws {
    let site = try await Self.site(["FILES_PATHS": "data,git/repositories"])
    try await site.script(
      "mkdir -p data git/repositories git/other; echo 1 > data/a; echo 2 > git/repositories/r; echo 3 > git/other/o; echo 4 > top"
    )
    #expect(try await site.run("backup").code == 0)
    try await site.script("echo changed > data/a; rm -r git/repositories; echo changed > git/other/o; echo changed > top")
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(try await Shell.script("cat data/a git/repositories/r git/other/o top", in: site.files) == "1\n2\nchanged\nchanged\n")
    // One of the two alone.
    try await site.script("echo again > data/a; echo again > git/repositories/r")
    #expect(try await site.run("restore", with: ["FILES_PATHS": "git/repositories"]).code == 0)
    #expect(try await Shell.script("cat data/a git/repositories/r", in: site.files) == "again\n2\n")
    for paths in ["elsewhere", "data,data/b"] {
      #expect(try await site.run("restore", with: ["FILES_PATHS": paths]).code != 0)
    }
    let absent = try await site.run("restore", with: ["FILES_PATHS": "data/b"])
    #expect(absent.code == 22)
    #expect(absent.errors.contains("does not hold data/b"))
  }

  @Test func aMountPointIsRestoredChildByChild() async throws {
    let site = try await Self.site()
    try await Shell.check("mount", ["-t", "tmpfs", "-o", "size=64m", "tmpfs", site.files])
    defer { umount2(site.files, Int32(MNT_DETACH)) }
    try await site.script("mkdir a; echo 1 > a/one; echo 2 > two")
    #expect(try await site.run("backup").code == 0)
    try await site.script("rm -r a; echo changed > two; echo 3 > three")
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(try await Shell.script("ls; cat a/one two", in: site.files) == "a\ntwo\n1\n2\n")
    // A mount below cannot be exchanged, and is found out before anything is staged.
    try await Shell.check("mount", ["-t", "tmpfs", "tmpfs", site.files + "/a"])
    defer { umount2(site.files + "/a", Int32(MNT_DETACH)) }
    let refused = try await site.run("restore")
    #expect(refused.code == 22)
    #expect(refused.errors.contains("mount point"))
    // Nor can it be removed, and what is on it is not the application's to lose.
    try await site.script("echo other > a/other")
    let inPlace = try await site.run("restore", ["--in-place"])
    #expect(inPlace.code == 22 && inPlace.errors.contains("mount point") && !inPlace.errors.contains("--in-place"), "\(inPlace)")
    #expect(throws: FileError.self) { try Tree.remove(.init(site.files + "/a")) }
    #expect(try await Shell.script("cat a/other", in: site.files) == "other\n")
    #expect(try await site.run("restore", with: ["FILES_PATHS": "two"]).code == 0)
  }

  /// lost+found is on every ext4; the set is the same by any name of the directory.
  @Test(arguments: ["link/data", "itself"]) func aDirectoryThatIsNamedByALinkIsSavedAndRestored(name: String) async throws {
    let site = try await Self.site()
    try await Shell.script("ln -s . link; mv files data; ln -s data itself", in: site.root)
    try await Shell.script("mkdir -p lost+found d; echo lost >lost+found/x; echo 1 >d/a", in: site.root + "/data")
    let by: [String: String?] = ["FILES_DIRECTORY": "\(site.root)/\(name)"]
    for (program, arguments) in [
      ("backup", []), ("restore", ["--drill"]), ("restore", []), ("restore", ["--in-place"]), ("backup", []),
    ] {
      let run = try await site.run(program, arguments, with: by)
      #expect(run.code == 0, "\(program) \(arguments): \(run)")
    }
    #expect(try await !site.restic("files", ["ls", "latest"]).output.contains("lost"))
    let byItsRealName = try await site.run("restore", with: ["FILES_DIRECTORY": site.root + "/data"])
    #expect(byItsRealName.code == 0, "\(byItsRealName)")
    #expect(try await Shell.script("cat lost+found/x d/a", in: site.root + "/data") == "lost\n1\n")
  }

  /// As sets were made below a link, when their excludes missed.
  @Test func aSetThatHoldsReservedEntriesIsRestoredWithoutThem() async throws {
    let site = try await Self.site()
    try await site.script(
      "mkdir lost+found .backup-restore d; echo old >lost+found/x; echo old >.backup-restore/x; echo old >d/a; touch d/{1..20}; seq 1000 >d/b"
    )
    let withoutExcludes = try site.fake(
      "restic",
      """
      PATH=${PATH#*:}; [ "$2" = backup ] || exec restic "$@"
      n=$#; while [ $n -gt 0 ]; do a=$1; shift; n=$((n - 1))
      if [ "$a" = --exclude ]; then shift; n=$((n - 1)); else set -- "$@" "$a"; fi; done; exec restic "$@"
      """)
    #expect(try await site.run("backup", with: ["PATH": withoutExcludes]).code == 0)
    #expect(try await site.restic("files", ["ls", "latest"]).output.contains("/lost+found/x"))
    let set = try await site.sets()[0]
    try await site.script("echo live | tee lost+found/x .backup-restore/x d/a")
    for arguments in [["--drill"], ["--in-place"], []] {
      let run = try await site.run("restore", [set] + arguments)
      #expect(run.code == 0, "\(arguments): \(run)")
    }
    #expect(try await Shell.script("cat lost+found/x .backup-restore/x d/a", in: site.files) == "live\nlive\nold\n")
    #expect(try await site.run("backup").code == 0, "and compared with the next")
  }

  @Test func aVolumeWithoutRoomIsRefusedAndInPlaceGoesOn() async throws {
    let site = try await Self.site()
    try await Shell.check("mount", ["-t", "tmpfs", "-o", "size=30m", "tmpfs", site.files])
    defer { umount2(site.files, Int32(MNT_DETACH)) }
    try await site.script(
      "head -c 20000000 /dev/urandom > big; echo 1 > small; mkdir .backup-restore lost+found; echo keep > lost+found/k")
    #expect(try await site.run("backup").code == 0)
    try await site.script("echo broken > big; head -c 22000000 /dev/urandom > grown; echo 2 > small")
    let before = try await fingerprint(site.files)
    let refused = try await site.run("restore")
    #expect(refused.code == 22)
    #expect(refused.errors.contains("--in-place"))
    #expect(try await fingerprint(site.files) == before)
    let sets = try await site.sets()
    let restored = try await site.run("restore", [sets[0], "--in-place"])
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(
      try await Shell.script("ls; cat small lost+found/k; stat -c %s big", in: site.files)
        == "big\nlost+found\nsmall\n1\nkeep\n20000000\n")
    // What was live was saved first, and is named as the way back; the newest set to restore is still the nightly one.
    #expect(try await site.sets().count == 2)
    #expect(restored.output.contains("back again: restore --only files --in-place \(try await site.sets()[1])"))
    #expect(try await site.run("restore", ["--list"]).output.contains("saved before restore --in-place"))
    #expect(try await site.run("restore", ["--dry-run", "--in-place"]).output.contains("FROM set \(sets[0])"))
  }

  @Test func anInterruptedInPlaceIsToldMakesTheNextSetDoubtedAndIsFinishedByTheNextOne() async throws {
    let site = try await Self.site()
    try await site.script("for i in $(seq 1 300); do echo $i > f$i; done")
    let before = try await fingerprint(site.files)
    #expect(try await site.run("backup").code == 0)
    let set = try await site.sets()[0]
    // A restic that dies while it restores.
    let broken = try site.fake(
      "restic", "[ \"$2\" = restore ] && exit 1; PATH=${PATH#*:} exec restic \"$@\"")
    let failed = try await site.run("restore", ["--in-place"], with: ["PATH": broken])
    #expect(failed.code == 23)
    let safety = try await site.sets()[1]
    for said in ["is incomplete", "restore --in-place \(set) finishes it", "set \(safety)"] {
      #expect(failed.errors.contains(said))
    }
    let backup = try await site.run("backup")
    #expect(backup.code == 4, "the databases would go unsaved night by night")
    #expect(backup.errors.contains("restore --in-place \(set) finishes it"))
    #expect(try await site.run("restore", ["--list"]).output.contains("doubted: the files are incomplete"))
    #expect(try await site.run("restore", ["--status"]).output.contains("is incomplete"))
    #expect(try await site.run("restore").code == 22, "the newest set is doubted: which one is the operator's choice")
    let again = try await site.run("restore", ["--in-place", set])
    #expect(again.code == 0, "\(again.errors)")
    #expect(try await fingerprint(site.files) == before)
    #expect(try await site.sets().count == 3, "what was incomplete was not saved before it was replaced again")
    #expect(try await site.run("backup").code == 0)
  }

  @Test func filesGetTheOwnerThatIsAskedFor() async throws {
    let site = try await Self.site()
    try await site.script("echo 1 > a; ln -s a l; mkdir d; chown 901:901 a d; chmod 4750 a")
    try await site.run("backup")
    try await site.script("rm a")
    let restored = try await site.run("restore", with: ["FILES_OWNER": "1234:5678"])
    #expect(restored.code == 0, "\(restored.errors)")
    let owned = try await Shell.script("stat -c '%u:%g:%a' a l d | sort -u", in: site.files)
    #expect(owned == "1234:5678:4750\n1234:5678:755\n1234:5678:777\n")
  }

  @Test func withoutTheRightsToSetOwnersItIsRefusedWithTheWaysOut() async throws {
    let site = try await Self.site()
    try await site.script("echo 1 > a; chown 901:901 a")
    try await site.run("backup")
    try await Shell.check("chown", ["-R", "4242:4242", site.root])
    let own = ["setpriv", "--reuid=4242", "--regid=4242", "--clear-groups", "--", "env"]
    func unprivileged(_ extra: [String] = []) async throws -> Shell.Result {
      let arguments = own.dropFirst() + site.settings.map { "\($0.key)=\($0.value)" } + extra + [Site.products + "/restore"]
      return try await Shell.run(own[0], Array(arguments), check: false)
    }
    let refused = try await unprivileged()
    #expect(refused.code == 22)
    #expect(refused.errors.contains("FILES_OWNER=4242:4242") && refused.errors.contains("CHOWN"))
    let restored = try await unprivileged(["FILES_OWNER=4242:4242"])
    #expect(restored.code == 0, "\(restored.errors)")
  }

  @Test func unreadableFilesFailTheBackupUnlessTheyAreAllowed() async throws {
    let site = try await Self.site()
    // An immutable way to be unreadable for root too: a directory on a file system that answers EIO is not at hand, so the
    // toolkit runs as a user who may not read.
    try await site.script("echo 1 > readable; echo 2 > secret; chmod 600 secret")
    try await Shell.check("chown", ["-R", "4242:4242", site.root + "/tmp", site.root + "/repository", site.root + "/cache"])
    try await Shell.check("chmod", ["755", site.root, site.files])
    func backup(_ extra: [String] = []) async throws -> Shell.Result {
      let arguments =
        ["--reuid=4242", "--regid=4242", "--clear-groups", "--", "env"] + site.settings.map { "\($0.key)=\($0.value)" } + extra
        + [Site.products + "/backup"]
      return try await Shell.run("setpriv", arguments, check: false)
    }
    let failed = try await backup()
    #expect(failed.code == 20)
    #expect(failed.errors.contains("secret") && failed.errors.contains("FILES_ALLOW_UNREADABLE"))
    #expect(try await site.sets().isEmpty)
    let partial = try await backup(["FILES_ALLOW_UNREADABLE=true"])
    #expect(partial.code == 3)
    #expect(partial.errors.contains("secret"))
    #expect(try await site.sets().count == 1)
    // In place it would be lost: the set that is saved before does not hold it.
    try await Shell.check("chown", ["4242:4242", site.files, site.files + "/readable"])
    let arguments =
      ["--reuid=4242", "--regid=4242", "--clear-groups", "--", "env"] + site.settings.map { "\($0.key)=\($0.value)" }
      + ["FILES_ALLOW_UNREADABLE=true", "FILES_OWNER=4242:4242", Site.products + "/restore", "--in-place"]
    let restored = try await Shell.run("setpriv", arguments, check: false)
    #expect(
      restored.code == 22 && restored.errors.contains("secret") && restored.errors.contains("nothing was replaced"), "\(restored)"
    )
    #expect(try await Shell.script("cat secret readable", in: site.files) == "2\n1\n")
    // A volume that may not be opened at all.
    try await Shell.check("chmod", ["700", site.files])
    try await Shell.check("chown", ["0:0", site.files])
    let closed = try await backup()
    #expect(closed.code == 22 && closed.errors.contains("open \(site.files)") && closed.errors.contains("4242"), "\(closed)")
    // Not in one night's log alone: whoever restores it is told. What another user's run left is not believed.
    try await site.script("rm -rf .backup-restore")
    #expect(try await site.run("restore", ["--list"]).output.contains("1 file could not be read"))
    for arguments in [["--dry-run"], ["--drill"]] {
      let told = try await site.run("restore", arguments)
      #expect(
        told.code == 0 && told.errors.contains("1 unreadable file is not in the set: ") && told.errors.contains("secret"),
        "\(told)")
    }
  }

  @Test func filesThatChangeOrDisappearWhileTheyAreReadDoNotFailTheBackup() async throws {
    let site = try await Self.site()
    try await site.script("mkdir d; for i in $(seq 1 4000); do head -c 8000 /dev/urandom > d/$i; done")
    let churn = Task {
      for _ in 0..<40 {
        _ = try? await Shell.script("rm -f d/$((RANDOM % 4000)) d/2*; echo new > d/$RANDOM; date >> d/1", in: site.files)
      }
    }
    let saved = try await site.run("backup")
    #expect(saved.code == 0, "\(saved.errors)")
    _ = await churn.result
    let restored = try await site.run("restore")
    #expect(restored.code == 0, "\(restored.errors)")
  }
}
