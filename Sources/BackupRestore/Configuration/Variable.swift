/// An environment variable the toolkit reads. `table` is the list behind `--help` and the README.
struct Variable: Sendable {
  let name: String
  let standard: String
  let meaning: String

  init(_ name: String, _ standard: String = "", _ meaning: String) {
    self.name = name
    self.standard = standard
    self.meaning = meaning
  }

  static let table: [Variable] = [
    Variable("RESTIC_REPOSITORY", "required", "base of the repositories files, pg-database and sets"),
    Variable("RESTIC_PASSWORD", "required", "password of the repositories"),
    Variable("RESTIC_NEW_PASSWORD", "", "the next password, for rotation"),
    Variable(
      "RESTIC_HOST", "POD_NAMESPACE/database, else backup-restore",
      "the application's name: the host name that its snapshots carry"),
    Variable("POD_NAMESPACE", "", "the pod's namespace; the manifests set it (downward API)"),
    Variable("RESTIC_LIMIT_UPLOAD", "none", "KiB a second that are sent to the repositories at most, copies too"),
    Variable("RESTIC_LIMIT_DOWNLOAD", "none", "KiB a second that are read from them at most"),
    Variable("CERTIFICATE_FILE", "", "CA certificate of the repository server (PEM); empty means none"),
    Variable("COPY_RESTIC_REPOSITORY", "", "base of the second repository"),
    Variable("COPY_RESTIC_PASSWORD", "", "password of the second repository"),
    Variable("COPY_RESTIC_NEW_PASSWORD", "", "its next password, for rotation"),
    Variable("FILES_DIRECTORY", "/var/jira", "directory whose files are saved"),
    Variable("FILES_PATHS", "all", "entries below FILES_DIRECTORY, comma-separated"),
    Variable("FILES_EXCLUDE", "", "restic's patterns of what is left out, comma-separated; / is FILES_DIRECTORY"),
    Variable("FILES_OWNER", "as saved", "uid:gid given to restored files"),
    Variable("FILES_ALLOW_UNREADABLE", "false", "true: unreadable files are named and left out, exit code 3"),
    Variable("POSTGRES_DB", "", "database to save; several comma-separated; absent: no database"),
    Variable("POSTGRES_EXCLUDE_TABLE_DATA", "", "pg_dump's patterns of tables that are saved without rows, comma-separated"),
    Variable("POSTGRES_USER", "", "role to connect as; best the one that owns the database, with CREATEDB"),
    Variable("POSTGRES_PASSWORD", "", "its password"),
    Variable("POSTGRES_HOST", "", "host:port, host or socket directory of the server"),
    Variable("POSTGRES_SERVICE", "", "host name of the server, where POSTGRES_HOST is not set"),
    Variable("POSTGRES_PORT", "5432", "its port, where POSTGRES_HOST names none"),
    Variable("POSTGRES_MAINTENANCE_DB", "postgres", "database for locks and for renaming the others"),
    Variable("POSTGRES_FREE_BYTES", "", "free space on the server in bytes; a restore that needs more is refused"),
    Variable("DRILL_POSTGRES_HOST", "", "host:port of another server for drills; absent: the one that is backed up"),
    Variable("DRILL_POSTGRES_PORT", "5432", "its port, where DRILL_POSTGRES_HOST names none"),
    Variable("DRILL_POSTGRES_USER", "", "role to connect to it as"),
    Variable("DRILL_POSTGRES_PASSWORD", "", "its password"),
    Variable("DRILL_POSTGRES_MAINTENANCE_DB", "postgres", "its database for locks"),
    Variable("DRILL_POSTGRES_FREE_BYTES", "", "its free space in bytes; a drill that needs more is refused"),
    Variable("DRILL_SQL", "", "queries that must each give one true on what is restored, each ended by ; at a line's end"),
    Variable("TMPDIR_BYTES", "", "room in TMPDIR in bytes, where its volume is limited to less than its file system has free"),
    Variable("RESTIC_DAYS_TO_KEEP", "30", "every set of this many days is kept"),
    Variable("RESTIC_WEEKS_TO_KEEP", "0", "one set a week is kept for this many weeks"),
    Variable("RESTIC_MONTHS_TO_KEEP", "12", "one set a month is kept for this many months"),
    Variable("RESTIC_YEARS_TO_KEEP", "0", "one set a year is kept for this many years"),
    Variable("RESTIC_KEEP_LAST", "7", "so many of the newest undoubted sets are kept, however old"),
    Variable("QUIESCE_DEPLOYMENTS", "", "deployments to scale to 0 meanwhile, comma-separated"),
    Variable("QUIESCE_TIMEOUT", "300", "seconds until their pods must have ended"),
    Variable("CHECK_DAYS", "28", "backup --check, run every day, reads everything within this many days"),
    Variable("LOCK_WAIT", "600", "seconds to wait for a lock that another run or session holds"),
    Variable("CONNECT_TIMEOUT", "120", "seconds until a repository must have answered; a database 30 at most"),
    Variable("STALL_TIMEOUT", "1800", "seconds a transfer or the server may stand still before it is given up"),
    Variable("LOG_FORMAT", "text", "text or json"),
    Variable("METRICS_PUSHGATEWAY_URL", "", "Prometheus Pushgateway to push the run's numbers to"),
    Variable("PING_URL", "", "URL told of start and exit code, as healthchecks.io takes it"),
  ]

  /// The table as `--help` shows it, one line a variable.
  static var help: String {
    table.map { variable in
      let name = variable.name + String(repeating: " ", count: 31 - variable.name.count)
      return "  " + name + variable.meaning + (variable.standard.isEmpty ? "" : " (\(variable.standard))")
    }.joined(separator: "\n")
  }

  /// Variables that restic itself reads, from its documentation ("Scripting" and "Preparing a new repository");
  /// they reach restic and nobody else.
  static let backend: [String] = [
    "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_EC2_METADATA_DISABLED",
    "RESTIC_AWS_ASSUME_ROLE_ARN", "RESTIC_AWS_ASSUME_ROLE_SESSION_NAME", "RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID",
    "RESTIC_AWS_ASSUME_ROLE_REGION", "RESTIC_AWS_ASSUME_ROLE_POLICY", "RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT",
    "AZURE_ACCOUNT_NAME", "AZURE_ENDPOINT_SUFFIX", "AZURE_FORCE_CLI_CREDENTIAL", "B2_ACCOUNT_ID",
    "GOOGLE_PROJECT_ID", "GOOGLE_APPLICATION_CREDENTIALS", "ST_AUTH", "ST_USER",
    "OS_AUTH_URL", "OS_REGION_NAME", "OS_USERNAME", "OS_USER_ID", "OS_TENANT_ID", "OS_TENANT_NAME",
    "OS_USER_DOMAIN_NAME", "OS_USER_DOMAIN_ID", "OS_PROJECT_NAME", "OS_PROJECT_DOMAIN_NAME",
    "OS_PROJECT_DOMAIN_ID", "OS_TRUST_ID", "OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_NAME",
    "OS_STORAGE_URL", "SWIFT_DEFAULT_CONTAINER_POLICY", "RCLONE_BWLIMIT", "RCLONE_CONFIG",
    "RESTIC_REST_USERNAME", "RESTIC_CACERT", "RESTIC_TLS_CLIENT_CERT", "RESTIC_CACHE_DIR",
    "RESTIC_COMPRESSION", "RESTIC_PACK_SIZE", "RESTIC_READ_CONCURRENCY", "RESTIC_FEATURES", "RESTIC_KEY_HINT",
    "RESTIC_HTTP_USER_AGENT", "SSH_AUTH_SOCK", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy",
    "https_proxy", "no_proxy", "XDG_CACHE_HOME", "GOMAXPROCS", "GOGC", "GOMEMLIMIT",
  ]

  /// The backend's variables that are credentials.
  static let backendSecrets: [String] = [
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_ACCOUNT_KEY",
    "AZURE_ACCOUNT_SAS", "B2_ACCOUNT_KEY", "GOOGLE_ACCESS_TOKEN", "ST_KEY", "OS_PASSWORD", "OS_AUTH_TOKEN",
    "OS_APPLICATION_CREDENTIAL_SECRET", "RESTIC_REST_PASSWORD",
  ]

  /// libpq's own variables, passed to PostgreSQL's programs; host, port, user, password and database come from POSTGRES_*.
  static let libpq: [String] = [
    "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLSNI",
    "PGSSLCOMPRESSION", "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION", "PGSSLNEGOTIATION",
    "PGSSLCERTMODE", "PGREQUIREAUTH", "PGREQUIREPEER", "PGREQUIRESSL", "PGCHANNELBINDING", "PGGSSENCMODE",
    "PGGSSLIB", "PGGSSDELEGATION", "PGKRBSRVNAME", "PGHOSTADDR", "PGTARGETSESSIONATTRS",
    "PGLOADBALANCEHOSTS", "PGPASSFILE", "PGOPTIONS", "PGCONNECT_TIMEOUT", "PGTZ", "PGDATESTYLE", "PGGEQO", "PGSYSCONFDIR",
    "PGLOCALEDIR", "KRB5CCNAME", "KRB5_CONFIG",
  ]

  /// Every name that is spelt right.
  static let spelt: Set<String> = Set(table.map(\.name) + backend + backendSecrets + libpq)
}
