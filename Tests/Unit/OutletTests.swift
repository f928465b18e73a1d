import Foundation
import Glibc
import SystemPackage
import Testing

@testable import BackupRestore

/// A screen that nobody reads.
@Suite struct OutletTests {
  /// A pipe, and an outlet into it.
  private struct Pipe {
    let (read, write): (Int32, Int32)
    let outlet: Outlet

    init() throws {
      var ends: [Int32] = [0, 0]
      #expect(pipe(&ends) == 0)
      // As small as Linux makes them.
      _ = fcntl(ends[1], 1031, Int32(4096))
      (read, write, outlet) = (ends[0], ends[1], Outlet(ends[1]))
    }

    func fill() {
      let flags = fcntl(write, F_GETFL)
      _ = fcntl(write, F_SETFL, flags | O_NONBLOCK)
      while Glibc.write(write, "x", 1) == 1 {}
      _ = fcntl(write, F_SETFL, flags)
    }

    /// Until this text has come.
    func text(until end: String) -> String {
      var bytes: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 4096)
      while !bytes.suffix(end.utf8.count).elementsEqual(end.utf8) {
        let count = Glibc.read(read, &buffer, buffer.count)
        if count <= 0 { break }
        bytes += buffer[..<count]
      }
      return String(decoding: bytes.filter { $0 != UInt8(ascii: "x") }, as: UTF8.self)
    }
  }

  /// Every line would wait for ever; all of them come, in their order, when somebody reads again.
  @Test func linesAreKeptForAReaderThatComesBack() throws {
    let pipe = try Pipe()
    pipe.fill()
    let lines = (0..<400).map { "\($0) " + String(repeating: "-", count: 2000) + "\n" }
    for line in lines { pipe.outlet.write(line) }
    #expect(pipe.text(until: lines.last!) == lines.joined())
    pipe.outlet.write("after\n")
    #expect(pipe.text(until: "after\n") == "after\n" && pipe.outlet.isFree)
  }

  @Test func ofTooManyLinesTheLastAreKept() throws {
    let pipe = try Pipe()
    pipe.fill()
    let line = String(repeating: "-", count: 99_999) + "\n"
    for _ in 0..<40 { pipe.outlet.write(line) }
    pipe.outlet.write("last\n")
    let text = pipe.text(until: "last\n")
    #expect(text.hasSuffix("\nlast\n") && text.utf8.count > Outlet.most && text.utf8.count < 40 * line.utf8.count)
  }

  @Test func aReaderThatIsGoneStopsNothing() throws {
    signal(SIGPIPE, SIG_IGN)
    let pipe = try Pipe()
    pipe.fill()
    pipe.outlet.write("lost\n")
    close(pipe.read)
    pipe.outlet.write("lost\n")
    pipe.outlet.drain(until: .now + .seconds(60))
    #expect(pipe.outlet.isFree)
  }

  /// As node makes the pipes of its children.
  @Test func whatSomebodyElseMadeNonBlockingLosesNothing() throws {
    let pipe = try Pipe()
    _ = fcntl(pipe.write, F_SETFL, fcntl(pipe.write, F_GETFL) | O_NONBLOCK)
    let text = String(repeating: "-", count: 1_900_000) + "end\n"
    let read = Locked("")
    blockingQueue().async {
      let all = pipe.text(until: "end\n")
      read.change { $0 = all }
    }
    pipe.outlet.write(text)
    for _ in 0..<12_000 where read.value.isEmpty { usleep(10_000) }
    #expect(read.value == text)
  }

  /// Lines on one pipe are read before those that come later on another.
  @Test func aPipeIsReadOutBeforeItSettles() async throws {
    let pipe = try FileDescriptor.pipe(options: .closeOnExec)
    let outlet = Outlet(pipe.writeEnd.rawValue)
    outlet.write("one line\n")
    let reading = Task.detached {
      var buffer = [UInt8](repeating: 0, count: 100)
      usleep(20_000)
      return try buffer.withUnsafeMutableBytes { try pipe.readEnd.read(into: $0) }
    }
    var left: Int32 = 0
    // A busy machine may let the reader sleep for longer than is waited for at once.
    for _ in 0..<600 {
      outlet.settle()
      #expect(ioctl(pipe.writeEnd.rawValue, UInt(FIONREAD), &left) == 0)
      if left == 0 { break }
    }
    #expect(left == 0)
    #expect(try await reading.value == 9)
    // What nobody reads is not waited for.
    outlet.write("another\n")
    outlet.settle()
    try pipe.readEnd.close()
    try pipe.writeEnd.close()
  }
}
