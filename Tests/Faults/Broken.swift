import Foundation
import Glibc
import Support
import Testing

@testable import BackupRestore

/// How many rounds random faults get: FAULT_ROUNDS, for a long run.
let rounds = ProcessInfo.processInfo.environment["FAULT_ROUNDS"].flatMap { Int($0) } ?? 1

/// A site whose live state is one word: the same one in the table and in the file after every fault, or the toolkit broke its promise.
struct Broken: Sendable {
  let site: Site
  let cluster: Cluster

  init(_ settings: [String: String] = [:], cluster: Cluster? = nil, megabytes: Int = 20) async throws {
    // The shared one is started by the first who needs it.
    let server: Cluster
    if let cluster { server = cluster } else { server = try await Cluster.shared.value }
    try await self.init(in: try await Site(cluster: server, settings: settings), megabytes: megabytes)
  }

  init(in site: Site, megabytes: Int) async throws {
    self.site = site
    cluster = site.cluster!
    try await site.createDatabase("CREATE TABLE word (word text); INSERT INTO word VALUES ('first')")
    _ = try await site.sql(
      "CREATE TABLE rest AS SELECT g AS id, md5(g::text) AS text FROM generate_series(1, 50000) g; CREATE INDEX ON rest (text)")
    try await site.script(
      "echo first > word; mkdir d; for i in $(seq 200); do echo $i > d/$i; done; head -c \(megabytes << 20) /dev/urandom > big")
    try await succeed("init")
    try await succeed("backup")
  }

  /// `first first`: what the database and the files say.
  func live() async throws -> String {
    try await site.sql("SELECT word FROM word") + " " + Shell.script("cat word", in: site.files).trimming(" \n")
  }

  func write(_ word: String) async throws {
    _ = try await site.sql("UPDATE word SET word = '\(word)'")
    try await site.script("echo \(word) > word.new; mv word.new word")
  }

  @discardableResult
  func succeed(
    _ program: String, _ arguments: String..., with changes: [String: String?] = [:],
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> Shell.Result {
    let result = try await site.run(program, arguments, with: changes)
    #expect(result.code == 0, "\(program) \(arguments): \(result.errors)", sourceLocation: sourceLocation)
    return result
  }

  /// What a run left after it was ended, and how.
  struct Ended: Sendable {
    let code: Int
    let seconds: Double
    let errors: String
  }

  /// Starts a program and sends it, or those of its children that are called `child`, a signal after `delay` seconds; where there is no
  /// such child yet, as soon as there is one.
  func interrupted(
    _ program: String, _ arguments: [String] = [], signal: Int32, after delay: Double, child: String? = nil,
    with changes: [String: String?] = [:]
  ) async throws -> Ended {
    // pg_dump is a child of restic.
    let parents = child == "pg_dump" ? "$(pgrep -P $pid -x restic | paste -sd,)" : "$pid"
    let target = child.map { "$(pgrep -P \(parents) -x '\($0)')" } ?? "$pid"
    let script = """
      \(([Site.products + "/" + program] + arguments).map { "'\($0)'" }.joined(separator: " ")) >output 2>errors & pid=$!
      sleep \(delay); until target=\(target); [ -n "$target" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
      kill -\(signal) $target 2>/dev/null || true; begin=$(date +%s%N)
      wait $pid && code=0 || code=$?; echo $code $(( ($(date +%s%N) - begin) / 1000000 ))
      """
    let words = try await Shell.script(
      script, in: site.root, environment: site.settings.merging(changes.compactMapValues { $0 }) { $1 }
    ).split {
      " \n".contains($0)
    }
    let errors = try String(contentsOfFile: site.root + "/errors", encoding: .utf8)
    return Ended(code: Int(words[0]) ?? -1, seconds: (Double(words[1]) ?? 0) / 1000, errors: errors)
  }

  /// PATH with PostgreSQL's programs, of which pg_restore runs `script` before it loads anything.
  func beforeLoading(_ script: String) throws -> [String: String?] {
    let path = try site.fake(
      "pg_restore", "case \"$*\" in --dbname=*)\n\(script)\n;; esac >&2 </dev/null\nexec \(Cluster.binaries)/pg_restore \"$@\"")
    for name in ["pg_dump", "psql"] {
      let link = site.root + "/fake-pg_restore/" + name
      if access(link, X_OK) != 0 {
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: Cluster.binaries + "/" + name)
      }
    }
    return ["PATH": path]
  }

  /// Loads nothing before there is a file `go` in the site's directory.
  func heldBeforeLoading() throws -> [String: String?] {
    try beforeLoading("until [ -e '\(site.root)/go' ]; do sleep 0.05; done")
  }

  /// What earlier restores and rollbacks keep, by id.
  func kept() async throws -> [String] {
    let lines = try await site.status().output.split(separator: "\n")
    return lines.compactMap { $0.split(separator: " ").first.map(String.init) }.filter { SetID($0) != nil }
  }

  func discardKept() async throws {
    for id in try await kept() { try await succeed("restore", "--discard-previous", id) }
  }

  /// How long a run takes that nobody disturbs, so that faults come at any moment of it.
  func seconds(_ program: String, _ arguments: String...) async throws -> Double {
    let begin = ContinuousClock().now
    #expect(try await site.run(program, arguments).code == 0)
    return begin.duration(to: .now).inSeconds
  }

  /// Children that outlived their run: they have its scratch directory in their environment.
  func children() -> [String] {
    let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return processes.filter { pid_t($0) != nil }.compactMap { process in
      guard let environment = FileManager.default.contents(atPath: "/proc/\(process)/environ"),
        environment.range(of: Data("TMPDIR=\(site.root)/tmp".utf8)) != nil
      else { return nil }
      let words = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") ?? Data()
      return String(decoding: words.map { $0 == 0 ? 0x20 : $0 }, as: UTF8.self)
    }
  }

  /// What must hold after any fault, and after the next run of `backup`: no record without its parts, nothing left behind.
  func expectPromises(_ live: Set<String>, _ fault: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let now = try await self.live()
    #expect(live.contains(now), "after \(fault): \(now)", sourceLocation: sourceLocation)
    let list = try await site.run("restore", ["--list"])
    #expect(list.code == 0 && !list.output.contains("damaged"), "after \(fault): \(list)", sourceLocation: sourceLocation)
  }

  /// Nothing of a restore is unfinished or staged any more.
  func expectTidy(_ fault: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let status = try await site.status()
    #expect(status.code == 0, "\(status)", sourceLocation: sourceLocation)
    for word in ["unfinished", "staging", "in progress"] {
      #expect(!status.output.contains(word), "after \(fault): \(status.output)", sourceLocation: sourceLocation)
    }
    try await site.untilIdle()
    #expect(children() == [], "after \(fault)", sourceLocation: sourceLocation)
  }
}
