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

  /// As a kubelet mounts them: into a container, and for another pod, which a container sees where the node's own directories are mounted.
  @Test func aPodIsKnownByWhatIsMountedIntoItsContainersAlone() {
    let other =
      "36 22 0:31 / /var/lib/kubelet/pods/730d9f4a-b193-42c7-9ede-55da4b446fc7/volumes/kubernetes.io~secret/token rw - tmpfs tmpfs rw\n"
    let own = "4f1c5c0e-2a7b-4d52-9d3c-9f3f5d6b7a01"
    #expect(Pod.id(mounts: other) == nil)
    for file in ["etc-hosts /etc/hosts", "containers/backup/1a2b3c4d /dev/termination-log"] {
      #expect(Pod.id(mounts: other + "41 22 8:1 /var/lib/kubelet/pods/\(own)/\(file) rw - ext4 /dev/sda1 rw\n") == own)
    }
  }

  @Test func aCommandLineIsReadAndOneThatIsGoneIsNot() {
    #expect(Run.commandLine(getpid())?.first?.isEmpty == false)
    #expect(Run.commandLine(1 << 22) == nil)
    #expect(!Run.others().contains { $0.id == getpid() })
  }
}
