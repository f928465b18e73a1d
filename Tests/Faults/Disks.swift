import Foundation
import Support
import Testing

@testable import BackupRestore

/// Disks that are full, read-only or not there.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Disks {
  /// Runs a program in a mount namespace of its own, after `mounts`; `$ROOT` is the site's directory.
  static func run(
    _ site: Site, _ program: String, _ arguments: [String] = [], mounts: String, with changes: [String: String] = [:]
  ) async throws -> Shell.Result {
    let settings = site.settings.merging(changes) { $1 }.merging(["ROOT": site.root]) { $1 }
    let line = ([Site.products + "/" + program] + arguments).joined(separator: " ")
    return try await Shell.run(
      "unshare", ["--mount", "bash", "-euc", mounts + "; exec " + line], environment: settings, directory: site.root, check: false
    )
  }

  struct Scratch: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let mounts: String
    var settings: [String: String] = [:]
    let codes: Set<Int32>
    let says: String
  }

  static let scratches = [
    Scratch(
      testDescription: "TMPDIR is missing", mounts: "true", settings: ["TMPDIR": "/nowhere"], codes: [22], says: "TMPDIR /nowhere"
    ),
    Scratch(
      testDescription: "TMPDIR is read-only", mounts: "mount -t tmpfs -o ro none tmp", codes: [22], says: "set TMPDIR to it"),
    // restic buffers its packs there.
    Scratch(
      testDescription: "TMPDIR is full", mounts: "mount -t tmpfs -o size=1m none tmp", codes: [20, 23], says: "no space left"),
    Scratch(
      testDescription: "the cache cannot be written", mounts: "mount -t tmpfs -o ro none cache", codes: [22],
      says: "RESTIC_CACHE_DIR"),
    Scratch(
      testDescription: "the repository is read-only",
      mounts: "mount --bind repository repository; mount -o remount,ro,bind repository",
      codes: [23], says: "mount the repository writable"),
  ]

  @Test(arguments: scratches) func aBackupFailsInTimeSavesNoSetAndTheNextOneSucceeds(_ scratch: Scratch) async throws {
    let broken = try await Broken()
    try await broken.site.script("head -c 20000000 /dev/urandom > more")
    let begin = ContinuousClock().now
    let failed = try await Self.run(broken.site, "backup", mounts: scratch.mounts, with: scratch.settings)
    #expect(scratch.codes.contains(failed.code), "\(failed)")
    #expect(failed.errors.contains(scratch.says), "\(failed.errors)")
    #expect(ContinuousClock().now - begin < .seconds(600))
    #expect(broken.children() == [])
    #expect(try await broken.site.sets().count == 1)
    try await broken.succeed("backup")
    try await broken.expectPromises(["first first"], scratch.testDescription)
  }

  /// Somebody else fills the volume while a restore is being staged: it fails, and what is live is as it was.
  @Test func aVolumeThatFillsUpDuringARestoreLeavesWhatIsLive() async throws {
    let broken = try await Broken(megabytes: 10)
    let mounts = """
      mount -t tmpfs -o size=60m none files; cp -a kept/. files/; mkdir -p fill
      printf '#!/bin/sh\\ncase " $* " in *" restore "*) head -c 100m /dev/zero >%s/files/theirs ;; esac\\nPATH=${PATH#*:} exec restic "$@"\\n' "$ROOT" >fill/restic
      chmod 755 fill/restic
      """
    try await Shell.script("mkdir kept; cp -a files/. kept/", in: broken.site.root)
    let after = "code=$?; cat files/word; ls -A files/.backup-restore; echo $code"
    let line = "\(mounts)\nPATH=$ROOT/fill:$PATH \(Site.products)/restore --only files 2>errors && true; \(after)"
    let settings = broken.site.settings.merging(["ROOT": broken.site.root]) { $1 }
    let run = try await Shell.run(
      "unshare", ["--mount", "bash", "-uc", line], environment: settings, directory: broken.site.root, check: false)
    let errors = try String(contentsOfFile: broken.site.root + "/errors", encoding: .utf8)
    #expect(run.output.hasSuffix("first\n23\n"), "\(run) \(errors)")
    #expect(errors.contains("no space left on device"), "\(errors)")
    #expect(errors.contains("hint: look at the volume") && !errors.contains("check that the repository"), "\(errors)")
    try await broken.succeed("restore")
  }
}
