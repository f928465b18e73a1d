import ArgumentParser
import BackupRestore

@main
struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Saves the application's files and databases as a set.", discussion: Program.help,
    version: Toolkit.version)

  static func main() async {
    await Program.main { arguments in
      do { try await parse(arguments).run() } catch { Program.end(fullMessage(for: error), exitCode(for: error).rawValue) }
    }
  }

  @Flag(help: "Show what would be saved and forgotten; change nothing.")
  var dryRun = false

  @Flag(name: .customLong("init"), help: "Create the repositories first where none was there; what backup.sh does.")
  var initialise = false

  @Flag(help: "After the set is saved, check the repositories and read a part of their data that changes with the day.")
  var check = false

  @Option(help: ArgumentHelp("Accept a doubted set, so that retention goes on.", valueName: "set"))
  var accept: String?

  @Option(help: ArgumentHelp("Hold on to a set: retention passes over it.", valueName: "set"))
  var hold: String?

  @Option(help: ArgumentHelp("With --hold: why, for restore --list.", valueName: "text"))
  var reason: String?

  @Option(help: ArgumentHelp("End a hold.", valueName: "set"))
  var release: String?

  private var ofOneSet: Bool { accept != nil || hold != nil || release != nil }

  func validate() throws {
    if [dryRun, accept != nil, hold != nil, release != nil, initialise].filter({ $0 }).count > 1 {
      throw ValidationError("--dry-run, --accept, --hold, --release and --init do not go together")
    }
    if check, dryRun || ofOneSet { throw ValidationError("--check goes with a backup") }
    if reason != nil, hold == nil { throw ValidationError("--reason goes with --hold") }
    if [accept, hold, release].contains("") { throw ValidationError("a set's name is empty") }
  }

  func run() async throws {
    await Program.run(reporting: dryRun || ofOneSet ? nil : .backup) { [self] invocation in
      if initialise { try await Initialise(invocation).runBeforeBackup() }
      if let accept { return try await Accept(invocation, accept).run() }
      if let set = hold ?? release { return try await HoldSet(invocation, set, reason: hold == nil ? nil : reason ?? "").run() }
      return try await Backup(invocation, dryRun: dryRun, checking: check).run()
    }
  }
}
