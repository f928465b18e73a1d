/// How PostgreSQL is reached and which databases are saved.
package struct DatabaseSettings: Sendable, Equatable {
  let names: [String]
  private(set) var user: String
  private(set) var password: Secret?
  /// Host name, address, or the directory of a Unix socket.
  let host: String
  let port: Int
  let maintenance: String
  /// pg_dump's patterns of tables that are saved without rows.
  let excludedData: [String]
  /// Free bytes on the server, where the operator knows them.
  let freeBytes: Int?
  /// Of the variables that name it: `DRILL_` for a drill's own server.
  let prefix: String
  /// libpq's own variables, for children; our own connections read them from the process environment.
  let libpq: [String: String]

  /// Nil without POSTGRES_DB and where nothing of DRILL_POSTGRES_* is set.
  init?(drillFrom environment: inout Environment) {
    let names = Variable.table.map(\.name).filter { $0.hasPrefix("DRILL_POSTGRES_") }
    guard names.contains(where: environment.isSet) else { return nil }
    self.init(&environment, prefix: "DRILL_")
  }

  /// Nil without POSTGRES_DB.
  init?(_ environment: inout Environment, prefix: String) {
    self.prefix = prefix
    let names = environment.list("POSTGRES_DB")
    let user = environment.text(prefix + "POSTGRES_USER")
    password = environment.secret(prefix + "POSTGRES_PASSWORD")
    maintenance = environment.text(prefix + "POSTGRES_MAINTENANCE_DB") ?? "postgres"
    excludedData = prefix.isEmpty ? environment.list("POSTGRES_EXCLUDE_TABLE_DATA") : []
    let free = prefix + "POSTGRES_FREE_BYTES"
    freeBytes = environment.text(free) == nil ? nil : environment.number(free, default: 0)
    libpq = environment.all(Variable.libpq)
    let address = Self.address(&environment, prefix)
    guard !names.isEmpty else { return nil }
    if Set(names).count < names.count {
      environment.report("POSTGRES_DB names a database twice", hint: "name each database once")
    }
    for name in names where name == maintenance || name.hasPrefix("template") && ["0", "1"].contains(name.dropFirst(8)) {
      environment.report(
        "POSTGRES_DB names \(name), which cannot be swapped: POSTGRES_MAINTENANCE_DB is \(maintenance)",
        hint: "name the application's database, or set POSTGRES_MAINTENANCE_DB to another one")
    }
    if user == nil {
      environment.report(
        "\(prefix)POSTGRES_USER is not set",
        hint: "set it to the role that owns the database, with CREATEDB: it can do everything alone")
    }
    if address == nil {
      environment.report(
        prefix.isEmpty
          ? "POSTGRES_DB is set, but neither POSTGRES_HOST nor POSTGRES_SERVICE" : "\(prefix)POSTGRES_HOST is not set",
        hint:
          "set \(prefix)POSTGRES_HOST=postgresql-service:5432, or unset \(prefix.isEmpty ? "POSTGRES_DB for files only" : "the others")"
      )
    }
    guard let user, let address else { return nil }
    (self.names, self.user) = (names, user)
    (host, port) = address
  }

  /// The same server as another role.
  func with(user: String, password: Secret) -> DatabaseSettings {
    var settings = self
    (settings.user, settings.password) = (user, password)
    return settings
  }

  /// POSTGRES_HOST is `host:port` as the predecessor has it, never read as a bare host without looking for the port.
  private static func address(_ environment: inout Environment, _ prefix: String) -> (String, Int)? {
    var port = 5432
    if let text = environment.text(prefix + "POSTGRES_PORT") {
      // A Service named "postgres" makes Kubernetes set POSTGRES_PORT=tcp://10.0.0.1:5432 in every pod.
      let digits = text.hasPrefix("tcp://") ? text.split(separator: ":").last.map(String.init) ?? "" : text
      if let number = Int(digits), (1...65535).contains(number) {
        port = number
      } else {
        environment.report("\(prefix)POSTGRES_PORT is \"\(text)\"", hint: "set a port number, 1 to 65535")
      }
    }
    guard let host = environment.text(prefix + "POSTGRES_HOST") else {
      return prefix.isEmpty ? environment.text("POSTGRES_SERVICE").map { ($0, port) } : nil
    }
    let bracketed = host.hasPrefix("[")
    guard let colon = host.lastIndex(of: ":"), bracketed ? !host[colon...].contains("]") : host.firstIndex(of: ":") == colon
    else { return (host.trimming("[]"), port) }
    guard let number = Int(host[host.index(after: colon)...]), (1...65535).contains(number) else {
      environment.report("\(prefix)POSTGRES_HOST is \"\(host)\"", hint: "set host:port, for example postgresql-service:5432")
      return (host, port)
    }
    return (host[..<colon].trimming("[]"), number)
  }
}
