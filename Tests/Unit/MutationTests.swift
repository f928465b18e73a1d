import FoundationEssentials
import Testing

@testable import BackupRestore

/// Broken input must end in an error or in something that is not taken for success, and never in a crash.
@Suite struct MutationTests {
  /// One to four bytes changed, removed, added or repeated.
  static func mutations(of text: String, count: Int = 3000) -> [[UInt8]] {
    var random = SplitMix64(state: UInt64(text.utf8.count))
    return (0..<count).map { _ in
      var bytes = Array(text.utf8)
      for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
        let index = bytes.indices.randomElement(using: &random)!
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: index)
        case 2: bytes.insert(Array("{}[]\",:0-9eE.\\nu".utf8).randomElement(using: &random)!, at: index)
        default: bytes.insert(contentsOf: bytes[index..<min(bytes.count, index + 8)], at: index)
        }
      }
      return bytes
    }
  }

  /// Every proper beginning that lacks more than its end of line.
  static func truncations(of text: String) -> [[UInt8]] {
    let bytes = Array(text.utf8)
    return bytes.indices.dropLast(text.hasSuffix("\n") ? 1 : 0).map { Array(bytes[..<$0]) }
  }

  @Test(arguments: [ResticOutput.status, ResticOutput.summary, ResticOutput.error, ResticOutput.missing])
  func aBrokenMessageNeverBecomesASummary(_ line: String) {
    for bytes in Self.truncations(of: line) { #expect(ResticMessage(line: String(decoding: bytes, as: UTF8.self)) == nil) }
    let isSummary = line == ResticOutput.summary
    for bytes in Self.mutations(of: line) {
      let message = ResticMessage(line: String(decoding: bytes, as: UTF8.self))
      if !isSummary { #expect(message?.snapshot_id == nil) }
    }
  }

  @Test(arguments: ResticOutput.nodes) func aBrokenNodeIsNoneOrStillANode(_ line: String) {
    for bytes in Self.truncations(of: line) { #expect(Node(line: String(decoding: bytes, as: UTF8.self)) == nil) }
    for bytes in Self.mutations(of: line, count: 1000) {
      let node = Node(line: String(decoding: bytes, as: UTF8.self))
      #expect(node == nil || node?.struct_type == "node")
      #expect((node?.permissions ?? 0) <= 0o7777)
      if let time = node?.mtime { _ = Node.nanoseconds(time) }
    }
  }

  @Test(arguments: [ResticOutput.snapshots, ResticOutput.forget]) func aBrokenListIsAnErrorAndNeverAShorterList(_ text: String) {
    let read = { (bytes: [UInt8]) -> Int? in
      let data = Data(bytes)
      return text == ResticOutput.snapshots
        ? try? JSONDecoder().decode([Snapshot].self, from: data).count
        : try? JSONDecoder().decode([ForgetGroup].self, from: data).count
    }
    let whole = read(Array(text.utf8))
    #expect(whole == (text == ResticOutput.snapshots ? 2 : 1))
    for bytes in Self.truncations(of: text) { #expect(read(bytes) == nil) }
    for bytes in Self.mutations(of: text) { #expect([nil, whole].contains(read(bytes))) }
  }

  @Test func aBrokenAnswerOfTheAPIServerIsAnErrorAndNeverAnotherDeployment() throws {
    let text = KubernetesTests.json.replacing("REPLICAS", with: "0").replacing(
      "STATUS", with: #"{"observedGeneration":7,"replicas":0}"#
    )
    .replacing("ANNOTATION", with: #","backup-restore/replicas":"2""#)
    let read = { (bytes: [UInt8]) in try? JSONDecoder().decode(Deployment.self, from: Data(bytes)) }
    #expect(read(Array(text.utf8))?.remembered == 2)
    for bytes in Self.truncations(of: text) { #expect(read(bytes) == nil) }
    for bytes in Self.mutations(of: text) {
      guard let deployment = read(bytes) else { continue }
      // What is sent back to the server is JSON whatever it said, and what it remembers is a number of replicas.
      let patch = try deployment.patch(replicas: 1, remembering: nil)
      #expect(throws: Never.self) { try JSONDecoder().decode([String: Patch].self, from: Data(patch)) }
      #expect((deployment.remembered ?? 1) > 0)
      _ = (deployment.isDown, deployment.spec.selector.text)
    }
  }

  struct Patch: Decodable {}

  @Test func aBrokenListOfPodsIsAnErrorAndNeverAShorterList() {
    let text = KubernetesTests.pods
    let read = { (bytes: [UInt8]) in (try? JSONDecoder().decode(PodList.self, from: Data(bytes)))?.items?.count }
    #expect(read(Array(text.utf8)) == 4)
    for bytes in Self.truncations(of: text) { #expect(read(bytes) == nil) }
    for bytes in Self.mutations(of: text) where read(bytes) != nil { #expect(read(bytes) == 4) }
  }

  @Test(arguments: [ResticOutput.keys, ResticOutput.checked]) func aBrokenListOfKeysOrSummaryOfACheckIsNoneOrTheSame(
    _ text: String
  ) {
    let keys = { (bytes: [UInt8]) in (try? JSONDecoder().decode([Key].self, from: Data(bytes)))?.count }
    let errors = { (bytes: [UInt8]) in ResticMessage(line: String(decoding: bytes, as: UTF8.self))?.num_errors }
    for bytes in Self.truncations(of: text) { #expect(keys(bytes) == nil && errors(bytes) == nil) }
    for bytes in Self.mutations(of: text) {
      #expect([nil, 2].contains(keys(bytes)))
      if let count = errors(bytes), text == ResticOutput.keys { Issue.record("\(count) errors in a list of keys") }
    }
  }

  @Test func packsAreNamedWholeOrNotAtAll() {
    let pack = String(repeating: "0123456789abcdef", count: 4)
    for line in [
      "pack \(pack): not found", "open /r/data/01/\(pack): no such file or directory", "blob 1 from pack \(pack) failed",
    ] {
      #expect(Repository.packs(in: line) == [pack])
      for bytes in Self.mutations(of: line, count: 500) {
        let found = Repository.packs(in: String(decoding: bytes, as: UTF8.self))
        #expect(found.allSatisfy { $0.utf8.count == 64 && $0.allSatisfy(\.isHexDigit) })
      }
    }
  }

  @Test func aBrokenRecordIsRefusedOrStillARecord() throws {
    let text = String(decoding: try RecordTests.full.encoded(), as: UTF8.self)
    for bytes in Self.truncations(of: text) {
      #expect(failure { _ = try Record(decoding: bytes, set: "x") }?.status == .refused)
    }
    for bytes in Self.mutations(of: text) {
      do {
        let record = try Record(decoding: bytes, set: "x")
        #expect(record.format <= Record.currentFormat)
        #expect(record.id.date != nil)
      } catch { #expect((error as? Failure)?.status == .refused) }
    }
  }

  @Test func aBrokenJournalIsRefusedAndKept() throws {
    let directory = try Temporary()
    let whole = JournalTests.journal(entries: [.init(path: "a%20b", staged: nil, live: nil)])
    let work = try Directory(directory.path)
    try whole.write(in: work)
    let path = directory.path.appending(SwapJournal.name)
    let text = String(decoding: try Data(contentsOf: URL(filePath: path.string)), as: UTF8.self)
    let broken = Self.mutations(of: text, count: 600) + Self.truncations(of: text).filter { $0.count % 7 == 0 }
    for bytes in broken {
      try Data(bytes).write(to: URL(filePath: path.string))
      do {
        let journal = try #require(try SwapJournal.read(in: work, of: .day(2)))
        #expect(journal.phase == .ready)
      } catch { #expect((error as? Failure)?.status == .refused) }
      #expect(try FileStatus.existing(path)?.size == bytes.count)
    }
  }
}
