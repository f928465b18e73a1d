import Testing

@testable import BackupRestore

/// What pg_restore says of what the server refused.
@Suite struct RefusalTests {
  static let lines = [
    "pg_restore: connecting to database for restore", "pg_restore: creating TABLE \"public.owned\"",
    "pg_restore: while PROCESSING TOC:",
    "pg_restore: from TOC entry 20; 1259 16409 TABLE owned boss",
    "pg_restore: error: could not execute query: ERROR:  role \"boss\" does not exist",
    "Command was: ALTER TABLE public.owned OWNER TO boss;", "", "",
    "pg_restore: from TOC entry 30; 1259 16390 INDEX client_mail postgres",
    "pg_restore: error: could not execute query: FEHLER:  could not create unique index \"client_mail\"",
    "DETAIL:  Key (mail)=(m) is duplicated.",
    "Command was: CREATE UNIQUE INDEX client_mail ON public.client USING btree (mail);", "", "",
    "pg_restore: from TOC entry 25; 0 16407 TABLE DATA chk postgres",
    "pg_restore: error: COPY failed for table \"chk\": ERROR:  function inner_key(text) does not exist",
  ]
  static let end = "pg_restore: warning: errors ignored on restore: 3"

  private func refusals(_ lines: [String]) -> [Refusal]? {
    let errors = ClientErrors("pg_restore")
    for line in lines { errors.take(line) }
    return errors.refusals
  }

  @Test func eachEntryHasItsErrors() throws {
    let found = try #require(refusals(Self.lines + [Self.end]))
    #expect(found.map(\.id) == [20, 30, 25])
    #expect(found.map(\.isMade) == [true, false, false] && found.map(\.isData) == [false, false, true])
    #expect(
      found.map(\.text) == [
        "TABLE owned: role \"boss\" does not exist", "INDEX client_mail: could not create unique index \"client_mail\"",
        "TABLE DATA chk: function inner_key(text) does not exist",
      ])
    let contents = [
      (30, "INDEX public client_mail postgres"), (20, "TABLE public owned boss"), (25, "TABLE DATA public chk postgres"),
    ]
    let sorted = found.sorted(by: contents.map { ArchiveLoad.Entry(id: $0.0, text: Substring($0.1)) })
    #expect(sorted.map(\.id) == [30, 20, 25] && sorted[0].text.hasPrefix("INDEX public client_mail: could not"))
  }

  @Test func whatWasMadeOtherwiseIsNotMadeAgain() {
    let said =
      "could not set default_table_access_method: ERROR:  invalid value for parameter \"default_table_access_method\": \"hh\""
    let table = Refusal(id: 1, name: "TABLE a t o", errors: [.init(said: said)])
    #expect(table.isMade && !table.isOutOfPlace)
    #expect(table.reason == "invalid value for parameter \"default_table_access_method\": \"hh\"")
  }

  @Test func aNameIsAWholeWordOfWhatTheServerSays() {
    let said = "could not execute query: ERROR:  can only create extension in database shop"
    let refusal = Refusal(id: 1, name: "EXTENSION - odd name ", errors: [.init(said: said)])
    #expect(refusal.ofExtension == "odd name")
    #expect(refusal.names("shop") && refusal.names("database shop") && !refusal.names("sho") && !refusal.names("hop"))
  }

  /// Where pg_restore did not come to its end, or an error belongs to nothing, no list of what was refused is whole.
  @Test(arguments: [
    lines, [end], [lines[4], lines[8], lines[9], end], [],
  ]) func whatIsNotWholeIsNoListOfRefusals(lines: [String]) {
    #expect(refusals(lines) == nil)
  }

  @Test func theKnownErrorBelongsToNothing() throws {
    let found = try #require(refusals(ClientsTests.timeout + Self.lines + [Self.end]))
    #expect(found.map(\.errors.count) == [1, 1, 1])
  }

  @Test(arguments: [
    ("could not resize shared memory segment \"/PostgreSQL.1\" to 8 bytes: No space left on device", "/dev/shm"),
    ("could not create unique index", "--accept-differences"),
  ]) func theHintIsOfWhatIsShort(said: String, word: String) {
    #expect([Refusal(id: 1, name: "", errors: [.init(said: said)])].hint(role: nil).contains(word))
    #expect([Refusal(id: 1, name: "", errors: [.init(said: "no")])].hint(role: "app").contains("--as-superuser"))
  }

  @Test func theArchiveLeavesTheSessionsOwnSearchPath() {
    let statement = "SELECT pg_catalog.set_config('search_path', '', false);"
    var bytes = Array("PGDMP\u{1} \(statement)\n and \(statement)".utf8)
    let length = bytes.count
    ArchiveSource.open(&bytes)
    let text = String(decoding: bytes, as: UTF8.self)
    #expect(bytes.count == length && text.contains("RESET search_path;") && text.hasSuffix(statement))
    var other = Array("short".utf8)
    ArchiveSource.open(&other)
    #expect(other == Array("short".utf8))
  }

  @Test func theOwnersSearchPathComesFirstAndTheSystemsOwnBeforeAll() {
    let properties = DatabaseProperties(
      serverVersion: 150000, owner: "app", encoding: "UTF8", provider: "c", collate: "C", ctype: "C", locale: nil, icuRules: nil,
      tablespace: "pg_default", connectionLimit: -1, isTemplate: false, comment: nil, grants: nil,
      settings: [
        .init(role: nil, name: "search_path", value: "\"My app\", public, pg_catalog"),
        .init(role: "other", name: "search_path", value: "theirs"), .init(role: "app", name: "search_path", value: "\"$user\""),
        .init(role: nil, name: "work_mem", value: "9MB"),
      ], size: 0)
    #expect(
      SearchPaths.candidates(properties, owner: "app", ofOwner: "mine", ofServer: "\"$user\", public") == [
        #""pg_catalog", "app""#, #""pg_catalog", "My app", "public""#, #""pg_catalog", "mine""#,
        #""pg_catalog", "app", "public""#,
        #""pg_catalog", "theirs""#,
      ])
  }

  @Test func aScriptIsItsStatementsAndWhatKeepsPsqlFromObeyingThem() {
    let script = """
      --
      -- PostgreSQL database dump
      --

      \\restrict KEY

      SET search_path = '';

      --
      -- Name: i; Type: INDEX; Schema: public; Owner: -
      --

      CREATE INDEX i ON public.t (a);


      --
      -- PostgreSQL database dump complete
      --

      \\unrestrict KEY
      """
    #expect(
      LeftOut.statements(script) == """
        \\restrict KEY
        -- Name: i; Type: INDEX; Schema: public; Owner: -
        --

        CREATE INDEX i ON public.t (a);
        \\unrestrict KEY
        """)
    #expect(LeftOut.statements("").isEmpty)
  }
}
