/// The first line of what Go prints where it cannot go on; its stacks follow, thousands of lines of them.
struct ResticCrash {
  let hint: String

  /// Nil where the line is none.
  init?(_ line: String) {
    guard ["fatal error: ", "panic: ", "runtime: ", "runtime/cgo: "].contains(where: line.hasPrefix) else { return nil }
    hint =
      Reason.hint(for: [line], in: Reason.crash)
      ?? "restic itself crashed: run it again, and with a newer restic where it stays"
  }
}
