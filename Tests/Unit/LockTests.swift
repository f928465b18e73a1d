import FoundationEssentials
import Glibc
import Testing

@testable import BackupRestore

/// Who has what, and what is said of it.
@Suite struct LockTests {
  static let impatient = ["LOCK_WAIT": "0"]

  private func isLocked(_ body: @Sendable () async throws -> Void) async -> Bool {
    guard case .failure(let failure as Failure) = await settled({ try await body() }) else { return false }
    return failure.status == .locked
  }

  /// flock(2) and fcntl(2) as two runs see them: each has a descriptor of its own.
  @Test func whoSavedItsSetLetsOthersInAndKeepsTheirRetentionOut() async throws {
    let directory = try Temporary()
    let (path, waits) = (directory.path.string, try configuration(Self.impatient).waits)
    try await DirectoryLock.take(path, waits: waits)
    #expect(await isLocked { try await DirectoryLock.take(path, waits: waits) })
    try await DirectoryLock.release(path, waits: waits)
    // A restore comes and goes in the meantime, and so does another backup: it saves, and then it waits.
    try await DirectoryLock.take(path, waits: waits)
    #expect(await isLocked { try await DirectoryLock.release(path, waits: waits) })
    // It has let the first lock go, whether it got the second or not.
    try await DirectoryLock.take(path, waits: waits)
  }

  @Test(arguments: [
    ("owner", "backup-restore backup", "backup from 10.0.0.1 since then (PostgreSQL session 7)", ["raise LOCK_WAIT"], ["REVOKE"]),
    (
      "app", "psql", "role app (psql), which is no run of backup-restore, from 10.0.0.1",
      [
        "REVOKE CONNECT ON DATABASE \"postgres\" FROM PUBLIC, \"app\"; GRANT CONNECT ON DATABASE \"postgres\" TO \"owner\"",
        "pg_terminate_backend(7)",
      ],
      ["LOCK_WAIT"]
    ),
    // A name that anybody can take; an operator may have another role, too.
    ("app", "backup-restore restore", "restore as role app from", ["raise LOCK_WAIT", "REVOKE"], []),
    ("owner", "", "role owner, which is no run of backup-restore,", ["end it: SELECT pg_terminate_backend(7)"], ["REVOKE"]),
    (
      "owner", "backup-restore backup in pod backup-1-abcde", "backup in pod backup-1-abcde",
      ["kubectl delete pod backup-1-abcde"], []
    ),
    ("owner", "backup-restore backup in pod x; rm -rf /", "backup in pod x", ["wait for it"], ["kubectl"]),
    ("app", "backup-restore backup in pod backup-1-abcde", "backup in pod backup-1-abcde", ["REVOKE"], ["kubectl"]),
    ("a\u{1B}[2J", "psql", "role a\\u{1B}[2J (psql)", ["REVOKE"], ["\u{1B}"]),
  ]) func whoHoldsALockIsNamedAndKeptOutWhereItIsNoneOfUs(
    role: String, application: String, text: String, hints: [String], none: [String]
  ) throws {
    let holder = Server.Holder(
      session: "7", role: role, application: application, place: " from 10.0.0.1 since then", isOwnRole: role == "owner",
      progress: nil)
    #expect(holder.text.contains(text), "\(holder.text)")
    let hint = holder.hint(try databaseSettings(), try configuration().waits)
    for word in hints { #expect(hint.contains(word), "\(hint)") }
    for word in none { #expect(!hint.contains(word), "\(hint)") }
  }

  @Test(arguments: ["files: 34 %, 12.0 MiB of 35.0 MiB, 1.2 MiB/s, 3 s left; database it's: begins", "a", ""])
  func whatARunSaysOfItselfIsReadFromItsLastStatement(text: String) {
    let statement = "SELECT /* progress */ \(SQL.literal(text))"
    #expect(Server.progress(statement) == (text.isEmpty ? nil : text))
    // As much of it as the server shows.
    #expect(Server.progress(String(statement.prefix(27))) == (text.isEmpty ? nil : String(text.prefix(4))))
    #expect(Server.progress("SELECT 1") == nil)
  }
}
