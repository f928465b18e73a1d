import SystemPackage

/// What is saved without its rows, by names as evidence has them.
struct ExcludedTables: Sendable {
  /// Tables and materialised views.
  var tables: Set<String> = []
  /// Sequences that may be without their values: those of such tables come with their definitions, and only what a pattern means itself is
  /// left out.
  var sequences: Set<String> = []
}

extension Dump {
  /// What POSTGRES_EXCLUDE_TABLE_DATA means: pg_dump itself says it, by the OIDs in the table of contents of a dump of the definitions.
  ///
  /// - Throws: `Failure` 20 where pg_dump fails, or a table that is saved refers to one that is not: nobody could restore that.
  func excludedTables(base: [String: String]) async throws -> ExcludedTables {
    if settings.excludedData.isEmpty { return ExcludedTables() }
    let scratch = try Scratch(base)
    defer { scratch.remove() }
    let archive = scratch.path.appending("excluded").string
    // Where nothing is like any of them pg_dump fails; this one is always there, and is no table of ours.
    let patterns = (settings.excludedData + ["pg_catalog.pg_class"]).map { "--table=\($0)" }
    _ = try await text(
      program.path,
      DatabaseSettings.dumpArguments(snapshot: snapshot, lockWait: EvidenceReader.patience)
        + ["--schema-only", "--file=\(archive)"] + patterns, base)
    let list = try await text(
      FilePath(program.path).removingLastComponent().appending("pg_restore").string, ["--list", archive], base)
    let oids = list.split(separator: "\n").compactMap { line in line.wholeMatch(of: /\d+; 1259 (\d+) .*/).map { String($0.1) } }
    // A partitioned table has no rows of its own.
    let rows = try await connection.query(
      """
      SELECT format('%I.%I', n.nspname, c.relname), c.relkind FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($1::oid[]) AND c.relkind IN ('r', 'm', 'S') AND \(EvidenceReader.ours)
      """, [SQL.array(oids)])
    var excluded = ExcludedTables()
    for row in rows {
      if row[1] == "S" { excluded.sequences.insert(try row.text(0)) } else { excluded.tables.insert(try row.text(0)) }
    }
    if excluded.tables.isEmpty {
      log.warning(
        "POSTGRES_EXCLUDE_TABLE_DATA is like no table of database \(printable(name))\n  hint: patterns are pg_dump's: schema.table, with * and ?"
      )
    }
    try await refuseReferences(to: oids)
    return excluded
  }

  /// The rehearsal, without rows, would not see it.
  private func refuseReferences(to oids: [String]) async throws {
    let problems = try await connection.problems([
      ServerCheck(
        query: """
          SELECT DISTINCT format('%I.%I', n.nspname, c.relname), format('%I.%I', m.nspname, r.relname) FROM pg_catalog.pg_constraint k
          JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_catalog.pg_class r ON r.oid = k.confrelid JOIN pg_catalog.pg_namespace m ON m.oid = r.relnamespace
          WHERE k.contype = 'f' AND r.relkind = 'r' AND k.confrelid = ANY ($1::oid[]) AND NOT k.conrelid = ANY ($1::oid[])
          """, values: [SQL.array(oids)],
        fact: { [name] in
          "database \(printable(name)): table \(printable(try $0.text(0))) refers to \(printable(try $0.text(1))), whose rows POSTGRES_EXCLUDE_TABLE_DATA leaves out: its foreign key could not be restored"
        }, hint: { "leave out the rows of \(printable(try $0.text(0))) as well, or of neither" })
    ])
    try Failure.collect(.sourceFailed, problems)
  }

  private func text(_ program: String, _ arguments: [String], _ base: [String: String]) async throws -> String {
    let errors = ClientErrors(FilePath(program).lastComponent?.string ?? program)
    let command = Command(program, arguments, environment: settings.environment(base, database: name))
    let outcome = try await Runner.run(command, output: .document(limit: 64 << 20), errors: errors.take)
    if outcome.ending.succeeded { return String(decoding: outcome.document, as: UTF8.self) }
    throw Failure(
      .sourceFailed,
      "\(FilePath(program).lastComponent?.string ?? program) failed (\(outcome.ending.text)): \(errors.first ?? "it said nothing")",
      hint: outcome.ending.hint("look at POSTGRES_EXCLUDE_TABLE_DATA"))
  }
}
