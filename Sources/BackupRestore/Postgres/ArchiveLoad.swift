import SystemPackage

/// An archive on its way into a staging database: what the server refuses is tried again, and named in the end.
struct ArchiveLoad: Sendable {
  let restore: ArchiveRestore
  let source: ArchiveSource
  let staging: String
  /// For lists of entries.
  let scratch: FilePath
  let backends: BackendWatch
  /// What functions may find by, the likeliest first.
  let searchPaths: [String]

  /// - Parameter wanted: the entries to load; nil: all.
  /// - Returns: what is refused for good, in the archive's order.
  func run(jobs: Int, _ wanted: [Entry]? = nil) async throws -> [Refusal] {
    let choice = ArchiveRestore.Choice(list: try wanted.map { try list($0.map(\.id)) })
    let refused = try await source.read { archive, input in
      try await restore.run(
        restore.command(staging: staging, archive: archive, jobs: archive == nil ? 1 : jobs, choice), input: input,
        backends: backends)
    }
    if refused.isEmpty { return [] }
    return try await again(refused, in: try await contents())
  }

  /// Once more after all the rest, one after the other: some want rows of another table, or what a function finds by the search_path.
  private func again(_ refused: [Refusal], in contents: [Entry]) async throws -> [Refusal] {
    var made = refused.filter(\.isMade)
    var left = refused.filter { !$0.isMade }
    var isMoving = true
    while isMoving, !left.isEmpty {
      isMoving = false
      for path in searchPaths where !left.isEmpty {
        log.info(
          "\(Format.count(left.count, "refused object is", "refused objects are")) tried again with search_path \(printable(path))"
        )
        let still = try await pass(left.map(\.id), in: contents, searchPath: path)
        made += still.filter(\.isMade)
        let next = still.filter { !$0.isMade }
        isMoving = isMoving || next.count < left.count
        left = next
      }
    }
    let late = refused.contains { refusal in refusal.isData && !left.contains { $0.id == refusal.id } }
    let stale = late ? try await refreshed(in: contents).filter { view in !left.contains { $0.id == view.id } } : []
    return (try await given(made, in: contents) + left + stale).sorted(by: contents)
  }

  /// Materialised views once more, when rows have come after them.
  func refreshed(in contents: [Entry]) async throws -> [Refusal] {
    let views = contents.filter { $0.text.hasPrefix("MATERIALIZED VIEW DATA ") }.map(\.id)
    return views.isEmpty ? [] : try await pass(views, in: contents, searchPath: searchPaths[0])
  }

  /// Who is no superuser gives an object only to who may create in its schema, and pg_restore grants that last of all (measured, 15.20).
  /// Once more then: what is there is refused for being there, and its owner no more.
  private func given(_ made: [Refusal], in contents: [Entry]) async throws -> [Refusal] {
    let owned = made.filter { $0.errors.contains(where: \.isOfOwner) }
    if owned.isEmpty { return made }
    let still = try await pass(owned.map(\.id), in: contents, searchPath: searchPaths[0])
    return made.compactMap { refusal in
      guard owned.contains(refusal) else { return refusal }
      var left = refusal
      left.errors = still.first { $0.id == refusal.id }?.errors.filter(\.isOfOwner) ?? []
      return left.errors.isEmpty ? nil : left
    }
  }

  /// Those entries alone, in the archive's order, without parallel workers.
  func pass(_ ids: [Int], in contents: [Entry], searchPath: String) async throws -> [Refusal] {
    let wanted = Set(ids)
    let list = try list(contents.map(\.id).filter(wanted.contains))
    return try await source.read(opened: true) { archive, input in
      let command = restore.command(
        staging: staging, archive: archive, jobs: 1, ArchiveRestore.Choice(list: list, searchPath: searchPath))
      return try await restore.run(command, input: input, backends: backends, isQuiet: true)
    }
  }

  struct Entry: Sendable, Equatable {
    let id: Int
    /// `FK CONSTRAINT public sale sale_item_fkey postgres`
    let text: Substring
  }

  /// The entries as they are loaded: event triggers, and what is said of them, last of all. From the moment one is there it decides about all
  /// that comes after it, of our own second tries too.
  static func inOrder(_ entries: [Entry]) -> [[Entry]] {
    let isLast = { (entry: Entry) in
      ["EVENT TRIGGER ", "COMMENT - EVENT TRIGGER ", "SECURITY LABEL - EVENT TRIGGER "].contains { entry.text.hasPrefix($0) }
    }
    let last = entries.filter(isLast)
    return [entries.filter { !isLast($0) }] + (last.isEmpty ? [] : [last])
  }

  /// The archive's table of contents, in its order.
  func contents() async throws -> [Entry] {
    let text = try await text(["--list"])
    return text.split(separator: "\n").compactMap { line in
      guard let entry = line.wholeMatch(of: /(\d+); \d+ \d+ (.*)/), let id = Int(entry.1) else { return nil }
      return Entry(id: id, text: entry.2)
    }
  }

  /// The entries as SQL, to be run later.
  func script(_ refused: [Refusal], owners: Bool = false) async throws -> String {
    try await text(["--file=-"] + (owners ? [] : ["--no-owner"]) + ["--use-list=\(list(refused.map(\.id)))"])
  }

  private func text(_ arguments: [String]) async throws -> String {
    try await source.read(opened: true) { archive, input in
      let command = Command(restore.program, arguments + (archive.map { [$0] } ?? []), environment: restore.base)
      let errors = ClientErrors("pg_restore")
      let outcome = try await Runner.run(
        command, input: input, output: .document(limit: 64 << 20),
        watch: StallDetector(limit: backends.limit, patience: backends.limit),
        errors: errors.take)
      if outcome.ending.succeeded { return String(decoding: outcome.document, as: UTF8.self) }
      throw Failure(
        .verificationFailed, "pg_restore failed (\(outcome.ending.text)): \(errors.first ?? "it said nothing")",
        hint: outcome.ending.hint("nothing live was changed; choose another set"))
    }
  }

  func list(_ ids: [Int]) throws -> String {
    let path = scratch.appending("entries.\(percentEncoded(staging.utf8)).\(UInt32.random(in: 0 ... .max))")
    let file = try FileDescriptor.open(
      path, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec], permissions: .ownerReadWrite)
    _ = try file.closeAfter { try file.writeAll(ids.map { "\($0);\n" }.joined().utf8) }
    return path.string
  }
}

extension [Refusal] {
  /// In the archive's order, and with the schema in each name.
  func sorted(by contents: [ArchiveLoad.Entry]) -> [Refusal] {
    let byID = Dictionary(map { ($0.id, $0) }) { first, _ in first }
    return contents.compactMap { entry in
      guard var refusal = byID[entry.id] else { return nil }
      refusal.name = String(entry.text)
      return refusal
    }
  }
}
