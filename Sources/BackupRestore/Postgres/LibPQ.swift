import Dispatch
import Glibc

/// Runs an actor on a dispatch queue: Dispatch adds threads when its own block, Swift's pool does not.
final class QueueExecutor: SerialExecutor {
  private let queue = DispatchQueue(label: "postgres")

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
  }
}

/// Calls `body` with a NULL-terminated array of C strings; nil stays NULL.
func withStrings<T>(_ strings: [String?], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> T) -> T {
  let copies = strings.map { $0.map { strdup($0) } ?? nil }
  defer { for copy in copies { free(copy) } }
  // It holds the closing nil at least, so it has an address.
  return (copies.map { UnsafePointer($0) } + [nil]).withUnsafeBufferPointer { body($0.baseAddress!) }
}
