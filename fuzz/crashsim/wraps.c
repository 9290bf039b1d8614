/* wraps.c - the calls that change files, each sent to the log on its way. See record_internal.h.
 *
 * The list of symbols is crashsim_wraps in tools/packaging/crashsim.cmake; tests/crashsim.sh looks that neither the
 * library nor LMDB calls anything of this kind that is not on it.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "record_internal.h"

#define WRAPPED(result, name, ...)                                                                                     \
  result __real_##name(__VA_ARGS__);                                                                                   \
  result __wrap_##name(__VA_ARGS__);                                                                                   \
  result __wrap_##name(__VA_ARGS__)

/* ---- opening and closing --------------------------------------------------------------------- */

static mode_t mode_of(int flags, va_list arguments) {
  return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

static int opened(int fd, int flags) {
  if (fd >= 0) record_opened(fd, flags);
  return fd;
}

#define OPEN(name)                                                                                                     \
  WRAPPED(int, name, const char *path, int flags, ...) {                                                               \
    va_list arguments;                                                                                                 \
    va_start(arguments, flags);                                                                                        \
    mode_t mode = mode_of(flags, arguments);                                                                           \
    va_end(arguments);                                                                                                 \
    if (!record_enter()) return __real_##name(path, flags, mode);                                                      \
    int fd = opened(__real_##name(path, flags, mode), flags);                                                          \
    record_leave();                                                                                                    \
    return fd;                                                                                                         \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                                   \
  WRAPPED(int, name, int dirfd, const char *path, int flags, ...) {                                                    \
    va_list arguments;                                                                                                 \
    va_start(arguments, flags);                                                                                        \
    mode_t mode = mode_of(flags, arguments);                                                                           \
    va_end(arguments);                                                                                                 \
    if (!record_enter()) return __real_##name(dirfd, path, flags, mode);                                               \
    int fd = opened(__real_##name(dirfd, path, flags, mode), flags);                                                   \
    record_leave();                                                                                                    \
    return fd;                                                                                                         \
  }
OPENAT(openat)
OPENAT(openat64)

WRAPPED(int, close, int fd) {
  if (record_enter()) {
    record_closed(fd);
    record_leave();
  }
  return __real_close(fd);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

#define PWRITE(name)                                                                                                   \
  WRAPPED(ssize_t, name, int fd, const void *from, size_t length, off_t at) {                                          \
    if (!record_enter()) return __real_##name(fd, from, length, at);                                                   \
    ssize_t done = __real_##name(fd, from, length, at);                                                                \
    if (done > 0) record_wrote(fd, (uint64_t)at, from, (uint64_t)done);                                                \
    record_leave();                                                                                                    \
    return done;                                                                                                       \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

WRAPPED(ssize_t, write, int fd, const void *from, size_t length) {
  if (!record_enter()) return __real_write(fd, from, length);
  off_t at = record_file_of(fd) == NOT_RECORDED ? 0 : lseek(fd, 0, SEEK_CUR);
  ssize_t done = __real_write(fd, from, length);
  if (done > 0) record_wrote(fd, (uint64_t)at, from, (uint64_t)done);
  record_leave();
  return done;
}

/* One call, but several writes in the log: none of them is promised to be whole anyway. */
static void wrote_parts(int fd, const struct iovec *parts, int count, off_t at, ssize_t done) {
  for (int i = 0; i < count && done > 0; i++) {
    size_t size = parts[i].iov_len < (size_t)done ? parts[i].iov_len : (size_t)done;
    record_wrote(fd, (uint64_t)at, parts[i].iov_base, size);
    at += (off_t)size;
    done -= (ssize_t)size;
  }
}

WRAPPED(ssize_t, writev, int fd, const struct iovec *parts, int count) {
  if (!record_enter()) return __real_writev(fd, parts, count);
  off_t at = record_file_of(fd) == NOT_RECORDED ? 0 : lseek(fd, 0, SEEK_CUR);
  ssize_t done = __real_writev(fd, parts, count);
  wrote_parts(fd, parts, count, at, done);
  record_leave();
  return done;
}

#define PWRITEV(name)                                                                                                  \
  WRAPPED(ssize_t, name, int fd, const struct iovec *parts, int count, off_t at) {                                     \
    if (!record_enter()) return __real_##name(fd, parts, count, at);                                                   \
    ssize_t done = __real_##name(fd, parts, count, at);                                                                \
    wrote_parts(fd, parts, count, at, done);                                                                           \
    record_leave();                                                                                                    \
    return done;                                                                                                       \
  }
PWRITEV(pwritev)
PWRITEV(pwritev64)

/* ---- barriers -------------------------------------------------------------------------------- */

#define SYNC(name)                                                                                                     \
  WRAPPED(int, name, int fd) {                                                                                         \
    if (!record_enter()) return __real_##name(fd);                                                                     \
    int file = record_file_of(fd);                                                                                     \
    record_wait_while_held(file);                                                                                      \
    int result = __real_##name(fd);                                                                                    \
    if (result == 0) record_synced(file);                                                                              \
    record_leave();                                                                                                    \
    return result;                                                                                                     \
  }
SYNC(fdatasync)
SYNC(fsync)

/* ---- entries --------------------------------------------------------------------------------- */

static int make_directory(int dirfd, const char *path, int result) {
  if (result == 0) record_made(dirfd, path);
  record_leave();
  return result;
}

WRAPPED(int, mkdir, const char *path, mode_t mode) {
  if (!record_enter()) return __real_mkdir(path, mode);
  return make_directory(AT_FDCWD, path, __real_mkdir(path, mode));
}

WRAPPED(int, mkdirat, int dirfd, const char *path, mode_t mode) {
  if (!record_enter()) return __real_mkdirat(dirfd, path, mode);
  return make_directory(dirfd, path, __real_mkdirat(dirfd, path, mode));
}

static int removed(const record_entry *entry, int result) {
  if (result == 0) record_removed(entry);
  record_leave();
  return result;
}

WRAPPED(int, unlink, const char *path) {
  if (!record_enter()) return __real_unlink(path);
  record_entry entry = record_entry_at(AT_FDCWD, path);
  return removed(&entry, __real_unlink(path));
}

WRAPPED(int, rmdir, const char *path) {
  if (!record_enter()) return __real_rmdir(path);
  record_entry entry = record_entry_at(AT_FDCWD, path);
  return removed(&entry, __real_rmdir(path));
}

WRAPPED(int, unlinkat, int dirfd, const char *path, int flags) {
  if (!record_enter()) return __real_unlinkat(dirfd, path, flags);
  record_entry entry = record_entry_at(dirfd, path);
  return removed(&entry, __real_unlinkat(dirfd, path, flags));
}

static int renamed(const record_entry *from, int dirfd, const char *to, int result) {
  if (result == 0) record_renamed(from, dirfd, to);
  record_leave();
  return result;
}

/* A target that exists would be gone with it: not modelled. */
static void refuse_target(int dirfd, const char *to) {
  record_entry target = record_entry_at(dirfd, to);
  if (target.file != NOT_RECORDED) record_unmodelled("rename over an entry", target.file);
}

WRAPPED(int, rename, const char *from, const char *to) {
  if (!record_enter()) return __real_rename(from, to);
  record_entry entry = record_entry_at(AT_FDCWD, from);
  refuse_target(AT_FDCWD, to);
  return renamed(&entry, AT_FDCWD, to, __real_rename(from, to));
}

WRAPPED(int, renameat, int from_fd, const char *from, int to_fd, const char *to) {
  if (!record_enter()) return __real_renameat(from_fd, from, to_fd, to);
  record_entry entry = record_entry_at(from_fd, from);
  refuse_target(to_fd, to);
  return renamed(&entry, to_fd, to, __real_renameat(from_fd, from, to_fd, to));
}

/* ---- what is not modelled: allowed on files that are not recorded, and on the lock file ------ */

static void unmodelled(const char *call, int fd) {
  if (!record_enter()) return;
  int file = record_file_of(fd);
  if (file != NOT_RECORDED) record_unmodelled(call, file);
  record_leave();
}

static void unmodelled_path(const char *call, int dirfd, const char *path) {
  if (!record_enter()) return;
  record_entry entry = record_entry_at(dirfd, path);
  if (entry.directory != NOT_RECORDED) record_unmodelled(call, entry.directory);
  record_leave();
}

static void unmodelled_anywhere(const char *call) {
  if (!record_enter()) return;
  record_unmodelled(call, 0);
  record_leave();
}

static void mapped(int prot, int flags, int fd) {
  bool is_shared = (flags & MAP_TYPE) == MAP_SHARED || (flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
  if (fd >= 0 && is_shared && prot & PROT_WRITE) unmodelled("a shared writable mapping", fd);
}

#define MMAP(name)                                                                                                     \
  WRAPPED(void *, name, void *at, size_t length, int prot, int flags, int fd, off_t offset) {                          \
    mapped(prot, flags, fd);                                                                                           \
    return __real_##name(at, length, prot, flags, fd, offset);                                                         \
  }
MMAP(mmap)
MMAP(mmap64)

WRAPPED(int, ftruncate, int fd, off_t length) { return unmodelled("ftruncate", fd), __real_ftruncate(fd, length); }
WRAPPED(int, ftruncate64, int fd, off_t length) { return unmodelled("ftruncate", fd), __real_ftruncate64(fd, length); }

WRAPPED(int, fallocate, int fd, int mode, off_t at, off_t length) {
  return unmodelled("fallocate", fd), __real_fallocate(fd, mode, at, length);
}

WRAPPED(int, fallocate64, int fd, int mode, off_t at, off_t length) {
  return unmodelled("fallocate", fd), __real_fallocate64(fd, mode, at, length);
}

WRAPPED(int, posix_fallocate, int fd, off_t at, off_t length) {
  return unmodelled("posix_fallocate", fd), __real_posix_fallocate(fd, at, length);
}

WRAPPED(ssize_t, sendfile, int to, int from, off_t *at, size_t length) {
  return unmodelled("sendfile", to), __real_sendfile(to, from, at, length);
}

WRAPPED(ssize_t, copy_file_range, int from, off_t *from_at, int to, off_t *to_at, size_t length, unsigned flags) {
  return unmodelled("copy_file_range", to), __real_copy_file_range(from, from_at, to, to_at, length, flags);
}

WRAPPED(ssize_t, splice, int from, off_t *from_at, int to, off_t *to_at, size_t length, unsigned flags) {
  return unmodelled("splice", to), __real_splice(from, from_at, to, to_at, length, flags);
}

WRAPPED(ssize_t, pwritev2, int fd, const struct iovec *parts, int count, off_t at, int flags) {
  return unmodelled("pwritev2", fd), __real_pwritev2(fd, parts, count, at, flags);
}

WRAPPED(int, sync_file_range, int fd, off_t at, off_t length, unsigned flags) {
  return unmodelled("sync_file_range", fd), __real_sync_file_range(fd, at, length, flags);
}

WRAPPED(int, syncfs, int fd) { return unmodelled("syncfs", fd), __real_syncfs(fd); }
WRAPPED(void, sync, void) { unmodelled_anywhere("sync"), __real_sync(); }

WRAPPED(int, msync, void *at, size_t length, int flags) {
  return unmodelled_anywhere("msync"), __real_msync(at, length, flags);
}

WRAPPED(int, truncate, const char *path, off_t length) {
  return unmodelled_path("truncate", AT_FDCWD, path), __real_truncate(path, length);
}

WRAPPED(int, creat, const char *path, mode_t mode) {
  return unmodelled_path("creat", AT_FDCWD, path), __real_creat(path, mode);
}

WRAPPED(int, link, const char *from, const char *to) {
  return unmodelled_path("link", AT_FDCWD, to), __real_link(from, to);
}

WRAPPED(int, linkat, int from_fd, const char *from, int to_fd, const char *to, int flags) {
  return unmodelled_path("linkat", to_fd, to), __real_linkat(from_fd, from, to_fd, to, flags);
}

WRAPPED(int, symlink, const char *from, const char *to) {
  return unmodelled_path("symlink", AT_FDCWD, to), __real_symlink(from, to);
}

WRAPPED(int, renameat2, int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
  return unmodelled_path("renameat2", to_fd, to), __real_renameat2(from_fd, from, to_fd, to, flags);
}
