import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// Nobody reads, nobody answers: a run goes on, or ends and says why.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Still {
  /// Runs a program on a terminal or a pipe that is full or stopped, sends it SIGTERM where standard input says so, and prints how it
  /// ended; then what it had to say.
  static let unread = """
    import os, pty, subprocess, sys, termios
    kind, signal, program = sys.argv[1], sys.argv[2], sys.argv[3:]
    reader, writer = os.pipe() if kind == 'pipe' else pty.openpty()
    if kind == 'stopped': termios.tcflow(writer, termios.TCOOFF)
    else:
        os.set_blocking(writer, False)
        try:
            while True: os.write(writer, b'x')
        except BlockingIOError: pass
        os.set_blocking(writer, True)
    run = subprocess.Popen(program, stdout=writer, stderr=writer, start_new_session=True)
    if signal:
        while not os.path.exists(signal): pass
        run.terminate()
    code = run.wait(timeout=300)
    if kind == 'stopped': termios.tcflow(writer, termios.TCOON)
    os.close(writer)
    said = b''
    try:
        while part := os.read(reader, 65536): said += part
    except OSError: pass
    print(code, said.replace(b'x', b'').decode())
    """

  @Test(arguments: ["full", "stopped", "pipe"]) func aScreenThatNobodyReadsHoldsUpNoRun(_ kind: String) async throws {
    let broken = try await Broken(megabytes: 1)
    try await broken.write("second")
    for (program, arguments) in [("backup", ["--check"]), ("restore", ["--drill"])] {
      let run = try await Shell.run(
        "python3", ["-c", Self.unread, kind, "", Site.products + "/" + program] + arguments, environment: broken.site.settings)
      #expect(run.output.hasPrefix("0 "), "\(run)")
    }
    #expect(try await broken.live() == "second second")
    try await broken.expectTidy("a screen that nobody reads")
  }

  @Test(arguments: ["full", "stopped", "pipe"]) func aRunWhoseScreenNobodyReadsHearsSIGTERM(_ kind: String) async throws {
    let broken = try await Broken(megabytes: 1)
    let loading = broken.site.root + "/loading"
    let changes = try broken.beforeLoading("touch '\(loading)'; sleep 600")
    let run = try await Shell.run(
      "python3", ["-c", Self.unread, kind, loading, Site.products + "/restore"],
      environment: broken.site.settings.merging(changes.compactMapValues { $0 }) { $1 })
    #expect(run.output.hasPrefix("143 "), "\(run)")
    try await broken.expectTidy("SIGTERM to a run whose screen nobody reads")
  }

  /// What `kubectl logs` shows, where nobody collects it.
  @Test func aPodsLogThatNobodyReadsHoldsUpNoRun() async throws {
    let broken = try await Broken(megabytes: 1)
    let script = """
      mkfifo log; exec 3<>log; dd if=/dev/zero of=log oflag=nonblock bs=4096 2>dd || true
      unshare --pid --fork --mount-proc sh -c 'exec \(Site.products)/init --wait' 2>&3 & parent=$!
      until pid=$(pgrep -P $parent) && grep -q -- --wait /proc/$pid/cmdline; do sleep 0.05; done
      nsenter --target $pid --pid --mount \(Site.products)/backup >output 2>&1; echo $?
      kill -TERM $pid; wait $parent; echo $?
      """
    #expect(try await Shell.script(script, in: broken.site.root, environment: broken.site.settings) == "0\n0\n")
  }

  // MARK: The server

  /// Stops or continues the server with all its sessions, as a paused virtual machine is.
  static func signal(_ number: Int32, _ cluster: Cluster) async throws {
    let server = try #require(cluster.pid)
    if number == SIGSTOP { kill(server, number) }
    for child in try await Shell.script("pgrep -P \(server) || true", in: "/").split(separator: "\n") {
      kill(pid_t(child)!, number)
    }
    if number == SIGCONT { kill(server, number) }
  }

  /// A table whose index takes some seconds for its one row.
  static func slowIndex(_ broken: Broken, _ body: String) async throws {
    _ = try await broken.site.sql(
      """
      CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
      DECLARE since timestamptz := clock_timestamp();
      BEGIN \(body); RETURN $1; END $$;
      CREATE TABLE one AS SELECT 1 AS id; CREATE INDEX slow ON one (public.slow(id))
      """)
    try await broken.succeed("backup")
  }

  static let computing = "WHILE clock_timestamp() < since + interval '12 s' LOOP END LOOP"

  /// It works, though nothing but the processor tells; and it is told to sleep.
  @Test(arguments: [computing, "PERFORM pg_sleep(12)"]) func anIndexThatTakesLongerThanTheDeadlineIsBuilt(_ body: String)
    async throws
  {
    let broken = try await Broken(megabytes: 1)
    try await Self.slowIndex(broken, body)
    try await broken.succeed("restore", with: ["STALL_TIMEOUT": "4"])
    #expect(try await broken.site.sql("SELECT public.slow(id) FROM one") == "1")
  }

  /// In the middle of an index, where nothing is on its way between client and server.
  @Test func aBackendThatStandsStillEndsARestoreAndIsNamed() async throws {
    let broken = try await Broken(cluster: try await Cluster(), megabytes: 1)
    try await Self.slowIndex(broken, Self.computing)
    try await broken.write("second")
    async let restoring = broken.site.run("restore", with: ["STALL_TIMEOUT": "4"])
    let building =
      "FROM pg_stat_activity WHERE datname LIKE '%.staging.%' AND state = 'active' AND query LIKE 'CREATE INDEX slow%'"
    try await Sessions.until(broken, "EXISTS (SELECT \(building))", seconds: 120)
    let pid = try await broken.cluster.psql("postgres", "SELECT pid \(building) LIMIT 1").output.trimming("\n")
    kill(try #require(pid_t(pid)), SIGSTOP)
    let ended = try await restoring
    #expect(ended.code == 20, "\(ended)")
    #expect(ended.errors.contains("session \(pid) is active") && ended.errors.contains("STALL_TIMEOUT"), "\(ended)")
    kill(try #require(pid_t(pid)), SIGCONT)
    #expect(try await broken.live() == "second second")
    try await broken.succeed("restore")
    try await broken.expectTidy("a backend that stood still")
  }

  /// pg_restore itself asks for no deadline, and takes one back that it is given.
  @Test func aLockInStagingIsWaitedForByLockWait() async throws {
    let broken = try await Broken(["LOCK_WAIT": "2"], megabytes: 1)
    let psql = "PGAPPNAME=meddler '\(Cluster.binaries)/psql' -XAtqc"
    let changes = try broken.beforeLoading(
      """
      '\(Cluster.binaries)/pg_restore' --section=pre-data "$@"
      \(psql) 'BEGIN; LOCK TABLE rest; SELECT pg_sleep(600)' >/dev/null 2>&1 &
      until [ "$(\(psql) "SELECT count(*) FROM pg_locks WHERE relation = 'rest'::regclass AND granted")" = 1 ]; do sleep 0.05; done
      set -- --section=data --section=post-data "$@"
      """)
    let ended = try await broken.site.run("restore", with: changes)
    #expect(ended.code == 20 && ended.errors.contains("for a lock that session "), "\(ended)")
    #expect(ended.errors.contains("(meddler) holds") && ended.errors.contains("LOCK_WAIT"), "\(ended)")
    try await broken.expectTidy("a lock in staging")
  }

  /// The kernel of its machine answers, and nothing else: TCP never notices.
  @Test(arguments: ["backup", "restore"], [true, false]) func aServerThatStandsStillEndsARun(
    _ program: String, _ bySignal: Bool
  ) async throws {
    let broken = try await Broken(cluster: try await Cluster(), megabytes: 1)
    try await broken.write("second")
    let held = "touch '\(broken.site.root)/held'; until [ -e '\(broken.site.root)/go' ]; do sleep 0.05; done"
    var changes = try broken.beforeLoading(held)
    if program == "backup" {
      changes = [
        "PATH": try broken.site.fake(
          "restic", "PATH=${PATH#*:}\ncase \" $* \" in *kind=database*) \(held) ;; esac\nexec restic \"$@\"")
      ]
    }
    changes["STALL_TIMEOUT"] = bySignal ? nil : "5"
    let environment = broken.site.settings.merging(changes.compactMapValues { $0 }) { $1 }
    async let running = Shell.script(
      """
      \(Site.products)/\(program) >output 2>errors & until [ -e go ]; do sleep 0.05; done
      \(bySignal ? "kill -TERM $!" : ":")
      wait $! && echo 0 || echo $?
      """, in: broken.site.root, environment: environment)
    try await broken.site.until("[ -e held ]")
    try await Self.signal(SIGSTOP, broken.cluster)
    try await Shell.script("touch go", in: broken.site.root)
    let code: String
    do { code = try await running } catch {
      try await Self.signal(SIGCONT, broken.cluster)
      throw error
    }
    try await Self.signal(SIGCONT, broken.cluster)
    let errors = try String(contentsOfFile: broken.site.root + "/errors", encoding: .utf8)
    #expect(bySignal ? code == "143\n" : ["20\n", "23\n"].contains(code), "\(code) \(errors)")
    #expect(bySignal || errors.contains("STALL_TIMEOUT"), "\(errors)")
    try await broken.succeed("backup")
    try await broken.expectPromises(["second second"], "a server that stood still")
  }
}
