import Testing

@testable import BackupRestore

@Suite struct RowTests {
  private let row = Row(["a", nil, "12", "t", "1e3"], of: "SELECT a,\n  b FROM c")

  @Test func whatIsThereIsRead() throws {
    #expect(try row.text(0) == "a" && row[0] == "a" && row[1] == nil)
    #expect(try row.int(2) == 12)
    #expect(row.isTrue(3) && !row.isTrue(1) && !row.isTrue(0))
  }

  @Test func whatIsMissingOrNoNumberIsAnErrorThatNamesIt() {
    let missing = #expect(throws: DatabaseError.self) { try row.text(1) }
    #expect(missing?.state == "22002")
    #expect(missing?.message == "column 2 of the answer is missing (SELECT a, b FROM c…)")
    #expect(throws: DatabaseError.self) { try row.int(1) }
    #expect(throws: DatabaseError.self) { try row.text(5) }
    let number = #expect(throws: DatabaseError.self) { try row.int(4) }
    #expect(number?.state == "22018")
    #expect(number?.message == "column 5 of the answer is no whole number: 1e3 (SELECT a, b FROM c…)")
  }
}
