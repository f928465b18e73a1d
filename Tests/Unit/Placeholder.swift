import Testing

@testable import BackupRestore

@Test func sizesAreReadable() { #expect(Format.bytes(1536) == "1.5 KiB") }
