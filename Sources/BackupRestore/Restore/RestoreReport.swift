/// What a restore says before and after, in tables.
struct RestoreReport: Sendable {
  let plan: RestorePlan
  let configuration: Configuration

  init(_ plan: RestorePlan, _ configuration: Configuration) { (self.plan, self.configuration) = (plan, configuration) }

  private static let accepted = "differences accepted"

  /// - Parameter live: names of the databases on the server.
  func announcement(over live: Set<String>) -> String {
    let directory = configuration.files?.directory ?? ""
    let entries = plan.paths.isEmpty ? directory : plan.paths.map { directory + "/" + $0 }.joined(separator: ", ")
    var text = table("REPLACES", files: plan.isInPlace ? "\(entries), in place" : entries) { target in
      "database \(target.live)\(live.contains(target.live) ? "" : " (new)")"
    }
    if plan.isInPlace {
      text +=
        "\nin place: the live files are removed before the others are restored; there is no old state to go back to but the set saved first"
    }
    return text + excluded + load
  }

  /// What will not be there afterwards, because it was not saved.
  private var excluded: String {
    var lines: [String] = []
    if let patterns = plan.files?.excluded {
      lines.append("not in the set: files like \(patterns.map(printable).joined(separator: " "))")
    }
    for target in plan.databases {
      guard let tables = target.part.excluded else { continue }
      lines.append("will be empty: \(tables.map(printable).joined(separator: ", ")) in database \(target.live)")
    }
    return lines.map { "\n" + $0 }.joined()
  }

  /// Of a drill.
  func announcement() -> String {
    let staging = "staging, thrown away"
    let place = plan.server.map { $0.prefix.isEmpty ? "" : " (on \($0.host):\($0.port))" } ?? ""
    return table("INTO", files: plan.strategy == .readBack ? "nothing: read back whole" : staging) { _ in staging + place } + load
  }

  private func table(_ title: String, files place: String, database: (RestorePlan.Target) -> String) -> String {
    let isLegacy = if case .snapshots = plan.source.name { true } else { false }
    var table = TextTable([isLegacy ? "FROM OLD-STYLE SNAPSHOTS" : "FROM \(plan.source.title)", "SIZE", title])
    if let files = plan.files {
      table.add([
        isLegacy ? "files \(files.snapshot.prefix(8))" : "files", files.evidence.map { Format.bytes($0.bytes) } ?? "", place,
      ])
    }
    for target in plan.databases {
      table.add([
        "database \(isLegacy ? String(target.part.snapshot.prefix(8)) : target.part.name)",
        target.part.bytes == 0 ? "" : Format.bytes(target.part.bytes), database(target),
      ])
    }
    return table.text
  }

  private var load: String {
    guard let server = plan.target else { return "" }
    return "\nabout \(Format.bytes(plan.databaseBytes)) and as much WAL will be written on \(server.host):\(server.port)"
  }

  func summary(of staged: Staged) -> String {
    var table = TextTable(["RESTORED", "CONTENT", "VERIFIED"])
    if let files = staged.files {
      let proof = plan.strategy == .readBack ? "every file read back" : Self.proof(of: files, staged.limits)
      table.add([
        "files", "\(Format.count(files.entries, "entry", "entries")), \(Format.bytes(files.bytes))",
        staged.differs(.files) ? Self.accepted : proof,
      ])
    }
    for (target, evidence) in staged.databases {
      let isRenamed = target.part.name != target.live && !target.part.isPlain
      table.add([
        "database \(target.live)\(isRenamed ? " (saved as \(target.part.name))" : "")",
        "\(Format.count(evidence.tables.count, "table", "tables")), \(Format.count(evidence.rows, "row", "rows"))",
        staged.differs(.database(target.live)) ? Self.accepted : Self.proof(of: target.part, by: evidence),
      ])
    }
    let asserted = staged.assertions.isEmpty ? [] : ["true of it: \(staged.assertions.joined(separator: "; "))"]
    return ([table.text] + asserted + staged.leftOut.map { "left out: " + $0 }).joined(separator: "\n")
  }

  private static func proof(of files: FilesEvidence, _ limits: FilesLimits) -> String {
    let attributes =
      limits.attributes.isEmpty ? files.attributes?.isEmpty == false ? ", attributes" : "" : "; see above what is left out"
    return "names, sizes, owners, modes, times\(attributes)"
  }

  private static func proof(of part: DatabasePart, by evidence: DatabaseEvidence) -> String {
    if part.isPlain { return "every statement succeeded" }
    return part.evidence?.proof(by: evidence) ?? "archive complete"
  }

  /// After `--in-place`.
  func wayBack(to safety: SetID) -> String {
    "what was live before is set \(safety); back again: \(configuration.typed)restore \(plan.databases.isEmpty ? "--only files " : "")--in-place \(safety)"
  }
}
