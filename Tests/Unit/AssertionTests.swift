import Testing

@testable import BackupRestore

@Suite struct AssertionTests {
  @Test func statementsEndAtALinesEndAndCommentsBeforeThemAreTheirNames() {
    let text = """
      -- one
      --   and more
      SELECT 'a;b' =
        'a;b';

      \\connect other
      SELECT   true   ; \r
      \\c "third db"
      -- last, without its end
      SELECT 1 = 1 -- not a name
      """
    let all = Assertion.all(in: text)
    #expect(all.map(\.name) == ["one and more", "SELECT true", "last, without its end"])
    #expect(all.map(\.query) == ["SELECT 'a;b' =\n'a;b'", "SELECT   true", "SELECT 1 = 1 -- not a name"])
    #expect(all.map(\.database) == [nil, "other", "third db"])
    #expect(Assertion.all(in: "-- nothing\n;\n \n").isEmpty)
  }
}
