/// `init --rotate-password`: every repository from RESTIC_PASSWORD to RESTIC_NEW_PASSWORD. A crash anywhere leaves both or the new
/// one in force, and the next run goes on: what each repository opens with tells how far it came.
public struct RotatePassword: Sendable {
  let context: Context

  public init(_ context: Context) { self.context = context }

  /// Add the new key everywhere, open everything with it, only then remove the old one. `restic key passwd` would do all three in
  /// one repository after the other, and on an append-only server fails after it added the key (measured).
  public func run() async throws -> ExitStatus {
    let settings = context.configuration.repository
    guard let new = settings.newPassword else {
      throw Failure(
        .configuration, "RESTIC_NEW_PASSWORD is not set", hint: "set it, or RESTIC_NEW_PASSWORD_FILE to a mounted Secret")
    }
    if new == settings.password {
      throw Failure(.refused, "RESTIC_NEW_PASSWORD is the same as RESTIC_PASSWORD", hint: "set another one")
    }
    let bare = new.reveal().trimming(" \t\r\n")
    if bare != new.reveal() {
      throw Failure(
        .configuration, "RESTIC_NEW_PASSWORD begins or ends with white space, which restic takes away from a new password",
        hint: "set one without")
    }
    let found = try await repositories(new)
    for one in found where one.newKey == nil {
      try await one.repository.addKey(new)
      output("\(one.repository.title): new password added")
    }
    for one in found { _ = try await one.repository.with(password: new).keys() }
    for one in found {
      guard let old = one.oldKey else {
        output("\(one.repository.title): has the new password already")
        continue
      }
      try await one.repository.with(password: new).removeKey(old)
      // A password may have several keys.
      while case .success(let keys) = await settled({ try await one.repository.keys() }), let key = keys.first(where: \.current) {
        try await one.repository.with(password: new).removeKey(key.id)
      }
      output("\(one.repository.title): old password removed")
    }
    output("done: put the new password where RESTIC_PASSWORD comes from, before the next run")
    return .done
  }

  private struct Found: Sendable {
    let repository: Repository
    /// The key that each password opens; nil: it opens none.
    let oldKey: String?
    let newKey: String?
  }

  private func repositories(_ new: Secret) async throws -> [Found] {
    var found: [Found] = []
    for name in Repository.Name.own + Repository.Name.old {
      let repository = context.repository(name)
      let (old, next) = await (
        settled { try await repository.keys() }, settled { try await repository.with(password: new).keys() }
      )
      let refused = { (result: Result<[Key], any Error>) in
        if case .failure(let failure as Failure) = result { return failure.status == .wrongPassword }
        return false
      }
      if case .failure(let failure as Failure) = old, failure.status == .repositoryMissing { continue }
      if refused(old), refused(next) { try Failure.merge([old]) }
      if name == .base, case .failure(let error) = old, !refused(old) {
        // Rights may be given for what lies below the base, and not for the base itself.
        log.warning("\(repository.shown) is left as it is: \(error)")
        continue
      }
      for result in [old, next] where !refused(result) { try Failure.merge([result]) }
      let current = { (result: Result<[Key], any Error>) in (try? result.get())?.first(where: \.current)?.id }
      found.append(Found(repository: repository, oldKey: current(old), newKey: current(next)))
    }
    if found.isEmpty {
      throw Failure(.repositoryMissing, "no repository at \(context.repository(.base).shown)", hint: "check RESTIC_REPOSITORY")
    }
    return found
  }
}
