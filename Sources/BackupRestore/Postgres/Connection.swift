import CLibPQ
import Glibc
import Synchronization

/// One session with PostgreSQL, through libpq.
///
/// An actor on a queue of its own: libpq's calls block, and two blocked calls would exhaust Swift's pool on two cores.
/// Cancelling the task that waits for a query cancels the query on the server.
package actor Connection {
  private let executor = QueueExecutor()
  package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  private let handle: Handle
  let database: String
  private let settings: DatabaseSettings
  private let waits: Waits
  /// Nil for the session that watches another one.
  private let isWatched: Bool
  /// 150018 for 15.18.
  nonisolated let serverVersion: Int
  nonisolated var serverMajor: Int { serverVersion / 10000 }

  /// The libpq connection, closed with its last reference. `@unchecked`: the pointer is used on the actor's queue only.
  private final class Handle: @unchecked Sendable {
    let pointer: OpaquePointer
    init(_ pointer: OpaquePointer) { self.pointer = pointer }
    deinit { PQfinish(pointer) }
  }

  /// Connects, within `waits.connect`, and pins what would change the text form of values. Parallel workers would need shared memory.
  ///
  /// - Throws: `ConnectionError` when the server does not let us in.
  package init(_ settings: DatabaseSettings, database: String, waits: Waits, isWatched: Bool = true) async throws {
    (self.database, self.settings, self.waits, self.isWatched) = (database, settings, waits, isWatched)
    let options = Self.options(settings, database: database, waits)
    let keywords = options.keys.sorted()
    let values = keywords.map { options[$0] }
    let opened = try await abandonable { () throws -> (Handle, Int) in
      // dbname may itself be a connection string; expand_dbname 0 takes it as a name, whatever it contains.
      let pointer = withStrings(keywords) { names in withStrings(values) { PQconnectdbParams(names, $0, 0) } }
      guard let pointer else { throw ConnectionError(message: "out of memory") }
      let handle = Handle(pointer)
      guard PQstatus(pointer) == CONNECTION_OK else {
        throw ConnectionError(message: Self.words(pointer))
      }
      PQsetNoticeProcessor(pointer, { _, _ in }, nil)
      return (handle, Int(PQserverVersion(pointer)))
    }
    (handle, serverVersion) = opened
    // Before anything is set: what a pooler is told to set or to lock stays in a session that the application gets next. It has numbers of
    // its own for the sessions that it shows.
    if try await value("SELECT pg_catalog.pg_backend_pid()") != String(PQbackendPID(handle.pointer)) {
      throw ConnectionError(message: "a pooler answers there, whose sessions others use too", isPooler: true)
    }
    // A database without an encoding may hold any bytes, which the server would refuse to send as UTF-8. It says so when it lets us in.
    if let encoding = PQparameterStatus(handle.pointer, "server_encoding"), String(cString: encoding) == "SQL_ASCII" {
      try await execute("SET client_encoding = SQL_ASCII")
    }
    try await pin(waits)
  }

  /// Whether the server keeps this session from views and foreign tables that are not its own.
  nonisolated func isRestricted() async throws -> Bool {
    try await isTrue("SELECT pg_catalog.current_setting('restrict_nonsystem_relation_kind', true) LIKE '%view%'")
  }

  /// Rows of a query with parameters `$1`, `$2`…
  nonisolated func query(_ sql: String, _ parameters: [String?] = []) async throws -> [Row] {
    try await stoppable { try await run(sql, parameters, simple: false, $0) }
  }

  /// The first column, which is never NULL.
  nonisolated func column(_ sql: String, _ parameters: [String?] = []) async throws -> [String] {
    try await query(sql, parameters).map { try $0.text(0) }
  }

  /// The row of a query that has one whatever is in the database.
  nonisolated func row(_ sql: String, _ parameters: [String?] = []) async throws -> Row {
    try await query(sql, parameters).first ?? Row([], of: sql)
  }

  /// One value, or nil for no row or NULL.
  nonisolated func value(_ sql: String, _ parameters: [String?] = []) async throws -> String? {
    try await row(sql, parameters)[0]
  }

  /// One number of a query that always has one.
  nonisolated func number(_ sql: String, _ parameters: [String?] = []) async throws -> Int {
    try await row(sql, parameters).int(0)
  }

  /// False for no row or NULL.
  package nonisolated func isTrue(_ sql: String, _ parameters: [String?] = []) async throws -> Bool {
    try await row(sql, parameters).isTrue(0)
  }

  /// One or several statements in one message: outside a transaction they are one, all or nothing.
  nonisolated func execute(_ sql: String) async throws {
    _ = try await stoppable { try await run(sql, [], simple: true, $0) }
  }

  /// `COPY … FROM STDIN` of a few rows, as text.
  nonisolated func copy(_ rows: [UInt8], by sql: String) async throws {
    _ = try await stoppable { try await copying(rows, sql, $0) }
  }

  private func copying(_ rows: [UInt8], _ sql: String, _ stop: Stop) throws {
    _ = try run(sql, [], simple: false, stop, input: rows)
  }

  /// The rows that `COPY … TO STDOUT` sends, hashed as they come.
  nonisolated func copy(_ sql: String) async throws -> RowSum { try await stoppable { try await copying(sql, $0) } }

  private func copying(_ sql: String, _ stop: Stop) throws -> RowSum {
    var sum = RowSum()
    _ = try run(sql, [], simple: true, stop) { sum.add($0) }
    return sum
  }

  /// Whether the task that waits has been cancelled.
  private final class Stop: Sendable {
    private let flag = Atomic(false)
    var isAsked: Bool { flag.load(ordering: .relaxed) }
    func ask() { flag.store(true, ordering: .relaxed) }
  }

  private nonisolated func stoppable<T: Sendable>(_ body: (Stop) async throws -> T) async throws -> T {
    let stop = Stop()
    return try await withTaskCancellationHandler {
      try await body(stop)
    } onCancel: {
      stop.ask()
    }
  }

  private func run(
    _ sql: String, _ parameters: [String?], simple: Bool, _ stop: Stop, input: [UInt8] = [],
    copied: (UnsafeRawBufferPointer) -> Void = { _ in }
  ) throws -> [Row] {
    let pointer = handle.pointer
    let sent =
      simple
      ? PQsendQuery(pointer, sql)
      : withStrings(parameters) { PQsendQueryParams(pointer, sql, Int32(parameters.count), nil, $0, nil, nil, 0) }
    guard sent == 1 else { throw ConnectionError(message: Self.words(pointer)) }
    var rows: [Row] = []
    var failure: DatabaseError?
    let patience = Patience(isWatched ? BackendWatch(.session(PQbackendPID(pointer)), settings, waits, limit: waits.stall) : nil)
    while let result = try nextResult(pointer, patience, stop) {
      defer { PQclear(result) }
      switch PQresultStatus(result) {
      case PGRES_TUPLES_OK:
        for row in 0..<PQntuples(result) {
          let values = (0..<PQnfields(result)).map {
            PQgetisnull(result, row, $0) == 1 ? nil : String(cString: PQgetvalue(result, row, $0))
          }
          rows.append(Row(values, of: sql))
        }
      case PGRES_COPY_IN:
        // What the server refuses of it is the next result.
        _ = input.withUnsafeBytes { PQputCopyData(pointer, $0.baseAddress?.assumingMemoryBound(to: CChar.self), Int32($0.count)) }
        _ = PQputCopyEnd(pointer, nil)
      case PGRES_COPY_OUT: try receive(pointer, patience, stop, copied)
      case PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: break
      default: failure = failure ?? DatabaseError(result)
      }
    }
    try check(failure, stop)
    return rows
  }

  private func check(_ failure: DatabaseError?, _ stop: Stop) throws {
    guard let failure else { return }
    if stop.isAsked, failure.state == "57014" { throw CancellationError() }
    if PQstatus(handle.pointer) != CONNECTION_OK { throw ConnectionError(message: failure.message) }
    throw failure
  }

  private func nextResult(
    _ pointer: OpaquePointer, _ patience: Patience, _ stop: Stop
  ) throws -> OpaquePointer? {
    var cancelled: ContinuousClock.Instant?
    while PQisBusy(pointer) == 1 { try wait(pointer, patience, stop, &cancelled) }
    return PQgetResult(pointer)
  }

  /// Rows until the copy's end; an error of it is the next result.
  private func receive(
    _ pointer: OpaquePointer, _ patience: Patience, _ stop: Stop, _ take: (UnsafeRawBufferPointer) -> Void
  ) throws {
    var row: UnsafeMutablePointer<CChar>?
    var cancelled: ContinuousClock.Instant?
    while true {
      let length = PQgetCopyData(pointer, &row, 1)
      if length < 0 { return }
      if let whole = row {
        // Without the line's end.
        take(UnsafeRawBufferPointer(start: whole, count: Int(length) - 1))
        PQfreemem(whole)
        row = nil
      }
      if length == 0 || (stop.isAsked && cancelled == nil) { try wait(pointer, patience, stop, &cancelled) }
    }
  }

  /// Waits for what comes with poll(2), so that a cancelled task is noticed while the server works, and a server that does not.
  private func wait(
    _ pointer: OpaquePointer, _ patience: Patience, _ stop: Stop, _ cancelled: inout ContinuousClock.Instant?
  ) throws {
    if let cancelled {
      // A backend that stands still does not hear it. The session is lost, its locks end with it.
      if cancelled.duration(to: .now) > Self.grace { throw CancellationError() }
    } else if stop.isAsked {
      cancelled = .now
      cancel(pointer)
    }
    try patience.check()
    var ready = pollfd(fd: PQsocket(pointer), events: Int16(POLLIN), revents: 0)
    if poll(&ready, 1, 100) > 0, PQconsumeInput(pointer) == 0 {
      throw ConnectionError(message: Self.words(pointer))
    }
  }

  /// libpq's, with a question or advice on lines of their own, and two spaces behind `FATAL:`.
  static func words(_ pointer: OpaquePointer) -> String {
    oneLine(String(cString: PQerrorMessage(pointer)), between: "; ").replacing(":  ", with: ": ")
  }

  /// How long a cancelled query has to end.
  private static let grace = Duration.seconds(4)

  /// On a thread that is not waited for: libpq waits for the server to close that connection, for ever where it stands still.
  private func cancel(_ pointer: OpaquePointer) {
    guard let address = PQgetCancel(pointer).map({ Int(bitPattern: $0) }) else { return }
    blockingQueue().async {
      let cancel = OpaquePointer(bitPattern: address)
      var buffer = [CChar](repeating: 0, count: 256)
      PQcancel(cancel, &buffer, 256)
      PQfreeCancel(cancel)
    }
  }
}
