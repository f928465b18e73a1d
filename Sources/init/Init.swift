import ArgumentParser
import BackupRestore

@main
struct Init: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Creates the backup repositories that are missing.",
    discussion:
      "Safe to run again: what is there is left as it is, and a wrong password is never answered with a new repository.\n\n"
      + Program.help, version: Program.version)

  func run() async throws {
    try await Program.run { try await Initialise($0).run() }
  }
}
