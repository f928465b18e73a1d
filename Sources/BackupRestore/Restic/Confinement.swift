import Glibc
import SystemPackage

extension Repository {
  /// The same repository, whose restic cannot read what is hidden while it saves the application's files.
  ///
  /// restic reads by path. An application that exchanges a directory for a link at the right moment leads it out of `directory`, to
  /// /proc/self/environ for one, and finds the repository's password among its own files after the next restore. The kernel's Landlock
  /// looks at the file that is opened, whatever the way to it. Where the kernel (before 5.13) or setpriv (before util-linux 2.40) has no
  /// Landlock, restic runs without.
  ///
  /// - Parameter hidden: files and directories, beside the environment of every process.
  func confined(to directory: String, hiding hidden: [String]) async -> Repository {
    let cache = settings.backend["RESTIC_CACHE_DIR"] ?? base["HOME"]
    let needed = [directory, settings.directory, cache, base["TMPDIR"] ?? "/tmp"].compactMap { $0.map { FilePath(resolved($0)) } }
    // What lies where restic itself works cannot be hidden from it.
    let hidden = (["/proc"] + hidden).map { FilePath(resolved($0)) }.filter { path in !needed.contains { path.starts(with: $0) } }
    // From these two Go reads how many processors and how much memory the container has.
    let readable = Self.rest(of: "/", without: hidden) + needed.filter(\.isThere) + ["/proc/self/cgroup", "/proc/self/mountinfo"]
    let rules = readable.flatMap { ["--landlock-rule", "path-beneath:read-file:\($0)"] }
    let words = ["setpriv", "--no-new-privs", "--landlock-access", "fs:read-file"] + rules + ["--"]
    let tried = Command(words[0], words.dropFirst() + ["true"], environment: base)
    let outcome = try? await Runner.run(tried, output: .document(limit: 1 << 16), deadline: .seconds(30)) { _ in }
    var confined = self
    if outcome?.ending.succeeded == true { confined.wrapper = words }
    return confined
  }

  /// Everything in a directory but what is hidden, in as few paths as can say it. Links are left out: what they lead to counts.
  private static func rest(of directory: FilePath, without hidden: [FilePath]) -> [FilePath] {
    ((try? Tree.entries(directory)) ?? []).flatMap { name -> [FilePath] in
      let path = directory.appending(name)
      guard !hidden.contains(path), let kind = try? path.status().kind, kind != S_IFLNK else { return [] }
      return hidden.contains { $0.starts(with: path) } ? rest(of: path, without: hidden) : [path]
    }
  }
}

extension FilePath {
  fileprivate var isThere: Bool { (try? status()) != nil }
}
