import ArgumentParser
import Foundation
import Support

import BackupRestore

/// Figures beside the predecessor's sequence and beside the two pipelines that no backup can do without.
@main struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "docker/bench", abstract: "Measures backup and restore against the scripts they replace and against the limit.",
    discussion: "BENCH_SCALE=8 measures medium on eight times the data.")

  enum Figure: String, CaseIterable, ExpressibleByArgument { case small, medium, start, growth, list }

  @Argument(help: "Which figures; all unless named.") var figures: [Figure] = Figure.allCases
  @Option(help: "How often each is measured; the median counts.") var rounds = 5
  @Option(help: "How far the growth goes, in GB of database; files go with it.") var gigabytes = 0.8
  @Option(help: "Directory with init, backup and restore.") var programs: String
  @Flag(help: "Keep the results in README.md and docker/performance.svg.") var write = false

  mutating func run() async throws {
    programs = URL(filePath: programs).resolvingSymlinksInPath().path
    let scale = ProcessInfo.processInfo.environment["BENCH_SCALE"].flatMap { Double($0) } ?? 1
    var report = try Report.kept()
    for figure in figures {
      let machine = try await Machine.text(programs)
      switch figure {
      case .small: report.contests["small"] = try await contest(Amount(rows: 6000, files: 200, large: 2), machine)
      case .medium:
        let amount = Amount(rows: Int(1_300_000 * scale), files: Int(8000 * scale), large: Int(60 * scale))
        report.contests["medium"] = try await contest(amount, machine)
      case .start: report.start = try start(machine)
      case .growth: try await growth(&report, machine)
      case .list: report.growth["sets"] = try await list(machine)
      }
    }
    print(report.markdown)
    if write { try report.write() }
  }

  /// First backup, nightly ones and restores of one amount of data, everybody in turn.
  private func contest(_ amount: Amount, _ machine: String) async throws -> Contest {
    let ground = try await Ground(amount, programs: programs)
    let toolkit = Toolkit(ground: ground)
    let contestants: [any Contestant] = [Predecessor(ground: ground), Limit(ground: ground), toolkit]
    var first = Times(), nightly = Times(), restore = Times(), added = Times(), down = Times()
    for round in 1...rounds {
      for contestant in contestants {
        try await contestant.prepare()
        try await ground.settle()
        first[contestant.name].append(try await seconds { try await contestant.backup() })
      }
      first.tell("first backup", round)
    }
    for round in 1...rounds {
      try await ground.change(round)
      for contestant in contestants {
        let before = try await contestant.stored()
        try await ground.settle()
        nightly[contestant.name].append(try await seconds { try await contestant.backup() })
        added[contestant.name].append(try await contestant.stored() - before)
      }
      nightly.tell("nightly backup", round)
    }
    for round in 1...rounds {
      for contestant in contestants {
        try await contestant.clear()
        try await ground.settle()
        let away = try await Away(ground, contestant.database)
        restore[contestant.name].append(try await seconds { try await contestant.restore() })
        down[contestant.name].append(try await away.end())
      }
      restore.tell("restore", round)
    }
    try await ground.expectSame()
    try await toolkit.clear()
    let memory = [try await toolkit.peak("backup"), try await toolkit.peak("restore")].max()!
    return Contest(
      machine: machine, data: try await ground.size(),
      lines: [
        Line("first backup", "s", first), Line("nightly backup, 1 % changed", "s", nightly),
        Line("restore, verified and swapped", "s", restore),
        Line("without a whole database meanwhile", "s", down, withLimit: false),
        Line("added by a nightly backup", "bytes", added),
      ], memory: memory)
  }

  /// `--help`, and a shell that does nothing.
  private func start(_ machine: String) throws -> StartUp {
    var own: [Double] = [], shell: [Double] = []
    for _ in 0..<rounds * 8 {
      own.append(try milliseconds(programs + "/backup", "--help"))
      shell.append(try milliseconds("/bin/bash", "-c", "true"))
    }
    return StartUp(machine: machine, own: own.median, shell: shell.median)
  }

  /// How time and memory grow with the data.
  private func growth(_ report: inout Report, _ machine: String) async throws {
    let databases = [130_000, 1_040_000, 10_400_000].filter { Double($0) <= gigabytes * 1_300_000 }
    report.growth["database in MB"] = Growth(
      machine: machine, points: try await points(databases.map { Amount(rows: $0, files: 10, large: 0) }) { $0.database / 1e6 })
    let files = [1000, 8000, 64_000, 200_000].filter { Double($0) <= gigabytes * 25_000 }
    report.growth["files"] = Growth(
      machine: machine, points: try await points(files.map { Amount(rows: 10, files: $0, large: 0) }) { Double($0.count) })
  }

  private func points(_ amounts: [Amount], _ x: (Ground.Size) -> Double) async throws -> [Point] {
    var points: [Point] = []
    for amount in amounts {
      let ground = try await Ground(amount, programs: programs)
      let toolkit = Toolkit(ground: ground)
      var first: [Double] = [], nightly: [Double] = [], restore: [Double] = []
      for round in 1...max(1, rounds / 2) {
        try await toolkit.prepare()
        first.append(try await seconds { try await toolkit.backup() })
        try await ground.change(round)
        nightly.append(try await seconds { try await toolkit.backup() })
        restore.append(try await seconds { try await toolkit.restore() })
        try await toolkit.clear()
      }
      let memory = [try await toolkit.peak("backup"), try await toolkit.peak("restore")].max()!
      points.append(
        Point(
          x: x(try await ground.size()),
          times: ["first backup": first.median, "nightly backup": nightly.median, "restore": restore.median],
          memory: memory))
      print(points.last!)
    }
    return points
  }

  /// `restore --list` with many sets. Their records are made by restic itself, with the tags of a real one.
  private func list(_ machine: String) async throws -> Growth {
    let ground = try await Ground(Amount(rows: 10, files: 10, large: 0), programs: programs)
    let toolkit = Toolkit(ground: ground)
    try await toolkit.prepare()
    try await toolkit.backup()
    var points: [Point] = []
    for (made, count) in [(1, 10), (10, 100), (100, 1000)] {
      try await toolkit.addRecords(from: made, to: count)
      var times: [Double] = []
      for _ in 0..<rounds { times.append(try await seconds { try await toolkit.list(count) }) }
      points.append(
        Point(x: Double(count), times: ["restore --list": times.median], memory: try await toolkit.peak("restore", "--list")))
    }
    return Growth(machine: machine, points: points)
  }
}

/// Seconds, or bytes, by contestant and round.
struct Times {
  private var all: [String: [Double]] = [:]

  subscript(_ name: String) -> [Double] {
    get { all[name] ?? [] }
    set { all[name] = newValue }
  }

  /// The median of each round's own ratio, because the machine's speed drifts.
  func ratio(to name: String) -> Double { zip(self["toolkit"], self[name]).map { $0 / $1 }.median }

  func tell(_ what: String, _ round: Int) {
    let times = all.sorted { $0.key < $1.key }.map { "\($0.key) \(Report.number($0.value.last!))" }
    print("\(what) \(round): \(times.joined(separator: ", "))")
  }
}

extension [Double] {
  var median: Double {
    let sorted = self.sorted()
    if isEmpty { return .nan }
    return count % 2 == 1 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2
  }
}

func seconds(_ body: () async throws -> Void) async rethrows -> Double {
  let begin = ContinuousClock().now
  try await body()
  return begin.duration(to: .now).inSeconds
}
