import Foundation
import Support

import BackupRestore

/// One line of a contest's table: medians, and the medians of each round's ratio.
struct Line: Codable {
  let figure: String
  let unit: String
  let toolkit: Double
  let predecessor: Double
  let limit: Double?
  let toPredecessor: Double
  let toLimit: Double?

  init(_ figure: String, _ unit: String, _ times: Times, withLimit: Bool = true) {
    (self.figure, self.unit) = (figure, unit)
    (toolkit, predecessor) = (times["toolkit"].median, times["predecessor"].median)
    limit = withLimit ? times["limit"].median : nil
    toPredecessor = times.ratio(to: "predecessor")
    toLimit = withLimit ? times.ratio(to: "limit") : nil
  }
}

struct Contest: Codable {
  let machine: String
  let data: Ground.Size
  let lines: [Line]
  /// In MB.
  let memory: Double
}

/// In milliseconds.
struct StartUp: Codable {
  let machine: String
  let own: Double
  let shell: Double
}

struct Growth: Codable {
  let machine: String
  let points: [Point]
}

struct Point: Codable {
  let x: Double
  /// Seconds by what was done.
  let times: [String: Double]
  /// In MB.
  let memory: Double
}

/// The latest result of each figure, kept in a file from which the README's section is made.
struct Report: Codable {
  var contests: [String: Contest] = [:]
  var start: StartUp?
  var growth: [String: Growth] = [:]

  private static let results = "docker/performance.json"
  private static let plot = "docker/performance.svg"
  private static let marks = (begin: "<!-- made by docker/bench -->\n", end: "<!-- end of what docker/bench made -->\n")

  static func kept() throws -> Report {
    guard let data = FileManager.default.contents(atPath: results) else { return Report() }
    return try JSONDecoder().decode(Report.self, from: data)
  }

  func write() throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    try encoder.encode(self).write(to: URL(fileURLWithPath: Self.results))
    try Plot(growth).svg.write(toFile: Self.plot, atomically: true, encoding: .utf8)
    let readme = try String(contentsOfFile: "README.md", encoding: .utf8)
    guard let begin = readme.firstRange(of: Self.marks.begin), let end = readme.firstRange(of: Self.marks.end) else {
      throw Different(what: "README.md has no place for the results")
    }
    try (readme[..<begin.upperBound] + markdown + readme[end.lowerBound...]).write(
      toFile: "README.md", atomically: true, encoding: .utf8)
  }

  var markdown: String {
    var text = ""
    for name in ["small", "medium"] {
      guard let contest = contests[name] else { continue }
      let data = contest.data
      text += """
        **\(name.capitalized)**: a database of \(Format.bytes(Int(data.database))), \(Format.bytes(Int(data.files))) in \
        \(Format.count(data.count)) files. \(contest.machine)

        | | Toolkit | Scripts before | Limit | to the scripts | to the limit |
        |---|---|---|---|---|---|

        """
      for line in contest.lines {
        text += "| \(line.figure) | \(shown(line.toolkit, line.unit)) | \(shown(line.predecessor, line.unit)) | "
        text += "\(line.limit.map { shown($0, line.unit) } ?? "") | \(Self.number(line.toPredecessor)) | "
        text += "\(line.toLimit.map(Self.number) ?? "") |\n"
      }
      text += "\nPeak memory of the toolkit's own process: \(Self.number(contest.memory)) MB.\n\n"
    }
    if let start {
      text +=
        "**Start**: `backup --help` \(Self.number(start.own)) ms, `bash -c true` \(Self.number(start.shell)) ms. \(start.machine)\n\n"
    }
    for (kind, growth) in growth.sorted(by: { $0.key < $1.key }) {
      let columns = growth.points.first?.times.keys.sorted() ?? []
      text += "**Growth with \(kind)**. \(growth.machine)\n\n| \(kind) | \(columns.joined(separator: " | ")) | memory |\n|---|"
      text += String(repeating: "---|", count: columns.count + 1) + "\n"
      for point in growth.points {
        let times = columns.map { Self.number(point.times[$0] ?? .nan) + " s" }.joined(separator: " | ")
        text += "| \(Format.count(Int(point.x))) | \(times) | \(Self.number(point.memory)) MB |\n"
      }
      text += "\n"
    }
    return text
  }

  private func shown(_ value: Double, _ unit: String) -> String {
    unit == "bytes" ? Format.bytes(Int(value)) : Self.number(value) + " " + unit
  }

  /// Three digits that count.
  static func number(_ value: Double) -> String {
    let places = value >= 100 ? 0 : value >= 10 ? 1 : value >= 0.1 ? 2 : 4
    return String(format: "%.\(places)f", value)
  }
}

/// What it was measured on.
enum Machine {
  static func text(_ programs: String) async throws -> String {
    let script = """
      echo "$(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)), \\
      $(awk '/MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo); $(restic version | cut -d' ' -f1,2); \\
      PostgreSQL $(\(Cluster.binaries)/postgres --version | cut -d' ' -f3); $(date -u +%F)."
      """
    return try await Shell.script(script, in: programs).trimming("\n")
  }
}
