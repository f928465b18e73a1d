import FoundationEssentials

extension Repository {
  /// What `check` found.
  struct Damage: Sendable {
    /// restic's own words, the first of them.
    let errors: [String]
    /// Beginnings of the ids of snapshots that need what is damaged; empty: unknown.
    let snapshots: Set<String>
  }

  /// Checks the structure of everything and reads a part of the packs: `part` of `parts`, from 1. Nil: whole.
  ///
  /// Without restic's exclusive lock, which would keep every restore out while it reads, for hours. A backup beside it does not show
  /// then; what a prune removes beside it looks like damage (measured, 0.19). So damage is what a second look finds, with the lock.
  ///
  /// - Throws: `Failure` where it could not be checked.
  func check(part: Int, of parts: Int) async throws -> Damage? {
    do { if try await check(part, parts, locked: false) == nil { return nil } } catch let failure as Failure
      where failure.status != .repositoryFailed
    { throw failure } catch is Failure {}
    log.info("\(shown): not found whole; looking again with the lock that keeps others out")
    return try await check(part, parts, locked: readOnly == nil && !deletesNothing)
  }

  private func check(_ part: Int, _ parts: Int, locked: Bool) async throws -> Damage? {
    let result = try await run(
      ["check", "--read-data-subset=\(part)/\(parts)"] + (locked ? [] : ["--no-lock"]), output: .document(limit: 1 << 20),
      accept: [0, 1])
    if result.ending == .exited(0) { return nil }
    let summary = ResticMessage(line: String(decoding: result.document, as: UTF8.self))
    guard let summary, (summary.num_errors ?? 0) > 0 else { throw failure("check", result) }
    let packs = Set((summary.broken_packs ?? []) + result.errors.flatMap(Self.packs))
    let facts = result.errors.filter { !Self.packs(in: $0).isEmpty }
    let needing = packs.isEmpty ? [] : (try? await snapshots(needing: packs)) ?? []
    return Damage(errors: Array((facts.isEmpty ? result.errors : facts).prefix(3)), snapshots: needing)
  }

  /// The ids of packs that an error of reading names: `pack 37971…: not found`, `… from pack f362… failed`, and where a file is gone
  /// `open /r/data/dd/ddb16…: no such file or directory`.
  static func packs(in error: String) -> [String] {
    error.matches(of: /(?:\bpack |\/data\/[0-9a-f]{2}\/)([0-9a-f]{64})(: no such file)?/).filter { match in
      match.0.hasPrefix("pack ") || match.2 != nil
    }.map { String($0.1) }
  }

  /// Found line by line: as JSON it would be one line as long as the repository has files.
  func snapshots(needing packs: Set<String>) async throws -> Set<String> {
    let found = Locked(Set<String>())
    _ = try await run(
      ["find", "--json=false", "--no-lock", "--pack"] + packs.sorted(),
      output: .lines { line in
        // ` ... in snapshot 1e48e3d8 (2026-11-24 12:12:08)`, ` ... which belongs to snapshot 9c12…`
        for words in [" in snapshot ", " belongs to snapshot "] {
          guard let range = line.firstRange(of: words) else { continue }
          let id = line[range.upperBound...].prefix { !$0.isWhitespace }
          found.change { $0.insert(String(id)) }
        }
      })
    return found.value
  }
}
