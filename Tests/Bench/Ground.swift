import Foundation
import Glibc
import Support

import BackupRestore

/// How much there is: rows of about 900 bytes with their indexes, files of 20 KiB, and large ones of 4 MiB.
struct Amount {
  let rows: Int
  let files: Int
  let large: Int
}

struct Different: Error { let what: String }

/// A server with its defaults, a directory of files, and all that the contestants share.
final class Ground: Sendable {
  let cluster: Cluster
  let site: Site
  let programs: String

  init(_ data: Amount, programs: String) async throws {
    self.programs = programs
    // Durable, as a live server is.
    cluster = try await Cluster(options: ["fsync=on", "max_wal_size=4GB"])
    site = try await Site(cluster: cluster, database: "app")
    try await fill(data)
  }

  deinit {
    if let pid = cluster.pid { kill(pid, SIGINT) }
  }

  private func fill(_ data: Amount) async throws {
    try await site.createDatabase(
      """
      CREATE EXTENSION pg_trgm;
      CREATE TABLE issue (id bigint PRIMARY KEY, project int, title text, body text, labels text[], fields jsonb, created timestamptz);
      INSERT INTO issue SELECT g, g % 40, 'Issue ' || md5(g::text) || ' of ' || g % 1000,
        md5(g::text) || ' ' || md5((g / 2)::text) || ' ' || repeat('the same words again ', g % 10) || md5((g + 7)::text),
        ARRAY['label' || g % 50, 'label' || g % 7], jsonb_build_object('state', g % 5, 'by', 'user' || g % 300),
        timestamptz '2020-01-01' + g * interval '1 minute'
      FROM generate_series(1, \(data.rows)) g;
      CREATE INDEX ON issue (project, created); CREATE INDEX ON issue (title);
      CREATE INDEX ON issue USING gin (labels); CREATE INDEX ON issue USING gin (to_tsvector('simple', title));
      CREATE TABLE comment (id bigint PRIMARY KEY, issue bigint REFERENCES issue, body text);
      INSERT INTO comment SELECT g, g, md5((g * 3)::text) || md5((g * 5)::text) FROM generate_series(1, \(data.rows)) g;
      CREATE INDEX ON comment (issue);
      VACUUM ANALYZE;
      """)
    // Half of each kind compresses well, half does not. split(1) makes a hundred at a time.
    try await site.script(
      """
      left=\(data.files) d=0
      while [ $left -gt 0 ]; do
        n=$((left < 100 ? left : 100)) left=$((left - 100)) d=$((d + 1)); mkdir -p small/$d
        if [ $((d % 2)) = 0 ]; then head -c $((n * 20480)) /dev/urandom; else openssl rand -hex $((n * 10240)) | tr -d '\\n'; fi |
          split -a 2 -b 20480 - small/$d/
      done
      mkdir large
      for i in $(seq \(data.large)); do
        if [ $((i % 2)) = 0 ]; then head -c 4194304 /dev/urandom; else openssl rand -hex 2097152; fi >large/$i
      done
      """)
  }

  /// A hundredth of the rows and of the files are others now.
  func change(_ round: Int) async throws {
    _ = try await site.sql("UPDATE issue SET body = md5('\(round)' || id) || body WHERE id % 100 = \(round)")
    try await site.script(
      """
      for d in small/*; do head -c 20480 /dev/urandom >$d/aa; done
      for f in $(ls large/* 2>/dev/null | awk 'NR % 50 == 1'); do head -c 100000 /dev/urandom >>$f; done
      """)
  }

  /// What one contestant leaves must not fall into the next one's time: rows that autovacuum would look at within a minute, and what
  /// the server and the system have not written yet.
  func settle() async throws {
    try await Shell.script(
      "vacuumdb --quiet --all --analyze; psql -XAtqc CHECKPOINT postgres; sync", in: site.root, environment: cluster.environment)
  }

  /// Every contestant gave back what is in the source.
  func expectSame() async throws {
    let sum = "SELECT count(*), sum(hashtextextended(i::text, 0)) FROM issue i"
    let source = try await cluster.psql("app", sum).output
    for name in ["predecessor", "limit"] where try await cluster.psql(name, sum).output != source {
      throw Different(what: "database \(name)")
    }
    for name in ["predecessor", "limit"] {
      try await Shell.check("diff", ["-rq", "--exclude=.backup-restore", site.files, site.root + "/" + name + ".files"])
    }
  }

  /// In bytes.
  struct Size: Codable {
    let database: Double
    let files: Double
    let count: Int
  }

  func size() async throws -> Size {
    let database = Double(try await site.sql("SELECT pg_database_size('app')")) ?? 0
    let words = try await Shell.script(
      "find . -path ./.backup-restore -prune -o -type f -printf '%s\\n' | awk '{ s += $1 } END { print s, NR }'", in: site.files
    ).split { " \n".contains($0) }
    return Size(database: database, files: Double(words[0]) ?? 0, count: Int(words[1]) ?? 0)
  }
}

/// How long an application finds no whole database: from the last right answer to the first one afterwards.
actor Away {
  private let settings: DatabaseSettings
  private let database: String
  private let waits: Waits
  private var connection: Connection?
  private var last = ContinuousClock().now
  private var longest = 0.0
  private var asking: Task<Void, Never>?

  init(_ ground: Ground, _ database: String) async throws {
    let configuration = try Configuration(ground.site.settings)
    (settings, waits, self.database) = (configuration.database!, configuration.waits, database)
    await ask()
    asking = Task {
      while !Task.isCancelled {
        await ask()
        try? await Task.sleep(for: .milliseconds(10))
      }
    }
  }

  /// The foreign key is the last thing a dump holds.
  @discardableResult private func ask() async -> Bool {
    do {
      if connection == nil { connection = try await Connection(settings, database: database, waits: waits) }
      guard try await connection!.isTrue("SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = 'comment_issue_fkey')") else {
        return false
      }
    } catch {
      connection = nil
      return false
    }
    longest = max(longest, last.duration(to: .now).inSeconds)
    last = .now
    return true
  }

  /// The longest time away, in seconds. What was away at the end is there again when it answers.
  func end() async throws -> Double {
    asking?.cancel()
    await asking?.value
    while await !ask() { try await Task.sleep(for: .milliseconds(10)) }
    connection = nil
    return longest
  }
}
