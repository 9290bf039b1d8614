/* block_table.c - searching, merging, the filter. The contract is in block_table.h. */
#include "storage/block_table.h"

#include <string.h>

enum {
  FILTERED_ENTRIES_MIN = 32,  /* fewer lie in a handful of cache lines */
  FILTER_BITS_MIN = 8,        /* for each entry; twice as many at most */
};

/* ---- the filter -------------------------------------------------------------------------------------------------- */

static uint64_t filter_bits(uint64_t entry_count) {
  uint64_t bits = 64;
  while (bits < entry_count * FILTER_BITS_MIN) bits *= 2;
  return bits;
}

size_t block_filter_bytes(uint64_t entry_count) {
  return entry_count < FILTERED_ENTRIES_MIN ? 0 : (size_t)(filter_bits(entry_count) / 8);
}

static uint64_t filter_bit(const block_table *t, uint32_t memory, uint64_t page) {
  return ((page ^ (uint64_t)memory << 40) * 0x9e3779b97f4a7c15u) >> t->filter_shift;
}

void block_filter_make(block_table *t, uint64_t *room) {
  size_t bytes = block_filter_bytes(t->entry_count);
  t->filter = NULL;
  if (bytes == 0) return;
  memset(room, 0, bytes);
  t->filter_shift = 64 - (unsigned)__builtin_ctzll(bytes * 8);
  for (uint64_t i = 0; i < t->entry_count; i++) {
    uint64_t bit = filter_bit(t, t->entries[i].memory, t->entries[i].page);
    room[bit / 64] |= 1ull << bit % 64;
  }
  t->filter = room;
}

static bool may_have(const block_table *t, uint32_t memory, uint64_t page) {
  if (t->filter == NULL) return true;
  uint64_t bit = filter_bit(t, memory, page);
  return t->filter[bit / 64] >> bit % 64 & 1;
}

/* ---- searching --------------------------------------------------------------------------------------------------- */

uint64_t block_table_seek(const block_table *t, uint32_t memory, uint64_t page) {
  uint64_t low = 0, high = t->entry_count;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    const block_entry *e = &t->entries[middle];
    if (place_compare(e->memory, e->page, memory, page) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

const block_entry *block_table_find(const block_table *t, uint32_t memory, uint64_t page) {
  if (!may_have(t, memory, page)) return NULL;
  uint64_t i = block_table_seek(t, memory, page);
  if (i == t->entry_count) return NULL;
  const block_entry *e = &t->entries[i];
  return e->memory == memory && e->page == page ? e : NULL;
}

uint16_t block_table_refs(const block_table *t, const block_entry *e, uint16_t want, block_ref ref[PAGE_BLOCKS]) {
  const block_ref *next = &t->blocks[e->first];
  for (unsigned left = e->mask; left != 0; left &= left - 1, next++) {
    unsigned i = (unsigned)__builtin_ctz(left);
    if (want >> i & 1) ref[i] = *next;
  }
  return e->mask & want;
}

/* ---- merging ----------------------------------------------------------------------------------------------------- */

/* One place of the result; either may be NULL. */
static void merge_entry(const block_table *older, const block_entry *o, const block_table *newer, const block_entry *n,
                        block_table_room *to) {
  const block_entry *e = n != NULL ? n : o;
  uint16_t old_mask = o != NULL ? o->mask : 0, new_mask = n != NULL ? n->mask : 0, mask = old_mask | new_mask;
  if (to->entries != NULL) {
    const block_ref *old = o != NULL ? &older->blocks[o->first] : NULL,
                    *new = n != NULL ? &newer->blocks[n->first] : NULL;
    to->entries[to->entry_count] = (block_entry){.page = e->page,
                                                 .first = to->block_count,
                                                 .memory = e->memory,
                                                 .mask = mask};
    block_ref *next = &to->blocks[to->block_count];
    for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
      if (mask >> i & 1) *next++ = new_mask >> i & 1 ? *new : *old;
      if (old_mask >> i & 1) old++;
      if (new_mask >> i & 1) new++;
    }
  }
  to->entry_count++;
  to->block_count += mask_count(mask);
}

void block_table_merge(const block_table *older, const block_table *newer, block_table_room *to) {
  const block_entry *o = older->entries, *o_end = o + older->entry_count;
  const block_entry *n = newer->entries, *n_end = n + newer->entry_count;
  while (o < o_end || n < n_end) {
    int order = o == o_end ? 1 : n == n_end ? -1 : place_compare(o->memory, o->page, n->memory, n->page);
    merge_entry(older, order <= 0 ? o : NULL, newer, order >= 0 ? n : NULL, to);
    if (order <= 0) o++;
    if (order >= 0) n++;
  }
}

bool block_table_is_valid(const block_table *t) {
  uint64_t blocks = 0;
  for (uint64_t i = 0; i < t->entry_count; i++) {
    const block_entry *e = &t->entries[i];
    if (e->mask == 0 || e->first != blocks || !may_have(t, e->memory, e->page)) return false;
    blocks += mask_count(e->mask);
    if (i == 0) continue;
    if (place_compare(e[-1].memory, e[-1].page, e->memory, e->page) >= 0) return false;
  }
  return blocks == t->block_count;
}
