import FoundationEssentials

/// `--version`: what a report of a fault has to name.
public enum Versions {
  /// The toolkit's, restic's, and those of PostgreSQL's clients, a line each; of what is not there, that.
  public static func text(_ variables: [String: String] = ProcessInfo.processInfo.environment) async -> String {
    let environment = Command.baseEnvironment(variables)
    let shown = { (program: String, argument: String) in
      let outcome = try? await Runner.run(
        Command(program, [argument], environment: environment), output: .document(limit: 4096), deadline: .seconds(30),
        errors: { _ in })
      let numbers = Version.numbers(String(decoding: outcome?.document ?? [], as: UTF8.self))
      return numbers.isEmpty ? "not found" : numbers.map(String.init).joined(separator: ".")
    }
    let clients = await Clients.find(path: environment["PATH"] ?? "") { await Clients.version(of: $0, environment).first }
    var dumps: [String] = []
    for (_, directory) in clients.directories.sorted(by: { $0.key < $1.key }) {
      dumps.append(await shown(directory + "/pg_dump", "--version"))
    }
    return """
      backup-restore \(Toolkit.version)
      restic \(await shown("restic", "version"))
      pg_dump \(dumps.isEmpty ? "not found" : dumps.joined(separator: ", "))
      """
  }
}
