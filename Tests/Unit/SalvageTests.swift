import Testing

@testable import BackupRestore

/// What an archive's own text says, of which nothing is run that is not understood.
@Suite struct SalvageTests {
  @Test(arguments: [
    ("COPY public.t (id, v) FROM stdin;", ["id", "v"]), ("COPY t (id) FROM stdin;", nil),
    ("COPY \"a b\".\"c\"\"d\" (x, \"y (z)\", _q$1) FROM stdin;", ["x", "y (z)", "_q$1"]),
    ("COPY public.\"two\nlines\" (\"a\nb\") FROM stdin;", ["a\nb"]), ("COPY public.t FROM stdin;", nil),
    ("COPY public.t (id) FROM PROGRAM 'id';", nil), ("COPY public.t (id) FROM stdin; SELECT 1;", nil),
    ("COPY (SELECT 1) TO PROGRAM 'id';--\" (c) FROM stdin;", nil), ("COPY public.\"a (c) FROM stdin;", nil), ("SELECT 1;", nil),
  ]) func theColumnsOfACopyAreReadAndNothingElse(statement: String, columns: [String]?) {
    #expect(RowSalvage.target(statement)?.columns == columns)
  }

  @Test func aTableComesWithoutWhatIsRefusedAndWithAllElse() throws {
    let script = """
      -- Name: place; Type: TABLE; Schema: public; Owner: shop

      CREATE TABLE public.place (
          id integer NOT NULL,
          code text DEFAULT public.code('a,
      b (') NOT NULL,
          twice integer GENERATED ALWAYS AS ((id * 2)) STORED,
          CONSTRAINT short CHECK ((length(code) < 9))
      )
      INHERITS (public.parent)
      WITH (fillfactor='70');


      ALTER TABLE public.place OWNER TO shop;
      """
    let table = try #require(BareTable(script))
    #expect(
      table.statement
        == "CREATE TABLE public.place (\n    id integer NOT NULL,\n    code text NOT NULL,\n    twice integer\n)\nINHERITS (public.parent)\nWITH (fillfactor='70')"
    )
    #expect(table.without == "its CHECK constraints, its defaults, its generated values")
    #expect(table.owner == "ALTER TABLE public.place OWNER TO shop;")
    #expect(BareTable("CREATE TABLE public.plain (\n    id integer\n);") == nil)
    #expect(BareTable("CREATE VIEW public.v AS\n SELECT 1;") == nil)
  }

  @Test func whatIsCommentedStaysAComment() {
    let comment = LeftOut.comment("CREATE TABLE t (\r\n\\! id\r\\! id\n  a int\n);")
    #expect(comment == "-- CREATE TABLE t (\\r\n-- \\! id\\r\\! id\n--   a int\n-- );")
    #expect(comment.unicodeScalars.split(separator: "\n").allSatisfy { String($0).hasPrefix("-- ") && !$0.contains("\r") })
  }

  @Test func aNameThatLooksLikeATableIsNone() {
    #expect(BareTable("CREATE TABLE public.\"x\nCREATE USER e SUPERUSER /*TABLE \" (\n    a int DEFAULT 1\n);") == nil)
  }
}
