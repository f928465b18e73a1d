import Foundation
import Glibc
import Synchronization

/// What a process under test loads before everything else (`LD_PRELOAD`), from `Tests/Programs`.
public enum Preloaded {
  /// Where the sources of what tests run beside the toolkit lie.
  public static let sources = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Programs").standardized
    .path

  private static let made = Mutex<[String: String]>([:])

  /// The library's path, compiled at its first use: as a product of the package it would be built and shipped with the toolkit.
  public static func library(_ name: String) throws -> String {
    try made.withLock { made in
      if let path = made[name] { return path }
      let path = Site.products + "/libTest\(name).so"
      // Another process may have loaded what is there.
      let new = path + ".\(getpid())"
      let compiler = Process()
      compiler.executableURL = URL(filePath: "/usr/bin/env")
      compiler.arguments = [
        "swiftc", "-O", "-swift-version", "6", "-warnings-as-errors", "-parse-as-library", "-emit-library",
        "-module-name", "Test\(name)", "-o", new,
        "\(sources)/\(name).swift",
      ]
      try compiler.run()
      compiler.waitUntilExit()
      guard compiler.terminationStatus == 0, rename(new, path) == 0 else { throw CocoaError(.executableLoad) }
      made[name] = path
      return path
    }
  }
}
