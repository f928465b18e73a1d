import Glibc

/// The time of day of a process that preloads this library: `TEST_CLOCK_AHEAD` seconds ahead of the machine's. Timers are as they were.
/// libfaketime does that too, but its epoll_pwait(2) loses the end of children (measured): a run then waited for ever.
@_cdecl("clock_gettime")
public func clockGetTime(_ clock: clockid_t, _ time: UnsafeMutablePointer<timespec>) -> CInt {
  let result = real(clock, time)
  if clock == CLOCK_REALTIME { time.pointee.tv_sec += ahead }
  return result
}

private typealias GetTime = @convention(c) (clockid_t, UnsafeMutablePointer<timespec>) -> CInt

/// The next one behind this library. RTLD_NEXT is a macro that Swift does not see.
private let real = unsafeBitCast(dlsym(UnsafeMutableRawPointer(bitPattern: -1), "clock_gettime"), to: GetTime.self)
private let ahead = getenv("TEST_CLOCK_AHEAD").flatMap { time_t(String(cString: $0)) } ?? 0
