import ArgumentParser
import BackupRestore
import FoundationEssentials

@main
struct RestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Restores a set: staged beside what is live, verified against its evidence, then swapped.",
    discussion:
      "Alone it restores the newest set, files and databases, and refuses when that set is doubted: then name one. What was live is kept.\n\n"
      + Program.help,
    version: Toolkit.version)

  static func main() async {
    await Program.main { arguments in
      do { try await parse(arguments).run() } catch { Program.end(fullMessage(for: error), exitCode(for: error).rawValue) }
    }
  }

  @Argument(
    help: ArgumentHelp(
      """
      The set to restore, or with --rollback and --discard-previous the restore; any unique beginning of its id. Old-style \
      snapshots by their ids, as the predecessor took them: DATABASE FILES, ROLES DATABASE FILES, or one alone.
      """, valueName: "set"))
  var names: [String] = []

  @Option(help: ArgumentHelp("Restore the newest set that had been read by this time (RFC 3339 with zone).", valueName: "time"))
  var at: String?

  @Option(help: "Restore only the files or only the database.")
  var only: Only?

  @Option(
    help: ArgumentHelp("With --only files: restore this file or directory alone; may be repeated.", valueName: "path"))
  var path: [String] = []

  @Flag(help: "Restore only where the database holds no table and the volume no entry; else say what is there, and end with 0.")
  var ifEmpty = false

  @Flag(help: "List the sets.")
  var list = false

  @Flag(help: "With --list: what drills found, instead.")
  var drills = false

  @Flag(help: "Show what is in progress, unfinished and kept.")
  var status = false

  @Flag(help: "Show what differs between a set and what is live, or two sets: SET, live or nothing, twice.")
  var diff = false

  @Flag(help: "With --list or --diff: a document.")
  var json = false

  @Flag(help: "Check everything and show what would be replaced; change nothing.")
  var dryRun = false

  @Flag(help: "Prove the newest undoubted set: restore it into staging, verify it, throw it away. Touches nothing live.")
  var drill = false

  @Flag(help: "Take back what a restore replaced (the newest, or the one named).")
  var rollback = false

  @Flag(help: "Remove what a restore replaced and kept.")
  var discardPrevious = false

  @Flag(help: "With --discard-previous: all that is kept.")
  var all = false

  @Option(help: ArgumentHelp("With --discard-previous: all but the newest n.", valueName: "n"))
  var keep: Int?

  @Flag(help: "Scale the deployments of QUIESCE_DEPLOYMENTS back, where a run that was killed left them down.")
  var resumeApplication = false

  @Flag(help: "Use the second repository (COPY_RESTIC_REPOSITORY).")
  var fromCopy = false

  @Flag(help: "Overwrite the files where they are, for volumes too full for two copies. Saves what is live first.")
  var inPlace = false

  @Flag(help: "Restore all rows that PostgreSQL takes, and leave out and name what it refuses or what differs from the evidence.")
  var acceptDifferences = false

  @Flag(help: "Drop the logical replication slots of the databases that are replaced.")
  var dropSlots = false

  @Flag(
    help: ArgumentHelp(
      """
      Load databases as POSTGRES_USER even where one role owns everything and could load it. What the database's own functions do \
      while it is loaded is then done with POSTGRES_USER's rights.
      """))
  var asSuperuser = false

  func validate() throws {
    let modes = [list, status, diff, rollback, discardPrevious, resumeApplication].filter { $0 }.count
    let named = "--list, --status, --diff, --rollback, --discard-previous and --resume-application"
    if modes > 1 { throw ValidationError("\(named) do not go together") }
    let choosing =
      at != nil || (only != nil && !diff) || (dryRun && !rollback) || inPlace || acceptDifferences || dropSlots || asSuperuser
    if (all || keep != nil) && (!discardPrevious || !names.isEmpty || (all && keep != nil)) || keep.map({ $0 < 0 }) == true {
      throw ValidationError("--all, or --keep with a number, go with --discard-previous and without an id")
    }
    if drills, !list { throw ValidationError("--drills goes with --list") }
    if json, !diff, !list { throw ValidationError("--json goes with --list or --diff") }
    if !path.isEmpty, only != .files || modes > 0 || drill {
      throw ValidationError("--path goes with a restore --only files")
    }
    if ifEmpty, inPlace || modes > 0 || drill || !path.isEmpty {
      throw ValidationError("--if-empty goes with a restore of the whole, not in place")
    }
    if modes == 1, choosing || (fromCopy && !list && !status && !diff) {
      throw ValidationError(
        "\(named) take no other option, but --list, --status and --diff --from-copy, --diff --only and --json, --rollback --dry-run, --discard-previous --all or --keep"
      )
    }
    if drill, inPlace || acceptDifferences || dropSlots || modes > 0 {
      throw ValidationError("--drill takes a set, --at, --only, --as-superuser and --dry-run, nothing else")
    }
    if list || status || resumeApplication, !names.isEmpty {
      throw ValidationError("--list, --status and --resume-application take no set")
    }
    if names.contains("") { throw ValidationError("a name is empty") }
    if diff, names.count == 2, names[0] == names[1] { throw ValidationError("\(names[0]) is compared with itself") }
    if names.count > 3 || (modes == 1 && names.count > (diff ? 2 : 1)) {
      throw ValidationError("too many names: \(names.joined(separator: " "))")
    }
    if !names.isEmpty, at != nil { throw ValidationError("a set and --at do not go together") }
    if at != nil, time == nil { throw ValidationError("--at wants a time with zone, for example 2026-11-23T23:10:00Z") }
  }

  private var time: Date? { at.flatMap { try? Date($0, strategy: .iso8601) } }

  func run() async throws {
    await Program.run(reporting: drill && !dryRun ? .drill : nil, answering: list || status) { [self] invocation in
      var invocation = fromCopy ? try invocation.second() : invocation
      if !path.isEmpty { invocation = try invocation.with(paths: path) }
      if resumeApplication { return try await ResumeApplication(invocation).run() }
      if list { return try await Listing(invocation, drills: drills, json: json).run() }
      if status { return await StatusReport(invocation).run() }
      if diff { return try await Diff(invocation, names: names, only: only, json: json).run() }
      if rollback { return try await Rollback(invocation, names.first, dryRun: dryRun).run() }
      if discardPrevious {
        return try await Discard(invocation, all || keep != nil ? .allBut(keep ?? 0) : .one(names.first)).run()
      }
      let selection = Selection(names: names, at: time, only: only)
      if drill { return try await Drill(invocation, selection, dryRun: dryRun, asSuperuser: asSuperuser).run() }
      var options = Restore.Options()
      options.dryRun = dryRun
      options.inPlace = inPlace
      options.onlyIfEmpty = ifEmpty
      options.acceptDifferences = acceptDifferences
      options.dropSlots = dropSlots
      options.asSuperuser = asSuperuser
      return try await Restore(invocation, selection, options).run()
    }
  }
}

extension Only: ExpressibleByArgument {}
