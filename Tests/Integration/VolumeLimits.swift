import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// Volumes that do not keep everything: what a probe finds before anything is staged, and what becomes of it.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct VolumeLimits {
  /// As in the manifests' pod of restores, and what is added.
  static func pod(_ site: Site, _ arguments: [String], adding more: String = "", with changes: [String: String] = [:])
    async throws
    -> Shell.Result
  {
    let few = "-all,+chown,+fowner,+dac_override" + more
    let settings = site.settings.merging(changes) { $1 }.map { "\($0.key)=\($0.value)" }
    let words = ["--no-new-privs", "--bounding-set=\(few)", "--inh-caps=\(few)", "--", "env"] + settings
    return try await Shell.run("setpriv", words + [Site.products + "/restore"] + arguments, check: false)
  }

  static func lines(_ text: String, with word: String) -> Int { text.split(separator: "\n").count { $0.contains(word) } }

  /// What `body` mounts on the directory `mnt` beside the site's files, in place of these.
  static func mounted(_ site: Site, by script: String, _ body: ([String: String]) async throws -> Void) async throws {
    try await Shell.script("mkdir -p under mnt; \(script)", in: site.root)
    let failed: (any Error)?
    do {
      try await body(["FILES_DIRECTORY": site.root + "/mnt", "RESTIC_HOST": "backup-restore"])
      failed = nil
    } catch { failed = error }
    try await Shell.script("umount mnt", in: site.root)
    if let failed { throw failed }
  }

  static let attributes = """
    echo x >note; cp /bin/true tool; setcap cap_net_raw=ep tool; setfattr -n user.label -v kept note; setfattr -n user.label -v too tool
    mkdir d; setfacl -m u:1234:rwx,d:u:1234:rx d; setfacl -m u:1234:rw note
    """

  /// A chroot's /dev/null, say, or one that the application made to stand in the way of every restore.
  @Test func aDeviceNodeThatThePodMayNotMakeIsToldBeforeAnythingIsTouched() async throws {
    let site = try await FileTruths.site()
    try await site.script("mkdir dev; mknod dev/null c 1 3; mkfifo dev/pipe; ln -s nowhere link; echo live >page")
    #expect(try await site.run("backup").code == 0)
    for arguments in [[], ["--in-place"]] {
      let refused = try await Self.pod(site, arguments)
      #expect(refused.code == 22 && refused.errors.contains("MKNOD"), "\(arguments): \(refused)")
      #expect(try await Shell.script("cat page; ls dev", in: site.files) == "live\nnull\npipe\n")
    }
    let accepted = try await Self.pod(site, ["--accept-differences"])
    #expect(accepted.code == 0 && accepted.errors.contains("dev/null is missing"), "\(accepted)")
    #expect(try await Shell.script("cat page; ls dev; readlink link", in: site.files) == "live\npipe\nnowhere\n")
    #expect(try await Self.pod(site, [], adding: ",+mknod").code == 0)
    #expect(try await Shell.script("stat -c %t:%T dev/null", in: site.files) == "1:3\n")
  }

  @Test func aVolumeWithoutLinksTakesTheRest() async throws {
    let site = try await FileTruths.site()
    try await site.script("echo a >a; ln -s a link")
    #expect(try await site.run("backup").code == 0)
    try await Self.mounted(site, by: "bindfs --resolve-symlinks under mnt") { settings in
      let refused = try await site.run("restore", with: settings)
      #expect(refused.code == 22 && refused.errors.contains("symbolic link"), "\(refused)")
      let accepted = try await site.run("restore", ["--accept-differences"], with: settings)
      #expect(accepted.code == 0 && accepted.errors.contains("link is missing"), "\(accepted)")
      #expect(try await Shell.script("ls mnt; cat mnt/a", in: site.root) == "a\na\n")
    }
  }

  /// Go's module cache, for one.
  @Test func aDirectoryOfItsOwnThatMayNotBeWrittenIsSwappedAllTheSame() async throws {
    let site = try await FileTruths.site()
    try await site.script("mkdir mod; echo 1 >mod/a; chmod 555 mod; chown -R 1000:1000 .; chown -R 1000:1000 ../tmp ../cache")
    #expect(try await site.run("backup").code == 0)
    try await Shell.script("chown -R 1000:1000 .", in: site.root)
    func user() async throws -> Shell.Result {
      try await Shell.run(
        "setpriv", ["--reuid=1000", "--regid=1000", "--clear-groups", "--no-new-privs", Site.products + "/restore"],
        environment: site.settings, check: false)
    }
    try await site.script("echo live >note; chown 1000:1000 note")
    let restored = try await user()
    #expect(restored.code == 0, "\(restored)")
    #expect(try await Shell.script("ls", in: site.files) == "mod\n")
    #expect(try await Shell.script("stat -c %a mod", in: site.files) == "555\n")
  }

  @Test func attributesThatThePodMayNotSetAreLeftOutAndToldOnce() async throws {
    let site = try await FileTruths.site()
    try await site.script(Self.attributes)
    let read = "getfattr -h -d -m - d note tool 2>/dev/null"
    let before = try await Shell.script(read, in: site.files)
    #expect(try await site.run("backup").code == 0)
    for arguments in [["--drill"], [], ["--in-place"]] {
      try await site.script("rm -rf note tool d; touch stranger")
      let run = try await Self.pod(site, arguments)
      #expect(run.code == 4, "\(arguments): \(run)")
      #expect(Self.lines(run.errors, with: "1 extended attribute security.capability cannot be set") == 1, "\(run)")
      #expect(run.errors.contains("SETFCAP") && !run.errors.contains("repository"), "\(run)")
      if arguments == ["--drill"] { continue }
      // All others of the same file are there.
      #expect(
        try await Shell.script(read, in: site.files)
          == before.split(separator: "\n", omittingEmptySubsequences: false)
          .filter { !$0.contains("security.capability") }.joined(separator: "\n"))
    }
    // Another owner takes a capability away.
    let given = try await site.run("restore", with: ["FILES_OWNER": "1234:5678"])
    #expect(given.code == 0, "\(given)")
    #expect(try await Shell.script(read, in: site.files) == before)
    let whole = try await site.run("restore")
    #expect(whole.code == 0 && whole.output.contains("times, attributes"), "\(whole)")
    #expect(try await Shell.script(read, in: site.files) == before)
  }

  /// Nothing is known beforehand of a set whose record is lost, or was written before there was evidence of attributes.
  @Test func anAttributeThatIsRefusedInTheMiddleIsLeftOutToo() async throws {
    let site = try await FileTruths.site()
    try await site.script(Self.attributes + "\nsetfattr -n security.mine -v 1 tool")
    #expect(try await site.run("backup").code == 0)
    let set = try await site.sets()[0]
    try await site.restic("sets", ["forget", "--tag", "kind=set", "--unsafe-allow-remove-all"])
    try await site.script("rm -rf note tool d")
    let run = try await Self.pod(site, [set])
    #expect(run.code == 4, "\(run)")
    for name in ["security.capability", "security.mine"] {
      #expect(Self.lines(run.errors, with: "1 extended attribute \(name) cannot be set") == 1, "\(run)")
    }
    #expect(
      try await Shell.script("getfattr --only-values -n user.label tool note; cmp tool /bin/true", in: site.files) == "tookept")
  }

  @Test(arguments: ["setfacl -b note", "setfattr -x user.label note", "setfattr -n user.label -v other note"])
  func aStagedTreeWithOtherAttributesIsNotTheSet(meddling: String) async throws {
    let site = try await FileTruths.site()
    try await site.script(Self.attributes)
    #expect(try await site.run("backup").code == 0)
    let path = try site.fake(
      "restic",
      "PATH=${PATH#*:}; restic \"$@\" || exit; [ \"$2\" != restore ] || { cd tree; \(meddling); touch -r /bin/true note; }")
    for arguments in [["--drill"], []] {
      let run = try await site.run("restore", arguments, with: ["PATH": path])
      #expect(run.code == 21 && run.errors.contains("extended attribute"), "\(run)")
    }
    #expect(try await site.run("restore").code == 0)
  }

  @Test(arguments: ["--chown-deny", "--chown-ignore --chgrp-ignore"])
  func aVolumeThatGivesNothingAwayIsRefusedAtOnceWithTheWayOut(how: String) async throws {
    let site = try await FileTruths.site()
    try await site.script("echo one >a; mkdir d; ln -s a l; chown -h 1234:1234 a d l")
    #expect(try await site.run("backup").code == 0)
    try await Self.mounted(site, by: "bindfs \(how) under mnt; echo live >mnt/a") { settings in
      for arguments in [[], ["--in-place"]] {
        let refused = try await site.run("restore", arguments, with: settings)
        #expect(
          refused.code == 22 && refused.errors.contains("FILES_OWNER=0:0") && refused.errors.contains("1234:1234"), "\(refused)")
        #expect(!refused.errors.contains("repository"), "\(refused)")
      }
      #expect(try await Shell.script("cat mnt/a", in: site.root) == "live\n")
      let drill = try await site.run("restore", ["--drill"], with: settings)
      #expect(drill.code == 4 && drill.errors.contains("a restore here would be refused"), "\(drill)")
      let restored = try await site.run("restore", with: settings.merging(["FILES_OWNER": "0:0"]) { $1 })
      #expect(restored.code == 0, "\(restored)")
      #expect(try await Shell.script("cat mnt/a; ls mnt", in: site.root) == "one\na\nd\nl\n")
    }
  }

  @Test func timesOfWholeSecondsAreOneLineAndNoFailure() async throws {
    let site = try await FileTruths.site()
    try await site.script("for i in 1 2 3; do echo $i >$i; done; touch -d '2001-02-03 04:05:06.987654321Z' 1; mkdir d; ln -s 1 l")
    #expect(try await site.run("backup").code == 0)
    let make = "truncate -s 48M img; mkfs.ext4 -qF -I 128 img 2>/dev/null; mount -o loop img mnt"
    try await Self.mounted(site, by: make) { settings in
      for arguments in [["--drill"], [], ["--in-place"]] {
        let run = try await site.run("restore", arguments, with: settings)
        #expect(run.code == 0 && Self.lines(run.errors, with: "steps of 1 second") == 1, "\(run)")
      }
      #expect(try await Shell.script("stat -c %y mnt/1", in: site.root).contains("04:05:06.000000000"))
    }
  }

  /// chmod(2) says yes, and the bit is gone.
  @Test func setgidThatIsDroppedWithoutAWordIsToldBeforeAnythingIsStaged() async throws {
    let site = try await FileTruths.site()
    try await site.script("mkdir d; chgrp 77 d; chmod 2750 d; echo live >d/a")
    #expect(try await site.run("backup").code == 0)
    try await site.script("echo newer >d/a")
    let refused = try await Self.pod(site, ["--in-place"])
    #expect(refused.code == 22 && refused.errors.contains("2750") && refused.errors.contains("FSETID"), "\(refused)")
    #expect(try await Shell.script("cat d/a", in: site.files) == "newer\n")
    let restored = try await Self.pod(site, [], adding: ",+fsetid")
    #expect(restored.code == 0, "\(restored)")
    #expect(try await Shell.script("cat d/a; stat -c %a d", in: site.files) == "live\n2750\n")
  }

  @Test func inPlaceIsRefusedWhereWhatComesFitsNeitherBesideNorInstead() async throws {
    let site = try await FileTruths.site()
    try await site.script("head -c 20000000 /dev/urandom >big")
    #expect(try await site.run("backup").code == 0)
    try await Self.mounted(site, by: "mount -t tmpfs -o size=10m tmpfs mnt; echo live >mnt/a") { settings in
      let refused = try await site.run("restore", ["--in-place"], with: settings)
      #expect(refused.code == 22 && refused.errors.contains("without what is live"), "\(refused)")
      #expect(try await Shell.script("cat mnt/a", in: site.root) == "live\n")
    }
  }

  /// Staging lies deeper than what is live, and Linux takes 4,095 bytes.
  @Test func aPathThatARestoreCannotWriteIsADoubtTheNightItIsSaved() async throws {
    let site = try await FileTruths.site()
    let make = """
      import os, sys
      length = int(sys.argv[1]); depth = length // 200
      for i in range(depth): os.mkdir('d' * 199); os.chdir('d' * 199)
      open('f' * (length - 200 * depth), 'w').write('content')
      """
    try await Shell.script("python3 -c \"\(make)\" \(FilesEvidence.longestPath)", in: site.files)
    #expect(try await site.run("backup").code == 0)
    try await Staged.succeed(site, "restore")
    try await Shell.script("rm -r d*; python3 -c \"\(make)\" \(FilesEvidence.longestPath + 1)", in: site.files)
    let night = try await site.run("backup")
    #expect(
      night.code == 4
        && night.errors.contains("1 path is over \(Format.count(FilesEvidence.longestPath)) bytes, too long to be restored"),
      "\(night)")
  }
}
