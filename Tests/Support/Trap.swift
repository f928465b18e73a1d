import Foundation

import BackupRestore

/// A program first on PATH that passes everything to the real one and, at the next call whose arguments match or one after that, kills the
/// toolkit without warning: just before that call, or just after it has done its work. What is left is what a lost node leaves there.
public struct Trap: Sendable {
  public enum Moment: String, Sendable, CaseIterable { case before, after }

  public let directory: String

  /// `pattern`: of bash, held against the arguments.
  public init(_ program: String, _ pattern: String, in root: String) throws {
    directory = root + "/trap"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try Self.script(program, pattern, in: directory).write(toFile: directory + "/" + program, atomically: false, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: directory + "/" + program)
  }

  /// `$directory/armed` holds the moment while it is armed, `skip` how many calls go through before, `calls` one entry for each that
  /// came, also for those that come at once. Only one of them springs it. `onInput`: the pattern is held against standard input instead.
  public static func script(_ program: String, _ pattern: String, in directory: String, onInput: Bool = false) -> String {
    """
    #!/bin/bash
    PATH=${PATH#\(directory):} moment= text=" $* "
    \(onInput ? "text=$(cat); exec <<<\"$text\"" : "")
    case "$text" in \(pattern))
      mkdir -p \(directory)/calls
      number=0; until mkdir \(directory)/calls/$number 2>/dev/null; do number=$((number + 1)); done
      if [ $number -ge "$(cat \(directory)/skip 2>/dev/null || echo 0)" ] && mv \(directory)/armed \(directory)/sprung.$$ 2>/dev/null
      then moment=$(cat \(directory)/sprung.$$); fi ;;
    esac
    [ "$moment" = before ] && { kill -KILL $PPID; exit 1; }
    [ "$moment" = after ] || exec \(program) "$@"
    \(program) "$@"
    kill -KILL $PPID
    """
  }

  /// PATH with the trap first.
  public func path(_ path: String) -> String { directory + ":" + path }

  public func arm(_ moment: Moment, skipping calls: Int = 0) throws {
    try? FileManager.default.removeItem(atPath: directory + "/calls")
    try "\(calls)".write(toFile: directory + "/skip", atomically: true, encoding: .utf8)
    try moment.rawValue.write(toFile: directory + "/armed", atomically: true, encoding: .utf8)
  }

  public var isArmed: Bool { FileManager.default.fileExists(atPath: directory + "/armed") }
}
