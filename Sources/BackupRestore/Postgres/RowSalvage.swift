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
    /// False: given up, and nothing of it is in.
    var isWhole = true

    /// Nil where nothing is in.
    var words: String? {
      if taken == 0 { return nil }
      if refusedCount == 0 { return "all \(Format.count(taken, "row is", "rows are")) in" }
      let numbers = refused.map(Format.count).joined(separator: ", ") + (refusedCount > refused.count ? ", …" : "")
      return
        "\(Format.count(taken, "row is", "rows are")) in, \(Format.count(refusedCount)) left out (number \(numbers) of the dump)"
        + (reason.map { ": " + printable($0) } ?? "")
    }
  }

  /// Bytes that are sent at once, but for a row that is larger.
  private static let batch = 1 << 18
  private static let mostNamed = 5

  /// The table, and the columns that COPY may name.
  struct Table: Sendable {
    /// Schema and name.
    let path: [String]
    /// Of a partition those of the table that all of them are of: pg_dump fills them by way of that where a hash may differ. Else empty.
    let root: [String]
    let columns: Set<String>
  }

  /// All in one transaction.
  ///
  /// - Parameter id: of the entry with the table's data.
  func run(_ id: Int, into table: Table) async throws -> Outcome {
    let list = try load.list([id])
    return try await load.source.read(opened: true) { archive, input in
      // What is cancelled begins no child, and nobody would close its end of the pipe.
      try Task.checkCancellation()
      let pipe = try FileDescriptor.pipe(options: .closeOnExec)
      let command = Command(
        load.restore.program, ["--file=-", "--use-list=\(list)"] + (archive.map { [$0] } ?? []), environment: load.restore.base)
      let errors = ClientErrors("pg_restore", isQuiet: true)
      let watch = StallDetector(limit: load.backends.limit, patience: load.backends.limit)
      async let printing = settled {
        try await Runner.run(command, input: input, output: .descriptor(pipe.writeEnd), watch: watch, errors: errors.take)
      }
      let outcome = await settled { try await take(from: pipe.readEnd, into: table, watch) }
      try pipe.readEnd.close()
      let ending = try await printing.get().ending
      // Where it is not read to its end, pg_restore cannot end well either.
      if case .success(let outcome) = outcome, outcome.isWhole, !ending.succeeded {
        throw Failure(
          .verificationFailed, "pg_restore failed (\(ending.text)): \(errors.first ?? "it said nothing")",
          hint: ending.hint("nothing live was changed; choose another set"))
      }
      return try outcome.get()
    }
  }

  /// A script of pg_restore's: what it sets, then `COPY … FROM stdin;`, rows, and `\.`.
  private func take(from descriptor: FileDescriptor, into table: Table, _ watch: StallDetector) async throws -> Outcome {
    var (outcome, copy, header): (Outcome, String?, String) = (Outcome(), nil, "")
    var (rest, rows): ([UInt8], [ArraySlice<UInt8>]) = ([], [])
    var (size, searched) = (0, 0)
    // What is deferred would fail the whole at its end.
    try await session.execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE")
    do {
      while true {
        let chunk = try await blocking {
          try [UInt8](unsafeUninitializedCapacity: 1 << 18) { $1 = try descriptor.read(into: UnsafeMutableRawBufferPointer($0)) }
        }
        if chunk.isEmpty { break }
        watch.touch()
        rest += chunk
        var start = 0
        // What has been looked through is not again: a row may be as long as PostgreSQL's longest.
        while let end = rest[max(start, searched)...].firstIndex(of: 0x0A) {
          let line = rest[start..<end]
          (start, searched) = (end + 1, end + 1)
          guard let statement = copy else {
            header = try await heard(String(decoding: line, as: UTF8.self), after: header)
            if header.hasPrefix("COPY "), BareTable.isWhole(header) {
              guard let made = try await begin(header, table) else { throw Hopeless() }
              copy = made
            }
            continue
          }
          let isEnd = line.elementsEqual("\\.".utf8)
          if !isEnd {
            rows.append(line)
            size += line.count
          }
          if isEnd || size >= Self.batch {
            try await put(rows[...], by: statement, &outcome)
            watch.touch()
            (rows, size) = ([], 0)
          }
          if isEnd { (copy, header) = (nil, "") }
        }
        searched = rest.count - start
        rest.removeSubrange(..<start)
      }
      try await session.execute("COMMIT")
      return outcome
    } catch is Hopeless {
      try await session.execute("ROLLBACK")
      return Outcome(isWhole: false)
    } catch {
      try? await session.execute("ROLLBACK")
      throw error
    }
  }

  /// The archive names another table or other columns, or no row is taken.
  private struct Hopeless: Error {}

  /// So many rows that are refused one by one, and none taken, are no few bad rows.
  private static let mostInVain = 10_000

  /// What is no row's fault: rights, room, locks, the server itself.
  private static func isOfServer(_ error: DatabaseError) -> Bool {
    error.state == "42501" || ["40", "53", "55", "57", "58"].contains { error.state.hasPrefix($0) }
  }

  /// The statement as far as it has come: a name may have lines.
  private func heard(_ line: String, after header: String) async throws -> String {
    if !header.isEmpty { return header + "\n" + line }
    if line.hasPrefix("SET client_encoding = "), BareTable.isWhole(line) {
      _ = try await session.query("SET LOCAL" + line.dropFirst(3))
    }
    return line.hasPrefix("COPY ") ? line : ""
  }

  /// Nothing of the archive's is run but the names of columns that the table has.
  private func begin(_ header: String, _ table: Table) async throws -> String? {
    guard let (path, columns) = Self.target(header), table.columns.isSuperset(of: columns) else { return nil }
    guard path == table.path || path == table.root else { return nil }
    // What CHECK constraints and generated columns call may find by it, and what they read: the database's own, not this session's.
    try await session.execute("SET LOCAL search_path = \(load.searchPaths[0])")
    for name in ["TimeZone", "DateStyle", "IntervalStyle", "extra_float_digits", "bytea_output", "lc_monetary", "xmlbinary"] {
      _ = try await session.query("SET LOCAL \(name) TO DEFAULT")
    }
    return
      "COPY \(path.map(SQL.identifier).joined(separator: ".")) (\(columns.map(SQL.identifier).joined(separator: ", "))) FROM STDIN"
  }

  /// The table and columns that `COPY a."b c" (x, "y z") FROM stdin;` names; nil where it is another statement.
  static func target(_ statement: String) -> (path: [String], columns: [String])? {
    var rest = Substring(statement)
    func taken(_ text: String) -> Bool {
      guard rest.hasPrefix(text) else { return false }
      rest = rest.dropFirst(text.count)
      return true
    }
    func identifier() -> String? {
      if !taken("\"") {
        let plain = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "$" }
        rest = rest.dropFirst(plain.count)
        return plain.isEmpty ? nil : String(plain)
      }
      var name = ""
      while let character = rest.popFirst() {
        if character != "\"" {
          name.append(character)
        } else if taken("\"") {
          name += "\""
        } else {
          return name
        }
      }
      return nil
    }
    guard taken("COPY "), let schema = identifier(), taken("."), let table = identifier(), taken(" (") else { return nil }
    var columns: [String] = []
    repeat {
      guard let name = identifier() else { return nil }
      columns.append(name)
    } while taken(", ")
    return taken(")") && rest == " FROM stdin;" ? ([schema, table], columns) : nil
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
      if Self.isOfServer(error) { throw error }
      if outcome.taken == 0, outcome.refusedCount >= Self.mostInVain { throw Hopeless() }
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
