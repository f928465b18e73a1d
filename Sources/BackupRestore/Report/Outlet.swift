import Dispatch
import Glibc
import Synchronization

/// A descriptor that somebody reads, or nobody: a terminal after Ctrl-S or behind a suspended laptop, a pipe whose reader stands still.
///
/// Written on a thread of its own, which may stay in write(2) for ever and ends with the process. O_NONBLOCK would be the shell's as
/// well, whose descriptor this is, and poll(2) does not tell: a terminal with room for one byte blocks in the middle of a line.
final class Outlet: Sendable {
  private struct State {
    var pending: [[UInt8]] = []
    var size = 0
    var isWriting = false
    /// A text waited for its second in vain: those behind it do not wait.
    var isStuck = false
    /// Grows with everything that went through, so that a slow reader is told from none.
    var written = 0
  }
  private let state = Mutex(State())
  private let descriptor: Int32
  private let queue = DispatchQueue(label: "outlet")

  /// What is kept for a reader that may come back: then the oldest goes first.
  static let most = 1 << 20
  /// How long a text is waited for.
  static let patience = DispatchTimeInterval.seconds(1)

  init(_ descriptor: Int32) { self.descriptor = descriptor }

  /// Whether all has been taken.
  var isFree: Bool { state.withLock { !$0.isWriting } }

  /// Returns when the text has been taken, after `patience` at the latest, and at once where an earlier one has not been.
  func write(_ text: String) {
    let bytes = Array(text.utf8)
    let (begins, waits) = state.withLock { state in
      state.pending.append(bytes)
      state.size += bytes.count
      while state.size > Self.most, state.pending.count > 1 { state.size -= state.pending.removeFirst().count }
      defer { state.isWriting = true }
      return (!state.isWriting, !state.isStuck)
    }
    let done = DispatchSemaphore(value: 0)
    if begins { queue.async { self.empty() } }
    guard waits else { return }
    // Behind what is being written, on the same queue.
    queue.async { done.signal() }
    guard done.wait(timeout: .now() + Self.patience) == .timedOut else { return }
    state.withLock { $0.isStuck = $0.isWriting }
    // Where it is a pipe, F_SETPIPE_SZ: so that a pager, which reads what it shows, gets a table of thousands of sets whole.
    _ = fcntl(descriptor, 1031, Int32(Self.most))
  }

  /// Where it is a pipe, waits a moment for its reader.
  func settle() {
    var (status, left) = (stat(), Int32(0))
    guard isFree, fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFIFO else { return }
    for _ in 0..<200 {
      if ioctl(descriptor, UInt(FIONREAD), &left) != 0 || left == 0 { return }
      usleep(500)
    }
  }

  private func empty() {
    while let bytes = next() { send(bytes) }
  }

  private func next() -> [UInt8]? {
    state.withLock { state in
      if state.pending.isEmpty {
        (state.isWriting, state.isStuck) = (false, false)
        return nil
      }
      let bytes = state.pending.removeFirst()
      state.size -= bytes.count
      return bytes
    }
  }

  /// A lost terminal is no reason to stop: errors of write are ignored, SIGPIPE is ignored by `Program`.
  private func send(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { buffer in
      var rest = buffer[...]
      while !rest.isEmpty {
        // In pieces, which show whether somebody reads.
        let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, min(rest.count, 4096))
        if count > 0 {
          rest = rest.dropFirst(count)
          state.withLock { $0.written += count }
        } else if count < 0, errno == EAGAIN {
          // Somebody else made it non-blocking, as node does with the pipes of its children.
          var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          _ = poll(&ready, 1, -1)
        } else if count == 0 || errno != EINTR {
          return
        }
      }
    }
  }

  /// Waits for a reader that is slow, until `deadline`, but no longer than it goes on reading.
  func drain(until deadline: ContinuousClock.Instant) {
    var last = -1
    while ContinuousClock().now < deadline {
      let (isWriting, written) = state.withLock { ($0.isWriting, $0.written) }
      if !isWriting || written == last { return }
      last = written
      for _ in 0..<100 where !isFree { usleep(10_000) }
    }
  }
}
