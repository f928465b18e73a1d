import Testing

@testable import BackupRestore

@Suite struct PropertiesTests {
  static let plain =
    #"CREATE DATABASE "app" TEMPLATE template0 CONNECTION LIMIT 0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"#

  @Test(
    arguments: [
      (properties(), 14, ""), (properties(), 15, " LOCALE_PROVIDER libc"),
      (properties(provider: "i", locale: "de-DE"), 15, " LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'"),
      (properties(provider: "i", locale: "de-DE", rules: "&a < b'"), 15, " LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'"),
      (
        properties(provider: "i", locale: "de-DE", rules: "&a < b'"), 16,
        " LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' ICU_RULES '&a < b'''"
      ),
      (properties(provider: "b", locale: "C.UTF-8"), 17, " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
      (properties(tablespace: "fast \"ssd\""), 14, " TABLESPACE \"fast \"\"ssd\"\"\""),
    ] as [(DatabaseProperties, Int, String)])
  func aDatabaseIsCreatedWithWhatCannotBeChangedLater(saved: DatabaseProperties, major: Int, added: String) {
    #expect(saved.create("app", serverMajor: major) == Self.plain + added)
  }

  @Test func namesInCreateAreQuoted() {
    #expect(
      properties().create("a\"b", serverMajor: 14).hasPrefix(
        #"CREATE DATABASE "a""b" TEMPLATE template0 CONNECTION LIMIT 0 ENCODING"#))
    #expect(
      properties().opening("a\"b", owner: "o\"; DROP", user: "u", missing: [])[0]
        == #"ALTER DATABASE "a""b" OWNER TO "o""; DROP""#)
  }

  @Test func nothingIsReplayedWhereNothingWasSet() {
    #expect(properties().replay(on: "s", missing: []) == [])
  }

  /// It was created closed: what PostgreSQL gives to everybody by default is given again.
  @Test func aDatabaseIsOpenedToWhomItTookByDefault() {
    let open = [
      #"GRANT CONNECT, TEMPORARY ON DATABASE "s" TO PUBLIC"#, #"ALTER DATABASE "s" CONNECTION LIMIT -1"#,
    ]
    #expect(properties().opening("s", owner: "owner", user: "owner", missing: []) == open)
    #expect(
      properties().opening("s", owner: "owner", user: "u", missing: []) == [#"ALTER DATABASE "s" OWNER TO "owner""#] + open)
  }

  @Test func everythingThatWasSetIsReplayed() {
    let saved = properties(
      limit: 5, template: true, comment: "it's", grants: [],
      settings: [.init(role: nil, name: "work_mem", value: "8MB"), .init(role: "r", name: "my.setting", value: "a'b")])
    #expect(
      saved.replay(on: "s", missing: []) == [
        #"COMMENT ON DATABASE "s" IS 'it''s'"#, #"ALTER DATABASE "s" SET "work_mem" = '8MB'"#,
        #"ALTER ROLE "r" IN DATABASE "s" SET "my"."setting" = 'a''b'"#,
      ])
    #expect(
      saved.opening("s", owner: "owner", user: "owner", missing: []) == [
        #"REVOKE ALL ON DATABASE "s" FROM PUBLIC"#, #"REVOKE ALL ON DATABASE "s" FROM "owner""#,
        #"ALTER DATABASE "s" CONNECTION LIMIT 5"#, #"ALTER DATABASE "s" IS_TEMPLATE true"#,
      ])
  }

  @Test func grantsGoToTheNewOwnerAndNotToMissingRoles() {
    let grants = [
      DatabaseProperties.Grant(grantee: "", privilege: "CONNECT", grantable: false),
      .init(grantee: "owner", privilege: "CREATE", grantable: false),
      .init(grantee: "gone", privilege: "CREATE", grantable: false),
      .init(grantee: "r", privilege: "TEMPORARY", grantable: true),
    ]
    let settings = [DatabaseProperties.Setting(role: "gone", name: "work_mem", value: "1MB")]
    let saved = properties(grants: grants, settings: settings)
    #expect(saved.replay(on: "s", missing: ["gone", "owner"]) == [])
    #expect(
      saved.opening("s", owner: "new", user: "new", missing: ["gone", "owner"]) == [
        #"REVOKE ALL ON DATABASE "s" FROM PUBLIC"#, #"REVOKE ALL ON DATABASE "s" FROM "new""#,
        #"GRANT CONNECT ON DATABASE "s" TO PUBLIC"#, #"GRANT CREATE ON DATABASE "s" TO "new""#,
        #"GRANT TEMPORARY ON DATABASE "s" TO "r" WITH GRANT OPTION"#, #"ALTER DATABASE "s" CONNECTION LIMIT -1"#,
      ])
  }

  @Test(arguments: [
    ("search_path", #""$user", public"#, "'$user', 'public'"), ("search_path", #""""#, "''"), ("search_path", "", "''"),
    ("search_path", #""", public"#, "'', 'public'"), ("search_path", #"public, """#, "'public', ''"),
    ("search_path", #"a, "", b"#, "'a', '', 'b'"), ("search_path", #""say ""hi""", b"#, #"'say "hi"', 'b'"#),
    ("search_path", #""""""""#, #"'""'"#), ("SEARCH_PATH", "a, b", "'a', 'b'"), ("temp_tablespaces", #""a b""#, "'a b'"),
    // What nobody quoted: set_config stores the text as it is given.
    ("search_path", "my-schema, public", "'my-schema', 'public'"), ("search_path", " a ,\n\tb ", "'a', 'b'"),
    ("search_path", "public;ALTER/**/ROLE/**/app/**/SUPERUSER", "'public;alter/**/role/**/app/**/superuser'"),
    ("search_path", #"FOO, "Bar", $User"#, "'foo', 'Bar', '$user'"), ("search_path", "a'b", "'a''b'"),
    ("search_path", "ÄB", "'Äb'"),
    ("search_path", #"a"b"c"#, #"'a"b"c'"#), ("search_path", "a b", "'a b'"), ("search_path", "a,", "'a,'"),
    ("search_path", #""a"#, #"'"a'"#), ("search_path", #""a"b"#, #"'"a"b'"#), ("search_path", ",", "','"),
    ("local_preload_libraries", "Lib, '; x", "'Lib, ''; x'"), ("local_preload_libraries", "Lib;, b", "'Lib;', 'b'"),
    ("work_mem", "8MB", "'8MB'"), ("application_name", #"a, """#, #"'a, ""'"#), ("application_name", "it's", "'it''s'"),
    ("application_name", "", "''"),
  ]) func aSettingIsWrittenAsTheServerReadsIt(name: String, stored: String, sql: String) {
    #expect(DatabaseProperties.settingValue(.init(role: nil, name: name, value: stored)) == sql)
  }

  @Test(arguments: [
    ("a", "\"a\"", "'a'"), ("", "\"\"", "''"), ("a'b", "\"a'b\"", "'a''b'"), ("a\"b", "\"a\"\"b\"", "'a\"b'"),
    ("a\\b", "\"a\\b\"", "'a\\b'"),
    ("'\u{301}; DROP", "\"'\u{301}; DROP\"", "''" + "'\u{301}; DROP'"),
    ("\"\u{FE0F}x", "\"\"" + "\"\u{FE0F}x\"", "'\"\u{FE0F}x'"),
  ]) func quotingEndsWhereItShould(text: String, identifier: String, literal: String) {
    #expect(SQL.identifier(text).utf8.elementsEqual(identifier.utf8))
    #expect(SQL.literal(text).utf8.elementsEqual(literal.utf8))
  }
}
