// System calls that the Glibc module does not show to Swift: variadic ones, and those behind _GNU_SOURCE.
#ifndef BACKUP_RESTORE_LINUX_H
#define BACKUP_RESTORE_LINUX_H
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>

/// openat(2) for reading; never through a link, and without waiting for a FIFO's writer. A descriptor, or -1 with errno.
static inline int linux_open(int directory, const char *name) {
  return openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

/// openat(2) of a directory, never through a link. A descriptor, or -1 with errno.
static inline int linux_open_directory(int directory, const char *name) {
  return openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/// openat(2) with O_PATH of a directory that need not be readable, never through a link. A descriptor, or -1 with errno.
static inline int linux_find_directory(int directory, const char *name) {
  return openat(directory, name, 010000000 /* O_PATH */ | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/// openat(2) of a file that must not exist yet, for writing, readable by its owner alone. A descriptor, or -1 with errno.
static inline int linux_create(int directory, const char *name) {
  return openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/// renameat2(2) with RENAME_EXCHANGE: both names change places in one step. 0, or -1 with errno.
static inline int linux_exchange(int a, const char *name, int b, const char *other) {
  return (int)syscall(SYS_renameat2, a, name, b, other, 2 /* RENAME_EXCHANGE */);
}

/// renameat2(2) with RENAME_NOREPLACE: never overwrites. 0, or -1 with errno.
static inline int linux_rename_noreplace(int a, const char *from, int b, const char *to) {
  return (int)syscall(SYS_renameat2, a, from, b, to, 1 /* RENAME_NOREPLACE */);
}

/// statx(2): the STATX_ATTR_ bits of `name` in the directory, 0 where it is not there. An empty name means the directory itself.
static inline unsigned long long linux_attributes(int directory, const char *name) {
  struct statx status;
  long failed =
      syscall(SYS_statx, directory, name, 0x100 /* AT_SYMLINK_NOFOLLOW */ | 0x1000 /* AT_EMPTY_PATH */, 0, &status);
  return failed == 0 ? status.stx_attributes : 0;
}

/// 1 where `name` in the directory is a mount point, else 0; also where the kernel (before 5.8) cannot tell. An empty name means the
/// directory itself.
static inline int linux_is_mount_point(int directory, const char *name) {
  return (linux_attributes(directory, name) & STATX_ATTR_MOUNT_ROOT) != 0;
}

/// 1 where neither a rename nor a removal moves `name` (chattr +i or +a), and, of a directory, nothing in it; else 0, also on file systems
/// that do not tell.
static inline int linux_is_pinned(int directory, const char *name) {
  return (linux_attributes(directory, name) & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) != 0;
}

/// fremovexattr(2) of the default ACL, which what is made in the directory would inherit. 0, or -1 with errno.
static inline int linux_remove_default_acl(int directory) {
  return (int)syscall(SYS_fremovexattr, directory, "system.posix_acl_default");
}

/// llistxattr(2), lgetxattr(2) and lsetxattr(2): of a symbolic link itself. A length or 0, or -1 with errno.
static inline ssize_t linux_list_attributes(const char *path, char *names, size_t size) { return llistxattr(path, names, size); }
static inline ssize_t linux_get_attribute(const char *path, const char *name, void *value, size_t size) {
  return lgetxattr(path, name, value, size);
}
static inline int linux_set_attribute(const char *path, const char *name, const void *value, size_t size) {
  return lsetxattr(path, name, value, size, 0);
}

/// syncfs(2): everything written to the file system that holds `fd` is on disk. 0, or -1 with errno.
static inline int linux_syncfs(int fd) { return (int)syscall(SYS_syncfs, fd); }

/// What docker/coverage counts; absent in every other build.
extern int __llvm_profile_write_file(void) __attribute__((weak));

/// _exit(2): the process ends, whatever its other threads are doing; nothing that exit(3) calls is called.
static inline void linux_exit(int status) __attribute__((noreturn));
static inline void linux_exit(int status) {
  if (__llvm_profile_write_file) __llvm_profile_write_file();
  _exit(status);
}

#endif
