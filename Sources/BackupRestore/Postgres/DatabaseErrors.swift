import CLibPQ

/// The server could not be reached, refused us, or the connection broke.
struct ConnectionError: Error, CustomStringConvertible {
  let message: String
  /// Who answered is no server: its sessions are shared with others.
  var isPooler = false
  var description: String { message }
}

/// libpq's messages run over several lines, with tabs.
func oneLine(_ message: String, between separator: String = " ") -> String {
  Secret.mask(message.split(whereSeparator: \.isNewline).map { $0.trimming(" \t") }.joined(separator: separator))
}

/// A statement failed; `state` is the SQLSTATE.
struct DatabaseError: Error, CustomStringConvertible {
  let state: String
  let message: String
  var description: String { message }

  /// For what the server sent and nobody can make sense of.
  init(_ state: String, _ message: String) { (self.state, self.message) = (state, oneLine(message)) }

  init(_ result: OpaquePointer) {
    // PG_DIAG_SQLSTATE, _MESSAGE_PRIMARY and _MESSAGE_DETAIL are macros of character literals, which Swift does not see.
    let field = { (code: Unicode.Scalar) in PQresultErrorField(result, Int32(code.value)).map { String(cString: $0) } }
    state = field("C") ?? ""
    let whole = field("M") ?? String(cString: PQresultErrorMessage(result))
    message = oneLine(whole + (field("D").map { " (\($0))" } ?? ""))
  }
}
