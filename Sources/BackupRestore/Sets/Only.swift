/// Files or databases alone.
public enum Only: String, Sendable, CaseIterable { case files, database }
