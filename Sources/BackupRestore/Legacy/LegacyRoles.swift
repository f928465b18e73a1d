/// The predecessor's role dumps: `pg_dumpall --roles-only`, filtered by a prefix, so line by line.
enum LegacyRoles {
  /// The same roles as SQL that is safe to run again: a role that exists is left as it is, its password too.
  ///
  /// Also returns the lines that are left out because they are no statement on their own. A role's settings are its own to choose, line
  /// ends and what looks like a statement included: what lies within a value is none.
  static func script(_ dump: String) -> (sql: String, leftOut: [String]) {
    var roles: [(name: String, body: String)] = []
    var grants = ""
    var leftOut: [String] = []
    var isInside = false
    for line in dump.split(whereSeparator: \.isNewline).map({ $0.trimming(" \t") }) {
      let isStatement = ["CREATE ROLE ", "ALTER ROLE ", "COMMENT ON ROLE ", "GRANT "].contains(where: line.hasPrefix)
      let began = isInside
      let (ends, semicolons) = read(line, inside: began)
      // Where two values seem to begin, the filter took the end of the first: no end can be told any more.
      if ends != began { isInside = isStatement }
      if began || isInside || semicolons > 1 {
        leftOut.append(line)
        continue
      }
      // psql's own \restrict, session settings, comments.
      if line.isEmpty || ["\\", "--", "SET "].contains(where: line.hasPrefix) { continue }
      if let name = subject(line), line.hasSuffix(";") {
        let index = roles.firstIndex { $0.name == name } ?? roles.endIndex
        if index == roles.endIndex { roles.append((name, "")) }
        roles[index].body += withoutSuperuserWords(line) + "\n"
      } else if let grant = grant(line) {
        grants += grant
      } else {
        leftOut.append(line)
      }
    }
    return (roles.map { RoleReader.unlessExists($0.name, $0.body) }.joined() + grants, leftOut)
  }

  /// Whether the line ends inside a quoted value, and how many statements end in it. pg_dumpall doubles the quotes within.
  private static func read(_ line: String, inside: Bool) -> (inside: Bool, semicolons: Int) {
    var (isInside, isName, semicolons) = (inside, false, 0)
    for scalar in line.unicodeScalars {
      if scalar == "'", !isName { isInside.toggle() }
      if scalar == "\"", !isInside { isName.toggle() }
      if scalar == ";", !isInside, !isName { semicolons += 1 }
    }
    return (isInside, semicolons)
  }

  /// NOSUPERUSER and its like ask for rights that a role that may only create roles does not have; they are the default.
  private static func withoutSuperuserWords(_ line: String) -> String {
    guard line.hasPrefix("ALTER ROLE "), let with = line.firstRange(of: " WITH ") else { return line }
    let end = line.firstRange(of: " PASSWORD ")?.lowerBound ?? line.endIndex
    guard with.upperBound < end else { return line }
    let words = line[with.upperBound..<end].split(separator: " ").filter {
      !["NOSUPERUSER", "NOREPLICATION", "NOBYPASSRLS"].contains($0)
    }
    return line[..<with.upperBound] + words.joined(separator: " ") + line[end...]
  }

  /// `CREATE ROLE name;`, `ALTER ROLE name …;`, `COMMENT ON ROLE name …;`. Not `IN DATABASE`, which pg_dumpall wrote before 11: that
  /// database may be the one that is lost.
  private static func subject(_ line: String) -> String? {
    let verb = ["CREATE ROLE ", "ALTER ROLE ", "COMMENT ON ROLE "].first { line.hasPrefix($0) }
    let role = verb.flatMap { identifier(line.dropFirst($0.count)) }
    return role?.rest.hasPrefix(" IN DATABASE ") == true ? nil : role?.name
  }

  /// `GRANT parent TO member [WITH …] [GRANTED BY …];` only where it is missing, and by whoever runs it.
  private static func grant(_ line: String) -> String? {
    guard line.hasPrefix("GRANT "), line.hasSuffix(";"), let parent = identifier(line.dropFirst(6)),
      parent.rest.hasPrefix(" TO "), let member = identifier(parent.rest.dropFirst(4))
    else { return nil }
    let admin = member.rest.contains("ADMIN OPTION") || member.rest.contains("ADMIN TRUE")
    return RoleReader.grant(parent.name, to: member.name, admin: admin)
  }

  /// An identifier as pg_dumpall writes it, and what follows.
  private static func identifier(_ text: Substring) -> (name: String, rest: Substring)? {
    guard text.hasPrefix("\"") else {
      let name = text.prefix { $0 != " " && $0 != ";" }
      return name.isEmpty ? nil : (String(name), text.dropFirst(name.count))
    }
    var name = String.UnicodeScalarView()
    var rest = text.unicodeScalars.dropFirst()
    while let scalar = rest.popFirst() {
      if scalar != "\"" {
        name.append(scalar)
      } else if rest.first == "\"" {
        name.append(rest.removeFirst())
      } else {
        return (String(name), Substring(rest))
      }
    }
    return nil
  }
}
