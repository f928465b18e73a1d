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

    /// Whether it is of a pod of this application that is gone, and nobody has written it anew. Six minutes alone prove nothing: a clock may
    /// be behind, and restic may not reach the repository for a while.
    ///
    /// - Parameters:
    ///   - living: the pods of this namespace.
    ///   - own: this pod, whose name shows that they are of this namespace, and how this application's are called.
    func isOfGonePod(_ living: Set<String>, own: String, now: Date) -> Bool {
      guard let written = Format.read(time)?.date, now.timeIntervalSince(written) > Self.longestUnchanged, living.contains(own),
        !living.contains(hostname), let mine = Self.workload(own), let its = Self.workload(hostname)
      else { return false }
      return its.hasPrefix(mine) || mine.hasPrefix(its)
    }

    /// What a pod's name begins with: of a CronJob `backup-29384950-x7k2p`, of a Deployment `backup-restore-5d4f8c9b7d-x7k2p`; nil: it is no
    /// such name. Kubernetes makes them of these characters alone.
    private static func workload(_ pod: String) -> Substring? {
      pod.firstMatch(of: /^([a-z0-9-]+?)-(?:[0-9]{8,}|[bcdfghjklmnpqrstvwxz2456789]{6,10})-[bcdfghjklmnpqrstvwxz2456789]{5}$/)?.1
    }

    /// Who has it, and since when.
    func text(now: Date) -> String {
      let age = (Format.read(time)?.date).map { Format.duration(now.timeIntervalSince($0)) } ?? "an unknown time"
      return "\(id.prefix(8)): process \(pid) of \(printable(hostname)), \(age) old\(exclusive ? ", keeps everybody out" : "")"
    }
  }

  /// restic takes a lock for dead after half an hour, where it is another machine's. The API server knows sooner that a pod is gone.
  ///
  /// - Parameter own: this pod.
  func removeLocksOfGonePods(own: String = ProcessInfo.processInfo.hostName, now: Date = Date()) async throws {
    guard let living = await pods?() else { return }
    let locks = try await locks()
    guard !locks.isEmpty, locks.allSatisfy({ $0.isOfGonePod(living, own: own, now: now) }) else { return }
    // Somebody may have come meanwhile: restic removes all locks or none.
    guard Set(try await lockIDs()) == Set(locks.map(\.id)) else { return }
    log.warning("\(shown): locks of pods that are gone are removed: \(locks.map { $0.text(now: now) }.joined(separator: "; "))")
    try await removeLocks()
  }

  private func lockIDs() async throws -> [String] {
    let listed = try await run(["list", "locks", "--no-lock"], output: .document(limit: 1 << 20), deadline: waits.connect)
    return String(decoding: listed.document, as: UTF8.self).split(whereSeparator: \.isWhitespace).filter { $0.count == 64 }.map(
      String.init)
  }

  func locks() async throws -> [Lock] {
    var locks: [Lock] = []
    for id in try await lockIDs() {
      do {
        let shown = try await run(["cat", "lock", id, "--no-lock"], output: .document(limit: 1 << 16), deadline: waits.connect)
        var lock = try decode(Lock.self, shown.document, of: "cat lock")
        lock.id = id
        locks.append(lock)
      } catch {
        // One that is gone meanwhile is none; of one that cannot be read nobody knows whose it is.
        if try await lockIDs().contains(id) { throw error }
      }
    }
    return locks
  }

  /// All of them: restic removes no single one.
  func removeLocks() async throws {
    _ = try await run(["unlock", "--remove-all"], output: .document(limit: 1 << 20), deadline: waits.connect)
  }
}
