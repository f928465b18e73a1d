import Foundation
import Testing

@testable import BackupRestore

@Suite struct LegacyRolesTests {
  static let dump = #"""
    --
    -- PostgreSQL database cluster dump
    --
    \restrict abc
    SET default_transaction_read_only = off;
    CREATE ROLE app;
    ALTER ROLE app WITH NOSUPERUSER INHERIT LOGIN PASSWORD 'SCRAM-SHA-256$4096:x';
    COMMENT ON ROLE app IS 'the application';
    CREATE ROLE "app ""2""";
    ALTER ROLE "app ""2""" SET search_path TO 'a;b';
    GRANT app TO "app ""2""" WITH ADMIN OPTION GRANTED BY postgres;
    GRANT app TO reader WITH INHERIT TRUE GRANTED BY postgres;
    of a comment that ran over two lines';
    \unrestrict abc
    """#

  @Test func eachRoleIsCreatedOnlyWhereItIsMissing() {
    let (sql, leftOut) = LegacyRoles.script(Self.dump)
    let blocks = sql.components(separatedBy: "DO $role$ BEGIN IF ").dropFirst()
    #expect(blocks.count == 4)
    #expect(
      blocks.first == """
        NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'app') THEN
        CREATE ROLE app;
        ALTER ROLE app WITH INHERIT LOGIN PASSWORD 'SCRAM-SHA-256$4096:x';
        COMMENT ON ROLE app IS 'the application';
        END IF; END $role$;

        """)
    #expect(sql.contains("rolname = 'app \"2\"') THEN\nCREATE ROLE \"app \"\"2\"\"\";\nALTER ROLE"))
    #expect(leftOut == ["of a comment that ran over two lines';"])
  }

  @Test func membershipsAreGrantedByWhoeverRunsIt() {
    let sql = LegacyRoles.script(Self.dump).sql
    #expect(sql.contains(#"GRANT "app" TO "app ""2""" WITH ADMIN OPTION;"#))
    #expect(sql.contains(#"GRANT "app" TO "reader";"#))
    #expect(!sql.contains("GRANTED BY"))
  }

  @Test(arguments: [
    "", "CREATE ROLE ", "CREATE ROLE \"open;", "GRANT app;", "GRANT app TO ;", "DROP ROLE app;",
    "ALTER ROLE app IN DATABASE lost SET a TO b;",
  ])
  func aLineThatIsNoStatementOfItsOwnIsLeftOut(_ line: String) {
    let (sql, leftOut) = LegacyRoles.script(line)
    #expect(sql == "")
    #expect(leftOut == (line.isEmpty ? [] : [line.trimming(" ")]))
  }

  /// A role may set this for itself: pg_dumpall writes it over several lines, of which grep took those that name it.
  @Test(arguments: ["", "\nlast';"]) func whatStandsInAValueIsNoStatement(_ end: String) {
    let value = """
      CREATE ROLE app;
      ALTER ROLE app SET application_name TO 'x''y
      ALTER ROLE app WITH SUPERUSER;
      CREATE ROLE app_evil;
      GRANT postgres TO app;
      it''s app\(end)
      """
    let (sql, leftOut) = LegacyRoles.script(value + "\nCREATE ROLE app_2;")
    #expect(sql.contains("CREATE ROLE app;") && !sql.contains("SUPERUSER") && !sql.contains("evil") && !sql.contains("postgres"))
    // Where grep took the end of the value, too, nothing behind it can be told from it.
    #expect(sql.contains("CREATE ROLE app_2;") == !end.isEmpty)
    #expect(leftOut.count == 6)
  }

  @Test func aSecondValueDoesNotEndTheFirst() {
    let (sql, _) = LegacyRoles.script(
      "ALTER ROLE app SET a TO 'x\nALTER ROLE app SET b TO 'y\nGRANT postgres TO app;\nALTER ROLE app WITH SUPERUSER;")
    #expect(sql.isEmpty)
  }

  @Test(arguments: [
    "ALTER ROLE app SET search_path TO public;ALTER/**/ROLE/**/app/**/SUPERUSER;", "CREATE ROLE app; CREATE ROLE evil SUPERUSER;",
  ]) func aLineOfTwoStatementsIsLeftOut(_ line: String) {
    #expect(LegacyRoles.script(line) == ("", [line]))
  }

  @Test func quotesInNamesOpenNoValue() {
    let (sql, leftOut) = LegacyRoles.script("CREATE ROLE \"o'brien\";\nCREATE ROLE \"b;c\";\nCREATE ROLE d;")
    #expect(leftOut.isEmpty && sql.contains("CREATE ROLE \"o'brien\";") && sql.contains("CREATE ROLE d;"))
  }
}
