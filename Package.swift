// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]
let command: [Target.Dependency] = ["BackupRestore", .product(name: "ArgumentParser", package: "swift-argument-parser")]

let package = Package(
  name: "backup-restore",
  products: [
    .executable(name: "init", targets: ["init"]),
    .executable(name: "backup", targets: ["backup"]),
    .executable(name: "restore", targets: ["restore"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    .package(url: "https://github.com/apple/swift-system", exact: "1.8.1"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", exact: "1.0.2", traits: []),
  ],
  targets: [
    .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .systemLibrary(name: "CLinux"),
    .target(
      name: "BackupRestore",
      dependencies: [
        "CLibPQ", "CLinux",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict),
    .executableTarget(name: "init", dependencies: command, swiftSettings: strict),
    .executableTarget(name: "backup", dependencies: command, swiftSettings: strict),
    .executableTarget(name: "restore", dependencies: command, swiftSettings: strict),
    .target(name: "Support", dependencies: ["BackupRestore"], path: "Tests/Support", swiftSettings: strict),
    .executableTarget(
      name: "demo", dependencies: ["BackupRestore", "Support"], path: "Tests/Demo", swiftSettings: strict),
    .executableTarget(
      name: "bench", dependencies: command + ["Support"], path: "Tests/Bench", swiftSettings: strict),
    .testTarget(name: "Unit", dependencies: ["BackupRestore", "Support"], path: "Tests/Unit", swiftSettings: strict),
    .testTarget(
      name: "Integration",
      dependencies: [
        "BackupRestore", "Support", "init", "backup", "restore", .product(name: "SystemPackage", package: "swift-system"),
      ],
      path: "Tests/Integration", swiftSettings: strict),
    .testTarget(
      name: "Faults", dependencies: ["BackupRestore", "Support", "init", "backup", "restore"],
      path: "Tests/Faults", swiftSettings: strict),
    .testTarget(
      name: "Image", dependencies: ["BackupRestore", "Support"], path: "Tests/Image", swiftSettings: strict),
    .testTarget(
      name: "Kubernetes", dependencies: ["BackupRestore", "Support"], path: "Tests/Kubernetes", swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)

// What builds only some of it names the targets: docker/sanitize, and the image, whose layers then depend on nothing else.
if let names = Context.environment["ONLY_TARGETS"]?.split(separator: " ").map(String.init) {
  let kept = names + ["CLibPQ", "CLinux", "BackupRestore"]
  package.products.removeAll { !kept.contains($0.name) }
  package.targets.removeAll { !kept.contains($0.name) }
}
