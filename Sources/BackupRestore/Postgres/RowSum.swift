/// What `COPY table TO STDOUT` sent: how many rows, and the sum of a 64-bit hash of each, which is the same in whatever order they come.
struct RowSum: Equatable, Sendable {
  private(set) var rows = 0
  private(set) var sum: UInt64 = 0

  mutating func add(_ row: UnsafeRawBufferPointer) {
    rows += 1
    sum &+= Self.hash(row)
  }

  /// Eight bytes at a time, each folded by a multiplication of full width; as fast as they come from the server, many times over. What is
  /// changed here changes `DatabaseEvidence.method`.
  static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var hash = fold(UInt64(bytes.count))
    let whole = bytes.count & ~7
    var offset = 0
    while offset < whole {
      hash = fold(hash ^ UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
      offset += 8
    }
    if whole < bytes.count {
      var last: UInt64 = 0
      for byte in bytes[whole...].reversed() { last = last << 8 | UInt64(byte) }
      hash = fold(hash ^ last)
    }
    // The last step of MurmurHash3: every bit of the hash depends on every other.
    hash = (hash ^ hash >> 33) &* 0xFF51_AFD7_ED55_8CCD
    hash = (hash ^ hash >> 33) &* 0xC4CE_B9FE_1A85_EC53
    return hash ^ hash >> 33
  }

  private static func fold(_ value: UInt64) -> UInt64 {
    let product = value.multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
    return product.high ^ product.low
  }
}
