import SystemPackage

/// What was saved while the application was told to keep its users out keeps them out again.
extension Restore {
  /// Nextcloud's: the images before this one saved its files in maintenance mode, and its data while that was on.
  func tellMaintenanceMode(_ session: Session) {
    guard let live = session.directory, let directory = try? live.parent(of: "config/config.php"),
      let bytes = try? directory.read("config.php", accept: { if $0.size > 1 << 20 { throw FileError("read", "config.php") } }),
      String(decoding: bytes, as: UTF8.self).contains(/['"]maintenance['"]\s*=>\s*true/)
    else { return }
    let file = directory.path.appending("config.php").string
    log.warning(
      """
      \(file) was saved in Nextcloud's maintenance mode, which is on now
        hint: php occ maintenance:mode --off in Nextcloud's own container, as its user; or here:
        sed -i "s/'maintenance' => true/'maintenance' => false/" '\(file)'
      """)
  }
}
