import Foundation
import Support

struct Different: Error {}

struct Failed: Error {
  let program: String
  let status: Int32
}

/// The main job on made-up data: initialise, back up, change, back up, lose everything, restore, compare.
@main
struct Demo {
  static func main() async throws {
    let cluster = try await Cluster()
    let site = try await Site(cluster: cluster, database: "jira")
    defer { site.remove() }
    print("a PostgreSQL 15 server on 127.0.0.1:\(cluster.port), files in \(site.files), repository in \(site.repository)\n")
    try await fill(site)
    try show(site, "init")
    try show(site, "backup")
    print("\n# a day passes: some rows and files change\n")
    _ = try await site.sql(
      "UPDATE comment SET body = body || ' (edited)' WHERE id % 100 = 0; INSERT INTO project(key, name) VALUES ('NEW', 'Made today')"
    )
    try await site.script("date > export/today.txt; rm attachments/7.bin; head -c 300000 /dev/urandom > attachments/new.bin")
    try show(site, "backup")
    try show(site, "restore", ["--list"])
    let before = try await state(site)

    print("\n# disaster: the database is dropped, the files are deleted\n")
    try await cluster.psql("postgres", "DROP DATABASE jira")
    try await site.script("rm -rf -- *")
    try show(site, "restore")
    let after = try await state(site)

    print("\n# comparison of what was saved last with what is there now")
    var same = true
    for (name, text) in before.sorted(by: { $0.key < $1.key }) {
      let equal = after[name] == text
      same = same && equal
      print(
        "  \(name.padding(toLength: 34, withPad: " ", startingAt: 0)) \(equal ? "identical" : "DIFFERENT")  \(text.utf8.count) bytes compared"
      )
    }
    print(same ? "\nfiles and database are back, proven identical; nothing of this demo is left behind" : "\nDIFFERENT")
    if !same { throw Different() }
  }

  /// Some 100 MB of database and 40 MB of files, random enough not to compress away.
  static func fill(_ site: Site) async throws {
    try await site.createDatabase(
      """
      CREATE EXTENSION pg_trgm;
      CREATE TYPE state AS ENUM ('open', 'in progress', 'done');
      CREATE TABLE project (id serial PRIMARY KEY, key text UNIQUE NOT NULL, name text NOT NULL);
      CREATE TABLE issue (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project int REFERENCES project, title text,
        state state, created timestamptz DEFAULT now(), labels text[], fields jsonb);
      CREATE TABLE comment (id bigserial PRIMARY KEY, issue bigint REFERENCES issue, body text);
      INSERT INTO project(key, name) SELECT 'P' || g, 'Project ' || g FROM generate_series(1, 40) g;
      INSERT INTO issue(project, title, state, labels, fields)
        SELECT 1 + g % 40, md5(g::text), (ARRAY['open','in progress','done'])[1 + g % 3]::state, ARRAY[md5(g::text)],
          jsonb_build_object('points', g % 8, 'hash', md5((g + 1)::text)) FROM generate_series(1, 100000) g;
      INSERT INTO comment(issue, body)
        SELECT 1 + g % 100000, md5(g::text) || md5((g * 7)::text) || md5((g * 11)::text) FROM generate_series(1, 300000) g;
      CREATE INDEX ON issue USING gin (title public.gin_trgm_ops);
      CREATE MATERIALIZED VIEW per_project AS SELECT project, count(*) FROM issue GROUP BY 1;
      COMMENT ON DATABASE jira IS 'the demo''s tracker';
      ALTER DATABASE jira SET work_mem = '8MB';
      """)
    try await site.script(
      """
      mkdir -p attachments export plugins/cache
      for i in $(seq 1 60); do head -c 600000 /dev/urandom > attachments/$i.bin; done
      for i in $(seq 1 400); do echo "export $i" > export/$i.xml; done
      ln -s ../export/1.xml attachments/first; ln attachments/1.bin attachments/hard-link
      chown -R 901:901 . || true
      """)
  }

  /// Everything that must be the same again.
  static func state(_ site: Site) async throws -> [String: String] {
    var state: [(String, String)] = [("files: content, owners, times", try await fingerprint(site.files))]
    state.append(("database: definition, properties", try await site.cluster!.schema("jira")))
    for table in ["project", "issue", "comment", "per_project"] {
      state.append(
        (
          "database: table \(table)",
          try await site.sql("SELECT md5(string_agg(t::text, ',' ORDER BY t::text)), count(*) FROM \(table) t")
        ))
    }
    return Dictionary(uniqueKeysWithValues: state)
  }

  /// A command as an operator types it, on this terminal.
  static func show(_ site: Site, _ program: String, _ arguments: [String] = []) throws {
    print("$ \(([program] + arguments).joined(separator: " "))")
    fflush(nil)
    let process = Process()
    process.executableURL = URL(filePath: Site.products + "/" + program)
    process.arguments = arguments
    process.environment = site.settings
    try process.run()
    process.waitUntilExit()
    print("")
    if process.terminationStatus != 0 { throw Failed(program: program, status: process.terminationStatus) }
  }
}
