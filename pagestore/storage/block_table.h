/* block_table.h - which blocks of which pages there are, and where each of them lies.
 *
 *   entries:  (memory, page) mask    (memory, page) mask    ...     ascending
 *   blocks:   ref ref ref            ref                    ...     one for each bit of the masks, ascending
 *   filter:   bits, of which each entry has one                     NULL: the table is small, or another's
 *
 * An index has several tables, and most pages are in few of them: a look at the filter, of a byte or two for each
 * entry, spares the search through the entries of the others.
 *
 * Always true: a mask is never 0; blocks[e->first] is the first one of the entry e.
 * Thread:      any; what is filled is never changed. Finding is async-signal-safe.
 * Owner:       whoever has the room for the arrays; nothing here allocates.
 */
#ifndef PAGESTORE_STORAGE_BLOCK_TABLE_H
#define PAGESTORE_STORAGE_BLOCK_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/units.h"

struct delta;

typedef struct {
  uint64_t page;
  uint64_t first;    /* where its refs begin in blocks */
  uint32_t memory;
  uint16_t mask;
} block_entry;

/* The at-th block in the bytes of its owner; owner NULL: zeros. For a record of the log `at` has the block's version,
 * too, above the four bits that number its sixteen blocks. */
typedef struct { struct delta *owner; uint64_t at; } block_ref;

typedef struct {
  const block_entry *entries;
  const block_ref *blocks;
  uint64_t entry_count, block_count;
  const uint64_t *filter;
  unsigned filter_shift;  /* of a hash, to one of its bits */
} block_table;

static inline int place_compare(uint32_t memory_a, uint64_t page_a, uint32_t memory_b, uint64_t page_b) {
  if (memory_a != memory_b) return memory_a < memory_b ? -1 : 1;
  return page_a < page_b ? -1 : page_a > page_b;
}

/* Index of the first entry >= (memory, page); entry_count if none. */
uint64_t block_table_seek(const block_table *, uint32_t memory, uint64_t page);
const block_entry *block_table_find(const block_table *, uint32_t memory, uint64_t page);  /* NULL: not there */
/* Fills ref[] for the bits of `want` that the entry has; returns those. */
uint16_t block_table_refs(const block_table *, const block_entry *, uint16_t want, block_ref ref[PAGE_BLOCKS]);

/* The newer blocks over the older ones. With entries NULL they are only counted. */
typedef struct {
  block_entry *entries;
  block_ref *blocks;
  uint64_t entry_count, block_count;
} block_table_room;
void block_table_merge(const block_table *older, const block_table *newer, block_table_room *);

/* For a table of so many entries, a multiple of 8; 0: it gets none. */
size_t block_filter_bytes(uint64_t entry_count);
void block_filter_make(block_table *, uint64_t *room);

bool block_table_is_valid(const block_table *);

#endif
