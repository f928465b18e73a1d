import ArgumentParser
import BackupRestore

@main
struct Init: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Creates the backup repositories that are missing.",
    discussion:
      "Safe to run again: what is there is left as it is, and a wrong password is never answered with a new repository.\n\n"
      + Program.help, version: Toolkit.version)

  static func main() async {
    await Program.main { arguments in
      do { try await parse(arguments).run() } catch { Program.end(fullMessage(for: error), exitCode(for: error).rawValue) }
    }
  }

  @Flag(help: "Move every repository from RESTIC_PASSWORD to RESTIC_NEW_PASSWORD; safe to run again after a crash.")
  var rotatePassword = false

  @Flag(help: "Do nothing but wait, as process 1 of the backup-restore pod; ends on SIGTERM, after the runs in the pod.")
  var wait = false

  @Flag(help: "Show the locks of every repository; with ids, remove those locks.")
  var unlock = false

  @Argument(help: ArgumentHelp("With --unlock: the locks to remove, by the beginnings of their ids.", valueName: "lock"))
  var locks: [String] = []

  func validate() throws {
    if [rotatePassword, wait, unlock].filter({ $0 }).count > 1 {
      throw ValidationError("--rotate-password, --wait and --unlock do not go together")
    }
    if !unlock, !locks.isEmpty { throw ValidationError("ids of locks go with --unlock") }
    if locks.contains("") { throw ValidationError("an id is empty") }
  }

  func run() async throws {
    if wait { return await IdlePod.run() }
    await Program.run { [self] invocation in
      if unlock { return try await Unlock(invocation, locks).run() }
      return rotatePassword ? try await RotatePassword(invocation).run() : try await Initialise(invocation).run()
    }
  }
}
