import SystemPackage

/// The rows of a table that PostgreSQL takes, where it refuses some. COPY takes all or none, so it gets a few at a time, and where it refuses
/// these the halves of them.
struct RowSalvage: Sendable {
  let load: ArchiveLoad
  /// In the staging database, as who loads it.
  let session: Connection

  struct Outcome: Sendable {
    var taken = 0
    /// The numbers of rows in the archive's order, from 1; the first of them.
    var refused: [Int] = []
    var refusedCount = 0
    var reason: String?
  }

  /// Bytes that are sent at once, but for a row that is larger.
  private static let batch = 1 << 18
  private static let mostNamed = 5

  /// All in one transaction.
  ///
  /// - Parameter id: of an entry with a table's data.
  func run(_ id: Int) async throws -> Outcome {
    let list = try load.list([id])
    return try await load.source.read(opened: true) { archive, input in
      let pipe = try FileDescriptor.pipe(options: .closeOnExec)
      let command = Command(
        load.restore.program, ["--file=-", "--use-list=\(list)"] + (archive.map { [$0] } ?? []), environment: load.restore.base)
      let errors = ClientErrors("pg_restore", isQuiet: true)
      async let printing = settled {
        try await Runner.run(command, input: input, output: .descriptor(pipe.writeEnd), errors: errors.take)
      }
      let outcome = await settled { try await take(from: pipe.readEnd) }
      try pipe.readEnd.close()
      let ending = try await printing.get().ending
      if case .success = outcome, !ending.succeeded {
        throw Failure(
          .verificationFailed, "pg_restore failed (\(ending.text)): \(errors.first ?? "it said nothing")",
          hint: ending.hint("nothing live was changed; choose another set"))
      }
      return try outcome.get()
    }
  }

  /// A script of pg_restore's: what it sets, then `COPY … FROM stdin;`, rows, and `\.`.
  private func take(from descriptor: FileDescriptor) async throws -> Outcome {
    var (outcome, copy): (Outcome, String?) = (Outcome(), nil)
    var (rest, rows): ([UInt8], [ArraySlice<UInt8>]) = ([], [])
    var size = 0
    try await session.execute("BEGIN")
    do {
      while true {
        let chunk = try await blocking {
          try [UInt8](unsafeUninitializedCapacity: 1 << 16) { $1 = try descriptor.read(into: UnsafeMutableRawBufferPointer($0)) }
        }
        if chunk.isEmpty { break }
        rest += chunk
        var start = rest.startIndex
        while let end = rest[start...].firstIndex(of: 0x0A) {
          let line = rest[start..<end]
          start = end + 1
          guard let statement = copy else {
            copy = try await begin(String(decoding: line, as: UTF8.self))
            continue
          }
          if line.elementsEqual("\\.".utf8) {
            try await put(rows[...], by: statement, &outcome)
            (rows, size, copy) = ([], 0, nil)
            continue
          }
          rows.append(line)
          size += line.count
          if size >= Self.batch {
            try await put(rows[...], by: statement, &outcome)
            (rows, size) = ([], 0)
          }
        }
        rest.removeSubrange(..<start)
      }
      try await session.execute("COMMIT")
      return outcome
    } catch {
      try? await session.execute("ROLLBACK")
      throw error
    }
  }

  /// - Returns: the statement, where the line is that.
  private func begin(_ line: String) async throws -> String? {
    if line.hasPrefix("SET client_encoding = ") { _ = try await session.query("SET LOCAL" + line.dropFirst(3)) }
    guard line.hasPrefix("COPY "), line.hasSuffix(" FROM stdin;") else { return nil }
    // What CHECK constraints and generated columns call may find by it.
    try await session.execute("SET LOCAL search_path = \(load.searchPaths[0])")
    for (name, value) in load.restore.options {
      _ = try await session.query("SELECT pg_catalog.set_config($1, $2, true)", [name, value])
    }
    return line
  }

  private func put(_ rows: ArraySlice<ArraySlice<UInt8>>, by statement: String, _ outcome: inout Outcome) async throws {
    if rows.isEmpty { return }
    try await session.execute("SAVEPOINT salvage")
    do {
      try await session.copy(rows.flatMap { $0 + [0x0A] }, by: statement)
      try await session.execute("RELEASE SAVEPOINT salvage")
      outcome.taken += rows.count
    } catch let error as DatabaseError {
      try await session.execute("ROLLBACK TO SAVEPOINT salvage; RELEASE SAVEPOINT salvage")
      if rows.count == 1 {
        outcome.refusedCount += 1
        outcome.reason = outcome.reason ?? error.message
        if outcome.refused.count < Self.mostNamed { outcome.refused.append(outcome.taken + outcome.refusedCount) }
        return
      }
      let middle = rows.startIndex + rows.count / 2
      try await put(rows[..<middle], by: statement, &outcome)
      try await put(rows[middle...], by: statement, &outcome)
    }
  }
}
