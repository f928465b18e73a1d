import FoundationEssentials
import Testing

@testable import BackupRestore

@Suite struct SetIDTests {
  @Test func anIDIsTheSecondInUTC() throws {
    let id = SetID(Date(timeIntervalSince1970: 1_795_475_400.9))
    #expect(id.text == "20261123T231000Z")
    #expect("\(id)" == id.text)
    #expect(id.date == Date(timeIntervalSince1970: 1_795_475_400))
    #expect(SetID(id.text) == id)
  }

  @Test(arguments: [
    "", "20261123T231000", "20261123t231000z", "20261123T231000Z ", " 20261123T231000Z", "2026-11-23T23:10:00Z",
    "20261323T231000Z",
    "20260230T231000Z", "20261123T251000Z", "20261123T236000Z", "20261123T235960Z", "00000000T000000Z", "2026112٣T231000Z",
    "20261123T231000Z\n", "../../../../etc/x", "20261123T23100\u{0}Z",
  ]) func aTextThatIsNoSecondIsNoID(_ text: String) {
    #expect(SetID(text) == nil)
    #expect(throws: (any Error).self) { try JSONDecoder().decode([SetID].self, from: try JSONEncoder().encode([text])) }
  }

  @Test func idsSortByTime() {
    let ids = ["20261123T231000Z", "20251231T235959Z", "20261123T230959Z"].compactMap { SetID($0) }
    #expect(ids.sorted().map(\.text) == ["20251231T235959Z", "20261123T230959Z", "20261123T231000Z"])
  }

  @Test func anIDSurvivesJSON() throws {
    let data = try JSONEncoder().encode([SetID.day(7)])
    #expect(String(decoding: data, as: UTF8.self) == #"["20260107T230000Z"]"#)
    #expect(try JSONDecoder().decode([SetID].self, from: data) == [.day(7)])
  }
}
