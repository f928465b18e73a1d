import FoundationEssentials
import Glibc
import SystemPackage

/// What a volume does not keep of a set, as far as a restore can do without it.
struct FilesLimits: Equatable, Sendable {
  /// Kinds of extended attributes that are left out, or single ones by name.
  var attributes: [String: Refusals.Attribute] = [:]
  /// Why it takes none at all, where it is not known whether the set has any.
  var none: String?
  /// The smallest step of its times, in nanoseconds.
  var step = 1

  /// Whether somebody has to look: SELinux's label belongs to the node, which gives everything its own, and a pod may hardly ever set
  /// another.
  var isAlarming: Bool { attributes.keys.contains { $0 != ExtendedAttribute.label } }

  /// For restic's `--exclude-xattr`, which matches as a path is matched.
  var excluded: [String] {
    attributes.keys.sorted().map { $0 == ExtendedAttribute.kind($0) && $0.hasSuffix(".*") ? $0 : ResticPattern.escaped($0) }
  }

  /// Whether a time that was to be set has become the other.
  func keeps(_ saved: (Int, Int), _ found: timespec) -> Bool {
    let seconds = saved.0.subtractingReportingOverflow(found.tv_sec)
    if seconds.overflow || abs(seconds.partialValue) > 10 { return false }
    return abs(seconds.partialValue * 1_000_000_000 + saved.1 - found.tv_nsec) < step
  }

  /// One line for each kind, told before anything is staged.
  ///
  /// - Parameter entries: of the set.
  func lines(entries: Int) -> [Problem] {
    var lines = attributes.sorted { $0.key < $1.key }.map { kind, refusal in
      Problem(
        "\(Format.count(refusal.count, "extended attribute", "extended attributes")) \(printable(kind)) cannot be set on this volume "
          + "(\(refusal.reason)): left out", hint: Self.hint(refusal.reason.lowercased().hasSuffix("not permitted") ? kind : ""))
    }
    if let none {
      lines.append(
        Problem(
          "extended attributes cannot be set on this volume (\(none)): those that the set may have are left out",
          hint: "where the application uses ACLs or attributes, restore onto a volume that keeps them"))
    }
    if step > 1 {
      let size = step >= 1_000_000_000 ? Format.count(step / 1_000_000_000, "second", "seconds") : "\(step) ns"
      lines.append(
        Problem(
          "this volume keeps times in steps of \(size): \(Format.count(entries, "entry gets its", "entries get their")) time so",
          hint: "nothing is to be done, unless the application compares fractions of a second"))
    }
    return lines
  }

  private static func hint(_ kind: String) -> String {
    switch kind {
    case ExtendedAttribute.label: "nothing is to be done: the node labels what is on its volumes itself"
    case "security.capability":
      "give the pod the capability SETFCAP (securityContext.capabilities.add), or set them afterwards with setcap, as root"
    case "trusted.*": "run as root with the capability SYS_ADMIN, or do without"
    default: "restore onto a volume that keeps them, or set them afterwards with setfattr or setfacl"
    }
  }
}

/// Tries on scratch files beside the staging what a restore will do to the set's files, in restic's order, and looks at what has become
/// of it: a file system may refuse (NFS with root_squash), or say yes and do nothing (CIFS, bindfs).
struct FilesProbe {
  /// `.backup-restore`.
  let work: Directory
  let owner: FilesSettings.Owner?
  let evidence: FilesEvidence

  private static let name: Directory.Name = "probe"
  private static let scratch: Directory.Name = "scratch"

  struct Found: Sendable {
    var limits = FilesLimits()
    var problems: [Problem] = []
  }

  /// - Parameter parents: where the swap renames to.
  func run(parents: [Directory]) throws -> Found {
    try work.remove(Self.name)
    let place = try work.makeOwn(Self.name)
    defer { try? work.remove(Self.name) }
    var found = Found()
    found.problems = try kinds(in: place) + renames(in: place, parents)
    found.limits.step = try step(in: place)
    if evidence.attributes == nil {
      // restic says nothing where a file system knows no attributes (ENOTSUP, measured).
      found.limits.none = try refusal(of: .init(name: "user.probe", sample: Data([1])), in: place)
    }
    for (kind, attributes) in evidence.attributes ?? [:] {
      if let reason = try refusal(of: attributes, in: place) {
        found.limits.attributes[kind] = .init(reason: reason, count: attributes.count)
      }
    }
    return found
  }

  /// An entry of that type, gone again afterwards.
  private func trying<T>(_ type: String, in place: Directory, _ body: (FilePath) throws -> T) throws -> T {
    try place.remove(Self.scratch)
    switch type {
    case "dir": try place.make(Self.scratch)
    case "symlink": try place.link(Self.scratch, to: "nowhere")
    case "fifo", "dev", "chardev": try place.makeSpecial(Self.scratch, type)
    default: try place.makeFile(Self.scratch)
    }
    defer { try? place.remove(Self.scratch) }
    return try body(place.reached.appending(Self.scratch))
  }

  // MARK: Owners and modes

  /// Every owner with every mode, because one decides about the other: of a group that is not its own, a process without FSETID sets
  /// setgid without an error and without effect (measured).
  private func kinds(in place: Directory) throws -> [Problem] {
    var owners: [String: String] = [:]
    var modes: Set<String> = []
    var given = ""
    let missing = types(in: place)
    for (type, wanted) in Self.wanted(evidence, owner) where missing[type] == nil {
      let (refusal, status) = try trying(type, in: place) { path in
        given = given.isEmpty ? try "\(path.status().user):\(path.status().group)" : given
        // As in the restore: bindfs --chown-deny refuses a file's own owner, too (measured).
        let isGiven = try path.status().attributes.belongs(like: wanted)
        let refusal = isGiven ? nil : Self.refusal { try path.own(wanted) }
        if type != "symlink" { _ = Self.refusal { try path.allow(wanted) } }
        return (refusal, try path.status())
      }
      let (got, asked) = ("\(status.user):\(status.group)", "\(wanted.user):\(wanted.group)")
      if got != asked {
        owners[asked] = refusal ?? "it stays \(got), without an error"
      } else if type != "symlink", status.mode != wanted.mode {
        modes.insert(String(wanted.mode, radix: 8))
      }
    }
    var problems = missing.sorted { $0.key < $1.key }.map { type, reason in
      Problem(
        "on this volume, by this pod, no \(Self.word(type)) can be made (\(reason)), and the set has some", hint: Self.hint(type))
    }
    if let (owner, reason) = owners.min(by: { $0.key < $1.key }) {
      let others = owners.count > 1 ? " and \(Format.count(owners.count - 1, "other owner", "other owners"))" : ""
      problems.append(
        Problem(
          "on this volume nothing can be given to \(owner)\(others) (\(reason)): the set's files would belong to \(given)",
          hint:
            "set FILES_OWNER=\(given) where the application runs as that user, or restore onto a volume that takes owners (NFS: no_root_squash)"
        ))
    }
    if !modes.isEmpty {
      problems.append(
        Problem(
          "on this volume nothing can be given the mode \(modes.sorted().joined(separator: ", "))",
          hint: "for 2000 and above run with the capability FSETID; else choose another volume, or --accept-differences"))
    }
    return problems
  }

  /// Why the types of the set that cannot be made here cannot. restic restores no sockets.
  private func types(in place: Directory) -> [String: String] {
    Set(Self.wanted(evidence, owner).map(\.type)).reduce(into: [:]) { missing, type in
      missing[type] = Self.refusal { try trying(type, in: place) { _ in } }
    }
  }

  private static func word(_ type: String) -> String {
    switch type {
    case "symlink": "symbolic link"
    case "dev", "chardev": "device node"
    default: type
    }
  }

  private static func hint(_ type: String) -> String {
    ["dev", "chardev"].contains(type)
      ? "give the pod the capability MKNOD for this restore (securityContext.capabilities.add), or restore --accept-differences, which leaves them out"
      : "restore onto a volume that takes them, or restore --accept-differences, which leaves them out"
  }

  static func wanted(_ evidence: FilesEvidence, _ owner: FilesSettings.Owner?) -> [(type: String, FileAttributes)] {
    let saved = evidence.kinds ?? Set(evidence.owners.map { "file \($0) 600" })
    let kinds: [(String, FileAttributes)] = saved.compactMap { kind in
      let words = kind.split(separator: " ")
      let ids = words.dropFirst().first?.split(separator: ":").compactMap { UInt32($0) } ?? []
      guard words.count == 3, ids.count == 2, let mode = UInt32(words[2], radix: 8) else { return nil }
      return (String(words[0]), FileAttributes(user: owner?.user ?? ids[0], group: owner?.group ?? ids[1], mode: mode))
    }
    return kinds.sorted { ($0.0, $0.1.user, $0.1.group, $0.1.mode) < ($1.0, $1.1.user, $1.1.group, $1.1.mode) }
  }

  /// Nil where it went well.
  private static func refusal(_ body: () throws -> Void) -> String? {
    do { try body() } catch { return (error as? FileError).map { String(cString: strerror($0.number)) } ?? "\(error)" }
    return nil
  }

  // MARK: Times, attributes, renames

  /// ext4 with inodes of 128 bytes keeps seconds, FAT two of them, NTFS and SMB hundreds of nanoseconds.
  private func step(in place: Directory) throws -> Int {
    let wanted = timespec(tv_sec: 1_234_567_891, tv_nsec: 987_654_321)
    let found = try trying("file", in: place) { path in
      if path.withPlatformString({ utimensat(AT_FDCWD, $0, [wanted, wanted], AT_SYMLINK_NOFOLLOW) }) != 0 {
        throw FileError("utimensat", path.string)
      }
      return try path.status().modified
    }
    let off = abs((wanted.tv_sec - found.tv_sec) * 1_000_000_000 + wanted.tv_nsec - found.tv_nsec)
    return [1, 100, 1000, 1_000_000, 1_000_000_000, 2_000_000_000].first { off < $0 } ?? off + 1
  }

  /// Why such an attribute cannot be had; nil where it can. One that is merely too large says nothing of the others.
  private func refusal(of attributes: FilesEvidence.Attributes, in place: Directory) throws -> String? {
    let attribute = ExtendedAttribute(name: attributes.name, value: Array(attributes.sample))
    return try trying(attributes.type, in: place) { path in
      do { try attribute.set(path) } catch let error as FileError {
        return [ENOSPC, E2BIG, ERANGE].contains(error.number) ? nil : String(cString: strerror(error.number))
      }
      let kept = try ExtendedAttribute.value(attribute.name, of: path)
      return kept == attribute.value ? nil : kept == nil ? "it is dropped without a word" : "it becomes another"
    }
  }

  /// There and back, a file and a directory, whose `..` changes.
  private func renames(in place: Directory, _ parents: [Directory]) throws -> [Problem] {
    try ["file", "dir"].compactMap { type in
      try trying(type, in: place) { _ in
        for parent in parents {
          let there = Directory.Name(made: "\(Tree.workDirectory).\(getpid()).probe")
          do {
            try place.rename(Self.scratch, to: parent, there)
            try parent.rename(there, to: place, Self.scratch)
          } catch let error as FileError {
            return Problem(
              "nothing can be moved between \(printable(place.path.string)) and \(printable(parent.path.string)): \(error)",
              hint: "the swap could not be carried out: mend what the error names, or name in FILES_PATHS what can be moved")
          }
        }
        return nil
      }
    }
  }
}
