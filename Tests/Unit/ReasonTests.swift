import Testing

@testable import BackupRestore

/// What other programs print, as it was seen.
@Suite struct ReasonTests {
  static let repository = [
    ("Fatal: unable to save snapshot: write full/r/data/75/7518-tmp-224613764: no space left on device", "room"),
    ("unexpected HTTP response (507): 507 Insufficient Storage", "room"),
    ("Save(<lock/a37bc6e5c0>) returned error, retrying after 5.8s: open ro/locks/a37b-tmp-22: read-only file system", "writable"),
    (
      "Stat(<config/>) returned error, retrying after 1.2s: Head \"https://127.0.0.1:58111/x/config\": tls: failed to verify certificate: "
        + "x509: certificate signed by unknown authority", "CERTIFICATE_FILE"
    ),
    ("subprocess ssh: Host key verification failed.", "known_hosts"),
    ("subprocess ssh: u@127.0.0.1: Permission denied (publickey).", "/root/.ssh"),
    ("Head \"http://nowhere.invalid:8000/x/config\": dial tcp: lookup nowhere.invalid: no such host", "DNS"),
    ("subprocess ssh: ssh: connect to host 127.0.0.1 port 1: Connection refused", "down"),
    ("Stat: Get \"http://127.0.0.1:58222/none/?location=\": dial tcp 127.0.0.1:58222: connect: connection refused", "down"),
    ("dial tcp 192.0.2.1:8000: i/o timeout", "firewalls"), ("dial tcp 192.0.2.1:8000: connect: no route to host", "firewalls"),
    ("unexpected HTTP response (401): 401 Unauthorized", "user and password"),
    ("unexpected HTTP response (403): 403 Forbidden", "credentials"),
    (
      "s3.getCredentials: no credentials found. Use `-o s3.unsafe-anonymous-auth=true` for anonymous authentication",
      "credentials"
    ),
    ("Stat(<config/>) failed: client.GetObject: The specified bucket does not exist", "bucket"),
    ("client.GetObject: Bucket name cannot be shorter than 3 characters", "correct COPY_RESTIC_REPOSITORY"),
    ("unexpected HTTP response (400): 400 Bad Request", "https"), ("open data/00/00: too many open files", "ulimit"),
    ("LoadRaw(<index/8327cd63c4>): invalid data returned", "damaged"),
    ("config or key 2318962a is damaged: ciphertext verification failed", "damaged"),
    ("id 5406cefdc4447037c608a6ea08f4041e not found in repository", "damaged"),
    ("Fatal: unable to open config file: stat r/config: permission denied", "user"),
  ]

  static let database = [
    ("FATAL: password authentication failed for user \"postgres\"", "POSTGRES_PASSWORD"),
    ("fe_sendauth: no password supplied", "POSTGRES_PASSWORD"),
    ("FATAL: too many connections for role \"shop\"", "CONNECTION LIMIT"),
    ("FATAL: sorry, too many clients already", "max_connections"),
    ("FATAL: remaining connection slots are reserved for non-replication superuser connections", "max_connections"),
    ("FATAL: database \"app\" is not currently accepting connections", "ALLOW_CONNECTIONS"),
    ("FATAL: unrecognized configuration parameter \"nonsense\"", "PGOPTIONS"),
    ("FATAL: permission denied for database \"app\"; DETAIL: User does not have CONNECT privilege.", "GRANT CONNECT"),
    ("FATAL: no pg_hba.conf entry for host \"10.0.0.1\", user \"app\", database \"app\", no encryption", "pg_hba.conf"),
    ("FATAL: database \"nobody\" does not exist", "POSTGRES_DB"), ("FATAL: role \"nobody\" does not exist", "POSTGRES_USER"),
    ("FATAL: the database system is starting up", "ready"), ("FATAL: the database system is shutting down", "ready"),
    ("could not translate host name \"nowhere\" to address: Name or service not known", "DNS"),
    ("SSL error: certificate verify failed", "PGSSLROOTCERT"),
    ("connection to server at \"127.0.0.1\", port 1 failed: Connection refused", "the server is up"),
    ("connection to server at \"192.0.2.1\", port 5432 failed: timeout expired", "the server is up"),
  ]

  @Test(arguments: repository) func whatResticSaysHasItsHint(said: String, hint: String) {
    let found = Reason.hint(for: [said], in: Reason.repository, prefix: "COPY_")
    #expect(found?.contains(hint) == true, "\(found ?? "none")")
  }

  @Test(arguments: database) func whatLibpqSaysHasItsHint(said: String, hint: String) {
    let found = Reason.hint(for: [said], in: Reason.database)
    #expect(found?.contains(hint) == true && found?.contains("%") == false, "\(found ?? "none")")
  }

  /// No entry without a line that was seen, and none for what is not in it.
  @Test func everyEntryIsMet() {
    for (table, said) in [(Reason.repository, Self.repository), (Reason.database, Self.database)] {
      // Not behind another that takes its lines.
      for (index, reason) in table.enumerated() {
        let met = said.contains { line in table.firstIndex { $0.words.contains { line.0.contains($0) } } == index }
        #expect(met, "\(reason)")
      }
      #expect(Reason.hint(for: ["something that nobody has seen"], in: table) == nil)
    }
  }

  @Test func theLastWordsComeFirst() {
    let lines = ["connection refused", "no space left on device"]
    #expect(Reason.hint(for: lines.reversed(), in: Reason.repository)?.contains("room") == true)
  }

  @Test func withoutAHintThereIsNoLineForOne() {
    #expect(Failure(.repositoryFailed, "it failed", hint: "").description == "it failed")
    #expect(Failure(.repositoryFailed, "it failed", hint: "mend it").description == "it failed\n  hint: mend it")
  }
}
