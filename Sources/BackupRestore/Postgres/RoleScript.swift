/// `roles.sql`, read back.
enum RoleScript {
  /// The first line of those whose settings are literals.
  static let title = """
    -- Roles of this set, with literals. Safe to run again: roles that exist are left as they are, but for memberships and parameters they lack.

    """

  /// Its blocks, each one statement. They are sent one a message: whatever was saved, none can become two.
  static func statements(_ script: String) -> [String] {
    var rest = Array(script.utf8)[...]
    let isPasted = script.hasPrefix("-- ") && !script.hasPrefix(title)
    var statements: [String] = []
    while let start = find(Array("DO $role".utf8), in: rest) {
      // To the tag it begins with, which was chosen not to occur in what it encloses.
      let tag = Array(rest[(start + 3)...].prefix { $0 != 0x20 })
      guard let end = find(tag, in: rest[(start + 3 + tag.count)...]) else { break }
      let block = rest[start..<end]
      statements.append(String(decoding: (isPasted ? requoted(block) : Array(block)) + tag, as: UTF8.self))
      rest = rest[(end + tag.count)...]
    }
    return statements
  }

  private static func find(_ bytes: [UInt8], in text: ArraySlice<UInt8>) -> Int? {
    text.indices.first { text[$0] == bytes[0] && text[$0...].starts(with: bytes) }
  }

  /// A block of 0.1, which pasted the lists of names as they are stored. Where PostgreSQL lets nothing be stored but a list, it ends where
  /// the list ends, whatever else it looks like. It lets anything be stored in the others (measured), so there no end can be told: the
  /// settings from there on are left out.
  private static func requoted(_ block: ArraySlice<UInt8>) -> [UInt8] {
    var rest = block
    var result: [UInt8] = []
    while !rest.isEmpty {
      let (head, name) = beginning(of: rest)
      guard let name else {
        let statement = statement(rest)
        result += statement
        rest = rest.dropFirst(statement.count)
        continue
      }
      rest = rest.dropFirst(head.count)
      guard StoredList.folded.contains(name), let elements = pasted(&rest) else { return result + Array("END IF; END ".utf8) }
      result += head + Array((elements.map(SQL.literal).joined(separator: ", ") + ";\n").utf8)
    }
    return result
  }

  /// `ALTER ROLE "name" SET "search_path" = `, where a list follows, and which.
  private static func beginning(of text: ArraySlice<UInt8>) -> (ArraySlice<UInt8>, String?) {
    var rest = text
    func take(_ word: String) -> Bool {
      guard rest.starts(with: word.utf8) else { return false }
      rest = rest.dropFirst(word.utf8.count)
      return true
    }
    guard take("ALTER ROLE "), rest.first == UInt8(ascii: "\""), StoredList.element(&rest) != nil, take(" SET "),
      rest.first == UInt8(ascii: "\""), let name = StoredList.element(&rest)?.text(folding: true).lowercased(),
      StoredList.names.contains(name), take(" = ")
    else { return (text.prefix(0), nil) }
    return (text.prefix(upTo: rest.startIndex), name)
  }

  /// The elements, each followed by a comma or, behind the last one, by the `;` and the end of the line that were put there. Nil where it
  /// is no list.
  private static func pasted(_ rest: inout ArraySlice<UInt8>) -> [String]? {
    let semicolon = UInt8(ascii: ";")
    var elements: [String] = []
    StoredList.skipSpace(&rest)
    while var element = StoredList.element(&rest) {
      var after = rest
      StoredList.skipSpace(&after)
      var isLast =
        !element.isQuoted && element.bytes.last == semicolon && rest.first == 0x0A && after.first != UInt8(ascii: ",")
      if isLast { element.bytes.removeLast() }
      // An empty element was written as ''.
      if !element.isQuoted, element.bytes == Array("''".utf8) { element.bytes = [] }
      elements.append(element.text(folding: true))
      if !isLast { StoredList.skipSpace(&rest) }
      if !isLast, rest.starts(with: [semicolon, 0x0A]) {
        isLast = true
        rest.removeFirst()
      }
      if isLast {
        rest.removeFirst()
        return elements
      }
      guard rest.popFirst() == UInt8(ascii: ",") else { return nil }
      StoredList.skipSpace(&rest)
    }
    return nil
  }

  /// Up to the end of the line on which a statement ends, outside of quotes.
  private static func statement(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    var quote: UInt8?
    for index in text.indices {
      let byte = text[index]
      if let open = quote {
        if byte == open { quote = nil }
      } else if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
        quote = byte
      } else if byte == 0x0A, index > text.startIndex, text[index - 1] == UInt8(ascii: ";") {
        return text[...index]
      }
    }
    return text
  }
}

extension Connection {
  /// All or nothing, one statement a message.
  nonisolated func transaction(_ statements: [String], undone: Bool = false) async throws {
    try await execute("BEGIN")
    do {
      for statement in statements { _ = try await query(statement) }
      try await execute(undone ? "ROLLBACK" : "COMMIT")
    } catch {
      try? await execute("ROLLBACK")
      throw error
    }
  }
}
