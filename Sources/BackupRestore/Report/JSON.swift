import FoundationEssentials

/// JSON as it is stored, sent and logged: keys in order, so that the same value is the same bytes.
enum JSON {
  /// - Parameter formatting: besides the order; `.prettyPrinted` too for what people may have to read in an emergency.
  static func encoded(
    _ value: some Encodable, _ formatting: JSONEncoder.OutputFormatting = .withoutEscapingSlashes
  ) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = formatting.union(.sortedKeys)
    return Array(try encoder.encode(value))
  }

  /// A document with a line for each value.
  static func document(_ value: some Encodable) throws -> [UInt8] {
    try encoded(value, [.prettyPrinted, .withoutEscapingSlashes])
  }

  /// The same, for standard output.
  static func text(_ value: some Encodable) throws -> String { String(decoding: try document(value), as: UTF8.self) }
}
