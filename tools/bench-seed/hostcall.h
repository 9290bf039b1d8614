/* hostcall.h - the stable-memory calls as a careful host serves them: both ranges checked, then one copy.
 *
 * A block of 4 KiB of the stable memory is prepared by the library at its first read and marked at its first write in a
 * message (the memory is EXPLICIT: no fault, no scan); after that its entry in `touched` says so, and the bytes go
 * straight between the two memories: by memcpy, or, where the host is tuned to short lengths, by hostcall_move.
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

static inline void hostcall_memcpy(uint8_t *to, const uint8_t *from, uint64_t bytes) { memcpy(to, from, bytes); }

/* What fits in registers goes through them: no call, and a word that was just written can be read from where the
 * processor still has it. The shim moves alike. */
static inline void hostcall_move(uint8_t *to, const uint8_t *from, uint64_t bytes) {
  uint64_t low, high;
  if (bytes == 8) {
    memcpy(to, from, 8);
  } else if (bytes == 16) {
    memcpy(&low, from, 8);
    memcpy(&high, from + 8, 8);
    memcpy(to, &low, 8);
    memcpy(to + 8, &high, 8);
  } else if (bytes == 4) {
    memcpy(to, from, 4);
  } else if (bytes == 1) {
    *to = *from;
  } else {
    memcpy(to, from, bytes);
  }
}

/* False: a trap. `move` is known where this is inlined. */
static inline bool hostcall_copy(hostcall *h, uint64_t offset, uint64_t address, uint64_t bytes, touch wanted,
                                 void (*move)(uint8_t *, const uint8_t *, uint64_t)) {
  if (bytes == 0) return true;
  if (!hostcall_fits(offset, bytes, h->stable_pages * PAGESTORE_PAGE) || !hostcall_fits(address, bytes, h->heap_bytes))
    return false;
  for (uint64_t block = offset / PAGESTORE_BLOCK; block <= (offset + bytes - 1) / PAGESTORE_BLOCK; block++)
    if (h->touched[block] < wanted && hostcall_touch(h, block, wanted)) return false;
  if (wanted == READABLE) move(h->heap_base + address, h->stable_base + offset, bytes);
  else move(h->stable_base + offset, h->heap_base + address, bytes);
  return true;
}

#endif
