/// What a restore reads: a set by its record, or the predecessor's snapshots, described as a record would.
struct RestoreSource: Sendable {
  let name: Name
  /// `set 20261123T231000Z`, or the snapshots.
  let title: String
  var record: Record
  /// What it was chosen from.
  let catalog: Catalog
  /// SQL.
  var roles = ""
  /// All of these roles are made; otherwise they are where one is missing that the databases name.
  var makesAllRoles = false
  var filesIn = RepositoryName.files
  var databaseIn = RepositoryName.database
  /// A plain dump that keeps psql from obeying what stands in it.
  var isRestricted = false
  /// What of it is restored; nil: all.
  let only: Only?

  /// As the command line names it.
  enum Name: Codable, Equatable, Sendable, CustomStringConvertible {
    case set(SetID)
    /// Of the predecessor, by their ids.
    case snapshots(String)

    var description: String {
      switch self {
      case .set(let id): id.text
      case .snapshots(let ids): ids
      }
    }

    init(from decoder: any Decoder) throws {
      let text = try decoder.singleValueContainer().decode(String.self)
      self = SetID(text).map(Name.set) ?? .snapshots(text)
    }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      try container.encode(description)
    }
  }
}
