import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// The application is in somebody else's hands, and wants more than it has: what it may write is FILES_DIRECTORY, and nothing else
/// changes, whatever it does there while the toolkit is at work.
@Suite(.serialized, .servers, .timeLimit(.minutes(60))) struct HostileApplication {
  /// A set, a live state that differs from it, and beside them a tree that belongs to root.
  struct Ground: Sendable {
    let site: Site
    var sentinel: String { site.root + "/sentinel" }

    static let user = "4242"

    init(
      paths: Bool = false, cluster: Cluster? = nil, _ prepare: (Site) async throws -> Void = { _ in }
    ) async throws {
      site = try await Site(cluster: cluster, settings: paths ? ["FILES_PATHS": "word,d/e"] : [:])
      try await prepare(site)
      let root = "mkdir -p sentinel/20200101T000000Z/tree sentinel/d/e; echo root's >sentinel/word; echo root's >sentinel/d/e/f"
      try await Shell.script("\(root); chmod -R go= sentinel", in: site.root)
      try await site.script("mkdir -p d/e; echo first >word; echo first >d/e/f; chown -R \(Self.user) .")
      #expect(try await site.run("init").code == 0)
      try await succeed("backup")
      try await site.script("echo second >word; echo second >d/e/f")
    }

    /// In FILES_DIRECTORY, as the application.
    @discardableResult
    func application(_ script: String) async throws -> Shell.Result {
      try await Shell.run(
        "setpriv",
        ["--reuid=\(Self.user)", "--regid=\(Self.user)", "--clear-groups", "bash", "-c", "cd '\(site.files)'; \(script)"])
    }

    @discardableResult
    func succeed(_ program: String, _ arguments: String..., with changes: [String: String?] = [:]) async throws -> Shell.Result {
      let run = try await site.run(program, arguments, with: changes)
      #expect(run.code == 0, "\(program) \(arguments): \(run.errors)")
      return run
    }

    /// The uid's, until it is stopped.
    func attack() -> Daemon {
      Daemon(
        "setpriv",
        ["--reuid=\(Self.user)", "--regid=\(Self.user)", "--clear-groups", "/usr/bin/python3"]
          + ["\(Preloaded.sources)/hostile-application.py", site.files, sentinel],
        log: site.root + "/attack")
    }

    /// All that is not the application's: the sentinel, and that the repositories are whole.
    func outside() async throws -> String {
      try await fingerprint(sentinel)
        + Shell.script("stat -c '%n %U %a %i' sentinel repository repository/* tmp cache", in: site.root)
    }

    func expectWhole() async throws {
      for name in ["files", "sets"] + (site.cluster == nil ? [] : ["pg-database"]) {
        let check = try await site.restic(name, ["check", "--read-data"], check: false)
        #expect(check.code == 0, "\(name): \(check)")
      }
    }

    func words() async throws -> String { try await Shell.script("cat word d/e/f", in: site.files).replacing("\n", with: " ") }

    /// PATH with a restic that, before it restores, does this as the application.
    func whileRestoring(_ script: String) throws -> [String: String?] {
      let body = "cd '\(site.files)'; \(script)".replacing("'", with: "'\\''")
      return [
        "PATH": try site.fake(
          "restic",
          """
          PATH=${PATH#*:}
          [ "$2" != restore ] || setpriv --reuid=\(Self.user) --regid=\(Self.user) --clear-groups bash -c '\(body)' >&2
          exec restic "$@"
          """)
      ]
    }
  }

  /// What the application makes in the toolkit's place; `$OUT` is a tree of root's that it may not enter.
  static let planted = [
    "ln -s $OUT .backup-restore", "mkfifo .backup-restore", "echo x >.backup-restore", "mkdir .backup-restore",
    "mkdir -m 777 .backup-restore; mkdir -m 777 $ID; ln -s $OUT/word $ID/journal.json.new; echo '$READY' >$ID/journal.json",
    "mkdir .backup-restore; ln -s $OUT/20200101T000000Z $ID",
    "mkdir -p $ID/tree $ID/sentinel; echo x >$ID/sentinel/word; echo '$AWAY' >$ID/journal.json",
    "mkdir -p $ID; mkfifo $ID/journal.json", "mkdir -p $ID; truncate -s 9G $ID/journal.json",
  ]

  static func planted(_ text: String, _ ground: Ground) -> String {
    let journal = #"{"id":"20200101T000000Z","phase":"ready","renames":[],"paths":[],"entries":[ENTRY]}"#
    let entry = #"{"path":"../sentinel/word","staged":{"inode":1},"live":null}"#
    return text.replacing("$OUT", with: ground.sentinel).replacing("$ID", with: ".backup-restore/20200101T000000Z")
      .replacing("$READY", with: journal.replacing("ENTRY", with: "")).replacing(
        "$AWAY", with: journal.replacing("ENTRY", with: entry))
  }

  @Test(arguments: [false, true]) func aPlantedNameIsToldByNameAndStopsNoBackup(besideTheToolkits: Bool) async throws {
    let ground = try await Ground()
    if besideTheToolkits {
      try await ground.succeed("restore")
      try await ground.site.script("echo second >word; echo second >d/e/f; chown -R \(Ground.user) word d")
    }
    let before = try await (ground.outside(), fingerprint(ground.site.files))
    var sets = try await ground.site.sets().count
    for (index, text) in Self.planted.enumerated() where rounds > 1 || (index % 2 == 0) == besideTheToolkits {
      try await ground.application(
        "\(besideTheToolkits ? "mv -T .backup-restore .own; " : "")\(Self.planted(text, ground))")
      let backup = try await ground.site.run("backup")
      #expect(backup.code == 4 && backup.errors.contains("\(ground.site.files)/.backup-restore"), "\(text): \(backup)")
      sets += 1
      for arguments in [[], ["--drill"], ["--in-place"], ["--rollback"], ["--discard-previous"]] {
        let run = try await ground.site.run("restore", arguments)
        #expect(
          run.code == 22 && run.errors.contains("mv -T \(ground.site.files)/.backup-restore ")
            && run.errors.contains("mv -T \(ground.site.files)/.own \(ground.site.files)/.backup-restore") == besideTheToolkits,
          "\(text): restore \(arguments): \(run)")
      }
      let status = try await ground.site.status()
      #expect(status.code == 0 && status.output.contains("unknown: \(ground.site.files)/.backup-restore"), "\(text): \(status)")
      try await ground.application("rm -rf .backup-restore; \(besideTheToolkits ? "mv -T .own .backup-restore" : ":")")
      #expect(try await ground.words() == "second second ", "\(text)")
    }
    let after = try await (ground.outside(), fingerprint(ground.site.files))
    expectSame(before.0, after.0)
    expectSame(before.1, after.1)
    #expect(try await ground.site.sets().count == sets)
    try await ground.expectWhole()
    try await ground.succeed("restore", besideTheToolkits ? "--rollback" : "--drill")
  }

  /// Its set is saved, and its check can take hours: the name is moved away meanwhile, and a restore begins.
  @Test func aPlantedNameKeepsNoRestoreWaitingForACheck() async throws {
    let ground = try await Ground()
    try await ground.application("ln -s \(ground.sentinel) .backup-restore")
    let path = try ground.site.fake(
      "restic",
      """
      PATH=${PATH#*:}
      case " $* " in *" check "*) touch '\(ground.site.root)/held'; until [ -e '\(ground.site.root)/go' ]; do sleep 0.05; done ;; esac
      exec restic "$@"
      """)
    let night = try ground.site.start("backup", ["--check"], with: ["PATH": path])
    try await ground.site.until("[ -e held ]")
    try await ground.application("rm .backup-restore")
    try await ground.succeed("restore", try await ground.site.sets()[0], with: ["LOCK_WAIT": "0"])
    #expect(try await ground.words() == "first first ")
    try await Shell.script("touch go", in: ground.site.root)
    #expect(try await night.result.code == 4)
  }

  /// While restic builds what is to replace the live files, the application puts a link in its place.
  @Test(arguments: [[], ["--drill"]]) func aLinkInThePlaceOfStagingLeadsResticNowhere(arguments: [String]) async throws {
    let ground = try await Ground()
    let before = try await ground.outside()
    // By any name that the restore may have: it is the second it began.
    let swap = """
      mv -T .backup-restore .own; mkdir .backup-restore; cd .backup-restore; printf -v now "%(%s)T"
      for s in $(seq 600); do
      TZ=UTC printf -v id "%(%Y%m%dT%H%M%SZ)T" $((now + 9 - s)); ln -s \(ground.sentinel)/20200101T000000Z $id; done
      """
    let run = try await ground.site.run("restore", arguments, with: try ground.whileRestoring(swap))
    #expect(run.code == 22, "\(run)")
    expectSame(before, try await ground.outside())
    #expect(try await ground.words() == "second second ")
    try await ground.application("rm -rf .backup-restore; mv -T .own .backup-restore")
    try await ground.succeed("restore")
    #expect(try await ground.words() == "first first ")
  }

  /// Renamed aside with nothing in its place: what is live afterwards would have no way back.
  @Test func stagingThatIsRenamedAsideIsNotSwappedIn() async throws {
    let ground = try await Ground()
    let run = try await ground.site.run("restore", with: try ground.whileRestoring("mv -T .backup-restore .own"))
    #expect(run.code == 22 && run.errors.contains("somebody renamed .backup-restore"), "\(run)")
    #expect(try await ground.words() == "second second ")
  }

  /// In place nothing that the application does to the live directory reaches what restic writes.
  @Test(arguments: [false, true]) func aLinkInTheLiveTreeLeadsARestoreInPlaceNowhere(paths: Bool) async throws {
    let ground = try await Ground(paths: paths)
    let before = try await ground.outside()
    let link = "rm -rf d; ln -s \(ground.sentinel)/d d; ln -sf \(ground.sentinel)/word word"
    let run = try await ground.site.run("restore", ["--in-place"], with: try ground.whileRestoring(link))
    #expect(paths ? run.code != 0 : run.code == 0, "\(run)")
    expectSame(before, try await ground.outside())
    if paths {
      // A link on the way to what is restored.
      try await ground.application("rm d")
      try await ground.succeed("restore", "--in-place", try await ground.site.sets()[0])
    }
    #expect(try await ground.words() == "first first ")
  }

  @Test func aLinkOnTheWayToWhatIsSavedIsNotFollowed() async throws {
    let ground = try await Ground(paths: true)
    try await ground.application("mv d aside; ln -s \(ground.sentinel)/d d")
    let run = try await ground.site.run("backup")
    #expect(run.code == 20 && run.errors.contains("\(ground.site.files)/d on the way to d/e is not a directory"), "\(run)")
    #expect(try await ground.site.sets().count == 1)
  }

  /// Its role may make databases, and whoever owns one may name it.
  @Test func aDatabaseCalledLikeAKeptOneIsNeitherBroughtBackNorKeptInItsPlace() async throws {
    let broken = try await Broken(megabytes: 1)
    func plant(_ id: String) async throws -> String {
      let name = DatabaseName.previous(broken.site.database, try #require(RestoreID(id)))
      try await broken.cluster.psql("postgres", "CREATE DATABASE \"\(name)\"")
      try await broken.cluster.psql(name, "CREATE TABLE word AS SELECT 'planted' AS word")
      return name
    }
    // Newer than all that restores kept, and the name that a restore of files alone would have given one.
    try await broken.write("second")
    try await broken.succeed("restore")
    var planted = [try await plant("29990101T000000Z")]
    let rolled = try await broken.succeed("restore", "--rollback")
    #expect(try await broken.live() == "second second")
    #expect(rolled.errors.contains("no restore of this application kept it"), "\(rolled)")
    try await broken.discardKept()
    try await broken.succeed("restore", "--only", "files")
    planted.append(try await plant(try #require(try await broken.kept().last)))
    try await broken.succeed("restore", "--rollback")
    #expect(try await broken.live() == "second second")
    // And of today, without what a restore writes on it.
    try await broken.discardKept()
    planted.append(try await plant("20260101T000000Z"))
    #expect(try await broken.site.run("restore", ["--rollback"]).code == 22)
    try await broken.succeed("restore")
    try await broken.succeed("restore", "--discard-previous", "--keep", "1")
    #expect(try await broken.kept().count == 1)
    for name in planted { try await broken.cluster.psql("postgres", "DROP DATABASE \"\(name)\"") }
  }
}
