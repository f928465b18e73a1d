import FoundationEssentials
import SystemPackage
import Testing

@testable import BackupRestore

/// A directory of its own, removed when the test is over.
final class Temporary: Sendable {
  let path: FilePath

  /// In memory where that is possible: every exchange ends with a sync of its file system.
  init(onDisk: Bool = false) throws {
    let memory = onDisk || !FileManager.default.isWritableFile(atPath: "/dev/shm") ? nil : "/dev/shm"
    path = FilePath(
      "\(memory ?? FileManager.default.temporaryDirectory.path)/backup-restore-unit.\(UInt64.random(in: 0 ... .max))")
    try Tree.makeDirectory(path)
  }

  deinit { try? Tree.remove(path) }

  /// The path of a new file with this content.
  func file(_ content: String, _ name: String = "value", mode: UInt16 = 0o600) throws -> String {
    let file = path.appending(name)
    let descriptor = try FileDescriptor.open(
      file, .writeOnly, options: [.create, .truncate], permissions: FilePermissions(rawValue: UInt32(mode)))
    try descriptor.closeAfter { _ = try descriptor.writeAll(content.utf8) }
    return file.string
  }
}

/// The smallest environment that is complete.
let smallest = ["RESTIC_REPOSITORY": "/r", "RESTIC_PASSWORD": "open sesame", "FILES_DIRECTORY": "/srv/app"]

func configuration(_ variables: [String: String] = [:]) throws -> Configuration {
  try Configuration(smallest.merging(variables) { $1 })
}

/// With a database that can be reached by these variables.
func databaseSettings(_ variables: [String: String] = [:]) throws -> DatabaseSettings {
  let needed = ["POSTGRES_DB": "app", "POSTGRES_USER": "owner", "POSTGRES_HOST": "db:5432"]
  return try #require(try configuration(needed.merging(variables) { $1 }).database)
}

func failure(_ body: () throws -> Void) -> Failure? {
  do { try body() } catch { return error as? Failure }
  return nil
}

/// The problems of a configuration, each with its hint; empty when there is none.
func problems(_ variables: [String: String]) -> [Problem] {
  failure { _ = try configuration(variables) }?.problems ?? []
}

func repository(
  _ variables: [String: String] = [:], _ name: RepositoryName = .files, base: [String: String] = ["PATH": "/bin"]
) throws -> Repository {
  let configuration = try configuration(variables)
  return Repository(name: name, settings: configuration.repository, waits: configuration.waits, base: base)
}

extension SecondID {
  /// The id of a day in January 2026, for tests where only the order matters.
  static func day(_ day: Int) -> Self { Self("202601\(day < 10 ? "0" : "")\(day)T230000Z")! }
}

func snapshot(
  _ id: String, host: String? = "app", paths: [String]? = nil, _ tags: [String], time: String = "2026-01-01T23:00:00Z"
) -> Snapshot {
  Snapshot(id: id, time: time, hostname: host, paths: paths, tags: tags, summary: nil)
}

func databasePart(_ name: String = "app", rows: Int = 10, snapshot: String = "d1") -> DatabasePart {
  DatabasePart(
    snapshot: snapshot, name: name, archive: "/\(name).dump", bytes: 2048, pgDump: 15, properties: properties(), roles: [],
    evidence: evidence(tables: [TableEvidence(name: "public.t", rows: rows, hash: "7", hashed: true)]))
}

func evidence(
  tables: [TableEvidence] = [], sequences: [SequenceEvidence] = [], views: [MaterializedView] = [], extensions: [String] = [],
  objects: LargeObjects = LargeObjects(count: 0, hash: nil, hashed: true)
) -> DatabaseEvidence {
  DatabaseEvidence(
    tables: tables, sequences: sequences, materializedViews: views, extensions: extensions, largeObjects: objects)
}

func filesPart(entries: Int, snapshot: String = "f1") -> FilesPart {
  FilesPart(
    snapshot: snapshot, directory: "/srv/app", paths: [], root: FileAttributes(user: 1, group: 2, mode: 0o2750),
    evidence: FilesEvidence(counts: ["file": entries], bytes: 99, owners: ["1:2"]))
}

func record(files: FilesPart? = nil, databases: [DatabasePart] = [], doubts: [String] = []) -> Record {
  Record(
    id: .day(1), host: "app", toolkit: "0.1.0", restic: "0.19.1", finished: "2026-01-01T23:05:00Z", doubts: doubts,
    files: files, databases: databases)
}

func properties(
  provider: String = "c", locale: String? = nil, rules: String? = nil, tablespace: String = "pg_default", limit: Int = -1,
  template: Bool = false, comment: String? = nil, grants: [DatabaseProperties.Grant]? = nil,
  settings: [DatabaseProperties.Setting] = []
) -> DatabaseProperties {
  DatabaseProperties(
    serverVersion: 150018, owner: "owner", encoding: "UTF8", provider: provider, collate: "C", ctype: "C.UTF-8", locale: locale,
    icuRules: rules, tablespace: tablespace, connectionLimit: limit, isTemplate: template, comment: comment, grants: grants,
    settings: settings, size: 8192)
}

/// Random numbers that are the same for the same seed.
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
  mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}
