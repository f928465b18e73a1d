import Foundation
import Glibc
import Testing

@testable import BackupRestore

@Suite struct PodTests {
  @Test func theTerminationMessageReplacesTheLastOneAndKeepsItsEnd() throws {
    let directory = try Temporary()
    let path = try directory.file("an earlier and longer message")
    Pod.writeTerminationMessage("done", to: .init(path))
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "done")
    Pod.writeTerminationMessage(String(repeating: "x", count: 5000) + "the end", to: .init(path))
    let text = try String(contentsOfFile: path, encoding: .utf8)
    #expect(text.utf8.count == Pod.longestMessage && text.hasSuffix("the end"))
  }

  @Test func ofALongMessageTheFirstLineAndTheLastOnesAreKept() {
    let lines = (1...100).map { "line \($0) with a name that is long: \(String(repeating: "ü", count: 30))" }
    let text = Pod.shortened((["exit code 20"] + lines).joined(separator: "\n"))
    #expect(text.hasPrefix("exit code 20\nline ") && text.hasSuffix(lines[99]))
    #expect((Pod.longestMessage - 100...Pod.longestMessage).contains(text.utf8.count))
    #expect(Pod.shortened("short\ntext") == "short\ntext")
  }

  @Test func whereThereIsNoSuchFileNoneIsMade() throws {
    let directory = try Temporary()
    Pod.writeTerminationMessage("done", to: directory.path.appending("none"))
    #expect(try Tree.entries(directory.path).isEmpty)
  }

  @Test func aCommandLineIsReadAndOneThatIsGoneIsNot() {
    #expect(Run.commandLine(getpid())?.first?.isEmpty == false)
    #expect(Run.commandLine(1 << 22) == nil)
    #expect(!Run.others().contains { $0.id == getpid() })
  }
}
