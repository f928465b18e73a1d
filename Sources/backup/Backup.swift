import ArgumentParser
import BackupRestore

@main
struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Saves the application's files and databases as a set.", discussion: Program.help,
    version: Program.version)

  @Flag(help: "Show what would be saved and forgotten; change nothing.")
  var dryRun = false

  @Option(help: ArgumentHelp("Accept a doubted set, so that retention goes on.", valueName: "set"))
  var accept: String?

  func validate() throws {
    if dryRun, accept != nil { throw ValidationError("--dry-run and --accept do not go together") }
  }

  func run() async throws {
    try await Program.run { [self] context in
      let backup = Backup(context)
      if let accept { return try await backup.accept(accept) }
      return try await backup.run(dryRun: dryRun)
    }
  }
}
