extension Repository {
  /// The same repository, opened with another password.
  func with(password: Secret) -> Repository {
    Repository(name: name, settings: settings.with(password: password), waits: waits, base: base, wrapper: wrapper, pods: pods)
  }

  func keys() async throws -> [Key] {
    let result = try await run(["key", "list", "--no-lock"], output: .document(limit: 1 << 20), deadline: waits.connect)
    return try decode([Key].self, result.document, of: "key list")
  }

  /// The password goes through standard input, never through a file or an argument.
  func addKey(_ password: Secret) async throws {
    _ = try await run(
      ["key", "add", "--new-password-file", "/dev/stdin"], input: .bytes(Array(password.reveal().utf8)),
      output: .document(limit: 1 << 16), deadline: waits.connect)
  }

  func removeKey(_ id: String) async throws {
    _ = try await run(["key", "remove", id], output: .document(limit: 1 << 16), deadline: waits.connect)
  }
}
