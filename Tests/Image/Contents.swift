import Foundation
import Support
import Testing

@testable import BackupRestore

/// What the image is made of.
@Suite(.serialized, .image, .timeLimit(.minutes(45))) struct Contents {
  @Test func itIsSmall() async throws {
    let size = try await Engine.run(["image", "inspect", "--format", "{{.Size}}", Engine.image]).output.trimming("\n")
    #expect(try #require(Int(size)) <= 150_000_000)
    let save = "\(Engine.program) save \(Engine.image) 2>/dev/null | gzip | wc -c"
    let zipped = try await Shell.script(save, in: "/tmp", environment: Engine.environment).trimming(" \n")
    #expect(try #require(Int(zipped)) <= 55_000_000)
  }

  @Test func everyProgramIsThereAndNothingElseOfNote() async throws {
    let versions = try await Engine.inside(
      """
      restic version; curl --version | head -n 1; ssh -V 2>&1
      for m in 15 17 18; do for p in pg_dump pg_dumpall pg_restore psql; do /usr/lib/postgresql/$m/bin/$p --version; done; done
      for p in init backup restore; do $p --version; done
      """)
    let words = [
      "restic 0.19", "curl ", "OpenSSH_", "pg_dump (PostgreSQL) 15.", "psql (PostgreSQL) 17.", "pg_dumpall (PostgreSQL) 18.",
    ]
    for word in words {
      #expect(versions.contains(word), "\(versions)")
    }
    #expect(versions.components(separatedBy: "PostgreSQL").count == 13)
    let unwanted = try await Engine.inside(
      """
      for p in perl gcc cc ld swift python3 apt git; do command -v $p || true; done
      find / -xdev '(' -name '*.swift' -o -path '*/man/man*' -o -path '/usr/share/info/*' -o -name libpq.so.5.1[0-7] \
        -o -type f -perm /6000 -o -name .git ')' 2>/dev/null | head
      find /usr/share/doc -type f ! -name copyright | head
      find / -xdev -name 'libpq.so.5.*' | sed 1d
      """)
    #expect(unwanted == "")
    let packages = try await Engine.inside("cat /usr/share/backup-restore/packages")
    for name in ["restic 0.19", "libpq5 18", "postgresql-client-15 15.", "curl ", "ca-certificates ", "libc6 "] {
      #expect(packages.split(separator: "\n").contains { $0.hasPrefix(name) }, "\(name) is not in the list of packages")
    }
  }

  @Test func thePredecessorsNamesAreAtTheirPlaces() async throws {
    let missing = try await Engine.inside(
      """
      for f in /entrypoint.sh /entrypoint-start-and-wait.sh; do [ -x $f ] || echo $f; done
      for n in init backup restore list-snapshots change-password; do
        for f in $n.sh $n.bb; do [ -x /usr/local/bin/$f ] || echo $f; done
      done
      for f in restic-snapshots.sh wait.bb; do [ -x /usr/local/bin/$f ] || echo $f; done
      stat -L -c '%a %n' /entrypoint*.sh /usr/local/bin/* | grep -v '^755 ' || true
      """)
    #expect(missing == "")
  }

  @Test func noSecretIsInItsHistoryConfigurationOrLayers() async throws {
    let history = try await Engine.run(["history", "--no-trunc", "--format", "{{.CreatedBy}}", Engine.image]).output
    let configuration = try await Engine.run(["image", "inspect", Engine.image]).output
    for text in [history, configuration] {
      for word in ["PASSWORD", "SECRET", "TOKEN", "KEY="] { #expect(!text.uppercased().contains(word), "\(word) in \(text)") }
    }
    for label in ["org.opencontainers.image.title", "org.opencontainers.image.licenses", "org.opencontainers.image.revision"] {
      #expect(configuration.contains(label))
    }
    #expect(try await Engine.run(["image", "inspect", "--format", "{{.User}}", Engine.image]).output.trimming("\n") == "")
    let leftBehind = try await Engine.inside(
      """
      find / -xdev ! -path '/etc/ssl/certs/*' ! -path '/usr/share/ca-certificates/*' '(' -name '*.key' -o -name '*.pem' -o -name .netrc -o -name .pgpass -o -name '.git*' -o -name gitconfig \
        -o -path '/root/.*' -o -path '/home/*' -o -path '/opt/*' -o -path '/tmp/*' ')' 2>/dev/null | grep -v '^/root/\\.\\(bashrc\\|profile\\)$' || true
      """)
    #expect(leftBehind == "")
  }

  /// A restic that reads what the application could lead it to by a link: first as it is run otherwise, which shows that it could, then as
  /// it is run to save the files.
  @Test func theResticThatSavesTheFilesCannotReadThePodsSecrets() async throws {
    let site = try await PodSite()
    try await site.fill(initialised: true)
    let program = """
      #!/bin/sh
      for file in /proc/self/environ /proc/1/environ \(PodSite.secrets)/restic-password; do
        case " $* " in *" kind=files "*) during=files ;; *) during=otherwise ;; esac
        cat $file >/dev/null 2>&1 && echo "$during $file" >>/repository/read
      done
      exec /usr/bin/restic "$@"
      """
    try program.write(toFile: site.root + "/restic", atomically: true, encoding: .utf8)
    try await Shell.script("chmod 755 restic", in: site.root)
    let saved = try await site.run(
      ["backup"], as: .backup, with: [:], ["--volume", "\(site.root)/restic:/usr/local/sbin/restic:ro"])
    #expect(saved.code == 0, "\(saved.errors)")
    let read = try String(contentsOfFile: site.repository + "/read", encoding: .utf8).split(separator: "\n")
    for file in ["/proc/self/environ", "/proc/1/environ", PodSite.secrets + "/restic-password"] {
      #expect(read.contains("otherwise \(file)"))
      #expect(!read.contains("files \(file)"))
    }
  }

  /// A thread is a process to the pod's limit. With none to be had nothing could run, not even what hears SIGTERM.
  @Test(arguments: [4, 6]) func aContainerAtItsLimitOfProcessesEnds(limit: Int) async throws {
    let site = try await PodSite()
    try await site.fill(initialised: true)
    let ended = try await site.run(["backup"], as: .backup, with: [:], ["--pids-limit", "\(limit)"])
    #expect(ended.code != 0, "\(ended.errors)")
    // With more it depends on the moment who cannot have its thread: this process, which says so, a library of its, or restic.
    if limit == 4 { #expect(ended.errors.contains("podPidsLimit"), "\(ended.errors)") }
    let saved = try await site.run(["backup"], as: .backup)
    #expect(saved.code == 0, "\(saved.errors)")
  }

  /// Every process of a backup, as anybody on the node sees it.
  @Test func noSecretIsInTheProcessList() async throws {
    let site = try await PodSite(cluster: try await Cluster.shared.value)
    try await site.fill()
    _ = try await site.sql("CREATE TABLE big AS SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 100000) g")
    try await site.script("head -c 100000000 /dev/urandom > big")
    #expect(try await site.run(["init"]).code == 0)
    let pod = try await Container(site.options(.backup), ["/entrypoint.sh"])
    var seen: Set<String> = []
    while try await Engine.run(["inspect", "--format", "{{.State.Running}}", pod.id]).output == "true\n" {
      for line in try await Engine.run(["top", pod.id, "args"], check: false).output.split(separator: "\n") {
        seen.insert(String(line))
      }
    }
    let log = try await pod.logs()
    #expect(try await Engine.run(["inspect", "--format", "{{.State.ExitCode}}", pod.id]).output == "0\n", "\(log)")
    try await pod.remove()
    #expect(seen.contains { $0.contains("restic") } && seen.contains { $0.contains("pg_dump") })
    for line in seen {
      for secret in [PodSite.password, site.cluster!.password] { #expect(!line.contains(secret), "\(line)") }
    }
  }
}
