import Foundation
import Glibc
import Testing

/// What suites need of the machine. Where it is not there they are skipped with the reason; docker/test brings all of it, sets ALL_TESTS,
/// and skips nothing.
public enum Needs {
  private static let variables = ProcessInfo.processInfo.environment
  private static let isComplete = variables["ALL_TESTS"] != nil

  private static func lacking(_ programs: [String]) -> String? {
    let directories = (variables["PATH"] ?? "").split(separator: ":").map(String.init) + [Cluster.binaries]
    let missing = programs.filter { program in !directories.contains { access("\($0)/\(program)", X_OK) == 0 } }
    return missing.isEmpty ? nil : "\(missing.joined(separator: ", ")) not found: docker/install brings it"
  }

  /// Real servers and repositories, file systems of their own, files of several owners.
  static let servers: String? =
    geteuid() != 0
    ? "not root: these mount file systems, give files away and run servers as their own user"
    : lacking(["restic", "restic-rest-server", "postgres", "openssl", "python3", "bindfs", "setfacl", "setcap", "tmux"])

  static let image: String? =
    variables["TEST_IMAGE"] != nil || access(project + "/.build-image/storage.conf", R_OK) == 0
      || variables["BACKUP_RESTORE_PODMAN"] != nil
    ? servers : "no image: docker/image builds it, docker/test-images the servers"

  /// The project's own directory.
  public static let project = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..").standardized.path

  fileprivate static func trait(_ missing: String?) -> ConditionTrait {
    .enabled(if: isComplete || missing == nil, "\(missing ?? "all is there")")
  }
}

extension Trait where Self == ConditionTrait {
  /// Root, restic and PostgreSQL.
  public static var servers: Self { Needs.trait(Needs.servers) }
  /// The image under test, and an engine that runs it.
  public static var image: Self { Needs.trait(Needs.image) }
}
