/* call_faults.h - the system calls that make, open, lock, look at and read files, and start threads: counted, and made to fail by a plan.
 *
 * For programs linked with LMDB's archive and --wrap of each call below (see the "ctest:" line in their heads). The plan concerns one
 * call; its `at`-th use fails with `error`, alone or with all later ones, while it is armed. A failing close has closed; error 0 makes
 * pread read half of what it was asked for.
 */
#ifndef PAGESTORE_TESTS_CALL_FAULTS_H
#define PAGESTORE_TESTS_CALL_FAULTS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

typedef enum {
  CALL_OPEN, CALL_OPENAT, CALL_CLOSE, CALL_MKDIRAT, CALL_RENAMEAT, CALL_UNLINKAT, CALL_FLOCK, CALL_PREAD, CALL_FSTAT, CALL_FSTATAT, CALL_FACCESSAT,
  CALL_FDOPENDIR, CALL_OPENDIR, CALL_GETRANDOM, CALL_FCNTL, CALL_FSTATVFS, CALL_REALPATH, CALL_PTHREAD_CREATE, CALLS
} call_kind;

static struct {
  _Atomic int kind, error;
  _Atomic bool armed, lasting;
  _Atomic uint64_t at, calls, failed;
} call_plan;

static inline void calls_arm(call_kind kind, int error, uint64_t at, bool lasting) {
  call_plan.armed = false;
  call_plan.kind = (int)kind;
  call_plan.error = error;
  call_plan.at = at;
  call_plan.lasting = lasting;
  call_plan.calls = call_plan.failed = 0;
  call_plan.armed = true;
}

static inline void calls_disarm(void) { call_plan.armed = false; }

static bool call_fails(call_kind kind) {
  if (!call_plan.armed || call_plan.kind != (int)kind) return false;
  uint64_t call = ++call_plan.calls;
  if (call_plan.at == 0 || (call != call_plan.at && !(call_plan.lasting && call > call_plan.at))) return false;
  call_plan.failed++;
  errno = call_plan.error;
  return true;
}

/* wrapper(kind, name, result type, what a failure returns, parameters, arguments) */
#define CALL_WRAP(kind, name, type, failure, parameters, arguments)                                              \
  type __real_##name parameters;                                                                                 \
  type __wrap_##name parameters;                                                                                 \
  type __wrap_##name parameters { return call_fails(kind) ? (failure) : __real_##name arguments; }

CALL_WRAP(CALL_MKDIRAT, mkdirat, int, -1, (int at, const char *path, mode_t mode), (at, path, mode))
CALL_WRAP(CALL_RENAMEAT, renameat, int, -1, (int from, const char *old, int to, const char *new), (from, old, to, new))
CALL_WRAP(CALL_UNLINKAT, unlinkat, int, -1, (int at, const char *path, int flags), (at, path, flags))
CALL_WRAP(CALL_FLOCK, flock, int, -1, (int fd, int operation), (fd, operation))
CALL_WRAP(CALL_PREAD, pread, ssize_t, call_plan.error ? -1 : __real_pread(fd, to, length / 2, at), (int fd, void *to, size_t length, off_t at), (fd, to, length, at))
CALL_WRAP(CALL_FSTAT, fstat, int, -1, (int fd, struct stat *out), (fd, out))
CALL_WRAP(CALL_FSTATAT, fstatat, int, -1, (int at, const char *path, struct stat *out, int flags), (at, path, out, flags))
CALL_WRAP(CALL_FACCESSAT, faccessat, int, -1, (int at, const char *path, int mode, int flags), (at, path, mode, flags))
CALL_WRAP(CALL_FDOPENDIR, fdopendir, DIR *, NULL, (int fd), (fd))
CALL_WRAP(CALL_OPENDIR, opendir, DIR *, NULL, (const char *path), (path))
CALL_WRAP(CALL_GETRANDOM, getrandom, ssize_t, -1, (void *to, size_t length, unsigned flags), (to, length, flags))
CALL_WRAP(CALL_FSTATVFS, fstatvfs, int, -1, (int fd, struct statvfs *out), (fd, out))
CALL_WRAP(CALL_REALPATH, realpath, char *, NULL, (const char *path, char *to), (path, to))
CALL_WRAP(CALL_PTHREAD_CREATE, pthread_create, int, call_plan.error, (pthread_t *out, const pthread_attr_t *how, void *(*run)(void *), void *env), (out, how, run, env))
CALL_WRAP(CALL_FCNTL, fcntl, int, -1, (int fd, int command, void *argument), (fd, command, argument))

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) {
  int result = __real_close(fd);
  return call_fails(CALL_CLOSE) ? -1 : result;
}

int __real_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode) { return call_fails(CALL_OPEN) ? -1 : __real_open(path, flags, mode); }

int __real_openat(int at, const char *path, int flags, mode_t mode);
int __wrap_openat(int at, const char *path, int flags, mode_t mode);
int __wrap_openat(int at, const char *path, int flags, mode_t mode) { return call_fails(CALL_OPENAT) ? -1 : __real_openat(at, path, flags, mode); }

#endif
