/// An entry of an archive that the server refused, whole or in part.
struct Refusal: Equatable, Sendable {
  /// As the archive's table of contents has it.
  let id: Int
  /// `FK CONSTRAINT public sale sale_item_fkey postgres`: kind, schema, name, owner, as pg_restore puts them.
  var name: String
  var errors: [Told] = []

  struct Told: Equatable, Sendable {
    let said: String
    /// The first line of what was refused.
    var command: String?

    var isOfOwner: Bool { command.map { $0.hasPrefix("ALTER ") && $0.contains(" OWNER TO ") } ?? false }
  }

  /// What the server said.
  var reason: String {
    guard let said = errors.first?.said else { return "PostgreSQL refuses it" }
    // `could not execute query: ERROR:  …`, in the server's language from the second colon on.
    let own = /^(?:could not execute query|COPY failed for table ".*?"|could not set default_\w+(?: to .*?)?): [^ :]+: +/
    return String(said[(said.prefixMatch(of: own)?.range.upperBound ?? said.startIndex)...])
  }

  /// For the operator: without the owner, who is the last word.
  var text: String {
    let words = name.split(separator: " ", omittingEmptySubsequences: false)
    return printable("\(words.dropLast(words.count > 2 ? 1 : 0).joined(separator: " ").replacing(" - ", with: " ")): \(reason)")
  }

  /// It is there: only its owner, place or access method was refused, and made again it would be refused for being there.
  var isMade: Bool {
    errors.allSatisfy { error in
      error.isOfOwner || error.said.hasPrefix("could not set default_")
    }
  }

  /// What is refused for want of one of these roles is its owner, or what holds for what that role makes.
  func isOnly(of missing: Set<String>) -> Bool {
    (isMade || name.hasPrefix("DEFAULT ACL ")) && missing.contains { reason.contains($0) }
  }

  /// It is there, in another tablespace than its own, which is missing.
  var isOutOfPlace: Bool { errors.allSatisfy { $0.said.hasPrefix("could not set default_tablespace ") } }

  /// Whether the server's words have this one, whole.
  func names(_ word: String) -> Bool {
    let isInWord = { (character: Character?) in character.map { $0.isLetter || $0.isNumber || $0 == "_" } ?? false }
    return reason.ranges(of: word).contains {
      !isInWord(reason[..<$0.lowerBound].last) && !isInWord(reason[$0.upperBound...].first)
    }
  }

  /// The name of an extension that is refused.
  var ofExtension: String? {
    name.wholeMatch(of: /EXTENSION (?:- )?(.*?) */).map { String($0.1) }
  }

  /// Rows, which no statement brings back.
  var isData: Bool { name.hasPrefix("TABLE DATA ") || name.hasPrefix("BLOB") }
  var isOfView: Bool { name.hasPrefix("MATERIALIZED VIEW DATA ") }
  var isTable: Bool { name.hasPrefix("TABLE ") && !isData }
  var isForeignKey: Bool { name.hasPrefix("FK CONSTRAINT ") }
  /// PostgreSQL names its segments so, in every language; `shm_open` is of Linux.
  var isShortOfSharedMemory: Bool { errors.contains { $0.said.contains("\"/PostgreSQL.") } }
}

extension [Refusal] {
  /// What could be done about all of them.
  func hint(role: String?) -> String {
    if contains(where: \.isShortOfSharedMemory) {
      return
        "shared memory is short on the server, not its disk: give its /dev/shm more (in Kubernetes an emptyDir with medium: Memory mounted there), then run it again"
    }
    let rights = role.map {
      "; what only a superuser can make, not \(printable($0)) who owns the rest: restore --as-superuser loads all as POSTGRES_USER"
    }
    return
      "nothing live was changed; restore --accept-differences takes all rows that PostgreSQL takes, and leaves out what it refuses\(rights ?? "")"
  }
}
