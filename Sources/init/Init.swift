import ArgumentParser
import BackupRestore

@main
struct Init: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Creates the backup repositories that are missing.",
    discussion:
      "Safe to run again: what is there is left as it is, and a wrong password is never answered with a new repository.\n\n"
      + Program.help, version: Toolkit.version)

  static func main() async { await main(Toolkit.arguments) }

  @Flag(help: "Move every repository from RESTIC_PASSWORD to RESTIC_NEW_PASSWORD; safe to run again after a crash.")
  var rotatePassword = false

  @Flag(help: "Do nothing but wait, as process 1 of the backup-restore pod; ends on SIGTERM, after the runs in the pod.")
  var wait = false

  func validate() throws {
    if rotatePassword, wait { throw ValidationError("--rotate-password and --wait do not go together") }
  }

  func run() async throws {
    if wait { return await IdlePod.run() }
    await Program.run { [self] invocation in
      rotatePassword ? try await RotatePassword(invocation).run() : try await Initialise(invocation).run()
    }
  }
}
