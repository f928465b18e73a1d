import SystemPackage

extension Dump {
  /// The names, as evidence has them, of what POSTGRES_EXCLUDE_TABLE_DATA means: pg_dump itself says which, by the OIDs in the table of
  /// contents of a dump of their definitions.
  ///
  /// - Throws: `Failure` 20 where pg_dump fails.
  func excludedTables(base: [String: String]) async throws -> Set<String> {
    if settings.excludedData.isEmpty { return [] }
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
    let names = try await connection.column(
      """
      SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($1::oid[]) AND c.relkind IN ('r', 'p', 'm', 'S', 'f') AND \(EvidenceReader.ours) ORDER BY 1
      """, [SQL.array(oids)])
    if names.isEmpty {
      log.warning(
        "POSTGRES_EXCLUDE_TABLE_DATA is like no table of database \(printable(name))\n  hint: patterns are pg_dump's: schema.table, with * and ?"
      )
    }
    return Set(names)
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
