/// One of the repositories below the base: its name there.
enum RepositoryName: String, Sendable {
  case files
  case database = "pg-database"
  case sets
  /// The predecessor's, read only: beside `files` and `pg-database` its roles; before that `db`; at first the base itself.
  case roles = "pg-role"
  case oldDatabase = "db"
  case base = ""

  static let own: [RepositoryName] = [.files, .database, .sets]
  static let old: [RepositoryName] = [.roles, .oldDatabase, .base]

  /// Below the base. Backends written `scheme:bucket:path` need the second colon where the base is the bucket alone.
  func location(below base: String) -> String {
    if self == .base { return base }
    let parts = base.split(separator: ":", omittingEmptySubsequences: false)
    let bucketAlone = parts.count == 2 && ["b2", "gs", "azure", "swift"].contains(parts[0])
    return base + (bucketAlone ? ":/" : "/") + rawValue
  }
}
