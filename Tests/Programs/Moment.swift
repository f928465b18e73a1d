import Glibc

/// Kills a process that preloads this library, without warning, in the middle of a swap: a lost node at a chosen moment.
///
/// `TEST_KILL_AT=n`: before the nth call that changes something on the volume or the server, counted from the journal's rename(2); a
/// statement counts twice, before it is sent and before it is answered. `TEST_KILL_BEFORE=text`: before the first statement that contains it. `TEST_CUT_AFTER=text`: only the connection is cut, when such a statement is sent and not answered.
private let at = getenv("TEST_KILL_AT").flatMap { Int(String(cString: $0)) }
private let text = getenv("TEST_KILL_BEFORE").map { String(cString: $0) }
private let cut = getenv("TEST_CUT_AFTER").map { String(cString: $0) }
nonisolated(unsafe) private var count = 0

private func step(begins: Bool = false) {
  guard let at, begins || count > 0 else { return }
  count += 1
  if count == at { kill(getpid(), SIGKILL) }
}

/// The next function of that name behind this library. RTLD_NEXT is a macro that Swift does not see. Not generic: what makes a generic
/// function's type at run time comes here itself (measured: it waited for its own lock).
private func next(_ name: StaticString) -> UnsafeMutableRawPointer? {
  dlsym(UnsafeMutableRawPointer(bitPattern: -1), UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self))
}

private typealias Name = UnsafePointer<CChar>?
private typealias OfFile = @convention(c) (CInt) -> CInt
private typealias OfName = @convention(c) (Name) -> CInt

/// A probe renames, too, before anything is swapped.
private func isJournal(_ name: Name) -> Bool { name.map { strstr($0, "journal.json") != nil } ?? false }

@_cdecl("rename") public func rename(_ from: UnsafePointer<CChar>?, _ to: UnsafePointer<CChar>?) -> CInt {
  step(begins: isJournal(from))
  return unsafeBitCast(next("rename"), to: (@convention(c) (Name, Name) -> CInt).self)(from, to)
}

@_cdecl("renameat") public func renameAt(_ a: CInt, _ from: UnsafePointer<CChar>?, _ b: CInt, _ to: UnsafePointer<CChar>?) -> CInt
{
  step(begins: isJournal(from))
  return unsafeBitCast(next("renameat"), to: (@convention(c) (CInt, Name, CInt, Name) -> CInt).self)(a, from, b, to)
}

@_cdecl("fsync") public func sync(_ file: CInt) -> CInt {
  step()
  return unsafeBitCast(next("fsync"), to: OfFile.self)(file)
}

@_cdecl("unlink") public func unlink(_ name: UnsafePointer<CChar>?) -> CInt {
  step()
  return unsafeBitCast(next("unlink"), to: OfName.self)(name)
}

@_cdecl("unlinkat") public func unlinkAt(_ directory: CInt, _ name: UnsafePointer<CChar>?, _ flags: CInt) -> CInt {
  step()
  return unsafeBitCast(next("unlinkat"), to: (@convention(c) (CInt, Name, CInt) -> CInt).self)(directory, name, flags)
}

@_cdecl("rmdir") public func removeDirectory(_ name: UnsafePointer<CChar>?) -> CInt {
  step()
  return unsafeBitCast(next("rmdir"), to: OfName.self)(name)
}

/// Variadic in C; on the 64-bit machines that is called alike. renameat2(2) and syncfs(2) change something; their numbers are macros that
/// Swift does not see. No global is touched for others: what initialises a global may itself come here.
@_cdecl("syscall") public func systemCall(_ number: Int, _ a: Int, _ b: Int, _ c: Int, _ d: Int, _ e: Int, _ f: Int) -> Int {
  #if arch(x86_64)
    if number == 316 || number == 306 { step() }
  #else
    if number == 276 || number == 267 { step() }
  #endif
  return unsafeBitCast(next("syscall"), to: (@convention(c) (Int, Int, Int, Int, Int, Int, Int) -> Int).self)(
    number, a, b, c, d, e, f)
}

@_cdecl("PQsendQuery") public func send(_ connection: OpaquePointer?, _ statement: UnsafePointer<CChar>?) -> CInt {
  if let text, let statement, strstr(statement, text) != nil { kill(getpid(), SIGKILL) }
  step()
  defer {
    step()
    if let cut, let statement, strstr(statement, cut) != nil {
      let socket = unsafeBitCast(next("PQsocket"), to: (@convention(c) (OpaquePointer?) -> CInt).self)(connection)
      // The server has it before the end of the connection: both go the same way. What it answered before that can still be read on
      // Linux (seen on a busy machine), so it is taken away.
      shutdown(socket, CInt(SHUT_RDWR))
      var answer: UInt8 = 0
      while recv(socket, &answer, 1, CInt(MSG_DONTWAIT)) > 0 {}
    }
  }
  return unsafeBitCast(next("PQsendQuery"), to: (@convention(c) (OpaquePointer?, Name) -> CInt).self)(connection, statement)
}
