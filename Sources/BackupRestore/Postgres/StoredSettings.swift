/// Settings of roles and databases as PostgreSQL stores them, and as SQL.
extension DatabaseProperties {
  /// `myapp.tenant` is two identifiers to the parser.
  static func settingName(_ name: String) -> String {
    name.split(separator: ".").map { SQL.identifier(String($0)) }.joined(separator: ".")
  }

  /// Literals alone. `SET` quotes the elements of a list before they are stored, but what `set_config` and `FROM CURRENT` store is the
  /// text as it was given: `my-schema, public`, or a statement (measured). pg_dump takes lists apart, too.
  static func settingValue(_ setting: Setting) -> String {
    let name = setting.name.lowercased()
    guard StoredList.names.contains(name),
      let elements = StoredList.split(setting.value, folding: StoredList.folded.contains(name))
    else { return SQL.literal(setting.value) }
    return elements.isEmpty ? "''" : elements.map(SQL.literal).joined(separator: ", ")
  }
}

enum StoredSettings {
  /// What the application's own functions, views and generated columns may read while they are filled, and `pg_restore --create` would have
  /// set by then, as the database's own of the role that owns it, or for all. Nothing that could keep the load from its work, or read
  /// in another way what pg_dump wrote.
  static func whileLoading(_ settings: [DatabaseProperties.Setting], owner: String) -> [DatabaseProperties.Setting] {
    let wanted = settings.filter { reachRows.contains($0.name.lowercased()) || ($0.name.contains(".") && !loads($0)) }
    // Money is text of pg_dump's session, which is no owner's.
    let own = wanted.filter { $0.role == owner && $0.name.lowercased() != "lc_monetary" }
    return wanted.filter { setting in setting.role == nil && !own.contains { $0.name == setting.name } } + own
  }

  /// What an extension's manual asks for while a dump of it is loaded: timescaledb makes chunks, their indexes and triggers by itself
  /// otherwise, and refuses the dump's (measured, 2.31 on 18).
  static func asked(by extensions: [String]) -> [DatabaseProperties.Setting] {
    extensions.contains("timescaledb") ? [DatabaseProperties.Setting(role: nil, name: "timescaledb.restoring", value: "on")] : []
  }

  private static let reachRows: Set<String> = [
    "timezone", "timezone_abbreviations", "datestyle", "lc_monetary", "lc_numeric", "lc_time",
    "extra_float_digits",
    "bytea_output", "xmlbinary", "xmloption", "default_text_search_config", "transform_null_equals",
    "backslash_quote", "default_toast_compression",
  ]

  /// Whether it names libraries that every new session loads: one that is missing keeps it out.
  static func loads(_ setting: DatabaseProperties.Setting) -> Bool {
    ["session_preload_libraries", "local_preload_libraries"].contains(setting.name)
  }
}

/// The value of a setting that is a list of names.
enum StoredList {
  /// PostgreSQL's own `variable_is_guc_list_quote`.
  static let names: Set<String> = [
    "local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
    "temp_tablespaces", "unix_socket_directories",
  ]
  /// Their elements are identifiers: the server reads FOO as foo, and "FOO" as it stands (measured).
  static let folded: Set<String> = ["search_path", "temp_tablespaces"]

  /// pg_dump's `SplitGUCList`; nil where the value is no list.
  static func split(_ stored: String, folding: Bool) -> [String]? {
    var rest = Array(stored.utf8)[...]
    skipSpace(&rest)
    if rest.isEmpty { return [] }
    var elements: [String] = []
    while let element = element(&rest) {
      elements.append(element.text(folding: folding))
      skipSpace(&rest)
      guard let next = rest.popFirst() else { return elements }
      if next != UInt8(ascii: ",") { return nil }
      skipSpace(&rest)
    }
    return nil
  }

  struct Element: Equatable {
    var bytes: [UInt8]
    let isQuoted: Bool

    func text(folding: Bool) -> String {
      let isFolded = folding && !isQuoted
      return String(decoding: isFolded ? bytes.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 } : bytes, as: UTF8.self)
    }
  }

  /// Nil where there is none, or a quote is never closed.
  static func element(_ rest: inout ArraySlice<UInt8>) -> Element? {
    let quote = UInt8(ascii: "\"")
    if rest.first != quote {
      let run = rest.prefix { $0 != UInt8(ascii: ",") && !isSpace($0) }
      rest = rest.dropFirst(run.count)
      return run.isEmpty ? nil : Element(bytes: Array(run), isQuoted: false)
    }
    rest.removeFirst()
    var bytes: [UInt8] = []
    while let byte = rest.popFirst() {
      if byte == quote {
        if rest.first != quote { return Element(bytes: bytes, isQuoted: true) }
        rest.removeFirst()
      }
      bytes.append(byte)
    }
    return nil
  }

  static func skipSpace(_ rest: inout ArraySlice<UInt8>) { rest = rest.drop(while: isSpace) }

  /// C's isspace.
  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
