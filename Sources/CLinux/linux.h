// System calls that the Glibc module does not show to Swift: variadic ones, and those behind _GNU_SOURCE.
#ifndef BACKUP_RESTORE_LINUX_H
#define BACKUP_RESTORE_LINUX_H
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/// renameat2(2) with RENAME_EXCHANGE: both names change places in one step. 0, or -1 with errno.
static inline int linux_exchange(const char *a, const char *b) {
  return (int)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2 /* RENAME_EXCHANGE */);
}

/// renameat2(2) with RENAME_NOREPLACE: never overwrites. 0, or -1 with errno.
static inline int linux_rename_noreplace(const char *from, const char *to) {
  return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 1 /* RENAME_NOREPLACE */);
}

/// statx(2): 1 where something is mounted at `path`, else 0; also where the kernel (before 5.8) cannot tell.
static inline int linux_is_mount_point(const char *path) {
  struct statx status;
  long failed = syscall(SYS_statx, AT_FDCWD, path, 0x100 /* AT_SYMLINK_NOFOLLOW */, 0, &status);
  return failed == 0 && (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

/// syncfs(2): everything written to the file system that holds `fd` is on disk. 0, or -1 with errno.
static inline int linux_syncfs(int fd) { return (int)syscall(SYS_syncfs, fd); }

#endif
