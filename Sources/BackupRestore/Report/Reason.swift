/// What other programs say of why they fail, and what to do about it: the one table. Where none fits there is no hint, for a wrong one costs
/// a night. Exit codes and SQLSTATEs come first; these words are asked where they say too little. They are the programs' own, measured with
/// restic 0.19.1, OpenSSH 9.2, Go 1.26 and libpq 15.
struct Reason: Sendable {
  /// Any of them.
  let words: [String]
  /// With `%` where a variable's name gets its prefix, as in COPY_RESTIC_PASSWORD.
  let hint: String

  private init(_ words: String..., hint: String) { (self.words, self.hint) = (words, hint) }

  /// Nil where none fits.
  ///
  /// - Parameters:
  ///   - lines: what was said, the last first.
  ///   - prefix: of the variables.
  static func hint(for lines: some Sequence<String>, in table: [Reason], prefix: String = "") -> String? {
    for line in lines {
      if let reason = table.first(where: { $0.words.contains { line.contains($0) } }) {
        return reason.hint.replacing("%", with: prefix)
      }
    }
    return nil
  }

  static let processLimit =
    "raise the limit of processes, of the pod (podPidsLimit of its kubelet) or of the user (ulimit -u), and run it again"
  static let memoryLimit = "raise the container's memory limit (resources.limits.memory)"

  /// What Go prints where it cannot go on: with cgo, without, and of the kernel's refusals.
  static let crash = [
    Reason(
      "pthread_create failed", "failed to create new OS thread", "max user processes", "newosproc", hint: processLimit),
    Reason("out of memory", "cannot allocate memory", "failed to reserve", hint: memoryLimit),
  ]

  /// restic, and the ssh that it starts.
  static let repository = [
    Reason(
      "no space left on device", "Insufficient Storage", "(507)", "disk quota exceeded",
      hint: "make room where the line above names: in the repository, in RESTIC_CACHE_DIR, or in TMPDIR"),
    Reason("read-only file system", hint: "mount the repository writable"),
    Reason("x509: ", "tls: ", hint: "CERTIFICATE_FILE names the CA that signed the server's certificate"),
    Reason("Host key verification failed", hint: "put the server's key into /root/.ssh/known_hosts (ssh-keyscan), in every pod"),
    Reason("Permission denied (", hint: "put the key that the server knows into /root/.ssh, in every pod, with mode 0400"),
    Reason(
      "no such host", "server misbehaving", "Could not resolve hostname", hint: "check the host in %RESTIC_REPOSITORY, and DNS"),
    Reason(
      "connection refused", "Connection refused",
      hint: "the repository's server is down, or listens elsewhere: check it, and the port in %RESTIC_REPOSITORY"),
    Reason(
      "i/o timeout", "no route to host", "No route to host", "network is unreachable", "Network is unreachable",
      "onnection timed out", "operation timed out",
      hint: "nothing answers there: check the address in %RESTIC_REPOSITORY, network policies and firewalls"),
    Reason(
      "401 Unauthorized",
      hint: "check the user and password in %RESTIC_REPOSITORY, or RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD"),
    Reason(
      "403 Forbidden", "Access Denied", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch",
      "Access Key Id you provided",
      "signature we calculated", "no credentials found",
      hint:
        "the store refuses these credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or those of its kind, and what they may do"
    ),
    Reason("NoSuchBucket", "specified bucket does not exist", hint: "make the bucket, or correct %RESTIC_REPOSITORY"),
    Reason("invalid backend", "invalid bucket", "Bucket name cannot", hint: "correct %RESTIC_REPOSITORY"),
    Reason("400 Bad Request", hint: "a server that speaks TLS wants https:// in %RESTIC_REPOSITORY"),
    Reason(
      "invalid data returned", "ciphertext verification failed", "not found in repository",
      hint:
        "the repository is damaged: backup --check says what of it; restic's manual, \"Troubleshooting\", has the repair, and "
        + "restore --from-copy a second repository where there is one"),
    Reason("too many open files", hint: "raise the limit of open files (ulimit -n)"),
    Reason("permission denied", hint: "let the user that this runs as read and write there"),
  ]

  /// libpq, and the server that lets nobody in.
  static let database = [
    Reason("authentication failed", "no password supplied", hint: "check %POSTGRES_USER and %POSTGRES_PASSWORD"),
    Reason(
      "too many connections for", "too many clients already", "remaining connection slots",
      hint: "a backup takes three sessions: raise CONNECTION LIMIT of the role or the database, or max_connections"),
    Reason("not currently accepting connections", hint: "ALTER DATABASE … ALLOW_CONNECTIONS true"),
    Reason("invalid command-line argument", "configuration parameter", hint: "correct PGOPTIONS"),
    Reason("permission denied", "pg_hba.conf", hint: "let %POSTGRES_USER connect to it (GRANT CONNECT, pg_hba.conf)"),
    Reason("does not exist", hint: "check POSTGRES_DB, %POSTGRES_MAINTENANCE_DB and %POSTGRES_USER"),
    Reason(
      "starting up", "shutting down", "in recovery mode",
      hint: "the server is not ready yet: run it again, and look at its log where it stays so"),
    Reason("could not translate host name", hint: "check the host in %POSTGRES_HOST or POSTGRES_SERVICE, and DNS"),
    Reason("certificate", "SSL", hint: "check PGSSLMODE and PGSSLROOTCERT"),
    Reason(
      "Connection refused", "timeout expired", "onnection timed out", "No route to host", "No such file or directory",
      hint: "check %POSTGRES_HOST and %POSTGRES_PORT, and that the server is up"),
  ]
}
