/// `init --rotate-password`: every repository from RESTIC_PASSWORD to RESTIC_NEW_PASSWORD. A crash anywhere leaves both or the new
/// one in force, and the next run goes on: what each repository opens with tells how far it came.
public struct RotatePassword: Sendable {
  let invocation: Invocation

  /// Nothing happens yet.
  public init(_ invocation: Invocation) { self.invocation = invocation }

  /// Add the new key everywhere, open everything with it, only then remove the old one. `restic key passwd` would do all three in
  /// one repository after the other, and on an append-only server fails after it added the key (measured).
  ///
  /// - Returns: 4 where a server keeps the old password in force.
  /// - Throws: `Failure` 78 without RESTIC_NEW_PASSWORD, 12 where neither password opens a repository.
  public func run() async throws -> ExitStatus {
    let rotated = invocation.withCopy.filter { $0.settings.newPassword != nil }
    if rotated.isEmpty {
      throw Failure(
        .configuration, "RESTIC_NEW_PASSWORD is not set", hint: "set it, or RESTIC_NEW_PASSWORD_FILE to a mounted Secret")
    }
    for repositories in rotated { try Self.check(repositories.settings) }
    // No backup meanwhile: it would find its password refused half-way. Where the database cannot be reached there is none.
    var needs = Session.Needs.everything(invocation.configuration)
    (needs.application, needs.isTolerant) = (false, true)
    return try await Session.open(invocation, needs) { session in
      for error in session.missing + (session.unreached.map { [$0] } ?? []) {
        log.warning("rotating without every lock: \((error as? Failure)?.problems.first?.fact ?? "\(error)")")
      }
      var isDone = true
      for repositories in rotated {
        guard let new = repositories.settings.newPassword else { continue }
        isDone = try await rotate(repositories, to: new) && isDone
      }
      return isDone ? .done : .attention
    }
  }

  private static func check(_ settings: RepositorySettings) throws {
    let name = settings.prefix + "RESTIC_NEW_PASSWORD"
    guard let new = settings.newPassword else { return }
    if new == settings.password {
      throw Failure(.refused, "\(name) is the same as \(settings.prefix)RESTIC_PASSWORD", hint: "set another one")
    }
    if new.reveal().trimming(" \t\r\n") != new.reveal() {
      throw Failure(
        .configuration, "\(name) begins or ends with white space, which restic takes away from a new password",
        hint: "set one without")
    }
  }

  /// Whether the old password opens nothing any more.
  private func rotate(_ repositories: Repositories, to new: Secret) async throws -> Bool {
    let found = try await find(in: repositories, new)
    for one in found where one.newKey == nil {
      try await one.repository.addKey(new)
      output("\(one.repository.title): new password added")
    }
    for one in found { _ = try await one.repository.with(password: new).keys() }
    let name = repositories.settings.prefix + "RESTIC_PASSWORD"
    var isWhole = true
    for one in found {
      guard let oldKey = one.oldKey else {
        output("\(one.repository.title): has the new password already")
        continue
      }
      do { try await removeOld(one.repository, new) } catch let failure as Failure
        where failure.cause == .appendOnly
      {
        isWhole = false
        log.warning(
          "\(one.repository.shown) is append-only: the old password stays in force beside the new one\n  hint: on its server, run restic key remove \(oldKey.prefix(8)) on the repository itself"
        )
        continue
      }
      output("\(one.repository.title): old password removed")
    }
    output(
      "done: put the new password where \(name) comes from; until then \(repositories.settings.prefix)RESTIC_NEW_PASSWORD opens them"
    )
    return isWhole
  }

  /// A password may have several keys.
  private func removeOld(_ repository: Repository, _ new: Secret) async throws {
    while true {
      let keys: [Key]
      do { keys = try await repository.keys() } catch let failure as Failure where failure.status == .wrongPassword { return }
      guard let key = keys.first(where: \.current) else { return }
      try await repository.with(password: new).removeKey(key.id)
    }
  }

  private struct Found: Sendable {
    let repository: Repository
    /// The key that each password opens; nil: it opens none.
    let oldKey: String?
    let newKey: String?
  }

  private func find(in repositories: Repositories, _ new: Secret) async throws -> [Found] {
    var found: [Found] = []
    for name in RepositoryName.own + RepositoryName.old {
      // With this password alone: the toolkit's own trying of the next one would hide where it is refused.
      let repository = repositories.repository(name).with(password: repositories.settings.password)
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
      throw Failure(
        .repositoryMissing, "no repository at \(repositories.repository(.base).shown)",
        hint: "check \(repositories.settings.prefix)RESTIC_REPOSITORY")
    }
    return found
  }
}
