/* stable.c - the stable-memory calls: checks, counts, a copy between two regions.
 *
 *   no bytes -> done        out of bounds -> trap        counts, limits -> trap        pages of both sides -> trap   
 *     copy
 *
 * Invariants: nothing is copied unless all of a piece (1 MiB at most) is there on both sides: the host never faults
 * here;
 *             the counts belong to the message number `message`; dirtied is part of accessed.
 * Thread:     the instance's rule.
 */
#include <pagestore/stable.h>

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/pageset.h"
#include "base/status.h"
#include "memory.h"

enum { PIECE_BYTES = 1 << 20, PAGES_32 = 65536, BLOCKS_MIN = 1024 };

struct pagestore_stable {
  pagestore_memory *heap; /* NULL: foreign */
  pagestore_memory *stable;
  uint8_t *heap_base, *stable_base;
  uint64_t heap_bytes;       /* of a foreign one */
  uint64_t message;          /* the counts are of this one: instance->boundaries */
  pageset accessed, dirtied; /* blocks of the stable memory */
  uint64_t accessed_limit, dirtied_limit;
};

typedef pagestore_stable_trap trap;

const char *pagestore_stable_strerror(int code) {
  switch (code) {
  case PAGESTORE_STABLE_OK: return "no trap";
  case PAGESTORE_STABLE_BOUNDS: return "access out of bounds of the stable memory";
  case PAGESTORE_STABLE_HEAP: return "a stable-memory call with an address out of bounds of the heap";
  case PAGESTORE_STABLE_LARGE:
    return "a 32-bit call on a stable memory of more than 65,536 pages: use the 64-bit calls";
  case PAGESTORE_STABLE_ACCESSED: return "the message accesses more of the stable memory than its limit";
  case PAGESTORE_STABLE_DIRTIED: return "the message writes more of the stable memory than its limit";
  case PAGESTORE_STABLE_PAGE: return "a page of a memory cannot be had: pagestore_detail() says why";
  case PAGESTORE_STABLE_READONLY: return "a stable-memory call that changes a read-only view";
  case PAGESTORE_STABLE_MEMORY: return "no memory for a stable-memory call: pagestore_detail() says what to do";
  default: return "no trap of a stable-memory call";
  }
}

/* ---- opening --------------------------------------------------------------------------------- */

int pagestore_stable_open(pagestore_memory *heap, pagestore_memory *stable, const pagestore_stable_options *given,
                          pagestore_stable **out) {
  int status = memory_check(stable, false);
  if (!status && heap) status = memory_check(heap, false);
  if (status) return status;
  if (!out || (given && given->size != sizeof *given))
    return fail(PAGESTORE_EINVAL, "no place for the result, or pagestore_stable_options.size is not its sizeof");
  if (heap && (heap == stable || heap->instance != stable->instance))
    return fail(PAGESTORE_EINVAL, "heap and stable memory must be two memories of one instance handle");
  pagestore_stable *s = calloc(1, sizeof *s);
  if (!s) return fail(PAGESTORE_ENOMEM, "no memory for the stable-memory calls: free some and try again");
  s->heap = heap;
  s->stable = stable;
  s->heap_base = pagestore_memory_base(heap);
  s->stable_base = pagestore_memory_base(stable);
  s->message = stable->instance->boundaries;
  if (given) s->accessed_limit = given->accessed_limit;
  if (given) s->dirtied_limit = given->dirtied_limit;
  *out = s;
  return 0;
}

void pagestore_stable_close(pagestore_stable *s) {
  if (!s) return;
  pageset_free(&s->accessed);
  pageset_free(&s->dirtied);
  free(s);
}

void pagestore_stable_heap(pagestore_stable *s, uint8_t *base, uint64_t bytes) {
  ASSERT(!s->heap);
  s->heap_base = base;
  s->heap_bytes = bytes;
}

/* ---- counts ---------------------------------------------------------------------------------- */

static void follow_message(pagestore_stable *s) {
  uint64_t now = s->stable->instance->boundaries;
  if (s->message == now) return;
  s->message = now;
  pageset_clear(&s->accessed);
  pageset_clear(&s->dirtied);
}

void pagestore_stable_counts(pagestore_stable *s, uint64_t *accessed, uint64_t *dirtied) {
  follow_message(s);
  *accessed = s->accessed.count;
  *dirtied = s->dirtied.count;
}

/* Room in both sets for the memory as it is now. */
static bool make_room(pagestore_stable *s, uint64_t blocks) {
  if (blocks <= s->dirtied.capacity) return true;
  uint64_t capacity = max_u64(max_u64(blocks, BLOCKS_MIN), s->dirtied.capacity * 2);
  if (pageset_resize(&s->accessed, capacity) == 0 && pageset_resize(&s->dirtied, capacity) == 0) return true;
  fail(PAGESTORE_ENOMEM, "no memory to count the blocks of memory '%s': free some and roll back", s->stable->name);
  return false;
}

static uint64_t count_new(const pageset *set, uint64_t first, uint64_t last) {
  uint64_t new = 0;
  for (uint64_t block = first; block <= last; block++) new += !pageset_has(set, block);
  return new;
}

static bool passes(const pageset *set, uint64_t new, uint64_t limit) { return limit && set->count + new > limit; }

static trap count_new_blocks(pagestore_stable *s, uint64_t first, uint64_t last, bool to_write) {
  if (!make_room(s, pagestore_memory_pages(s->stable) * PAGE_BLOCKS)) return PAGESTORE_STABLE_MEMORY;
  uint64_t dirtied = to_write ? count_new(&s->dirtied, first, last) : 0;
  if (passes(&s->accessed, count_new(&s->accessed, first, last), s->accessed_limit)) return PAGESTORE_STABLE_ACCESSED;
  if (passes(&s->dirtied, dirtied, s->dirtied_limit)) return PAGESTORE_STABLE_DIRTIED;
  for (uint64_t block = first; block <= last; block++) {
    pageset_add(&s->accessed, block);
    if (to_write) pageset_add(&s->dirtied, block);
  }
  return PAGESTORE_STABLE_OK;
}

static trap count_blocks(pagestore_stable *s, uint64_t offset, uint64_t length, bool to_write) {
  uint64_t first = offset / BLOCK_BYTES, last = (offset + length - 1) / BLOCK_BYTES;
  follow_message(s);
  if (first == last && pageset_has(to_write ? &s->dirtied : &s->accessed, first)) return PAGESTORE_STABLE_OK;
  return count_new_blocks(s, first, last, to_write);
}

/* ---- copying --------------------------------------------------------------------------------- */

static trap trap_of(int status) {
  return status == PAGESTORE_EREADONLY ? PAGESTORE_STABLE_READONLY : PAGESTORE_STABLE_PAGE;
}

/* Bytes of at most one piece are there and may be read or written. */
static trap have(pagestore_memory *m, uint64_t offset, uint64_t length, bool to_write) {
  bool one_page = offset / PAGE_BYTES == (offset + length - 1) / PAGE_BYTES;
  if (one_page && memory_is_touched(m, offset, to_write)) {
    if (to_write) memory_mark_range(m, offset, length);
    return PAGESTORE_STABLE_OK;
  }
  int status = memory_touch(m, offset, length, to_write);
  return status ? trap_of(status) : PAGESTORE_STABLE_OK;
}

typedef enum { TO_HEAP, TO_STABLE } direction;
/* In the heap, in the stable memory. By pointer: the processor cannot forward what by value is stored in halves. */
typedef struct {
  uint64_t address, offset, length;
} range;

static trap copy(pagestore_stable *s, const range *r, direction to) {
  for (uint64_t done = 0, step; done < r->length; done += step) {
    uint64_t address = r->address + done, offset = r->offset + done;
    step = min_u64(r->length - done, PIECE_BYTES);
    trap t = s->heap ? have(s->heap, address, step, to == TO_HEAP) : PAGESTORE_STABLE_OK;
    if (!t) t = have(s->stable, offset, step, to == TO_STABLE);
    if (t) return t;
    if (to == TO_HEAP) memcpy(s->heap_base + address, s->stable_base + offset, step);
    else memcpy(s->stable_base + offset, s->heap_base + address, step);
  }
  return PAGESTORE_STABLE_OK;
}

static trap transfer(pagestore_stable *s, const range *r, direction to) {
  uint64_t heap_bytes = s->heap ? pagestore_memory_pages(s->heap) * PAGE_BYTES : s->heap_bytes;
  if (r->length == 0) return PAGESTORE_STABLE_OK;
  if (!range_fits(r->offset, r->length, pagestore_memory_pages(s->stable) * PAGE_BYTES)) return PAGESTORE_STABLE_BOUNDS;
  if (!range_fits(r->address, r->length, heap_bytes)) return PAGESTORE_STABLE_HEAP;
  trap t = count_blocks(s, r->offset, r->length, to == TO_STABLE);
  return t ? t : copy(s, r, to);
}

/* ---- the calls ------------------------------------------------------------------------------- */

trap pagestore_stable64_size(pagestore_stable *s, uint64_t *pages) {
  *pages = pagestore_memory_pages(s->stable);
  return PAGESTORE_STABLE_OK;
}

/* What stops growth but the maximum must not depend on the machine: a trap, not -1. */
trap pagestore_stable64_grow(pagestore_stable *s, uint64_t more_pages, uint64_t *old_pages) {
  int status = pagestore_memory_grow(s->stable, more_pages, old_pages);
  if (status == PAGESTORE_EBOUNDS) *old_pages = UINT64_MAX;
  if (!status || status == PAGESTORE_EBOUNDS) return PAGESTORE_STABLE_OK;
  return status == PAGESTORE_EREADONLY ? PAGESTORE_STABLE_READONLY : PAGESTORE_STABLE_MEMORY;
}

trap pagestore_stable64_read(pagestore_stable *s, uint64_t to, uint64_t offset, uint64_t length) {
  return transfer(s, &(range){.address = to, .offset = offset, .length = length}, TO_HEAP);
}

trap pagestore_stable64_write(pagestore_stable *s, uint64_t offset, uint64_t from, uint64_t length) {
  return transfer(s, &(range){.address = from, .offset = offset, .length = length}, TO_STABLE);
}

static bool is_large(const pagestore_stable *s) { return pagestore_memory_pages(s->stable) > PAGES_32; }

trap pagestore_stable_size(pagestore_stable *s, uint32_t *pages) {
  if (is_large(s)) return PAGESTORE_STABLE_LARGE;
  *pages = (uint32_t)pagestore_memory_pages(s->stable);
  return PAGESTORE_STABLE_OK;
}

trap pagestore_stable_grow(pagestore_stable *s, uint32_t more_pages, uint32_t *old_pages) {
  if (is_large(s)) return PAGESTORE_STABLE_LARGE;
  uint64_t old = UINT64_MAX;
  trap t = PAGESTORE_STABLE_OK;
  if (pagestore_memory_pages(s->stable) + more_pages <= PAGES_32) t = pagestore_stable64_grow(s, more_pages, &old);
  if (!t) *old_pages = (uint32_t)old;
  return t;
}

trap pagestore_stable_read(pagestore_stable *s, uint32_t to, uint32_t offset, uint32_t length) {
  return length && is_large(s) ? PAGESTORE_STABLE_LARGE : pagestore_stable64_read(s, to, offset, length);
}

trap pagestore_stable_write(pagestore_stable *s, uint32_t offset, uint32_t from, uint32_t length) {
  return length && is_large(s) ? PAGESTORE_STABLE_LARGE : pagestore_stable64_write(s, offset, from, length);
}
