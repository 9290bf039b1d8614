/* io_faults.h - the writing system calls of LMDB and of the library, counted, and made to fail by a plan.
 *
 * For programs linked with LMDB's archive and --wrap of each call below (see the "ctest:" line in their heads). The meta page is
 * what LMDB writes through its O_DSYNC descriptor.
 *
 *   io_plan.at        the number of the call that fails, counted from io_arm() among those of `kinds`; 0: none
 *   io_plan.lasting   that call and all later ones, other writes too, until io_disarm(); else that one alone
 *   io_plan.reached   the first failing sync or meta write does its work before it says that it failed
 *   io_plan.full      fstatvfs says that no block is free while the plan is armed
 *   io_plan.error 0   a short write: half of it, without an error
 *
 * disk_cache.h says which writes a failed sync loses, once cache_begin() has switched it on.
 */
#ifndef PAGESTORE_TESTS_IO_FAULTS_H
#define PAGESTORE_TESTS_IO_FAULTS_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "disk_cache.h"

typedef enum { IO_DATA = 1, IO_META = 2, IO_SYNC = 4, IO_SIZE = 8 } io_kind;

typedef struct {
  unsigned kinds;
  uint64_t at, calls, failed;
  int error;
  bool lasting, reached, full, armed;
} io_plan_type;
static io_plan_type io_plan;
static _Thread_local io_plan_type io_now;   /* as it was when the call of this thread was to fail */
static _Thread_local bool io_found_full;   /* this thread's last write met a full disk: it is to find it so, also once disarmed */
static uint64_t io_calls[IO_SIZE + 1];   /* of each kind, since the program began */
static pthread_mutex_t io_lock = PTHREAD_MUTEX_INITIALIZER;

/* `at` 0 counts alone. */
static inline void io_plan_set(unsigned kinds, uint64_t at, int error, bool lasting) { /* the lock is held */
  memset(&io_plan, 0, sizeof io_plan);
  io_plan.kinds = kinds;
  io_plan.at = at;
  io_plan.error = error;
  io_plan.lasting = lasting;
  io_plan.armed = true;
}

static inline void io_arm(unsigned kinds, uint64_t at, int error, bool lasting) {
  pthread_mutex_lock(&io_lock);
  io_plan_set(kinds, at, error, lasting);
  pthread_mutex_unlock(&io_lock);
}

static inline uint64_t io_disarm(void) {
  pthread_mutex_lock(&io_lock);
  uint64_t calls = io_plan.calls;
  io_plan.armed = false;
  pthread_mutex_unlock(&io_lock);
  return calls;
}

static inline uint64_t io_failed(void) {
  pthread_mutex_lock(&io_lock);
  uint64_t failed = io_plan.failed;
  pthread_mutex_unlock(&io_lock);
  return failed;
}

static inline uint64_t io_count(unsigned kinds) {
  pthread_mutex_lock(&io_lock);
  uint64_t count = 0;
  for (unsigned kind = IO_DATA; kind <= IO_SIZE; kind *= 2) count += kinds & kind ? io_calls[kind] : 0;
  pthread_mutex_unlock(&io_lock);
  return count;
}

/* What a write is about to change; what a sync said. */
static void io_note_write(io_kind kind, int fd, off_t at, size_t length) {
  if (kind != IO_DATA || !cache.on) return;
  pthread_mutex_lock(&io_lock);
  cache_write(fd, at, length);
  pthread_mutex_unlock(&io_lock);
}

static int io_note_sync(bool failed, int result) {
  int errnum = errno;
  pthread_mutex_lock(&io_lock);
  if (failed) cache_sync_failed();
  else if (result == 0) cache_synced();
  pthread_mutex_unlock(&io_lock);
  errno = errnum;
  return result;
}

static size_t io_length(const struct iovec *parts, int count) {
  size_t length = 0;
  for (int i = 0; i < count; i++) length += parts[i].iov_len;
  return length;
}

static bool io_fails(io_kind kind) {
  pthread_mutex_lock(&io_lock);
  io_calls[kind]++;
  bool fails = false;
  bool concerned = io_plan.kinds & kind || (io_plan.lasting && io_plan.failed && kind != IO_SYNC);
  if (io_plan.armed && concerned) {
    io_plan.calls++;
    fails = io_plan.at && (io_plan.calls == io_plan.at || (io_plan.lasting && io_plan.calls > io_plan.at));
    io_plan.failed += fails;
  }
  io_now = io_plan;
  if (kind != IO_SYNC) io_found_full = fails && io_plan.full;
  pthread_mutex_unlock(&io_lock);
  return fails;
}

static io_kind io_kind_of(int fd) { return fcntl(fd, F_GETFL) & O_DSYNC ? IO_META : IO_DATA; }

static ssize_t io_refuse(void) {
  errno = io_now.error;
  return -1;
}

ssize_t __real_pwrite(int fd, const void *from, size_t length, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t length, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t length, off_t at) {
  io_kind kind = io_kind_of(fd);
  bool fails = io_fails(kind);
  io_note_write(kind, fd, at, length);
  if (!fails) return __real_pwrite(fd, from, length, at);
  if (!io_now.error) return __real_pwrite(fd, from, length / 2, at);
  if (io_now.reached && io_now.failed == 1) (void)!__real_pwrite(fd, from, length, at);
  return io_refuse();
}

ssize_t __real_write(int fd, const void *from, size_t length);
ssize_t __wrap_write(int fd, const void *from, size_t length);
ssize_t __wrap_write(int fd, const void *from, size_t length) {
  if (!io_fails(io_kind_of(fd))) return __real_write(fd, from, length);
  return io_now.error ? io_refuse() : __real_write(fd, from, length / 2);
}

ssize_t __real_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count) {
  io_kind kind = io_kind_of(fd);
  bool fails = io_fails(kind);
  if (cache.on) io_note_write(kind, fd, lseek(fd, 0, SEEK_CUR), io_length(parts, count));
  if (!fails) return __real_writev(fd, parts, count);
  return io_now.error ? io_refuse() : __real_writev(fd, parts, (count + 1) / 2);
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd) {
  if (!io_fails(IO_SYNC)) return io_note_sync(false, __real_fdatasync(fd));
  if (io_now.reached && io_now.failed == 1) __real_fdatasync(fd);
  return io_note_sync(true, (int)io_refuse());
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
  if (!io_fails(IO_SYNC)) return io_note_sync(false, __real_fsync(fd));
  return io_note_sync(true, (int)io_refuse());
}

int __real_ftruncate(int fd, off_t length);
int __wrap_ftruncate(int fd, off_t length);
int __wrap_ftruncate(int fd, off_t length) {
  return io_fails(IO_SIZE) ? (int)io_refuse() : __real_ftruncate(fd, length);
}

int __real_fstatvfs(int fd, struct statvfs *out);
int __wrap_fstatvfs(int fd, struct statvfs *out);
int __wrap_fstatvfs(int fd, struct statvfs *out) {
  int result = __real_fstatvfs(fd, out);
  pthread_mutex_lock(&io_lock);
  if (result == 0 && (io_found_full || (io_plan.armed && io_plan.full))) out->f_bavail = 0;
  pthread_mutex_unlock(&io_lock);
  return result;
}

#endif
