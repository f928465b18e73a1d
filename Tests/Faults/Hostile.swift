import Foundation
import Support
import Testing

@testable import BackupRestore

/// Names, passwords and paths as hostile as Linux and PostgreSQL allow.
@Suite(.serialized, .servers, .timeLimit(.minutes(45))) struct Hostile {
  /// Every character but `/` and NUL, more or less.
  static let name = "-x '\"\\\n\r\t$(id)`id`;*?[a]{1,2} =%s%n:,\u{1}\u{1B}[31m\u{7F}\u{9B}ü\u{301}\u{202E}😀~#&|<>!"

  /// As far as PostgreSQL takes it (63 bytes), and without the comma that separates names in POSTGRES_DB.
  static let database = "-x '\"\\\n\t$(id)`id`;*?[a] =%s:\u{1}\u{1B}[31m\u{7F}ü😀"

  @Test func everyNameAndPasswordMayBeAnything() async throws {
    let plain = try await Site(cluster: Cluster())
    defer { plain.remove() }
    let site = try await Self.site(in: plain.root + "/" + Self.name, on: plain.cluster!)
    let files = site.settings["FILES_DIRECTORY"]!
    let write = { (word: String) in
      _ = try await site.sql("UPDATE word SET word = '\(word)'")
      for entry in site.settings["FILES_PATHS"]!.split(separator: ",") {
        let path = "\(files)/\(entry)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try word.write(toFile: path + "/" + Self.name, atomically: false, encoding: .utf8)
      }
    }
    let live = {
      let entry = site.settings["FILES_PATHS"]!.split(separator: ",")[0]
      return try await site.sql("SELECT word FROM word") + " "
        + String(contentsOfFile: "\(files)/\(entry)/\(Self.name)", encoding: .utf8)
    }
    var said = ""
    for (word, program, arguments) in [
      ("first", "init", []), ("first", "backup", []), ("second", "backup", ["--check"]), ("third", "restore", ["--list"]),
      ("third", "restore", ["--dry-run"]), ("third", "restore", ["--drill"]), ("third", "restore", []),
    ] as [(String, String, [String])] {
      try await write(word)
      let run = try await site.run(program, arguments, with: ["CHECK_DAYS": "1"])
      #expect(run.code == 0, "\(program) \(arguments): \(run)")
      said += run.output + run.errors
    }
    #expect(try await live() == "second second")
    let back = try await site.run("restore", ["--rollback"])
    #expect(back.code == 0, "\(back)")
    #expect(try await live() == "third third")
    let status = try await site.status()
    #expect(status.code == 0, "\(status)")
    said += status.output + status.errors
    // Nothing of it reaches a terminal as more than text, and no secret at all.
    let control = said.unicodeScalars.first { $0.properties.generalCategory == .control && $0 != "\n" }
    #expect(control == nil, "\(said)")
    #expect(!said.contains(printable(Self.password)) && !said.contains(Self.password))
  }

  static let password = "pass \(name) word"

  /// All of it with such names below `root`, and a database of a user with such a name.
  static func site(in root: String, on cluster: Cluster) async throws -> Site {
    let role = "role \(database.prefix(20))"
    let site = try await Site(
      cluster: cluster, database: database,
      settings: [
        "FILES_DIRECTORY": root + "/files \(name)", "RESTIC_REPOSITORY": root + "/repository \(name)",
        "RESTIC_CACHE_DIR": root + "/cache \(name)", "TMPDIR": root + "/tmp \(name)", "RESTIC_PASSWORD": password,
        "POSTGRES_USER": role, "POSTGRES_PASSWORD": password, "RESTIC_HOST": "host \(name.replacing(",", with: ""))",
        "FILES_PATHS": "entry \(name.replacing(",", with: "")),-",
      ])
    for directory in ["FILES_DIRECTORY", "TMPDIR", "RESTIC_CACHE_DIR"] {
      try FileManager.default.createDirectory(atPath: site.settings[directory]!, withIntermediateDirectories: true)
    }
    try await cluster.psql("postgres", "CREATE ROLE \(SQL.identifier(role)) LOGIN CREATEDB PASSWORD \(SQL.literal(password))")
    try await cluster.psql(
      "postgres", "CREATE DATABASE \(SQL.identifier(database)) OWNER \(SQL.identifier(role)) TEMPLATE template0")
    _ = try await site.sql("SET ROLE \(SQL.identifier(role)); CREATE TABLE public.word AS SELECT 'first' AS word")
    return site
  }

  /// Bytes that are no text would become another password, or another place.
  @Test func bytesThatAreNoTextAreRefusedBeforeAnythingIsMade() async throws {
    let site = try await Site()
    for (name, code) in [("RESTIC_PASSWORD", 78), ("RESTIC_REPOSITORY", 78), ("FILES_DIRECTORY", 78), ("RESTIC_HOST", 78)] {
      for program in ["init", "backup", "restore"] {
        let run = try await Shell.run(
          "bash", ["-c", "export \(name)=\"$\(name)\"$'a\\xff'; exec \(Site.products)/\(program)"], environment: site.settings,
          check: false)
        #expect(run.code == code && run.errors.contains("\(name) is not UTF-8 text"), "\(run)")
      }
    }
    #expect(!FileManager.default.fileExists(atPath: site.repository))
  }

  /// What was typed is what is done, whatever is loaded before us: without its arguments `restore --list` would be a restore.
  @Test func aPreloadedLibraryThatChangesTheEnvironmentTakesNoArgumentAway() async throws {
    let site = try await Site()
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
    #expect(FileManager.default.fileExists(atPath: library))
    for program in ["init", "backup", "restore"] {
      let version = try await site.run(program, ["--version"], with: ["LD_PRELOAD": library])
      let lines = version.output.split(separator: "\n")
      #expect(version.code == 0 && lines.first == "backup-restore \(Toolkit.version)", "\(version)")
      #expect(lines.count == 3 && lines[1].contains(/^restic 0\.\d/) && lines[2].contains(/^pg_dump 1\d\./), "\(version)")
    }
  }
}
