/// What restic is told to save.
extension FilesSettings {
  /// Relative to FILES_DIRECTORY, which is restic's working directory, so that the set can be restored anywhere.
  /// Of an empty directory restic saves `.` never ("snapshot is empty", exit code 1, measured), but its absolute path.
  func backupArguments(mounts: [Mount] = [], empty: Bool = false) -> [String] {
    let own = ([directory] + mounts.map { directory + "/" + $0.path }).flatMap { volume in
      Tree.reserved.sorted().flatMap { ["--exclude", ResticPattern.escaped(volume + "/" + $0)] }
    }
    let snapshots = mounts.filter(\.isSnapshots).flatMap {
      ["--exclude", ResticPattern.escaped(directory + "/" + $0.path)]
    }
    // The last that fits decides: no `!` of the operator's brings back what is ours.
    return excludes.flatMap { ["--exclude", anchored($0)] } + own + snapshots + ["--"]
      + (empty ? [directory] : paths.isEmpty ? ["."] : paths)
  }

  /// restic holds patterns against absolute paths. A `!` takes back what one before it left out.
  private func anchored(_ pattern: String) -> String {
    let isNegated = pattern.hasPrefix("!")
    let bare = isNegated ? String(pattern.dropFirst()) : pattern
    return (isNegated ? "!" : "") + (bare.hasPrefix("/") ? ResticPattern.escaped(directory) + bare : bare)
  }
}
