/* os.h - the kernel as the regions see it: address ranges, userfaultfd, the scan of the page table.
 *
 * os.c is the one file that makes memory and userfaultfd system calls; what old headers lack (write-protect async,
 * PAGEMAP_SCAN: Linux 6.7) is defined there.
 *
 * Results: 0 or a positive errno; nothing here formats text, so that the fault handler may call it.
 * Thread:  any; async-signal-safe but for os_uffd, os_support_now (a lock), os_after_fork (the child's one thread).
 */
#ifndef PAGESTORE_VM_OS_H
#define PAGESTORE_VM_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- address ranges --------------------------------------------------------------------------------------------- */

typedef enum { OS_NONE, OS_READ, OS_WRITE } os_access; /* OS_WRITE: read and write */

/* Inaccessible, unreserved, without huge pages, absent from forked children. */
int os_reserve(uint8_t **base, uint64_t bytes);
int os_reserve_at(uint8_t *at, uint64_t bytes); /* exactly there, or EEXIST */
void *os_zeros(uint64_t bytes); /* ordinary memory, populated as it is written; or NULL. Given back by os_release */
/* An inaccessible, empty range whose parts will be protected one by one: lets them merge again when they are alike. */
int os_unify(uint8_t *at, uint64_t bytes);
void os_release(uint8_t *base, uint64_t bytes);
int os_protect(uint8_t *at, uint64_t bytes, os_access);
int os_drop(uint8_t *at, uint64_t bytes); /* contents go: absent under userfaultfd, else zeros */
/* The same for several ranges, where the kernel can in one call: other processors then hear of it once. */
typedef struct { uint8_t *at; uint64_t bytes; } os_range; /* the kernel's struct iovec */
int os_drop_each(const os_range *, unsigned count);

/* ---- userfaultfd: missing and protected pages raise SIGBUS ------------------------------------------------------ */

/* Write-protection is either noted by the kernel (async) or raises SIGBUS (sync): chosen per descriptor. */
typedef enum { OS_UFFD_ASYNC, OS_UFFD_SYNC, OS_UFFD_KINDS } os_uffd_kind;

int os_uffd(os_uffd_kind, int *fd); /* the process's one descriptor of that kind, made at the first call */
int os_uffd_register(int fd, uint8_t *at, uint64_t bytes, bool write_protect);
int os_uffd_unregister(int fd, uint8_t *at, uint64_t bytes);

/* Fill absent blocks only. *done: bytes filled, also on failure. EEXIST: the block behind them is present already;
 * EFAULT: `from` could not be read. os_uffd_zero maps the zero page and leaves it without write-protection. */
int os_uffd_copy(int fd, uint8_t *to, const uint8_t *from, uint64_t bytes, bool write_protect, uint64_t *done);
int os_uffd_zero(int fd, uint8_t *to, uint64_t bytes, uint64_t *done);
int os_uffd_protect(int fd, uint8_t *at, uint64_t bytes, bool write_protect); /* populated ranges only */

/* ---- which blocks were written ---------------------------------------------------------------------------------- */

typedef struct { uint64_t start, end, kinds; } os_run; /* addresses; the kernel's struct page_region */

/* Runs of blocks in [at, at + bytes) that are present or swapped out, written since they were protected, and more
 * than the zero page; `protect`: protects them again in the same step. Ends early when `runs` is full: *end tells how
 * far it came, go on there. On failure blocks may have been protected without being told.
 * OS_SCAN_DENSE is twice as fast and only for ranges without absent blocks, whose zero pages are protected as well. */
typedef enum { OS_SCAN_LOOK, OS_SCAN_PROTECT, OS_SCAN_DENSE } os_scan_kind; /* DENSE protects, too */
int os_scan(uint8_t *at, uint64_t bytes, os_scan_kind, os_run *runs, unsigned runs_max, unsigned *count, uint8_t **end);

/* ---- what there is ---------------------------------------------------------------------------------------------- */

typedef struct {
  bool async, sync;         /* userfaultfd with asynchronous (and the scan) / synchronous write-protect */
  const char *userfaultfd;  /* "privileged", "user-mode only", or why refused */
} os_support;

os_support os_support_now(void); /* tried at the first call, then remembered */
void os_after_fork(void);

#endif
