/// The first line of what Go prints where it cannot go on; its stacks follow, thousands of lines of them.
struct ResticCrash {
  let hint: String

  /// Nil where the line is none. The words are Go's (measured, 1.26): with cgo, without, and of the kernel's refusals.
  init?(_ line: String) {
    guard ["fatal error: ", "panic: ", "runtime: ", "runtime/cgo: "].contains(where: line.hasPrefix) else { return nil }
    let has = { (words: [String]) in words.contains { line.contains($0) } }
    if has(["pthread_create failed", "failed to create new OS thread", "max user processes", "newosproc"]) {
      hint = Ending.processLimit
    } else if has(["out of memory", "cannot allocate memory", "failed to reserve"]) {
      hint = Ending.memoryLimit
    } else {
      hint = "restic itself crashed: run it again, and with a newer restic where it stays"
    }
  }
}
