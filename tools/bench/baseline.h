/* baseline.h - what the kernel alone costs, and the way the replica of the Internet Computer finds dirty blocks.
 *
 * A plain region is anonymous memory, all of it populated with 4 KiB pages. In the replica's way a message begins
 * with one mprotect of the whole range to read-only; the first write to each block is a SIGSEGV whose handler
 * notes it and opens its 4 KiB by mprotect; at the end the noted blocks are copied. Rolling back copies them from
 * where they were committed.
 *
 * Thread: one; one region in the replica's way at a time is armed.
 */
#ifndef BENCH_BASELINE_H
#define BENCH_BASELINE_H

#include "harness.h"

typedef struct {
  uint8_t *base;
  uint64_t bytes;
  uint8_t *copies; /* blocks that a message changed */
  uint64_t *noted;
  uint64_t noted_count;
  int uffd; /* -1: none */
} region;

/* For messages of at most blocks_max dirty blocks. */
region region_new(uint64_t bytes, uint64_t blocks_max);
void region_free(region *);

void ic_begin(region *);                                         /* protects the range */
bool ic_write(region *, const uint64_t *blocks, uint64_t count); /* false: the kernel refused a mapping; errno tells */
void ic_commit(region *);                                        /* copies what was noted */
void ic_rollback(region *);                                      /* copies the last copies back */

/* First writes and copies alone, the kernel noting the writes by itself (userfaultfd, asynchronous write-protect).
 * false: it cannot, or this process may not. */
bool floor_register(region *);
void floor_arm(region *, const uint64_t *blocks, uint64_t count); /* these blocks are clean */
void floor_copy(region *, const uint64_t *blocks, uint64_t count);

/* Maps, registers and unmaps a region as one memory needs it: reserved address space, the first bytes accessible. */
void map_once(uint64_t reserved_bytes, uint64_t bytes, int uffd);
/* A userfaultfd for it, or -1. */
int uffd_open(void);

#endif
