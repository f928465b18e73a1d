/// Quoting for statements that take no parameters. `standard_conforming_strings` is on in every session.
package enum SQL {
  package static func identifier(_ name: String) -> String { "\"" + name.prefixing("\"", with: "\"") + "\"" }
  package static func literal(_ text: String) -> String { "'" + text.prefixing("'", with: "'") + "'" }
  /// The value of a parameter that is an array of text.
  static func array(_ texts: [String]) -> String {
    "{" + texts.map { "\"" + $0.prefixing("\\\"", with: "\\") + "\"" }.joined(separator: ",") + "}"
  }
}
