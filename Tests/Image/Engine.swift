import Foundation
import Support

@testable import BackupRestore

/// podman (TEST_ENGINE: a compatible docker) and the image under test, which docker/image built.
enum Engine {
  static let program = ProcessInfo.processInfo.environment["TEST_ENGINE"] ?? "podman"
  static let image = ProcessInfo.processInfo.environment["TEST_IMAGE"] ?? "localhost/backup-restore:test"
  static let project = Needs.project

  /// podman's store is the one docker/podman.env.sh names.
  static let environment: [String: String] = {
    var environment = Shell.environment
    let store = ProcessInfo.processInfo.environment["BACKUP_RESTORE_PODMAN"] ?? project + "/.build-image"
    environment["CONTAINERS_CONF"] = store + "/containers.conf"
    environment["CONTAINERS_STORAGE_CONF"] = store + "/storage.conf"
    return environment
  }()

  @discardableResult
  static func run(_ arguments: [String], input: String? = nil, check: Bool = true) async throws -> Shell.Result {
    try await Shell.run(program, arguments, environment: environment, input: input, check: check)
  }

  /// What a shell makes of the image's own programs, as root.
  static func inside(_ script: String, _ options: [String] = []) async throws -> String {
    try await run(["run", "--rm"] + options + [image, "sh", "-euc", script]).output
  }
}

/// A container that runs until the test is over, removed by its id.
final class Container: Sendable {
  let id: String

  init(_ options: [String], image: String = Engine.image, _ command: [String]) async throws {
    id = try await Engine.run(["run", "--detach"] + options + [image] + command).output.trimming("\n")
  }

  func exec(_ command: [String], _ options: [String] = [], check: Bool = false) async throws -> Shell.Result {
    try await Engine.run(["exec"] + options + [id] + command, check: check)
  }

  func logs() async throws -> String {
    let result = try await Engine.run(["logs", id])
    return result.output + result.errors
  }

  /// Waits until its output says this.
  func waits(for text: String) async throws {
    for _ in 0..<3000 {
      if try await logs().contains(text) { return }
      try await Task.sleep(for: .milliseconds(100))
    }
    throw Failure(.unexpected, "container \(id.prefix(12)) never said \(text): \(try await logs())", hint: "see above")
  }

  func remove() async throws { try await Engine.run(["rm", "--force", "--time", "0", id]) }
}
