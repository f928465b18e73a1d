import Foundation
import Support
import Testing

@testable import BackupRestore

/// docker/kubernetes: valid, and the same as the code and these tests say.
@Suite(.image, .timeLimit(.minutes(45))) struct Manifests {
  static let directory = Engine.project + "/docker/kubernetes"

  /// `quiesce` is a component, and goes with the base.
  static func built(_ name: String, _ more: String = "") async throws -> String {
    if name != "quiesce" { return try await Shell.run("kubectl", ["kustomize", "\(directory)/\(name)"]).output }
    let overlay = "/tmp/backup-restore-quiesce.\(UInt64.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: overlay, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: overlay) }
    let text = "resources: [../..\(directory)/base]\ncomponents: [../..\(directory)/quiesce]\n" + more
    try text.write(toFile: overlay + "/kustomization.yaml", atomically: true, encoding: .utf8)
    return try await Shell.run("kubectl", ["kustomize", overlay]).output
  }

  /// podFailurePolicy is complete since 1.31; before that the schema wants a field that it does not need.
  @Test(arguments: ["base", "example", "quiesce"], ["1.31", "1.37"]) func theyFollowTheSchemasOfKubernetes(
    _ name: String, _ version: String
  )
    async throws
  {
    let file = URL(filePath: "/tmp/backup-restore-manifests.\(UInt64.random(in: 0 ... .max)).yaml")
    defer { try? FileManager.default.removeItem(at: file) }
    try await Self.built(name).write(to: file, atomically: true, encoding: .utf8)
    let checked = try await Shell.run(
      Engine.project + "/.build-python/bin/kubernetes-validate", ["--strict", "-k", version, file.path], check: false)
    #expect(checked.code == 0, "\(checked.output)\(checked.errors)")
    let said = checked.output + checked.errors
    #expect(said.contains("cronjob/backup against version \(version)") && said.contains("deployment/backup-restore"), "\(said)")
  }

  @Test func theScheduleAndTheReplicasAreThePredecessors() async throws {
    let base = try await Self.built("base")
    for line in ["schedule: 10 23 * * *", "replicas: 0", "concurrencyPolicy: Forbid", "restartPolicy: Never", "name: backup-app"]
    {
      #expect(base.contains(line), "\(line)")
    }
  }

  /// Nobody who finds a way into the pod finds rights there that the pod does not need.
  @Test func theTokenIsMountedOnlyWhereTheApplicationIsScaled() async throws {
    #expect(try await !Self.built("base").contains("automountServiceAccountToken: true"))
    let quiesce = try await Self.built("quiesce")
    #expect(quiesce.components(separatedBy: "automountServiceAccountToken: true").count == 3)
    // The Role, and the binding that names it.
    #expect(quiesce.components(separatedBy: "kind: Role\n").count == 3)
    #expect(try await !Self.built("base").contains("kind: Role"))
    for rule in APIServer.rules(["named-by-the-overlay"]).split(separator: "\n") {
      for word in rule.split(whereSeparator: { "{}[],: -\"".contains($0) }) { #expect(quiesce.contains(word)) }
    }
  }

  /// As the component's first lines have it. A rule without names would be a rule for every deployment of the namespace.
  @Test func theRoleNamesTheDeploymentsThatItMayScale() async throws {
    let text = try String(contentsOfFile: Self.directory + "/quiesce/kustomization.yaml", encoding: .utf8)
    let lines = text.split(separator: "\n").filter { $0.hasPrefix("#   ") }.map { $0.dropFirst(4) }
    let names = try #require(lines.first { $0.hasPrefix("QUIESCE_DEPLOYMENTS: ") }?.split(separator: " ").last)
    let patches = lines.drop { $0 != "patches:" }.joined(separator: "\n") + "\n"
    let role = try await Self.built("quiesce", patches).components(separatedBy: "---\n").first { $0.contains("kind: Role\n") }
    let listed = try #require(role?.firstMatch(of: /resourceNames:\n((?:  - .*\n)+)/)).1.split(separator: "\n").map {
      $0.dropFirst(4)
    }
    #expect(listed == names.split(separator: ","))
    #expect(try await Self.built("quiesce").contains("resourceNames:\n  - named-by-the-overlay\n"))
  }

  /// restic takes the lock of a process it does not see for dead where the host name is its own: a name that two pods share, in two
  /// namespaces or on two nodes, would cost each the lock it works under.
  @Test func noTwoPodsShareAHostName() async throws {
    for name in ["base", "quiesce"] { #expect(try await !Self.built(name).contains("hostname: "), "\(name)") }
    let example = try await Self.built("example")
    #expect(example.components(separatedBy: "hostname: ").count == 2 && example.contains("      hostname: forgejo-"))
  }

  @Test func theJobIsNotTriedAgainForWhatTryingAgainDoesNotMend() async throws {
    let text = try String(contentsOfFile: Self.directory + "/base/backup.yaml", encoding: .utf8)
    let values = try #require(text.firstMatch(of: /values: \[([0-9, ]+)\]/)).1.split(separator: ",").compactMap {
      Int32($0.filter(\.isNumber))
    }
    let final: [BackupRestore.ExitStatus] = [
      .unreadable, .attention, .repositoryMissing, .wrongPassword, .refused, .usage, .configuration,
    ]
    #expect(values == final.map(\.rawValue))
  }

  @Test func theContainersOfTheseTestsAreHardenedAsTheyAre() throws {
    for (name, profile, added) in [
      ("backup", PodSite.Profile.backup, "add: [DAC_OVERRIDE]"),
      ("backup-restore", .restore, "add: [CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETFCAP]"),
    ] {
      let text = try String(contentsOfFile: "\(Self.directory)/base/\(name).yaml", encoding: .utf8)
      for line in [added, "readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false", "drop: [ALL]", "runAsUser: 0"] {
        #expect(text.contains(line), "\(name): \(line)")
      }
      #expect(text.contains("readOnly: true\n                - name: backup-secret") == (profile == .backup))
      for option in ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "0:0"] {
        #expect(profile.options.contains(option))
      }
    }
  }
}
