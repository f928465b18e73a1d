/// What an application's functions find what they name by: pg_restore makes everything with an empty search_path.
enum SearchPaths {
  /// As PostgreSQL would choose for the owner, then what else is set in the database. The system's own always comes first: the
  /// application must not put an operator of its own in the place of one of those.
  static func candidates(_ properties: DatabaseProperties, owner: String, ofOwner: String?, ofServer: String?) -> [String] {
    let settings = properties.settings.filter { $0.name == "search_path" }
    let inDatabase = [settings.filter { $0.role == owner }, settings.filter { $0.role == nil }].joined().map(\.value)
    let others = settings.filter { $0.role != nil && $0.role != owner }.map(\.value)
    var paths: [String] = []
    for value in inDatabase + [ofOwner, ofServer, "\"$user\", public"].compactMap(\.self) + others {
      guard let elements = StoredList.split(value, folding: true) else { continue }
      var names = ["pg_catalog"]
      for element in elements {
        let name = element == "$user" ? owner : element
        if !name.isEmpty, !names.contains(name) { names.append(name) }
      }
      let path = names.map(SQL.identifier).joined(separator: ", ")
      if !paths.contains(path) { paths.append(path) }
    }
    return paths
  }

  static func read(_ properties: DatabaseProperties, owner: String, _ session: Connection) async throws -> [String] {
    let ofOwner = try await session.value(
      """
      SELECT substr(c, 13) FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c
      WHERE s.setdatabase = 0 AND r.rolname = $1 AND c LIKE 'search\\_path=%'
      """, [owner])
    // This session's own is set to nothing; what it was before is the server's.
    let ofServer = try await session.value("SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path'")
    return candidates(properties, owner: owner, ofOwner: ofOwner, ofServer: ofServer)
  }
}
