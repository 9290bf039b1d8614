/* blocks.c - the books: what is known of each block. region_move is the one function that changes it.
 *
 *   absent --LOAD--> clean --WRITE, OPEN--> dirty --CLEAN--> clean
 *     ^                |                      |
 *     +------DROP------+----------------------+          absent --BREAK--> broken --DROP--> absent
 *                                                        absent --ZERO---> zeroed --DROP--> absent
 *
 * Thread: the region's. region_move is async-signal-safe; only blocks_reserve allocates.
 */
#include <stdlib.h>

#include "base/check.h"
#include "vm/tracker.h"

enum { SETS = 7, BLOCKS_MAPPED_MIN = 1 << 20 };

static void sets_of(region *r, pageset *sets[SETS]) {
  pageset *all[SETS] = { &r->resident, &r->dirty, &r->inexact, &r->open, &r->recent, &r->broken, &r->pinned };
  for (int i = 0; i < SETS; i++) sets[i] = all[i];
}

/* Large books from the kernel: calloc may recycle heap, which it then has to write zeros into, all of it. */
static page_blocks *blocks_new(uint64_t capacity) {
  uint64_t bytes = capacity * sizeof(page_blocks);
  return bytes < BLOCKS_MAPPED_MIN ? calloc(1, bytes) : os_zeros(bytes);
}

static void blocks_delete(page_blocks *blocks, uint64_t capacity) {
  uint64_t bytes = capacity * sizeof(page_blocks);
  if (bytes < BLOCKS_MAPPED_MIN) free(blocks);
  else os_release((uint8_t *)blocks, bytes);
}

int blocks_reserve(region *r, uint64_t pages) {
  if (pages <= r->capacity) return PAGESTORE_OK;
  uint64_t capacity = max_u64(max_u64(pages, METADATA_PAGES_MIN), min_u64(r->capacity * 2, r->max_pages));
  pageset *sets[SETS];
  sets_of(r, sets);
  page_blocks *blocks = blocks_new(capacity);
  if (blocks == NULL) return PAGESTORE_ENOMEM;
  /* A set that grew before a later one failed is merely roomier. */
  for (int i = 0; i < SETS; i++) {
    if (sets[i]->capacity < capacity && pageset_resize(sets[i], capacity) != 0) {
      blocks_delete(blocks, capacity);
      return PAGESTORE_ENOMEM;
    }
  }
  /* Only pages that have something to tell, so that a large sparse region's books stay unpopulated memory. */
  for (uint64_t p = pageset_next(&r->resident, 0); p != PAGESET_END; p = pageset_next(&r->resident, p + 1))
    blocks[p] = r->blocks[p];
  for (uint64_t p = pageset_next(&r->dirty, 0); p != PAGESET_END; p = pageset_next(&r->dirty, p + 1))
    blocks[p] = r->blocks[p];
  blocks_delete(r->blocks, r->capacity);
  r->blocks = blocks;
  r->capacity = capacity;
  return PAGESTORE_OK;
}

void blocks_free(region *r) {
  pageset *sets[SETS];
  sets_of(r, sets);
  for (int i = 0; i < SETS; i++) pageset_free(sets[i]);
  blocks_delete(r->blocks, r->capacity);
}

/* ---- the one function ------------------------------------------------------------------------------------------- */

static void leave_dirty(region *r, uint64_t page) {
  pageset_remove(&r->dirty, page);
  pageset_remove(&r->inexact, page);
  pageset_remove(&r->open, page);
}

static void enter_resident(region *r, uint64_t page) {
  if (pageset_add(&r->resident, page))
    atomic_fetch_add_explicit(&r->budget->resident_bytes, PAGE_BYTES, memory_order_relaxed);
  pageset_add(&r->recent, page);
}

static void leave_resident(region *r, uint64_t page) {
  if (pageset_remove(&r->resident, page))
    atomic_fetch_sub_explicit(&r->budget->resident_bytes, PAGE_BYTES, memory_order_relaxed);
  pageset_remove(&r->recent, page);
  pageset_remove(&r->broken, page);
}

static void drop(region *r, uint64_t page, uint16_t blocks) {
  page_blocks *b = &r->blocks[page];
  b->present &= (uint16_t)~blocks;
  b->dirty &= (uint16_t)~blocks;
  b->writable &= (uint16_t)~blocks;
  if ((b->dirty | b->writable) == 0) leave_dirty(r, page);
  if (b->present == 0) leave_resident(r, page);
}

void region_move(region *r, uint64_t page, uint16_t blocks, block_move move) {
  ASSERT(page < r->capacity);
  page_blocks *b = &r->blocks[page];
  switch (move) {
  case MOVE_LOAD:
    b->present |= blocks;
    enter_resident(r, page);
    break;
  case MOVE_OPEN:
    ASSERT((blocks & ~b->present) == 0);
    b->writable |= blocks;
    pageset_add(&r->open, page);
    if (blocks == ALL_BLOCKS) pageset_add(&r->inexact, page);
    goto write;
  case MOVE_WRITE:
  write:
    b->dirty |= blocks;
    pageset_add(&r->dirty, page);
    if (b->present != 0) pageset_add(&r->recent, page);
    break;
  case MOVE_CLEAN:
    b->dirty = b->writable = 0;
    leave_dirty(r, page);
    break;
  case MOVE_DROP:
    drop(r, page, blocks);
    break;
  case MOVE_BREAK:
    drop(r, page, ALL_BLOCKS);
    pageset_add(&r->broken, page);
    break;
  case MOVE_ZERO:
    b->present = ALL_BLOCKS;
    enter_resident(r, page);
    pageset_add(&r->broken, page);
    break;
  }
}

int collect_open(region *r) {
  for (uint64_t p = pageset_next(&r->open, 0); p != PAGESET_END; p = pageset_next(&r->open, p + 1))
    region_move(r, p, r->blocks[p].writable, MOVE_OPEN);
  return PAGESTORE_OK;
}

/* ---- dropping --------------------------------------------------------------------------------------------------- */

static void note_dropped(region *r, block_run run) {
  uint64_t end = run.first + run.count;
  for (uint64_t b = run.first; b < end; b = align_down(b, PAGE_BLOCKS) + PAGE_BLOCKS) {
    uint64_t stop = min_u64(end, align_down(b, PAGE_BLOCKS) + PAGE_BLOCKS);
    uint16_t mask = (uint16_t)((ALL_BLOCKS >> (PAGE_BLOCKS - (stop - b))) << (b % PAGE_BLOCKS));
    region_move(r, b / PAGE_BLOCKS, mask, MOVE_DROP);
  }
}

static void drop_listed(drops *d) {
  if (d->count != 0 && d->status == PAGESTORE_OK) d->status = d->r->tracker->drop(d->r, d->runs, d->count);
  for (unsigned i = 0; i < d->count && d->status == PAGESTORE_OK; i++) note_dropped(d->r, d->runs[i]);
  d->count = 0;
}

void drops_add(drops *d, uint64_t block_first, uint64_t count) {
  block_run *last = d->count != 0 ? &d->runs[d->count - 1] : NULL;
  if (last != NULL && last->first + last->count == block_first) {
    last->count += count;
    return;
  }
  if (d->count == DROPS_MAX) drop_listed(d);
  d->runs[d->count++] = (block_run){ block_first, count };
}

int drops_end(drops *d) {
  drop_listed(d);
  return d->status;
}

int blocks_drop(region *r, uint64_t block_first, uint64_t count) {
  drops d;
  drops_begin(&d, r);
  drops_add(&d, block_first, count);
  return drops_end(&d);
}

int blocks_drop_each(region *r, const pageset *set, uint16_t (*mask_of)(const region *, uint64_t)) {
  drops d;
  drops_begin(&d, r);
  for (uint64_t p = pageset_next(set, 0); p != PAGESET_END && d.status == 0; p = pageset_next(set, p + 1)) {
    unsigned mask = mask_of(r, p);
    while (mask != 0) {
      unsigned low = (unsigned)__builtin_ctz(mask), length = (unsigned)__builtin_ctz(~(mask >> low));
      drops_add(&d, p * PAGE_BLOCKS + low, length);
      mask &= ~(((1u << length) - 1) << low);
    }
  }
  return drops_end(&d);
}

static void move_all(region *r, const pageset *set) {
  for (uint64_t p = pageset_next(set, 0); p != PAGESET_END; p = pageset_next(set, p + 1)) {
    r->blocks[p].dirty = r->blocks[p].writable = 0;
    region_move(r, p, ALL_BLOCKS, MOVE_DROP);
  }
}

/* Dropped over the whole reservation: a tail that a failed shrinking left behind goes, too. */
int blocks_drop_all(region *r) {
  uint64_t bytes = pages_of(r) * PAGE_BYTES;
  if (os_drop(r->base, r->max_pages * PAGE_BYTES) != 0) return PAGESTORE_EIO;
  move_all(r, &r->resident);
  move_all(r, &r->dirty);
  if (r->broken.count != 0 || r->walled || r->tracker->loads_by_protection)
    if (os_protect(r->base, bytes, inside_access(r)) != 0) return PAGESTORE_EIO;
  move_all(r, &r->broken);
  r->walled = false;
  recount_mappings(r);
  return PAGESTORE_OK;
}

/* ---- what cannot be served -------------------------------------------------------------------------------------- */

os_access inside_access(const region *r) {
  if (r->tracker->loads_by_protection) return OS_NONE;
  return r->read_only ? OS_READ : OS_WRITE;
}

void note_failure(region *r, uint64_t page, int status) {
  ASSERT(status < 0);
  if (r->failure != PAGESTORE_OK) return;
  r->failure = status;
  r->failure_page = page;
}

void recount_mappings(region *r) {
  count_mappings(r, (r->tracker->mappings != NULL ? r->tracker->mappings(r) : 2 + 2 * (int64_t)r->broken.count) -
                        r->mappings);
}

/* Splits no mapping, so it works where a page alone cannot be protected. */
bool wall(region *r) {
  if (os_protect(r->base, pages_of(r) * PAGE_BYTES, OS_NONE) != 0) return false;
  r->walled = true;
  return true;
}

bool break_page(region *r, uint64_t page) {
  bool is_out_of_reach = r->tracker->loads_by_protection && r->blocks[page].present == 0;
  if (!is_out_of_reach && os_protect(page_at(r, page), PAGE_BYTES, OS_NONE) != 0) return wall(r);
  if (!is_out_of_reach) os_drop(page_at(r, page), PAGE_BYTES); /* rollback does so again */
  if (!r->tracker->loads_by_protection) count_mappings(r, 2);
  region_move(r, page, ALL_BLOCKS, MOVE_BREAK);
  return true;
}
