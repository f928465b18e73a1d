import BackupRestore

/// Whom the toolkit connects as.
public enum User: String, CaseIterable, Sendable, CustomStringConvertible {
  case superuser = "a superuser"
  /// No superuser: it may create databases, and owns the one that is saved.
  case owner = "the database's owner"

  public var description: String { rawValue }
}

extension Site {
  /// One whose database `createDatabase` gives to POSTGRES_USER.
  public convenience init(
    cluster: Cluster, as user: User, database: String? = nil, files: Bool = false, settings: [String: String] = [:]
  ) async throws {
    var settings = settings
    if user == .owner {
      let role = "owner_\(UInt32.random(in: 0...UInt32.max))"
      try await cluster.psql("postgres", "CREATE ROLE \(role) LOGIN CREATEDB PASSWORD 'app'")
      settings.merge(["POSTGRES_USER": role, "POSTGRES_PASSWORD": "app"]) { $1 }
    }
    try await self.init(cluster: cluster, database: database, files: files, settings: settings)
  }

  /// POSTGRES_USER.
  public var user: String { settings["POSTGRES_USER"]! }

  /// As POSTGRES_USER, and without any other's rights.
  @discardableResult
  public func own(_ sql: String) async throws -> String {
    try await self.sql("SET SESSION AUTHORIZATION \(SQL.identifier(user)); \(sql)")
  }
}
