import FoundationEssentials

extension Repository {
  /// A lock as restic keeps it. A process that lives writes it anew every five minutes.
  struct Lock: Decodable, Equatable, Sendable {
    var id = ""
    let time: String
    let exclusive: Bool
    let hostname: String
    let pid: Int

    private enum CodingKeys: String, CodingKey { case time, exclusive, hostname, pid }

    /// Who has it, and since when.
    func text(now: Date) -> String {
      let age = (Format.read(time)?.date).map { Format.duration(now.timeIntervalSince($0)) } ?? "an unknown time"
      return "\(id.prefix(8)): process \(pid) of \(printable(hostname)), \(age) old\(exclusive ? ", keeps everybody out" : "")"
    }
  }

  func locks() async throws -> [Lock] {
    let listed = try await run(["list", "locks", "--no-lock"], output: .document(limit: 1 << 20), deadline: waits.connect)
    var locks: [Lock] = []
    for line in String(decoding: listed.document, as: UTF8.self).split(whereSeparator: \.isWhitespace) where line.count == 64 {
      // One that is gone meanwhile is none.
      guard
        let shown = try? await run(
          ["cat", "lock", String(line), "--no-lock"], output: .document(limit: 1 << 16), deadline: waits.connect)
      else { continue }
      var lock = try decode(Lock.self, shown.document, of: "cat lock")
      lock.id = String(line)
      locks.append(lock)
    }
    return locks
  }

  /// All of them: restic removes no single one.
  func removeLocks() async throws {
    _ = try await run(["unlock", "--remove-all"], output: .document(limit: 1 << 20), deadline: waits.connect)
  }
}
