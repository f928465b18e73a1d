/// `restore --diff`: what differs between two sets, or a set and what is live. Takes no lock, and changes nothing.
public struct Diff: Sendable {
  let invocation: Invocation
  /// Beginnings of sets' ids, or `live`.
  let names: [String]
  let only: Only?
  let asJSON: Bool

  /// Nothing happens yet.
  ///
  /// - Parameters:
  ///   - names: then and now, two at most: beginnings of sets' ids, or `live`. Without the second: what is live; without both, the newest
  ///     set and what is live.
  ///   - json: prints a document, not tables.
  public init(_ invocation: Invocation, names: [String], only: Only?, json: Bool) {
    self.invocation = (try? invocation.onVolume()) ?? invocation
    (self.names, self.only, asJSON) = (names, only, json)
  }

  /// - Throws: `Failure` 22 where no set, several, or another host's are meant; 23 for the repository.
  public func run() async throws -> ExitStatus {
    let catalog = try await invocation.repositories.catalog()
    let sides =
      names.count == 2
      ? names : names == [Comparison.live] || names.isEmpty ? ["", Comparison.live] : [names[0], Comparison.live]
    let records = try await [record(sides[0], catalog), record(sides[1], catalog)]
    let repository = invocation.repositories.files
    let comparison: Comparison
    switch (records[0], records[1]) {
    case (let then?, let now?): comparison = try await Comparison(then, now, only: only, in: repository)
    case (let then?, nil): comparison = try await Comparison(then, live: invocation, only: only, in: repository)
    case (nil, let now?): comparison = try await Comparison(now, live: invocation, only: only, in: repository).flipped
    case (nil, nil): throw Failure(.refused, "what is live is compared with itself", hint: "name a set: restore --diff SET")
    }
    output(try asJSON ? JSON.text(comparison) : comparison.text)
    return .done
  }

  /// Nil: what is live. An empty name is the newest set: nobody restores it unseen, so a doubt is in nobody's way.
  private func record(_ name: String, _ catalog: Catalog) async throws -> Record? {
    if name == Comparison.live { return nil }
    let host = invocation.repositories.host
    let newest = name.isEmpty ? catalog.of(host).last { $0.record != nil && $0.gone.isEmpty && !$0.isAhead } : nil
    let entry = if let newest { newest } else { try catalog.choose(name.isEmpty ? .newest : .named(name), host: host) }
    guard let snapshot = entry.record else {
      throw Failure(.refused, "the record of set \(entry.id) is lost: nothing is known to compare", hint: "name another set")
    }
    return try await invocation.repositories.sets.record(of: entry.id, snapshot).located(at: entry)
  }
}
