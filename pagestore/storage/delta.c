/* delta.c - deltas and the index of unflushed blocks.
 *
 *   unflushed:  span(serials 1..40)  span(41..55)  span(56..57)      replaced as a whole, never edited
 *                     |                  |             |
 *   run:        table + deltas      table + deltas   table + delta   immutable, shared by many indexes
 *
 * A delta carries the table of its own blocks, so a run over one delta costs a few words; a merged run has a table of
 * its own and references to those deltas that it still points into: a delta whose every block was written again is let
 * go.
 *
 * Cost, with n blocks in the index: push merges the newest run with its elder while it is at least half as large (a
 * quarter, in the log) and the elder begins after the cut, so sizes fall by more than that from run to run: at most
 * log2(n) runs on each side of the cut, and a block is moved O(log n) times before it is flushed. find: a look at each
 * run's filter, and a binary search where the page may be. drop and restamp: O(runs). A block of zeros is a pointer to
 * the one zero block.
 */
#include "storage/delta.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <pagestore.h>

#include "base/check.h"
#include "storage/block_table.h"

enum {
  SLOT_BITS = 4,  /* of the ref of a logged block: which of its record's sixteen */
  /* How much larger an elder run may be, to be merged with. What is in the log is looked up more often than pushed. */
  ELDER_RATIO = 2, ELDER_RATIO_LOGGED = 4,
};

struct delta {
  _Atomic uint32_t references;
  uint64_t entry_room, block_room;
  uint64_t entry_count, block_count;
  uint64_t stored_count;     /* blocks that are not all zeros */
  /* theirs, one after the other; of a record of the log: in the mapping, or in its copy */
  const uint8_t *_Atomic bytes;
  uint8_t *own;              /* what is to be freed with it; NULL: a record in the mapping */
  uint64_t sequence;         /* of a record, else 0 */
  /* of a record that is being written: its slots from `landed` on, and where all will be in the mapping */
  const uint8_t *written, *mapped;
  _Atomic uint32_t landed;
  _Atomic bool is_checked;   /* of a record: its header was in order */
  block_ref *blocks;
  block_entry entries[];
};

typedef struct {
  _Atomic uint32_t references;
  block_table table;
  uint64_t delta_count;
  delta *deltas[];           /* by address: owner_at() searches */
} run;

typedef struct { run *run; uint64_t first, last; } span;   /* serials */

struct unflushed {
  _Atomic uint32_t references;
  uint32_t count;
  span spans[];              /* the oldest first */
};

static const uint8_t zero_block[BLOCK_BYTES];

/* ---- where a block lies ------------------------------------------------------------------------------------------ */

/* Where the record lies of which a slot is asked for. Slots that are being written are known to the writer alone. */
static const uint8_t *record_of(const delta *d, unsigned slot) {
  if (slot >= atomic_load_explicit(&d->landed, memory_order_acquire)) return d->written;
  return atomic_load_explicit(&d->bytes, memory_order_acquire) - PAGE_HEADER_BYTES;
}

static const uint8_t *ref_bytes(block_ref r) {
  if (r.owner == NULL) return zero_block;
  if (r.owner->sequence == 0) return r.owner->bytes + r.at * BLOCK_BYTES;
  unsigned slot = (unsigned)(r.at % PAGE_BLOCKS);
  return record_of(r.owner, slot) + PAGE_HEADER_BYTES + (size_t)slot * BLOCK_BYTES;
}

/* ---- delta ------------------------------------------------------------------------------------------------------ */

int delta_new(uint64_t pages, uint64_t blocks, delta **out) {
  uint64_t entry_bytes, pointer_bytes, block_bytes, size;
  if (!checked_mul(pages, sizeof(block_entry), &entry_bytes) ||
      !checked_mul(blocks, sizeof(block_ref), &pointer_bytes) || !checked_mul(blocks, BLOCK_BYTES, &block_bytes) ||
      !checked_add(entry_bytes, pointer_bytes, &size) ||
      !checked_add(size, sizeof(delta), &size) || block_bytes > SIZE_MAX / 2 || size > SIZE_MAX / 2)
    return PAGESTORE_ENOMEM;
  delta *d = malloc(size);
  if (d == NULL) return PAGESTORE_ENOMEM;
  *d = (delta){.references = 1, .entry_room = pages, .block_room = blocks};
  d->blocks = (block_ref *)(void *)((uint8_t *)d->entries + entry_bytes);
  if (blocks != 0 && (d->own = malloc(block_bytes)) == NULL) {
    free(d);
    return PAGESTORE_ENOMEM;
  }
  d->bytes = d->own;
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
  block_entry *e = &d->entries[d->entry_count];
  ASSERT(d->entry_count == 0 || place_compare(e[-1].memory, e[-1].page, memory, page) < 0);
  *e = (block_entry){.page = page, .first = d->block_count, .memory = memory, .mask = mask};
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    if (!(mask >> i & 1)) continue;
    const uint8_t *from = page_bytes + (size_t)i * BLOCK_BYTES;
    block_ref *ref = &d->blocks[d->block_count++];
    *ref = (block_ref){.owner = is_zero_block(from) ? NULL : d, .at = d->stored_count};
    if (ref->owner != NULL) memcpy(d->own + d->stored_count++ * BLOCK_BYTES, from, BLOCK_BYTES);
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
  free(d->own);
  free(d);
}

uint64_t delta_bytes(const delta *d) {
  return sizeof *d + d->entry_count * sizeof(block_entry) + d->block_count * sizeof(block_ref) +
         d->stored_count * BLOCK_BYTES;
}

uint64_t delta_blocks(const delta *d) { return d->block_count; }

static block_table delta_table(const delta *d) {
  return (block_table){.entries = d->entries, .blocks = d->blocks,
                       .entry_count = d->entry_count, .block_count = d->block_count};
}

bool delta_next(const delta *d, uint64_t *at, delta_page *out) {
  if (*at >= d->entry_count) return false;
  block_table t = delta_table(d);
  const block_entry *e = &d->entries[(*at)++];
  *out = (delta_page){.memory = e->memory, .mask = e->mask, .page = e->page};
  block_ref ref[PAGE_BLOCKS];
  block_table_refs(&t, e, ALL_BLOCKS, ref);
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) out->block[i] = e->mask >> i & 1 ? ref_bytes(ref[i]) : NULL;
  return true;
}

/* ---- records of the log ------------------------------------------------------------------------------------------ */

int delta_of_record(const uint8_t *mapped, uint64_t sequence, delta **out) {
  ASSERT(sequence != 0);
  delta *d = malloc(sizeof *d);
  if (d == NULL) return PAGESTORE_ENOMEM;
  *d = (delta){.references = 1, .stored_count = PAGE_BLOCKS, .landed = PAGE_BLOCKS, .sequence = sequence};
  d->bytes = mapped + PAGE_HEADER_BYTES;
  *out = d;
  return 0;
}

void delta_write(delta *d, const uint8_t *record, const uint8_t *mapped, unsigned kept) {
  ASSERT(d->sequence != 0 && d->own == NULL && kept < PAGE_BLOCKS);
  d->written = record;
  d->mapped = mapped;
  atomic_store_explicit(&d->landed, kept, memory_order_release);
}

void delta_land(delta *d) {
  ASSERT(d->sequence != 0 && d->own == NULL);
  atomic_store_explicit(&d->bytes, d->mapped + PAGE_HEADER_BYTES, memory_order_release);
  atomic_store_explicit(&d->landed, PAGE_BLOCKS, memory_order_release);
}

uint64_t delta_sequence(const delta *d) { return d->sequence; }

bool delta_is_shared(const delta *d) { return atomic_load_explicit(&d->references, memory_order_acquire) > 1; }

bool delta_in_mapping(const delta *d) { return d->own == NULL; }

const uint8_t *delta_record(const delta *d) {
  ASSERT(d->sequence != 0);
  return atomic_load_explicit(&d->bytes, memory_order_acquire) - PAGE_HEADER_BYTES;
}

void delta_move(delta *d, uint8_t *copy) {
  ASSERT(d->sequence != 0 && d->own == NULL);
  d->own = copy;
  atomic_store_explicit(&d->bytes, copy + PAGE_HEADER_BYTES, memory_order_release);
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

/* Both lists by address, into one without repetitions; no references are taken. */
static uint64_t merge_deltas(const run *a, const run *b, delta **to) {
  uint64_t i = 0, j = 0, count = 0;
  while (i < a->delta_count || j < b->delta_count) {
    uintptr_t x = i < a->delta_count ? (uintptr_t)a->deltas[i] : UINTPTR_MAX;
    uintptr_t y = j < b->delta_count ? (uintptr_t)b->deltas[j] : UINTPTR_MAX;
    to[count++] = x <= y ? a->deltas[i] : b->deltas[j];
    if (x <= y) i++;
    if (y <= x) j++;
  }
  return count;
}

/* Which of the deltas, sorted by address, it is. */
static uint64_t owner_at(delta *const *deltas, uint64_t count, const delta *owner) {
  uint64_t low = 0, high = count;
  while (high - low > 1) {
    uint64_t middle = low + (high - low) / 2;
    if ((uintptr_t)deltas[middle] <= (uintptr_t)owner) low = middle;
    else high = middle;
  }
  ASSERT(deltas[low] == owner);
  return low;
}

/* Keeps, with a reference each, the deltas that the run's table still points into. `used` has a zero byte for each. */
static void run_keep_used(run *r, uint8_t *used) {
  for (uint64_t i = 0; i < r->table.block_count; i++)
    if (r->table.blocks[i].owner != NULL) used[owner_at(r->deltas, r->delta_count, r->table.blocks[i].owner)] = 1;
  uint64_t kept = 0;
  for (uint64_t i = 0; i < r->delta_count; i++)
    if (used[i]) r->deltas[kept++] = delta_reference(r->deltas[i]);
  r->delta_count = kept;
}

static int run_merge(const run *older, const run *newer, run **out) {
  block_table_room to = {0};
  block_table_merge(&older->table, &newer->table, &to);
  uint64_t deltas = older->delta_count + newer->delta_count;
  size_t delta_room = deltas * sizeof(delta *), entry_room = to.entry_count * sizeof(block_entry);
  size_t pointer_room = to.block_count * sizeof(block_ref), filter_room = block_filter_bytes(to.entry_count);
  run *r = malloc(sizeof *r + delta_room + entry_room + pointer_room + filter_room + deltas);
  if (r == NULL) return PAGESTORE_ENOMEM;
  uint8_t *room = (uint8_t *)r->deltas + delta_room;
  to = (block_table_room){.entries = (block_entry *)(void *)room, .blocks = (block_ref *)(void *)(room + entry_room)};
  block_table_merge(&older->table, &newer->table, &to);
  *r = (run){.references = 1, .table = {to.entries, to.blocks, to.entry_count, to.block_count, NULL, 0}};
  block_filter_make(&r->table, (uint64_t *)(void *)(room + entry_room + pointer_room));
  r->delta_count = merge_deltas(older, newer, r->deltas);
  uint8_t *used = room + entry_room + pointer_room + filter_room;
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
static bool wants_merge(const span *elder, const run *younger, uint64_t cut, uint64_t ratio) {
  return elder->first > cut && ratio * younger->table.block_count >= elder->run->table.block_count;
}

/* Takes over the run of `top`, also when it fails. */
static int push_run(const unflushed *u, span top, uint64_t cut, uint64_t ratio, unflushed **out) {
  uint32_t count = u == NULL ? 0 : u->count;
  ASSERT(count == 0 || top.first >= u->spans[count - 1].last);  /* equal: one record for two commits of a group */
  int err;
  while (count > 0 && wants_merge(&u->spans[count - 1], top.run, cut, ratio)) {
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

int unflushed_push(const unflushed *u, delta *d, uint64_t serial, uint64_t cut, unflushed **out) {
  if (d->entry_count == 0) {
    *out = unflushed_reference((unflushed *)u);
    return 0;
  }
  span top = {.first = serial, .last = serial};
  int err = run_of_delta(d, &top.run);
  return err != 0 ? err : push_run(u, top, cut, ELDER_RATIO, out);
}

static int compare_address(const void *a, const void *b) {
  uintptr_t x = (uintptr_t)*(delta *const *)a, y = (uintptr_t)*(delta *const *)b;
  return x < y ? -1 : x > y;
}

/* The records of sorted blocks, each once, with a reference, by address. */
static void run_own_records(run *r) {
  for (uint64_t i = 0; i < r->table.block_count; i++) {
    delta *owner = r->table.blocks[i].owner;
    if (r->delta_count == 0 || r->deltas[r->delta_count - 1] != owner) r->deltas[r->delta_count++] = owner;
  }
  qsort(r->deltas, r->delta_count, sizeof *r->deltas, compare_address);
  uint64_t kept = 0;
  for (uint64_t i = 0; i < r->delta_count; i++)
    if (kept == 0 || r->deltas[kept - 1] != r->deltas[i]) r->deltas[kept++] = delta_reference(r->deltas[i]);
  r->delta_count = kept;
}

static int run_of_logged(const logged_block *blocks, uint64_t count, run **out) {
  size_t delta_room = count * sizeof(delta *), entry_room = count * sizeof(block_entry);
  run *r = malloc(sizeof *r + delta_room + entry_room + count * sizeof(block_ref) + block_filter_bytes(count));
  if (r == NULL) return PAGESTORE_ENOMEM;
  block_entry *entries = (block_entry *)(void *)((uint8_t *)r->deltas + delta_room), *e = entries - 1;
  block_ref *refs = (block_ref *)(void *)((uint8_t *)entries + entry_room);
  for (uint64_t i = 0; i < count; i++) {
    const logged_block *b = &blocks[i];
    bool same = i > 0 && place_compare(e->memory, e->page, b->memory, b->page) == 0;
    if (!same) *++e = (block_entry){.page = b->page, .first = i, .memory = b->memory};
    ASSERT(e->mask >> b->number == 0);
    e->mask |= (uint16_t)(1u << b->number);
    refs[i] = (block_ref){.owner = b->record, .at = b->version << SLOT_BITS | b->slot};
  }
  *r = (run){.references = 1, .table = {entries, refs, (uint64_t)(e - entries) + 1, count, NULL, 0}};
  block_filter_make(&r->table, (uint64_t *)(void *)(refs + count));
  run_own_records(r);
  *out = r;
  return 0;
}

int unflushed_push_logged(const unflushed *u, const logged_block *blocks, uint64_t count, uint64_t first, uint64_t last,
                          uint64_t cut, unflushed **out) {
  ASSERT(count != 0);
  span top = {.first = first, .last = last};
  int err = run_of_logged(blocks, count, &top.run);
  return err != 0 ? err : push_run(u, top, cut, ELDER_RATIO_LOGGED, out);
}

int unflushed_drop(const unflushed *u, uint64_t through, unflushed **out) {
  uint32_t gone = 0;
  while (u != NULL && gone < u->count && u->spans[gone].last <= through) gone++;
  if (gone == 0 || gone == u->count) {
    *out = gone == 0 ? unflushed_reference((unflushed *)u) : NULL;
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

static uint16_t find_refs(const unflushed *u, uint32_t memory, uint64_t page, block_ref ref[PAGE_BLOCKS]) {
  uint16_t found = 0;
  for (uint32_t i = u == NULL ? 0 : u->count; i > 0 && found != ALL_BLOCKS; i--) {
    const block_table *t = &u->spans[i - 1].run->table;
    const block_entry *e = block_table_find(t, memory, page);
    if (e != NULL) found |= block_table_refs(t, e, (uint16_t)~found, ref);
  }
  return found;
}

uint16_t unflushed_find(const unflushed *u, uint32_t memory, uint64_t page, const uint8_t *block[PAGE_BLOCKS]) {
  block_ref ref[PAGE_BLOCKS];
  uint16_t found = find_refs(u, memory, page, ref);
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) block[i] = found >> i & 1 ? ref_bytes(ref[i]) : NULL;
  return found;
}

uint16_t unflushed_find_logged(const unflushed *u, uint32_t memory, uint64_t page, logged_page *out) {
  block_ref ref[PAGE_BLOCKS];
  out->mask = find_refs(u, memory, page, ref);
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    if (!(out->mask >> i & 1)) continue;
    out->owner[i] = ref[i].owner;
    out->slot[i] = (uint8_t)(ref[i].at % PAGE_BLOCKS);
    out->record[i] = record_of(ref[i].owner, out->slot[i]);
    out->sequence[i] = ref[i].owner->sequence;
    out->version[i] = ref[i].at >> SLOT_BITS;
  }
  return out->mask;
}

int logged_block_check(const logged_page *p, unsigned block, id128 store, const log_address *at) {
  delta *d = p->owner[block];
  if (!atomic_load_explicit(&d->is_checked, memory_order_relaxed)) {
    int err = log_record_check((bytes){p->record[block], PAGE_RECORD_BYTES}, p->sequence[block], store);
    if (err != 0) return err;
    atomic_store_explicit(&d->is_checked, true, memory_order_relaxed);
  }
  return log_block_check(p->record[block], p->slot[block], at);
}

bool unflushed_has(const unflushed *u, uint32_t memory, uint64_t page) {
  for (uint32_t i = u == NULL ? 0 : u->count; i > 0; i--)
    if (block_table_find(&u->spans[i - 1].run->table, memory, page) != NULL) return true;
  return false;
}

bool unflushed_next_in(const unflushed *u, uint64_t after, uint64_t through, uint32_t memory, uint64_t page,
                       uint32_t *next_memory, uint64_t *next_page) {
  const block_entry *nearest = NULL;
  for (uint32_t i = 0; u != NULL && i < u->count && u->spans[i].first <= through; i++) {
    if (after != 0 && u->spans[i].last <= after) continue;
    const block_table *t = &u->spans[i].run->table;
    uint64_t at = block_table_seek(t, memory, page);
    if (at == t->entry_count) continue;
    const block_entry *e = &t->entries[at];
    if (nearest == NULL || place_compare(e->memory, e->page, nearest->memory, nearest->page) < 0) nearest = e;
  }
  if (nearest == NULL) return false;
  *next_memory = nearest->memory;
  *next_page = nearest->page;
  return true;
}

bool unflushed_next(const unflushed *u, uint32_t memory, uint64_t page, delta_page *out) {
  if (!unflushed_next_in(u, 0, UINT64_MAX, memory, page, &out->memory, &out->page)) return false;
  out->mask = unflushed_find(u, out->memory, out->page, out->block);
  return true;
}

uint64_t unflushed_first(const unflushed *u) { return u->spans[0].first; }

uint64_t unflushed_pages(const unflushed *u, uint64_t through) {
  uint64_t count = 0;
  for (uint32_t i = 0; i < u->count && u->spans[i].last <= through; i++)
    count += u->spans[i].run->table.entry_count;
  return count;
}

bool unflushed_is_valid(const unflushed *u) {
  if (u == NULL) return true;
  if (u->count == 0) return false;
  for (uint32_t i = 0; i < u->count; i++) {
    const span *s = &u->spans[i];
    if (s->first > s->last || !block_table_is_valid(&s->run->table)) return false;
    /* Equal only after a restamp: there all runs have one serial. */
    if (i > 0 && s[-1].last > s->first) return false;
  }
  return true;
}
