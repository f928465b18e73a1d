import Foundation
import Support
import Testing

@testable import BackupRestore

/// Repositories elsewhere: a server of restic's with TLS, passwords and append-only, and an object store.
@Suite(.serialized, .image, .timeLimit(.minutes(45))) struct Backends {
  /// A private CA and a certificate for loopback, below `directory`.
  static func certificates(in directory: String) async throws {
    try await Shell.script(
      """
      openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj '/CN=test CA' 2>/dev/null
      openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost 2>/dev/null
      openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 \
        -extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1) 2>/dev/null
      """, in: directory)
  }

  /// Saves twice, loses everything and gets it back.
  static func cycle(_ site: PodSite, nights: Int = 2) async throws {
    try await site.fill()
    let before = try await fingerprint(site.files)
    let initialised = try await site.run(["init.sh"])
    #expect(initialised.code == 0, "\(initialised.errors)")
    for _ in 0..<nights {
      let saved = try await site.run(["backup.sh"], as: .backup)
      #expect(saved.code == 0, "\(saved.errors)")
    }
    try await site.lose()
    let restored = try await site.run(["restore.sh"])
    #expect(restored.code == 0, "\(restored.errors)")
    #expect(try await site.sql("SELECT v FROM t") == "saved")
    expectSame(before, try await fingerprint(site.files))
  }

  @Test func aRestServerWithAPrivateCAPasswordsAndAppendOnly() async throws {
    let port = try Cluster.freePort()
    let base = "rest:https://app:s3cret%20word@127.0.0.1:\(port)/app"
    let site = try await PodSite(
      cluster: try await Cluster.shared.value,
      settings: [
        "RESTIC_REPOSITORY_FILE": PodSite.secrets + "/restic-repository", "RESTIC_REPOSITORY": "",
        "CERTIFICATE_FILE": PodSite.secrets + "/ca.crt", "RESTIC_DAYS_TO_KEEP": "0", "RESTIC_MONTHS_TO_KEEP": "0",
        "RESTIC_KEEP_LAST": "1",
        "CONNECT_TIMEOUT": "15",
      ], secrets: ["restic-repository": base])
    try await Self.certificates(in: site.root)
    try await Shell.script(
      "cp ca.crt secrets; printf 'app:{SHA}%s\\n' \"$(printf 's3cret word' | openssl sha1 -binary | base64)\" > htpasswd",
      in: site.root)
    let server = Daemon(
      "restic-rest-server",
      [
        "--path", site.root + "/server", "--listen", "127.0.0.1:\(port)", "--htpasswd-file", site.root + "/htpasswd",
        "--private-repos", "--append-only", "--tls", "--tls-cert", site.root + "/server.crt", "--tls-key",
        site.root + "/server.key",
      ], log: site.root + "/server.log")
    try await Self.cycle(site, nights: 3)
    let saved = try await site.run(["backup.sh"], as: .backup)
    #expect(saved.code == 0 && saved.errors.contains("append-only: its server does the forgetting"), "\(saved.errors)")
    #expect(!saved.errors.contains("s3cret"))

    // Another CA, another password, another user's repository: each its own answer, at once.
    let untrusted = try await site.run(["backup.sh"], as: .backup, with: ["CERTIFICATE_FILE": ""])
    #expect(untrusted.code == 23 && untrusted.errors.contains("certificate"), "\(untrusted.errors)")
    for (wrong, code) in [
      (base.replacing("s3cret", with: "guessed"), 23), (base.replacing(":\(port)/app", with: ":\(port)/other"), 23),
    ] {
      let refused = try await site.run(
        ["backup.sh"], as: .backup, with: ["RESTIC_REPOSITORY_FILE": "", "RESTIC_REPOSITORY": wrong])
      #expect(refused.code == code, "\(refused.errors)")
      #expect(!refused.errors.contains("guessed") && !refused.errors.contains("s3cret"), "\(refused.errors)")
    }
    let deep = try await site.run(["init"], with: ["RESTIC_REPOSITORY_FILE": "", "RESTIC_REPOSITORY": base + "/too/deep"])
    #expect(deep.code == 23 && deep.errors.contains("takes two levels of path"), "\(deep.errors)")
    await server.stop()
  }

  /// The storage boxes that are common in Europe. ssh finds its key and the server's in the home directory, as a Secret is mounted there.
  @Test func anSFTPServerThatTakesAKey() async throws {
    let port = try Cluster.freePort()
    let site = try await PodSite(settings: ["CONNECT_TIMEOUT": "30"])
    try await Shell.script(
      """
      mkdir -p -m 700 ssh /run/sshd; mkdir boxes
      ssh-keygen -q -t ed25519 -N '' -f ssh/id_ed25519; ssh-keygen -q -t ed25519 -N '' -f host
      mv ssh/id_ed25519.pub authorized
      echo "[127.0.0.1]:\(port) $(cat host.pub)" > ssh/known_hosts
      """, in: site.root)
    let server = Daemon(
      "/usr/sbin/sshd",
      [
        "-D", "-e", "-f", "/dev/null", "-h", site.root + "/host", "-p", "\(port)", "-o", "ListenAddress=127.0.0.1",
        "-o", "AuthorizedKeysFile=\(site.root)/authorized", "-o", "StrictModes=no", "-o", "PidFile=none",
        "-o", "Subsystem=sftp internal-sftp",
      ], log: site.root + "/sshd.log")
    let home = ["--volume", "\(site.root)/ssh:/root/.ssh:ro"]
    let base = ["RESTIC_REPOSITORY": "sftp://root@127.0.0.1:\(port)/\(site.root)/boxes"]
    try await site.fill()
    let before = try await fingerprint(site.files)
    for command in ["init", "backup"] {
      let result = try await site.run([command], as: command == "init" ? .restore : .backup, with: base, home)
      #expect(result.code == 0, "\(result.errors)")
    }
    try await site.lose()
    let restored = try await site.run(["restore"], with: base, home)
    #expect(restored.code == 0, "\(restored.errors)")
    expectSame(before, try await fingerprint(site.files))
    // Without the key, and to a server nobody vouched for: an answer at once, no question at a terminal.
    for missing in ["id_ed25519", "known_hosts"] {
      try await Shell.script("mv ssh/\(missing) .", in: site.root)
      let refused = try await site.run(["backup"], as: .backup, with: base, home)
      #expect(refused.code == 23, "\(refused.errors)")
      try await Shell.script("mv \(missing) ssh", in: site.root)
    }
    await server.stop()
  }

  /// SeaweedFS listens 10,000 higher too.
  static func lowPort() throws -> Int {
    while true {
      let port = try Cluster.freePort()
      if port < 55_000 { return port }
    }
  }

  @Test func anObjectStoreWithAPrivateCA() async throws {
    let (port, https) = (try Self.lowPort(), try Self.lowPort())
    let ports = try (0..<3).map { _ in try Self.lowPort() }
    let site = try await PodSite(
      cluster: try await Cluster.shared.value,
      settings: [
        "RESTIC_REPOSITORY": "s3:https://127.0.0.1:\(https)/bucket/app", "CERTIFICATE_FILE": PodSite.secrets + "/ca.crt",
        "AWS_ACCESS_KEY_ID_FILE": PodSite.secrets + "/aws-access-key-id",
        "AWS_SECRET_ACCESS_KEY_FILE": PodSite.secrets + "/aws-secret-access-key", "AWS_DEFAULT_REGION": "eu-central-1",
        "CONNECT_TIMEOUT": "30",
      ], secrets: ["aws-access-key-id": "backup", "aws-secret-access-key": "the object store's key"])
    try await Self.certificates(in: site.root)
    try await Shell.script("cp ca.crt secrets; mkdir store", in: site.root)
    try #"""
    {"identities": [{"name": "backup", "credentials": [{"accessKey": "backup", "secretKey": "the object store's key"}],
      "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
    """#.write(toFile: site.root + "/s3.json", atomically: true, encoding: .utf8)
    let weed = Engine.project + "/.build-python/bin/weed"
    let server = Daemon(
      weed,
      [
        "server", "-dir=\(site.root)/store", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.port=\(ports[0])",
        "-master.telemetry=false", "-volume.port=\(ports[1])", "-volume.max=20", "-volume.preStopSeconds=0", "-filer",
        "-filer.port=\(ports[2])", "-s3", "-s3.port=\(port)", "-s3.port.https=\(https)", "-s3.cert.file=\(site.root)/server.crt",
        "-s3.key.file=\(site.root)/server.key", "-s3.config=\(site.root)/s3.json", "-s3.port.iceberg=0",
        "-master.volumeSizeLimitMB=128",
      ], log: site.root + "/weed.log")
    var isUp = false
    for _ in 0..<1500 where !isUp {
      let asked = try await Shell.run(
        "curl", ["-s", "-o", "/dev/null", "--cacert", site.root + "/ca.crt", "https://127.0.0.1:\(https)/"], check: false)
      isUp = asked.code == 0
      if !isUp { try await Task.sleep(for: .milliseconds(200)) }
    }
    try #require(
      isUp, "SeaweedFS did not start: \((try? String(contentsOfFile: site.root + "/weed.log", encoding: .utf8)) ?? "")")
    try await Self.cycle(site)
    try "another key\n".write(toFile: site.root + "/secrets/aws-secret-access-key", atomically: true, encoding: .utf8)
    let refused = try await site.run(["backup.sh"], as: .backup)
    #expect(refused.code == 23, "\(refused.errors)")
    #expect(!refused.errors.contains("another key"))
    await server.stop()
  }
}
