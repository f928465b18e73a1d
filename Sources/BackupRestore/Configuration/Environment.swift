import Glibc
import SystemPackage

/// Reads variables from an environment and collects what is wrong with them.
///
/// Each NAME may be given as NAME_FILE, a path whose content is read at that moment (Secrets are replaced while pods
/// run); an empty value counts as unset; trailing newlines of a file are stripped.
struct Environment {
  let variables: [String: String]
  private(set) var problems: [Problem] = []
  /// How long a path may take to resolve: a volume whose server or driver is gone never answers.
  private let patience: Duration
  /// What has been resolved; nil: in vain.
  private var resolvedPaths: [String: String?] = [:]

  init(_ variables: [String: String], patience: Duration = .seconds(30)) {
    (self.variables, self.patience) = (variables, patience)
  }

  /// The path without symbolic links, as far as it exists; nil where its volume does not answer.
  mutating func resolved(_ path: String) -> String? {
    if let known = resolvedPaths[path] { return known }
    let found = Locked<String?>(nil)
    // The thread stays with the volume.
    blockingQueue().async {
      let real = BackupRestore.resolved(path)
      // The path alone the kernel knows by itself, and for a second or some the attributes as well (measured with FUSE).
      let opened = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      if opened >= 0 { close(opened) }
      found.change { $0 = real }
    }
    // A semaphore of Dispatch waits by the clock on the wall, which may be set meanwhile (measured).
    let deadline = ContinuousClock().now + patience
    while found.value == nil, ContinuousClock().now < deadline { usleep(200) }
    resolvedPaths[path] = .some(found.value)
    return found.value
  }

  /// Once each, however often a variable is read. A value may be anything: what is shown of it is short and harmless to a terminal.
  mutating func report(_ fact: String, hint: String) {
    let scalars = fact.unicodeScalars
    let shown = printable(String(scalars.prefix(400))) + (scalars.count > 400 ? "…" : "")
    let problem = Problem(shown, hint: hint)
    if !problems.contains(problem) { problems.append(problem) }
  }

  /// The value of NAME or the content of NAME_FILE; nil when neither is set or both are empty. `optional`: also where the file is
  /// missing or empty. `verbatim`: with line ends behind a value of NAME, not of NAME_FILE.
  mutating func text(_ name: String, optional: Bool = false, verbatim: Bool = false) -> String? {
    let direct = direct(name, verbatim: verbatim)
    // Foundation puts U+FFFD in place of bytes that are not UTF-8 (measured): a repository made with that password would not open with
    // the one that was set.
    if let direct, direct.unicodeScalars.contains("\u{FFFD}") {
      report("\(name) is not UTF-8 text", hint: "write the value in UTF-8")
      return nil
    }
    let fileName = name + "_FILE"
    guard let path = file(fileName) else { return direct }
    if direct != nil {
      report("\(name) and \(fileName) are both set", hint: "keep one of them")
      return direct
    }
    do {
      let bytes = try Self.read(path)
      // Linux lets no variable of a child be over 128 KiB.
      if bytes.count > Self.longest {
        report("\(fileName): \(path) holds more than \(Self.longest >> 10) KiB", hint: "is it the right file?")
        return nil
      }
      guard var value = String(validating: bytes, as: UTF8.self) else {
        report("\(fileName): \(path) is not UTF-8 text", hint: "write the value in UTF-8")
        return nil
      }
      if value.utf8.contains(0) {
        report("\(fileName): \(path) holds a NUL byte, which no program takes", hint: "write the value as text")
        return nil
      }
      while value.last?.isNewline == true { value.removeLast() }
      if value.isEmpty, optional { return nil }
      if value.isEmpty {
        report("\(fileName): \(path) is empty", hint: "write the value into the file, or unset \(fileName)")
        return nil
      }
      return value
    } catch Errno.noSuchFileOrDirectory where optional {
      return nil
    } catch {
      report(
        "\(fileName): \(path) cannot be read: \(error)",
        hint: "mount the file, make it readable for this user, or set \(name)")
      return nil
    }
  }

  /// Without line ends behind it, as of a file: `echo … | base64` makes one, and so does a list of variables with CRLF.
  private func direct(_ name: String, verbatim: Bool = false) -> String? {
    var value = variables[name] ?? ""
    while !verbatim, value.last?.isNewline == true { value.removeLast() }
    return value.isEmpty ? nil : value
  }

  /// The path that a NAME_FILE names. AWS_SHARED_CREDENTIALS_FILE and its like are variables of their own.
  private func file(_ name: String) -> String? {
    Variable.spelt.contains(name) ? nil : variables[name].flatMap { $0.isEmpty ? nil : $0 }
  }

  /// Whether NAME or NAME_FILE says anything, right or wrong.
  func isSet(_ name: String) -> Bool { direct(name) != nil || file(name + "_FILE") != nil }

  /// That NAME_FILE names.
  func path(of name: String) -> String? { file(name + "_FILE") }

  /// Of every NAME_FILE.
  var files: [String] { variables.keys.filter { $0.hasSuffix("_FILE") }.sorted().compactMap(file) }

  /// `optional`: as `text` has it.
  mutating func secret(_ name: String, optional: Bool = false) -> Secret? {
    // There are repositories whose password ends with one.
    guard let value = text(name, optional: optional, verbatim: true) else { return nil }
    if value == Self.placeholder {
      report(
        "\(name) is \"\(value)\", the placeholder of the manifests, which everybody knows",
        hint: "set a password of your own; a repository that was made with it takes one by restic -r REPOSITORY key passwd")
    }
    return Secret(value, masked: value != Self.placeholder)
  }

  /// What docker/kubernetes/base/secret.yaml holds.
  static let placeholder = "change-me"

  /// A whole number from `minimum` to `maximum`.
  mutating func number(_ name: String, default standard: Int, minimum: Int = 0, maximum: Int = .max) -> Int {
    guard let text = text(name) else { return standard }
    if let number = Int(text), (minimum...maximum).contains(number) { return number }
    let range = maximum == .max ? "\(minimum) or more" : "\(minimum) to \(maximum)"
    report("\(name) is \"\(text)\"", hint: "set a whole number, \(range) (default \(standard))")
    return standard
  }

  mutating func flag(_ name: String) -> Bool {
    switch text(name) {
    case nil, "false": return false
    case "true": return true
    case .some(let other):
      report("\(name) is \"\(other)\"", hint: "set true or false")
      return false
    }
  }

  mutating func list(_ name: String) -> [String] {
    (text(name) ?? "").split(separator: ",").map { $0.trimming(" \t\n") }.filter { !$0.isEmpty }
  }

  /// Those of the named variables that are set, secrets from files included.
  mutating func all(_ names: [String]) -> [String: String] {
    var found: [String: String] = [:]
    for name in names { if let value = text(name) { found[name] = value } }
    return found
  }

  /// Names that look like a slip of the keyboard. A misspelt RESTIC_DAYS_TO_KEEP would silently mean 30 days, so they
  /// are errors, not remarks.
  mutating func reportMisspelt() {
    for (name, value) in variables.sorted(by: { $0.key < $1.key }) where name.count >= 8 && !value.isEmpty {
      // A Service named "postgresql" makes Kubernetes set POSTGRESQL_PORT=tcp://10.0.0.1:5432 in every pod.
      if name.hasSuffix("_PORT"), value.contains("://") { continue }
      let bare = name.hasSuffix("_FILE") ? String(name.dropLast(5)) : name
      if Variable.spelt.contains(name) || Variable.spelt.contains(bare) { continue }
      let near = Variable.table.map(\.name).filter { $0.distance(to: bare, atMost: 2) }
      if let right = near.first {
        let suffix = bare == name ? "" : "_FILE"
        report("\(name) is not a variable of this toolkit", hint: "did you mean \(right)\(suffix)?")
      }
    }
  }

  static let longest = 64 << 10

  /// One byte more than the longest value at most. A pipe whose writer does not come is given up after 5 s.
  private static func read(_ path: String) throws -> [UInt8] {
    let file = try FileDescriptor.open(FilePath(path), .readOnly, options: [.closeOnExec, .nonBlocking])
    return try file.closeAfter {
      var bytes = [UInt8](repeating: 0, count: longest + 1)
      var filled = 0
      while filled < bytes.count {
        var ready = pollfd(fd: file.rawValue, events: Int16(POLLIN), revents: 0)
        if poll(&ready, 1, 5000) == 0 { throw Errno.timedOut }
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: .init(rebasing: $0[filled...])) }
        if count == 0 { break }
        filled += count
      }
      return Array(bytes[..<filled])
    }
  }
}

extension StringProtocol {
  package func trimming(_ characters: String) -> String {
    var rest = self[...]
    while let first = rest.first, characters.contains(first) { rest.removeFirst() }
    while let last = rest.last, characters.contains(last) { rest.removeLast() }
    return String(rest)
  }
}

extension String {
  /// Whether at most `limit` letters inserted, removed, changed or swapped with their neighbour turn one into the other
  /// (Damerau-Levenshtein, optimal string alignment).
  func distance(to other: String, atMost limit: Int) -> Bool {
    let a = Array(utf8)
    let b = Array(other.utf8)
    if abs(a.count - b.count) > limit { return false }
    var rows = [Array(0...b.count)]
    for i in 1...max(1, a.count) where !a.isEmpty {
      var row = [i]
      for j in 1...max(1, b.count) where !b.isEmpty {
        var cost = Swift.min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
        if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { cost = Swift.min(cost, rows[i - 2][j - 2] + 1) }
        row.append(cost)
      }
      rows.append(row)
    }
    return rows[a.count][b.count] <= limit
  }
}
