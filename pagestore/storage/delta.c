/* delta.c - deltas and the index of unflushed blocks.
 *
 *   unflushed:  span(serials 1..40)  span(41..55)  span(56..57)      replaced as a whole, never edited
 *                     |                  |             |
 *   run:        table + deltas      table + deltas   table + delta   immutable, shared by many indexes
 *
 * A table is sorted by (memory, page): entries, and one pointer per block of their masks, ascending. A delta
 * carries the table of its own blocks, so a run over one delta costs a few words; a merged run has a table of
 * its own and references to those
 * deltas that it still points into: a delta whose every block was written again is let go.
 *
 * Cost, with n blocks in the index: push merges the newest run with its elder while it is at least half as large and
 * the elder begins after the cut, so sizes fall by more than half from run to run: at most log2(n) runs on
 * each side of the cut, and a block is moved O(log n) times before it is flushed. find: one binary search a
 * run. drop and restamp: O(runs). A block of zeros is a pointer to the one zero block.
 */
#include "storage/delta.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <pagestore.h>

#include "base/check.h"

typedef struct {
  uint64_t page;
  uint64_t first;    /* where its pointers begin in blocks */
  uint32_t memory;
  uint16_t mask;     /* never 0; as many pointers as bits */
} entry;

typedef struct {
  const entry *entries;
  const uint8_t *const *blocks;
  uint64_t entry_count, block_count;
} table;

struct delta {
  _Atomic uint32_t references;
  uint64_t entry_room, block_room;
  uint64_t entry_count, block_count;
  uint64_t stored_count;     /* blocks that are not all zeros */
  uint8_t *bytes;            /* theirs, one after the other */
  const uint8_t **blocks;
  entry entries[];
};

typedef struct {
  _Atomic uint32_t references;
  table table;
  uint64_t delta_count;
  delta *deltas[];           /* by address of their bytes: owner_of() searches */
} run;

typedef struct { run *run; uint64_t first, last; } span;   /* serials */

struct unflushed {
  _Atomic uint32_t references;
  uint32_t count;
  span spans[];              /* the oldest first */
};

static const uint8_t zero_block[BLOCK_BYTES];

/* ---- a place: (memory, page) in order -------------------------------------------------------------------------- */

static int compare_place(uint32_t memory_a, uint64_t page_a, uint32_t memory_b, uint64_t page_b) {
  if (memory_a != memory_b) return memory_a < memory_b ? -1 : 1;
  return page_a < page_b ? -1 : page_a > page_b;
}

/* Index of the first entry >= (memory, page); entry_count if none. */
static uint64_t table_seek(const table *t, uint32_t memory, uint64_t page) {
  uint64_t low = 0, high = t->entry_count;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    const entry *e = &t->entries[middle];
    if (compare_place(e->memory, e->page, memory, page) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

static const entry *table_find(const table *t, uint32_t memory, uint64_t page) {
  uint64_t i = table_seek(t, memory, page);
  if (i == t->entry_count) return NULL;
  const entry *e = &t->entries[i];
  return e->memory == memory && e->page == page ? e : NULL;
}

/* Fills block[] for the bits of `want` that the entry has; returns those. */
static uint16_t entry_blocks(const table *t, const entry *e, uint16_t want, const uint8_t *block[PAGE_BLOCKS]) {
  const uint8_t *const *next = &t->blocks[e->first];
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    if (!(e->mask >> i & 1)) continue;
    if (want >> i & 1) block[i] = *next;
    next++;
  }
  return e->mask & want;
}

static bool table_is_valid(const table *t) {
  uint64_t blocks = 0;
  for (uint64_t i = 0; i < t->entry_count; i++) {
    const entry *e = &t->entries[i];
    if (e->mask == 0 || e->first != blocks) return false;
    blocks += mask_count(e->mask);
    if (i == 0) continue;
    if (compare_place(e[-1].memory, e[-1].page, e->memory, e->page) >= 0) return false;
  }
  if (blocks != t->block_count) return false;
  for (uint64_t i = 0; i < blocks; i++)
    if (t->blocks[i] == NULL) return false;
  return true;
}

/* ---- delta ------------------------------------------------------------------------------------------------------ */

int delta_new(uint64_t pages, uint64_t blocks, delta **out) {
  uint64_t entry_bytes, pointer_bytes, block_bytes, size;
  if (!checked_mul(pages, sizeof(entry), &entry_bytes) || !checked_mul(blocks, sizeof(uint8_t *), &pointer_bytes) ||
      !checked_mul(blocks, BLOCK_BYTES, &block_bytes) || !checked_add(entry_bytes, pointer_bytes, &size) ||
      !checked_add(size, sizeof(delta), &size) || block_bytes > SIZE_MAX / 2 || size > SIZE_MAX / 2)
    return PAGESTORE_ENOMEM;
  delta *d = malloc(size);
  if (d == NULL) return PAGESTORE_ENOMEM;
  *d = (delta){.references = 1, .entry_room = pages, .block_room = blocks};
  d->blocks = (const uint8_t **)(void *)((uint8_t *)d->entries + entry_bytes);
  if (blocks != 0 && (d->bytes = malloc(block_bytes)) == NULL) {
    free(d);
    return PAGESTORE_ENOMEM;
  }
  *out = d;
  return 0;
}

/* Most blocks that are not zeros show it in their first bytes, so this seldom looks further. */
static bool is_zero_block(const uint8_t *block) {
  static const uint64_t zero;
  return memcmp(block, &zero, sizeof zero) == 0 && memcmp(block, zero_block, BLOCK_BYTES) == 0;
}

void delta_add(delta *d, uint32_t memory, uint64_t page, uint16_t mask, const uint8_t *page_bytes) {
  if (mask == 0) return;
  ASSERT(d->entry_count < d->entry_room && d->block_count + mask_count(mask) <= d->block_room);
  entry *e = &d->entries[d->entry_count];
  ASSERT(d->entry_count == 0 || compare_place(e[-1].memory, e[-1].page, memory, page) < 0);
  *e = (entry){.page = page, .first = d->block_count, .memory = memory, .mask = mask};
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    if (!(mask >> i & 1)) continue;
    const uint8_t *from = page_bytes + (size_t)i * BLOCK_BYTES;
    if (is_zero_block(from)) {
      d->blocks[d->block_count++] = zero_block;
      continue;
    }
    uint8_t *to = d->bytes + d->stored_count++ * BLOCK_BYTES;
    memcpy(to, from, BLOCK_BYTES);
    d->blocks[d->block_count++] = to;
  }
  d->entry_count++;
}

delta *delta_reference(delta *d) {
  ASSERT(atomic_load_explicit(&d->references, memory_order_relaxed) != 0);
  atomic_fetch_add_explicit(&d->references, 1, memory_order_relaxed);
  return d;
}

void delta_release(delta *d) {
  if (d == NULL || atomic_fetch_sub_explicit(&d->references, 1, memory_order_acq_rel) != 1) return;
  free(d->bytes);
  free(d);
}

uint64_t delta_bytes(const delta *d) {
  return sizeof *d + d->entry_count * sizeof(entry) + d->block_count * sizeof(uint8_t *) +
         d->stored_count * BLOCK_BYTES;
}

uint64_t delta_blocks(const delta *d) { return d->block_count; }

static table delta_table(const delta *d) {
  return (table){d->entries, d->blocks, d->entry_count, d->block_count};
}

bool delta_next(const delta *d, uint64_t *at, delta_page *out) {
  if (*at >= d->entry_count) return false;
  table t = delta_table(d);
  const entry *e = &d->entries[(*at)++];
  *out = (delta_page){.memory = e->memory, .mask = e->mask, .page = e->page};
  entry_blocks(&t, e, ALL_BLOCKS, out->block);
  return true;
}

/* ---- runs ------------------------------------------------------------------------------------------------------- */

static run *run_reference(run *r) {
  atomic_fetch_add_explicit(&r->references, 1, memory_order_relaxed);
  return r;
}

static void run_release(run *r) {
  if (atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) != 1) return;
  for (uint64_t i = 0; i < r->delta_count; i++) delta_release(r->deltas[i]);
  free(r);
}

static int run_of_delta(delta *d, run **out) {
  run *r = malloc(sizeof *r + sizeof(delta *));
  if (r == NULL) return PAGESTORE_ENOMEM;
  *r = (run){.references = 1, .table = delta_table(d), .delta_count = 1};
  r->deltas[0] = delta_reference(d);
  *out = r;
  return 0;
}

/* Where a merge goes: with entries NULL it is only counted. */
typedef struct {
  entry *entries;
  const uint8_t **blocks;
  uint64_t entry_count, block_count;
} merge_target;

/* One place of the result: the newer blocks over the older ones; either may be NULL. */
static void merge_entry(const table *older, const entry *o, const table *newer, const entry *n, merge_target *to) {
  const entry *e = n != NULL ? n : o;
  uint16_t mask = (uint16_t)((o != NULL ? o->mask : 0) | (n != NULL ? n->mask : 0));
  if (to->entries != NULL) {
    const uint8_t *block[PAGE_BLOCKS] = {0};
    if (o != NULL) entry_blocks(older, o, ALL_BLOCKS, block);
    if (n != NULL) entry_blocks(newer, n, ALL_BLOCKS, block);
    to->entries[to->entry_count] = (entry){.page = e->page,
                                           .first = to->block_count,
                                           .memory = e->memory,
                                           .mask = mask};
    const uint8_t **next = &to->blocks[to->block_count];
    for (unsigned i = 0; i < PAGE_BLOCKS; i++)
      if (mask >> i & 1) *next++ = block[i];
  }
  to->entry_count++;
  to->block_count += mask_count(mask);
}

static void merge_tables(const table *older, const table *newer, merge_target *to) {
  const entry *o = older->entries, *o_end = o + older->entry_count;
  const entry *n = newer->entries, *n_end = n + newer->entry_count;
  while (o < o_end || n < n_end) {
    int order = o == o_end ? 1 : n == n_end ? -1 : compare_place(o->memory, o->page, n->memory, n->page);
    merge_entry(older, order <= 0 ? o : NULL, newer, order >= 0 ? n : NULL, to);
    if (order <= 0) o++;
    if (order >= 0) n++;
  }
}

/* Both lists by address, into one without repetitions; no references are taken. */
static uint64_t merge_deltas(const run *a, const run *b, delta **to) {
  uint64_t i = 0, j = 0, count = 0;
  while (i < a->delta_count || j < b->delta_count) {
    uintptr_t x = i < a->delta_count ? (uintptr_t)a->deltas[i]->bytes : UINTPTR_MAX;
    uintptr_t y = j < b->delta_count ? (uintptr_t)b->deltas[j]->bytes : UINTPTR_MAX;
    to[count++] = x <= y ? a->deltas[i] : b->deltas[j];
    if (x <= y) i++;
    if (y <= x) j++;
  }
  return count;
}

/* Which of the deltas, sorted by address, holds these bytes. */
static uint64_t owner_of(delta *const *deltas, uint64_t count, const uint8_t *block) {
  uint64_t low = 0, high = count;
  while (high - low > 1) {
    uint64_t middle = low + (high - low) / 2;
    if ((uintptr_t)deltas[middle]->bytes <= (uintptr_t)block) low = middle;
    else high = middle;
  }
  ASSERT((uintptr_t)block - (uintptr_t)deltas[low]->bytes < deltas[low]->stored_count * BLOCK_BYTES);
  return low;
}

/* Keeps, with a reference each, the deltas that the run's table still points into. `used` has a zero byte for each. */
static void run_keep_used(run *r, uint8_t *used) {
  for (uint64_t i = 0; i < r->table.block_count; i++)
    if (r->table.blocks[i] != zero_block) used[owner_of(r->deltas, r->delta_count, r->table.blocks[i])] = 1;
  uint64_t kept = 0;
  for (uint64_t i = 0; i < r->delta_count; i++)
    if (used[i]) r->deltas[kept++] = delta_reference(r->deltas[i]);
  r->delta_count = kept;
}

static int run_merge(const run *older, const run *newer, run **out) {
  merge_target to = {0};
  merge_tables(&older->table, &newer->table, &to);
  uint64_t deltas = older->delta_count + newer->delta_count;
  size_t delta_room = deltas * sizeof(delta *), entry_room = to.entry_count * sizeof(entry);
  size_t pointer_room = to.block_count * sizeof(uint8_t *);
  run *r = malloc(sizeof *r + delta_room + entry_room + pointer_room + deltas);
  if (r == NULL) return PAGESTORE_ENOMEM;
  uint8_t *room = (uint8_t *)r->deltas + delta_room;
  to = (merge_target){.entries = (entry *)(void *)room, .blocks = (const uint8_t **)(void *)(room + entry_room)};
  merge_tables(&older->table, &newer->table, &to);
  *r = (run){.references = 1, .table = {to.entries, to.blocks, to.entry_count, to.block_count}};
  r->delta_count = merge_deltas(older, newer, r->deltas);
  uint8_t *used = room + entry_room + pointer_room;
  memset(used, 0, deltas);
  run_keep_used(r, used);
  *out = r;
  return 0;
}

/* ---- the index --------------------------------------------------------------------------------------------------- */

/* The spans from..from+count of another index, each run with a reference of its own, and room for more. */
static int index_copy(const unflushed *u, uint32_t from, uint32_t count, uint32_t more, unflushed **out) {
  unflushed *copy = malloc(sizeof *copy + (count + more) * sizeof(span));
  if (copy == NULL) return PAGESTORE_ENOMEM;
  *copy = (unflushed){.references = 1, .count = count};
  for (uint32_t i = 0; i < count; i++) {
    copy->spans[i] = u->spans[from + i];
    run_reference(copy->spans[i].run);
  }
  *out = copy;
  return 0;
}

/* Geometric, so that their number stays logarithmic; never across the cut, so that what a flush in progress
 * writes goes whole. */
static bool wants_merge(const span *elder, const run *younger, uint64_t cut) {
  return elder->first > cut && 2 * younger->table.block_count >= elder->run->table.block_count;
}

int unflushed_push(const unflushed *u, delta *d, uint64_t serial, uint64_t cut, unflushed **out) {
  uint32_t count = u == NULL ? 0 : u->count;
  ASSERT(count == 0 || serial > u->spans[count - 1].last);
  if (d->entry_count == 0) {
    *out = unflushed_reference((unflushed *)u);
    return 0;
  }
  span top = {.first = serial, .last = serial};
  int err = run_of_delta(d, &top.run);
  if (err != 0) return err;
  while (count > 0 && wants_merge(&u->spans[count - 1], top.run, cut)) {
    run *merged;
    if ((err = run_merge(u->spans[count - 1].run, top.run, &merged)) != 0) goto release_run;
    run_release(top.run);
    top.run = merged;
    top.first = u->spans[--count].first;
  }
  unflushed *pushed;
  if ((err = index_copy(u, 0, count, 1, &pushed)) != 0) goto release_run;
  pushed->spans[pushed->count++] = top;
  ASSERT_FULL(unflushed_is_valid(pushed));
  *out = pushed;
  return 0;
release_run:
  run_release(top.run);
  return err;
}

int unflushed_drop(const unflushed *u, uint64_t through, unflushed **out) {
  uint32_t gone = 0;
  while (u != NULL && gone < u->count && u->spans[gone].last <= through) gone++;
  if (gone == 0) {
    *out = unflushed_reference((unflushed *)u);
    return 0;
  }
  if (gone == u->count) {
    *out = NULL;
    return 0;
  }
  return index_copy(u, gone, u->count - gone, 0, out);
}

int unflushed_restamp(const unflushed *u, uint64_t serial, unflushed **out) {
  if (u == NULL) {
    *out = NULL;
    return 0;
  }
  unflushed *copy;
  int err = index_copy(u, 0, u->count, 0, &copy);
  if (err != 0) return err;
  for (uint32_t i = 0; i < copy->count; i++) copy->spans[i].first = copy->spans[i].last = serial;
  *out = copy;
  return 0;
}

unflushed *unflushed_reference(unflushed *u) {
  if (u != NULL) atomic_fetch_add_explicit(&u->references, 1, memory_order_relaxed);
  return u;
}

void unflushed_release(unflushed *u) {
  if (u == NULL || atomic_fetch_sub_explicit(&u->references, 1, memory_order_acq_rel) != 1) return;
  for (uint32_t i = 0; i < u->count; i++) run_release(u->spans[i].run);
  free(u);
}

uint16_t unflushed_find(const unflushed *u, uint32_t memory, uint64_t page, const uint8_t *block[PAGE_BLOCKS]) {
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) block[i] = NULL;
  uint16_t found = 0;
  for (uint32_t i = u == NULL ? 0 : u->count; i > 0 && found != ALL_BLOCKS; i--) {
    const table *t = &u->spans[i - 1].run->table;
    const entry *e = table_find(t, memory, page);
    if (e != NULL) found |= entry_blocks(t, e, (uint16_t)~found, block);
  }
  return found;
}

bool unflushed_has(const unflushed *u, uint32_t memory, uint64_t page) {
  for (uint32_t i = u == NULL ? 0 : u->count; i > 0; i--)
    if (table_find(&u->spans[i - 1].run->table, memory, page) != NULL) return true;
  return false;
}

bool unflushed_next(const unflushed *u, uint32_t memory, uint64_t page, delta_page *out) {
  const entry *nearest = NULL;
  for (uint32_t i = 0; u != NULL && i < u->count; i++) {
    const table *t = &u->spans[i].run->table;
    uint64_t at = table_seek(t, memory, page);
    if (at == t->entry_count) continue;
    const entry *e = &t->entries[at];
    if (nearest == NULL || compare_place(e->memory, e->page, nearest->memory, nearest->page) < 0) nearest = e;
  }
  if (nearest == NULL) return false;
  *out = (delta_page){.memory = nearest->memory, .page = nearest->page};
  out->mask = unflushed_find(u, nearest->memory, nearest->page, out->block);
  return true;
}

bool unflushed_is_valid(const unflushed *u) {
  if (u == NULL) return true;
  if (u->count == 0) return false;
  for (uint32_t i = 0; i < u->count; i++) {
    const span *s = &u->spans[i];
    if (s->first > s->last || !table_is_valid(&s->run->table)) return false;
    /* Equal only after a restamp: there all runs have one serial. */
    if (i > 0 && s[-1].last > s->first) return false;
  }
  return true;
}
