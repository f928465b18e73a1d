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

  func validate() throws {
    if [dryRun, accept != nil, initialise].filter({ $0 }).count > 1 {
      throw ValidationError("--dry-run, --accept and --init do not go together")
    }
    if check, dryRun || accept != nil { throw ValidationError("--check goes with a backup") }
  }

  func run() async throws {
    await Program.run(reporting: dryRun || accept != nil ? nil : .backup) { [self] invocation in
      if initialise { try await Initialise(invocation).runBeforeBackup() }
      if let accept { return try await Accept(invocation, accept).run() }
      return try await Backup(invocation, dryRun: dryRun, checking: check).run()
    }
  }
}
