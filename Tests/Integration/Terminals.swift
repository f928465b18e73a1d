import Foundation
import Support
import Testing

@testable import BackupRestore

/// What a person sees, at a terminal of 80 and of 200 columns, as a real one shows it.
@Suite(.servers, .timeLimit(.minutes(45))) struct Terminals {
  private struct Step {
    var program = "restore"
    var arguments = ""
    /// In a shell's words, before the program.
    var with = ""

    init(_ line: String, with: String = "") {
      let words = line.split(separator: " ", maxSplits: 1)
      (program, arguments, self.with) = (String(words[0]), words.count > 1 ? String(words[1]) : "", with)
    }

    func script(_ products: String) -> String {
      let shown = "$ \(with.isEmpty ? "" : with + " ")\(program) \(arguments)".trimming(" ")
      return "echo '\(shown)'; \(with) '\(products)/\(program)' \(arguments)\n"
    }
  }

  private static let tables = [
    Step("init"), Step("backup --dry-run"), Step("backup"), Step("backup --check"),
    // Days, because seconds have sometimes one digit and sometimes two.
    Step("restore --list", with: "LD_PRELOAD=$CLOCK TEST_CLOCK_AHEAD=259230"), Step("restore --dry-run"), Step("restore --drill"),
    Step("restore"), Step("restore"), Step("restore --rollback --dry-run"), Step("restore --rollback"),
    Step("init --unlock"),
  ]

  private static let errors = [
    Step("backup", with: "RESTIC_PASSWORD=other"), Step("restore", with: "RESTIC_REPOSITORY=/tmp/nowhere"),
    Step("backup", with: "RESTIC_REPOSITORY=rest:http://127.0.0.1:1/x CONNECT_TIMEOUT=10"),
    Step("backup --accept 1999"),
    Step("backup", with: "RESTIC_REPOSITRY=/x RESTIC_REPOSITORY="), Step("backup", with: "POSTGRES_DB=missing"),
    Step("backup", with: "POSTGRES_HOST=127.0.0.1:1"), Step("backup", with: "POSTGRES_PASSWORD=other"),
    Step("backup", with: "FILES_DIRECTORY=/tmp/nowhere"), Step("restore", with: "FILES_PATHS=missing"),
    Step("backup", with: "FILES_DIRECTORY=relative FILES_OWNER=jira LOG_FORMAT=xml"), Step("restore 2"), Step("restore 1999"),
    Step("restore --at 1999-01-01T00:00:00Z"), Step("restore --rollback 1999"), Step("restore --discard-previous"),
    Step("restore --from-copy"), Step("restore --everything"), Step("restore --list --status"),
    Step("restore", with: "RESTIC_HOST=another"), Step("restore", with: "QUIESCE_DEPLOYMENTS=jira"),
    Step("flock", with: "LOCK_WAIT=0"),
  ]

  /// Their lines, oldest first, as the terminal has them.
  private func screen(of steps: [Step], _ site: Site, columns: Int) async throws -> String {
    let script = steps.map { step in
      // Somebody else has the volume.
      step.program == "flock"
        ? "echo '$ \(step.with) backup'; \(step.with) flock '\(site.files)' '\(Site.products)/backup'\n"
        : step.script(Site.products)
    }
    try ("exec 2>&1\n" + script.joined() + "touch '\(site.root)/done'; sleep 900\n").write(
      toFile: site.root + "/typed", atomically: true, encoding: .utf8)
    var environment = site.settings
    environment["TERM"] = "xterm-256color"
    environment["CLOCK"] = try Preloaded.library("Clock")
    environment["TZ"] = "Europe/Berlin"
    // A socket for each: one that was just told to end may still answer on its own.
    let tmux = ["-f", "/dev/null", "-S", site.root + "/tmux.\(UInt32.random(in: 0...UInt32.max))"]
    // In the foreground of its own server, which `timeout` bounds.
    try await Shell.run(
      "tmux",
      tmux + [
        "set-option", "-g", "history-limit", "5000", ";", "new-session", "-d", "-x", "\(columns)", "-y", "50",
        "timeout 900 sh '\(site.root)/typed'",
      ],
      environment: environment)
    try await site.until("[ -e done ]")
    let screen = try await Shell.run("tmux", tmux + ["capture-pane", "-p", "-S", "-"], environment: environment).output
    try await Shell.run("tmux", tmux + ["kill-server"], environment: environment)
    try FileManager.default.removeItem(atPath: site.root + "/done")
    return screen
  }

  /// In the same columns: what differs from run to run is as long in each.
  private func stable(_ screen: String) -> String {
    screen.replacing(/\bin [\d.]+ (?:ms|s|min)(?: \d+ s)?\b/, with: "in SECONDS").replacing(/[ ]+\n/, with: "\n")
      .replacing(/\(uid \d+\)|session \d+|process \d+/, with: "process N").replacing(/\b[0-9a-f]{8}\b/, with: "00000000")
      .replacing(/[0-9]/, with: "0").replacing(/\n{2,}/, with: "\n")
  }

  @Test(arguments: [80, 200]) func tablesAndErrorsAreLaidOutForTheTerminal(columns: Int) async throws {
    let cluster = try await Cluster.shared.value
    let database = "screen_\(columns)"
    try await cluster.psql("postgres", "DROP DATABASE IF EXISTS \(database)")
    let site = try await Site(cluster: cluster, database: database, root: "/tmp/backup-restore-screen.\(columns)")
    try await site.createDatabase("CREATE TABLE item AS SELECT n FROM generate_series(1, 4000) n; CREATE TABLE empty ()")
    try await site.script("mkdir attachments; for i in $(seq 10); do echo $i >attachments/$i; done")
    let tables = try await screen(of: Self.tables, site, columns: columns)
    let errors = try await screen(of: Self.errors, site, columns: columns)
    for line in (tables + errors).split(separator: "\n") { #expect(line.count <= columns) }
    try Golden.compare("# Tables\n\(stable(tables))\n# Errors\n\(stable(errors))", "terminal-\(columns)")
  }
}
