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

    /// How long a lock of a process that lives is left as it is, and a minute more.
    static let longestUnchanged: TimeInterval = 6 * 60

    /// Whether it is of no pod of this namespace, though it has a pod's name, and nobody has written it anew.
    func isOfGonePod(_ living: Set<String>, now: Date) -> Bool {
      guard let written = Format.read(time)?.date, now.timeIntervalSince(written) > Self.longestUnchanged else { return false }
      return !living.contains(hostname) && hostname.contains(/^[a-z0-9-]+-[a-z0-9]{5}$/)
    }

    /// Who has it, and since when.
    func text(now: Date) -> String {
      let age = (Format.read(time)?.date).map { Format.duration(now.timeIntervalSince($0)) } ?? "an unknown time"
      return "\(id.prefix(8)): process \(pid) of \(printable(hostname)), \(age) old\(exclusive ? ", keeps everybody out" : "")"
    }
  }

  /// restic takes a lock for dead after half an hour, where it is another machine's. The API server knows sooner that a pod is gone.
  func removeLocksOfGonePods(now: Date = Date()) async throws {
    guard let living = await pods?(), let locks = try? await locks(), !locks.isEmpty,
      locks.allSatisfy({ $0.isOfGonePod(living, now: now) })
    else { return }
    log.warning(
      "\(shown): locks of pods that are gone are removed: \(locks.map { $0.text(now: now) }.joined(separator: "; "))")
    try await removeLocks()
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
