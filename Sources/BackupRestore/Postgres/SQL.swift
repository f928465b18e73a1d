/// Quoting for statements that take no parameters. `standard_conforming_strings` is on in every session.
package enum SQL {
  package static func identifier(_ name: String) -> String { "\"" + name.prefixing("\"", with: "\"") + "\"" }
  package static func literal(_ text: String) -> String { "'" + text.prefixing("'", with: "'") + "'" }
}
