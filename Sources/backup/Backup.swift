import ArgumentParser
import BackupRestore

@main
struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Saves the application's files and databases as a set.", discussion: Program.help,
    version: Program.version)

  @Flag(help: "Show what would be saved and forgotten; change nothing.")
  var dryRun = false

  @Flag(name: .customLong("init"), help: "Create the repositories first where none was there; what backup.sh does.")
  var initialise = false

  @Option(help: ArgumentHelp("Accept a doubted set, so that retention goes on.", valueName: "set"))
  var accept: String?

  func validate() throws {
    if [dryRun, accept != nil, initialise].filter({ $0 }).count > 1 {
      throw ValidationError("--dry-run, --accept and --init do not go together")
    }
  }

  func run() async throws {
    try await Program.run { [self] context in
      if initialise { try await Initialise(context).runBeforeBackup() }
      let backup = Backup(context)
      if let accept { return try await backup.accept(accept) }
      return try await backup.run(dryRun: dryRun)
    }
  }
}
