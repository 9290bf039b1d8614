/* hostcall.h - the stable-memory calls as a careful host serves them: both ranges checked, then one copy.
 *
 * A block of 4 KiB of the stable memory is prepared by the library at its first read and marked at its first write in a
 * message (the memory is EXPLICIT: no fault, no scan); after that its entry in `touched` says so, and the bytes go
 * straight between the two memories.
 *
 * Invariant: an entry of `touched` belongs to the open message; hostcall_boundary forgets all.
 * Thread:    one. */
#ifndef BENCH_HOSTCALL_H
#define BENCH_HOSTCALL_H

#include <stdlib.h>
#include <string.h>

#include "seed.h"

enum { BLOCKS = PAGESTORE_PAGE / PAGESTORE_BLOCK };
typedef enum { UNTOUCHED, READABLE, WRITABLE } touch;

typedef struct {
  pagestore_memory *heap, *stable;
  uint8_t *heap_base, *stable_base;
  uint64_t heap_bytes, stable_pages; /* as of the last growth */
  uint8_t *touched;                  /* a touch for each block */
} hostcall;

static inline bool hostcall_fits(uint64_t at, uint64_t bytes, uint64_t size) {
  return bytes <= size && at <= size - bytes;
}

static inline void hostcall_boundary(hostcall *h) {
  if (h->stable_pages) memset(h->touched, UNTOUCHED, h->stable_pages * BLOCKS);
}

/* The old size in pages, or -1. */
static inline int64_t hostcall_grow(hostcall *h, uint64_t pages) {
  uint64_t before;
  if (pagestore_memory_grow(h->stable, pages, &before)) return -1;
  uint8_t *touched = realloc(h->touched, (before + pages + 1) * BLOCKS);
  if (!touched) return -1;
  memset(touched + before * BLOCKS, UNTOUCHED, pages * BLOCKS);
  h->touched = touched;
  h->stable_pages = before + pages;
  return (int64_t)before;
}

/* Not inlined: once a block and message. */
static __attribute__((noinline, unused)) int hostcall_touch(hostcall *h, uint64_t block, touch wanted) {
  uint64_t at = block * PAGESTORE_BLOCK;
  int status = h->touched[block] ? 0 : pagestore_memory_prepare(h->stable, at, PAGESTORE_BLOCK, false);
  if (!status && wanted == WRITABLE) status = pagestore_memory_mark(h->stable, at, PAGESTORE_BLOCK);
  if (!status) h->touched[block] = (uint8_t)wanted;
  return status;
}

/* False: a trap. */
static inline bool hostcall_copy(hostcall *h, uint64_t offset, uint64_t address, uint64_t bytes, touch wanted) {
  if (bytes == 0) return true;
  if (!hostcall_fits(offset, bytes, h->stable_pages * PAGESTORE_PAGE) || !hostcall_fits(address, bytes, h->heap_bytes))
    return false;
  for (uint64_t block = offset / PAGESTORE_BLOCK; block <= (offset + bytes - 1) / PAGESTORE_BLOCK; block++)
    if (h->touched[block] < wanted && hostcall_touch(h, block, wanted)) return false;
  if (wanted == READABLE) memcpy(h->heap_base + address, h->stable_base + offset, bytes);
  else memcpy(h->stable_base + offset, h->heap_base + address, bytes);
  return true;
}

#endif
