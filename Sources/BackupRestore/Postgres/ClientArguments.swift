/// What PostgreSQL's programs are started with.
extension DatabaseSettings {
  /// The environment of PostgreSQL's programs. The password goes here and never into arguments or a file.
  func environment(_ base: [String: String], database: String) -> [String: String] {
    var environment = base.merging(libpq) { $1 }
    environment["PGHOST"] = host
    environment["PGPORT"] = String(port)
    environment["PGUSER"] = user
    environment["PGDATABASE"] = database
    environment["PGAPPNAME"] = "backup-restore"
    environment["PGCONNECT_TIMEOUT"] = "30"
    // A server may say otherwise for all, or for this database: a managed one does where its disk gets full.
    let writing = "-c default_transaction_read_only=off"
    environment["PGOPTIONS"] = libpq["PGOPTIONS"].map { $0 + " " + writing } ?? writing
    if let password { environment["PGPASSWORD"] = password.reveal() }
    return environment
  }

  /// For children, as `--dbname`: what libpq reads from no variable. The database's name still comes from PGDATABASE.
  ///
  /// A node that is lost is noticed within a minute while nothing is on its way to it. No tcp_user_timeout, which would end the load of a
  /// table where the server takes nothing for so long: Linux counts a full window, too.
  static let keepalives = "keepalives=1 keepalives_idle=20 keepalives_interval=10 keepalives_count=3"

  /// pg_dump's arguments. The database comes from PGDATABASE: `--dbname` would read a name with `=` as a connection string.
  static func dumpArguments(snapshot: String, lockWait: Duration) -> [String] {
    // Uncompressed: restic compresses, and finds again what did not change (1.6 MB instead of 87 MB, measured).
    [
      "--dbname=\(keepalives)", "--format=custom", "--compress=0", "--no-password", "--snapshot=\(snapshot)",
      "--lock-wait-timeout=\(lockWait.components.seconds * 1000)",
    ]
  }

  /// A dump as a restic part: restic runs pg_dump itself and saves nothing when it fails. `env -u` takes restic's
  /// secrets out of what pg_dump inherits; pg_dump replaces env, so no process stands between.
  static func stdinCommand(program: String, arguments: [String], archive: String, hiding secrets: [String]) -> [String] {
    ["--stdin-from-command", "--stdin-filename", archive, "--", "env"] + secrets.sorted().flatMap { ["-u", $0] } + [program]
      + arguments
  }
}
