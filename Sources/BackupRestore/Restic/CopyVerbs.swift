extension Repository {
  /// A repository that cuts files into the same pieces as `source`, so that a copy shares what is equal.
  func initialise(like source: Repository) async throws {
    _ = try await run(
      ["init", "--copy-chunker-params"], extra: source.asSource, output: .document(limit: 1 << 20), deadline: waits.connect)
  }

  /// Copies these snapshots of `source`. One that is there already is passed over, by its `original`.
  ///
  /// An id that `source` does not have is passed over too, with exit code 0 (measured): the caller looks whether all are there.
  func copy(_ ids: [String], from source: Repository) async throws {
    let watch = watch()
    let last = Locked("")
    defer { Screen.shared.finish(title) }
    _ = try await run(
      ["copy"] + ids, extra: source.asSource,
      output: .lines { line in
        // Plain text, also with --json (measured): `[0:05] 40.00%  2 / 5 packs copied`; only what is behind the time tells progress.
        guard line.hasPrefix("["), let end = line.firstIndex(of: "]") else { return }
        let text = line[line.index(after: end)...].trimming(" ")
        if last.value == text { return }
        last.change { $0 = text }
        watch.touch()
        Screen.shared.progress(title, text)
      }, watch: watch)
  }

  /// What two snapshots do not have in common: paths, and restic's letters for how.
  func difference(_ first: String, _ second: String, _ body: @escaping @Sendable (String, String) -> Void) async throws {
    _ = try await run(
      ["diff", "--no-lock", first, second],
      output: .lines { line in
        guard let message = ResticMessage(line: line), message.message_type == "change", let path = message.path else { return }
        body(path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path, message.modifier ?? "")
      }, watch: watch())
  }

  /// Reads it as the repository that is copied from.
  private var asSource: [String: String] {
    ["RESTIC_FROM_REPOSITORY": name.location(below: settings.base.reveal()), "RESTIC_FROM_PASSWORD": password.reveal()]
  }
}
