/* memory_faults.h - allocations and memory system calls, counted, and made to fail by a plan.
 *
 * For programs linked with LMDB's archive and --wrap of each call below (see the "ctest:" line in their heads). The plan concerns one
 * kind; its `at`-th call fails, alone or with all later ones, while it is armed. Calls come from fault handlers too: no lock.
 */
#ifndef PAGESTORE_TESTS_MEMORY_FAULTS_H
#define PAGESTORE_TESTS_MEMORY_FAULTS_H

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>

typedef enum { FAULT_ALLOCATION, FAULT_MMAP, FAULT_MPROTECT, FAULT_MADVISE, FAULT_IOCTL, FAULT_USERFAULTFD, FAULT_KINDS } fault_kind;

#define FAULT_PAGEMAP_SCAN 0xc0606610ul /* older headers lack it */

static struct {
  _Atomic int kind;
  _Atomic bool armed, lasting;
  _Atomic uint64_t at, calls, failed;
} fault_plan;

static inline void faults_arm(fault_kind kind, uint64_t at, bool lasting) {
  fault_plan.kind = (int)kind;
  fault_plan.at = at;
  fault_plan.lasting = lasting;
  fault_plan.calls = fault_plan.failed = 0;
  fault_plan.armed = true;
}

static inline void faults_disarm(void) { fault_plan.armed = false; }

static bool faults_now(fault_kind kind) {
  if (!fault_plan.armed || fault_plan.kind != (int)kind) return false;
  uint64_t call = ++fault_plan.calls;
  if (call != fault_plan.at && !(fault_plan.lasting && call > fault_plan.at)) return false;
  fault_plan.failed++;
  errno = ENOMEM;
  return true;
}

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes) { return faults_now(FAULT_ALLOCATION) ? NULL : __real_malloc(bytes); }

void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes) { return faults_now(FAULT_ALLOCATION) ? NULL : __real_calloc(count, bytes); }

void *__real_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes) { return faults_now(FAULT_ALLOCATION) ? NULL : __real_realloc(old, bytes); }

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text) { return faults_now(FAULT_ALLOCATION) ? NULL : __real_strdup(text); }

char *__real_strndup(const char *text, size_t length);
char *__wrap_strndup(const char *text, size_t length);
char *__wrap_strndup(const char *text, size_t length) { return faults_now(FAULT_ALLOCATION) ? NULL : __real_strndup(text, length); }

void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
  return faults_now(FAULT_ALLOCATION) ? NULL : __real_aligned_alloc(alignment, bytes);
}

int __real_posix_memalign(void **out, size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes) {
  return faults_now(FAULT_ALLOCATION) ? ENOMEM : __real_posix_memalign(out, alignment, bytes);
}

void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
  return faults_now(FAULT_MMAP) ? MAP_FAILED : __real_mmap(at, bytes, protection, flags, fd, offset);
}

int __real_mprotect(void *at, size_t bytes, int protection);
int __wrap_mprotect(void *at, size_t bytes, int protection);
int __wrap_mprotect(void *at, size_t bytes, int protection) {
  return faults_now(FAULT_MPROTECT) ? -1 : __real_mprotect(at, bytes, protection);
}

int __real_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice) { return faults_now(FAULT_MADVISE) ? -1 : __real_madvise(at, bytes, advice); }

int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, void *argument) {
  if (!faults_now(FAULT_IOCTL)) return __real_ioctl(fd, request, argument);
  if (request == FAULT_PAGEMAP_SCAN) { /* the worst: it has protected, and does not tell what */
    __real_ioctl(fd, request, argument);
    errno = ENOMEM;
  }
  return -1;
}

long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f) {
  if (number == SYS_userfaultfd && faults_now(FAULT_USERFAULTFD)) return -1;
  if (number == SYS_process_madvise && faults_now(FAULT_MADVISE)) return -1;
  return __real_syscall(number, a, b, c, d, e, f);
}

#endif
