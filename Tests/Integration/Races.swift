import Foundation
import Support
import Testing

@testable import BackupRestore

/// Who wants a table for himself while a dump takes its locks, at any moment of that.
@Suite(.servers, .timeLimit(.minutes(45))) struct Races {
  /// Databases side by side, and in each so many sessions of an application.
  static let (lanes, sessions) = (10, 5)
  static let rounds = 4 * (ProcessInfo.processInfo.environment["FAULT_ROUNDS"].flatMap { Int($0) } ?? 1)

  /// In place of restic: waits for so many seconds, as a slow repository lets it, then runs pg_dump.
  static func repository(_ site: Site, delay: String) throws -> Repository {
    let path = try site.fake(
      "restic",
      """
      echo >>'\(site.root)/attempts'; sleep \(delay)
      while [ "$1" != -- ]; do shift; done
      shift; "$@" >/dev/null || { echo 'Fatal: command failed: exit status 1' >&2; exit 1; }
      echo '{"message_type":"summary","snapshot_id":"\(String(repeating: "0", count: 64))","total_bytes_processed":1}'
      """)
    let configuration = try Configuration(site.settings)
    return Repository(
      name: .database, settings: configuration.repository, waits: configuration.waits,
      base: site.settings.merging(["PATH": path]) { $1 })
  }

  /// Dumps once.
  static func dump(_ site: Site, delay: String) async throws -> DatabasePart {
    let configuration = try Configuration(site.settings)
    let (settings, clients) = (configuration.database!, Clients(directories: [15: Cluster.binaries]))
    let dump = try await Dump.prepare(site.database, settings, configuration.waits, clients: clients)
    return try await dump.save(
      into: try repository(site, delay: delay), set: .init(Date()), clients: clients, isPaused: false
    ).part
  }

  /// How long each of some statements waits that begin at random moments of a dump, and how many dumps began anew.
  static func lane(_ site: Site, _ stopwatch: Stopwatch) async throws -> (waited: [Duration], anew: Int) {
    let saved = Locked(0)
    let waited = try await waits(site, stopwatch, saved)
    let attempts = try String(contentsOfFile: site.root + "/attempts", encoding: .utf8).count
    return (waited, attempts - saved.value)
  }

  private static func waits(_ site: Site, _ stopwatch: Stopwatch, _ saved: Locked<Int>) async throws -> [Duration] {
    let configuration = try Configuration(site.settings)
    return try await withThrowingTaskGroup(of: [Duration].self) { group in
      let isOver = Locked(0)
      for number in 0..<Self.sessions {
        group.addTask {
          let session = try await Connection(configuration.database!, database: site.database, waits: configuration.waits)
          var waited: [Duration] = []
          for _ in 0..<Self.rounds {
            try await Task.sleep(for: .milliseconds(.random(in: 0...2500)))
            let table = "public.t\(Int.random(in: 0..<5))"
            let sql = ["TRUNCATE \(table)", "ALTER TABLE \(table) ADD c\(number) int; ALTER TABLE \(table) DROP c\(number)"]
            waited.append(try await stopwatch.time { try await session.execute(sql.randomElement()!) })
          }
          isOver.change { $0 += 1 }
          return waited
        }
      }
      group.addTask {
        while isOver.value < Self.sessions {
          let part = try await dump(site, delay: ["0", "1", "4"].randomElement()!)
          #expect(part.evidence?.tables.count == 5)
          saved.change { $0 += 1 }
        }
        return []
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
  }

  static func site() async throws -> (Site, Stopwatch) {
    let site = try await Site(cluster: try await Cluster.shared.value)
    try await site.createDatabase((0..<5).map { "CREATE TABLE public.t\($0) AS SELECT 1 AS a" }.joined(separator: ";"))
    let configuration = try Configuration(site.settings)
    let session = try await Connection(configuration.database!, database: "postgres", waits: configuration.waits)
    return (site, Stopwatch { _ = try await session.query("SELECT") })
  }

  @Test func nobodyStandsStillForLongWheneverHeComes() async throws {
    let stopwatch = try await Self.site().1
    var (waited, anew): ([Duration], Int) = ([], 0)
    try await withThrowingTaskGroup(of: (waited: [Duration], anew: Int).self) { group in
      for _ in 0..<Self.lanes { group.addTask { try await Self.lane(try await Self.site().0, stopwatch) } }
      for try await lane in group { (waited, anew) = (waited + lane.waited, anew + lane.anew) }
    }
    // They did meet.
    #expect(waited.count >= 200 && anew > 2, "\(anew) of \(waited.count)")
    #expect(waited.max()! <= .seconds(5), "\(waited.sorted().suffix(10))")
  }

  /// pg_dump has not even begun.
  @Test func aSlowRepositoryKeepsNobodyWaiting() async throws {
    let (site, stopwatch) = try await Self.site()
    async let part = Self.dump(site, delay: "12")
    let isHeld = "SELECT count(*) FROM pg_locks WHERE relation = 't0'::regclass"
    while try await site.sql(isHeld) == "0" { try await Task.sleep(for: .milliseconds(20)) }
    let waited = try await stopwatch.time { _ = try await site.sql("TRUNCATE t0") }
    #expect(waited <= .seconds(5), "\(waited)")
    #expect(try await part.evidence?.tables.map(\.rows) == [0, 1, 1, 1, 1])
  }
}
