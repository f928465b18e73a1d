/// A program to run: a value, so that tests compare it whole. `Runner` is what executes it.
package struct Command: Equatable, Sendable {
  let program: String
  var arguments: [String]
  /// Exactly what the child gets, nothing inherited. Holds secrets, so it is never printed.
  var environment: [String: String]
  var directory: String?

  package init(_ program: String, _ arguments: [String], environment: [String: String] = [:], directory: String? = nil) {
    self.program = program
    self.arguments = arguments
    self.environment = environment
    self.directory = directory
  }

  /// The child's name in messages.
  var name: String { program.split(separator: "/").last.map(String.init) ?? program }

  /// What every child may know of the parent's environment: where programs are, where scratch space is, who we are.
  static func baseEnvironment(_ parent: [String: String]) -> [String: String] {
    let names = ["PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE"]
    var environment = parent.filter { names.contains($0.key) }
    // Messages and number formats must not depend on the pod's language; times are compared as UTC.
    environment["LC_ALL"] = "C.UTF-8"
    environment["TZ"] = "UTC"
    return environment
  }
}

extension Command: CustomStringConvertible {
  package var description: String { ([program] + arguments).joined(separator: " ") }
}
