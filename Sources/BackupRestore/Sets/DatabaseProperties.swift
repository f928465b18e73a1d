/// What a database is, besides its content. pg_dump saves some of it and restores it only under the old name.
struct DatabaseProperties: Codable, Equatable, Sendable {
  let serverVersion: Int
  let owner: String
  let encoding: String
  /// `c` libc, `i` icu, `b` builtin.
  let provider: String
  let collate: String
  let ctype: String
  let locale: String?
  let icuRules: String?
  private(set) var tablespace: String
  let connectionLimit: Int
  let isTemplate: Bool
  let comment: String?
  /// Nil: never changed from the default.
  let grants: [Grant]?
  let settings: [Setting]
  /// pg_database_size, in bytes: what a restore will need, about.
  private(set) var size: Int
  /// The schema of that name, which no dump makes. Nil where there is none, or the set is older than this.
  var publicSchema: PublicSchema? = nil
  /// Nil where no role owns all, or the set is older than this.
  var soleOwner: SoleOwner? = nil

  func with(size: Int? = nil, tablespace: String? = nil) -> DatabaseProperties {
    var properties = self
    properties.size = size ?? self.size
    properties.tablespace = tablespace ?? self.tablespace
    return properties
  }

  struct Grant: Codable, Equatable, Sendable {
    /// Empty: PUBLIC.
    let grantee: String
    let privilege: String
    let grantable: Bool
  }

  struct PublicSchema: Codable, Equatable, Sendable {
    let owner: String
    let grants: [Grant]
  }

  struct SoleOwner: Codable, Equatable, Sendable {
    let role: String
    /// `schema app`, `table app.t`: what belongs to it as the owner of the database, to `pg_database_owner`.
    let ofDatabaseOwner: [String]
  }

  struct Setting: Codable, Equatable, Sendable {
    /// Nil: for every role.
    let role: String?
    let name: String
    let value: String
  }
}

extension DatabaseProperties {
  /// The same encoding and locale, nothing else.
  func plain(owner: String) -> DatabaseProperties {
    DatabaseProperties(
      serverVersion: serverVersion, owner: owner, encoding: encoding, provider: provider, collate: collate, ctype: ctype,
      locale: locale, icuRules: icuRules, tablespace: "pg_default", connectionLimit: -1, isTemplate: false, comment: nil,
      grants: nil,
      settings: [], size: 0)
  }
}
