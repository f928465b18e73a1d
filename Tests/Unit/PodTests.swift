import Foundation
import Glibc
import Testing

@testable import BackupRestore

@Suite struct PodTests {
  @Test func theTerminationMessageReplacesTheLastOneAndIsNoLongerThanKubernetesKeeps() throws {
    let directory = try Temporary()
    let path = try directory.file("an earlier and longer message")
    Pod.writeTerminationMessage("done", to: .init(path))
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "done")
    Pod.writeTerminationMessage("the beginning" + String(repeating: "x", count: 5000), to: .init(path))
    let text = try String(contentsOfFile: path, encoding: .utf8)
    #expect(text.utf8.count == Pod.longestMessage && text.hasPrefix("the beginning"))
  }

  /// What changes what the operator does outlives results, however many follow it.
  @Test func ofALongMessageWarningsAndTheLastResultsAreKept() {
    var said = Said()
    said.add("the set has a database only", .warning)
    let lines = (1...1000).map { "line \($0) with a name that is long: \(String(repeating: "ü", count: 30))" }
    for line in lines { said.add(line, nil) }
    said.add("retention failed\n  hint: look", .error)
    said.add("the end", nil)
    let text = said.message("exit code 4: retention failed")
    #expect(text.hasPrefix("exit code 4: retention failed\nwarning: the set has a database only\nline "))
    #expect(text.hasSuffix("\(lines[999])\nerror: retention failed\n  hint: look\nthe end\n"))
    #expect((Pod.longestMessage - 100...Pod.longestMessage).contains(text.utf8.count))
    #expect(said.reason == "retention failed")
  }

  @Test func ofAResultThatDoesNotFitTheEndIsKeptAndOfAnErrorTheBeginning() {
    let lines = (1...1000).map { "row \($0)" }
    var table = Said()
    table.add(lines.joined(separator: "\n"), nil)
    #expect(table.message("done").hasSuffix("row 999\nrow 1000\n") && table.reason == nil)
    var failed = Said()
    failed.add("first", .warning)
    failed.add((["many are missing"] + lines).joined(separator: "\n"), .error)
    #expect(failed.message("failed").contains("\nerror: many are missing\nrow 1\n"))
    #expect(failed.message("failed").utf8.count <= Pod.longestMessage && failed.reason == "many are missing")
    var warned = Said()
    for text in ["first", "second"] { warned.add(text, .warning) }
    #expect(warned.reason == "second" && warned.message("ok") == "ok\nwarning: first\nwarning: second\n")
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
