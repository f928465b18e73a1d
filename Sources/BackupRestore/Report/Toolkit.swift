import FoundationEssentials

/// This toolkit, and the program of it that runs.
public enum Toolkit {
  /// As `--version` and every record say it.
  public static let version = "0.1.0"

  /// init, backup or restore.
  static let name = commandLine.first?.split(separator: "/").last.map(String.init) ?? ""

  /// What follows the program's name.
  public static let arguments = Array(commandLine.dropFirst())

  /// As others see this run: what it is called, and in Kubernetes where.
  static let run: String = {
    let environment = ProcessInfo.processInfo.environment
    guard environment["KUBERNETES_SERVICE_HOST"]?.isEmpty == false else { return name }
    return "\(name) in pod \(environment["HOSTNAME"] ?? ProcessInfo.processInfo.hostName)"
  }()

  /// As the kernel has it. Swift 6.3 looks for it on the stack beside the environment and finds nothing where a preloaded library
  /// has changed that (measured with libfaketime): a `restore --list` would be a `restore`.
  private static let commandLine: [String] = {
    guard let bytes = FileManager.default.contents(atPath: "/proc/self/cmdline"), !bytes.isEmpty else {
      return CommandLine.arguments
    }
    return bytes.dropLast().split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
  }()
}
