/* region.c - the public calls: opening and closing, size, dirty blocks, the boundary. See region.h for the contract and
 * internal.h for the parts.
 */
#include "vm/region.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/faults.h"
#include "base/status.h"
#include "vm/table.h"
#include "vm/tracker.h"

static _Atomic unsigned process_generation;

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static bool reservation(uint64_t max_pages, uint64_t guard_bytes, uint64_t *bytes) {
  return checked_mul(max_pages, PAGE_BYTES, bytes) && checked_add(*bytes, guard_bytes, bytes) && *bytes <= INT64_MAX;
}

static int no_address_space(uint64_t bytes, int error) {
  return fail_errno(PAGESTORE_ENOMEM, error, "cannot reserve %llu MiB of address space (a smaller guard or maximum, "
                    "ulimit -v, or vm.max_map_count)", (unsigned long long)(bytes >> 20));
}

static void take_options(region *r, const region_options *o) {
  r->max_pages = o->max_pages;
  r->source = o->source;
  r->budget = o->budget;
  r->trap = o->trap;
  r->trap_env = o->trap_env;
  r->load_limit = o->load_limit;
  r->marks_only = o->marks_only;
  r->read_only = o->read_only;
  r->uffd = -1;
  r->ahead.first = r->ahead.end = PAGESET_END;
  for (unsigned i = 0; i < DEMANDED_KEPT; i++) r->demanded.page[i] = PAGESET_END;
  r->generation = atomic_load(&process_generation);
}

int region_open(const region_options *o, region **out) {
  uint64_t bytes;
  int status, error;
  ASSERT(o->max_pages >= 1 && o->pages <= o->max_pages && o->guard_bytes % PAGE_BYTES == 0);
  ASSERT(o->budget != NULL && o->budget->limit_bytes != 0 && !(o->marks_only && o->read_only));
  if (sysconf(_SC_PAGESIZE) != BLOCK_BYTES)
    return fail(PAGESTORE_EUNSUPPORTED, "pagestore needs a kernel with pages of %d bytes", BLOCK_BYTES);
  if (!reservation(o->max_pages, o->guard_bytes, &bytes)) return no_address_space(UINT64_MAX, EOVERFLOW);
  if ((status = faults_install()) != PAGESTORE_OK) return status;
  faults_respond(region_fault);

  region *r = calloc(1, sizeof *r);
  if (r == NULL) return fail(PAGESTORE_ENOMEM, "no memory for a region");
  take_options(r, o);
  if ((status = blocks_reserve(r, max_u64(o->pages, 1))) != PAGESTORE_OK) {
    fail(status, "no memory for the books of %llu pages", (unsigned long long)o->pages);
    goto free_region;
  }
  if ((error = os_reserve(&r->base, bytes)) != 0) {
    status = no_address_space(bytes, error);
    goto free_region;
  }
  r->reserved_bytes = bytes;
  if ((status = choose_tracker(r, o->tracker)) != PAGESTORE_OK) goto release;
  if ((error = os_protect(r->base, o->pages * PAGE_BYTES, inside_access(r))) != 0) {
    status = fail_errno(PAGESTORE_ENOMEM, error, "cannot make a memory accessible");
    goto release;
  }
  atomic_store(&r->pages, o->pages);
  r->settled_pages = o->pages;
  if ((status = table_add((uintptr_t)r->base, (uintptr_t)r->base + bytes, r)) != PAGESTORE_OK) {
    fail(status, "no memory for the table of regions");
    goto release;
  }
  recount_mappings(r);
  ASSERT_FULL(region_is_valid(r));
  *out = r;
  return PAGESTORE_OK;
release:
  os_release(r->base, bytes);
free_region:
  blocks_free(r);
  free(r);
  return status;
}

/* In a forked child the range was never there, and something else may be mapped in its place. */
void region_close(region *r) {
  if (r == NULL) return;
  if (r->generation == atomic_load(&process_generation)) {
    table_remove((uintptr_t)r->base);
    os_release(r->base, r->reserved_bytes);
  }
  atomic_fetch_sub(&r->budget->resident_bytes, region_resident_bytes(r));
  count_mappings(r, -r->mappings);
  blocks_free(r);
  free(r);
}

uint8_t *region_base(const region *r) { return r->base; }
uint64_t region_pages(const region *r) { return pages_of(r); }
uint64_t region_max(const region *r) { return r->max_pages; }

void region_limits(region *r, uint64_t load_limit, pagestore_trap_fn trap, void *trap_env) {
  r->load_limit = load_limit;
  r->trap = trap;
  r->trap_env = trap_env;
}

/* ---- size ------------------------------------------------------------------------------------------------------- */

static void doom(region *r, uint64_t page) {
  note_failure(r, page, PAGESTORE_EIO);
  wall(r);
}

static int grow(region *r, uint64_t pages) {
  uint64_t before = pages_of(r);
  if (blocks_reserve(r, pages) != PAGESTORE_OK)
    return fail(PAGESTORE_ENOMEM, "no memory for the books of %llu pages", (unsigned long long)pages);
  int error = r->walled ? 0 : os_protect(page_at(r, before), (pages - before) * PAGE_BYTES, inside_access(r));
  if (error != 0)
    return fail_errno(PAGESTORE_ENOMEM, error, "cannot grow a memory to %llu pages", (unsigned long long)pages);
  atomic_store(&r->pages, pages);
  return PAGESTORE_OK;
}

static void forget_beyond(region *r, const pageset *set, uint64_t pages) {
  for (uint64_t p = pageset_next(set, pages); p != PAGESET_END; p = pageset_next(set, p + 1)) {
    region_move(r, p, ALL_BLOCKS, MOVE_DROP);
    pageset_remove(&r->pinned, p);
  }
}

/* Protected first: until the size is told to the engine, a late access must trap and not load. */
static int shrink(region *r, uint64_t pages) {
  uint64_t bytes = (pages_of(r) - pages) * PAGE_BYTES;
  int error = os_protect(page_at(r, pages), bytes, OS_NONE);
  if (error != 0)
    return fail_errno(PAGESTORE_ENOMEM, error, "cannot shrink a memory to %llu pages", (unsigned long long)pages);
  error = os_drop(page_at(r, pages), bytes);
  forget_beyond(r, &r->resident, pages);
  forget_beyond(r, &r->dirty, pages);
  forget_beyond(r, &r->broken, pages);
  forget_beyond(r, &r->pinned, pages);
  atomic_store(&r->pages, pages);
  recount_mappings(r);
  if (error != 0) doom(r, pages); /* old bytes would come back with the next growth; rollback drops the whole range */
  return PAGESTORE_OK;
}

int region_resize(region *r, uint64_t pages) {
  ASSERT(pages <= r->max_pages);
  uint64_t before = pages_of(r);
  int status = pages > before ? grow(r, pages) : pages < before ? shrink(r, pages) : PAGESTORE_OK;
  ASSERT_FULL(region_is_valid(r));
  return status;
}

int region_extend(region *r, uint64_t max_pages, uint64_t guard_bytes) {
  uint64_t bytes, before = r->reserved_bytes;
  ASSERT(max_pages >= pages_of(r) && max_pages >= 1 && guard_bytes % PAGE_BYTES == 0);
  if (!reservation(max_pages, guard_bytes, &bytes)) return no_address_space(UINT64_MAX, EOVERFLOW);
  if (bytes > before) {
    int error = os_reserve_at(r->base + before, bytes - before);
    if (error != 0) return no_address_space(bytes - before, error);
    r->reserved_bytes = bytes;
    int status = r->tracker->attach(r); /* what is registered already stays as it is */
    if (status == PAGESTORE_OK) status = table_widen((uintptr_t)r->base, (uintptr_t)r->base + bytes, r);
    if (status != PAGESTORE_OK) {
      os_release(r->base + before, bytes - before);
      r->reserved_bytes = before;
      return fail(PAGESTORE_ENOMEM, "cannot extend a memory's reservation to %llu MiB",
                  (unsigned long long)(bytes >> 20));
    }
  }
  r->max_pages = max_pages;
  return PAGESTORE_OK;
}

/* ---- dirty blocks ----------------------------------------------------------------------------------------------- */

int region_collect(region *r) {
  if (r->walled) return fail(PAGESTORE_EIO, "the kernel refused to protect part of a memory: roll back");
  int status = r->tracker->collect(r);
  ASSERT_FULL(region_is_valid(r));
  return status == PAGESTORE_OK ? status
                                : fail(status, "the scan for written blocks failed; commit again or roll back");
}

bool region_dirty_next(const region *r, uint64_t from, region_dirty *out) {
  uint64_t page = pageset_next(&r->dirty, from);
  if (page == PAGESET_END) return false;
  *out = (region_dirty){ .page = page, .blocks = r->blocks[page].dirty, .exact = !pageset_has(&r->inexact, page) };
  return true;
}

void region_narrow(region *r, uint64_t page, uint16_t blocks) {
  ASSERT(pageset_has(&r->dirty, page));
  r->blocks[page].dirty &= blocks;
  pageset_remove(&r->inexact, page);
}

void region_mark(region *r, uint64_t page, uint16_t blocks) {
  ASSERT(page < pages_of(r));
  region_move(r, page, blocks, MOVE_WRITE);
}

/* ---- the boundary ----------------------------------------------------------------------------------------------- */

enum { BLOCKS_GUESSED = 4 }; /* dirty blocks of a page of which only "written to" is known */

static dirty_count count_dirty(const region *r) {
  dirty_count d = { .pages = r->dirty.count };
  for (uint64_t p = pageset_next(&r->dirty, 0); p != PAGESET_END; p = pageset_next(&r->dirty, p + 1))
    d.blocks += pageset_has(&r->inexact, p) ? BLOCKS_GUESSED : mask_count(r->blocks[p].dirty);
  return d;
}

static void end_message(region *r, dirty_count d) {
  r->loaded = r->loaded_ahead = 0;
  r->settled_pages = pages_of(r);
  r->repeats = 0;
  pageset_clear(&r->pinned);
  give_back_at_boundary(r);
  reconsider_tracker(r, d);
  ASSERT_FULL(region_is_valid(r));
}

/* A run that the kernel will not protect again stays dirty, and is compared once more at the next boundary. */
static void shut_open(region *r) {
  uint64_t first = pageset_next(&r->open, 0);
  while (first != PAGESET_END) {
    uint64_t end = first + 1;
    while (pageset_has(&r->open, end)) end++;
    if (r->tracker->shut(r, first, end - first) == PAGESTORE_OK)
      for (uint64_t p = first; p < end; p++) region_move(r, p, ALL_BLOCKS, MOVE_CLEAN);
    first = pageset_next(&r->open, end);
  }
}

static void clean_shut(region *r) {
  for (uint64_t p = pageset_next(&r->dirty, 0); p != PAGESET_END; p = pageset_next(&r->dirty, p + 1))
    if (!pageset_has(&r->open, p)) region_move(r, p, ALL_BLOCKS, MOVE_CLEAN);
}

void region_clean(region *r) {
  dirty_count d = count_dirty(r);
  shut_open(r);
  clean_shut(r);
  end_message(r, d);
}

/* Under protection a page is present whole or not at all. Writable blocks go, too: narrowing does not see
 * later writes. */
static uint16_t rollback_mask(const region *r, uint64_t page) {
  if (r->tracker->loads_by_protection) return ALL_BLOCKS;
  return r->blocks[page].dirty | r->blocks[page].writable;
}

/* Broken, or zeroed where only reading is allowed: protected otherwise than its neighbours. */
static int mend_page(drops *d, uint64_t page) {
  region *r = d->r;
  bool is_apart = is_broken(r, page) || (r->read_only && pageset_has(&r->broken, page));
  if (is_apart && !r->tracker->loads_by_protection) {
    if (os_protect(page_at(r, page), PAGE_BYTES, inside_access(r)) != 0) return PAGESTORE_EIO;
    count_mappings(r, -2);
  }
  drops_add(d, page * PAGE_BLOCKS, PAGE_BLOCKS);
  return d->status;
}

static int mend_broken(region *r) {
  drops d;
  int status = PAGESTORE_OK;
  drops_begin(&d, r);
  for (uint64_t p = pageset_next(&r->broken, 0); p != PAGESET_END && status == 0; p = pageset_next(&r->broken, p + 1))
    status = mend_page(&d, p);
  return status != PAGESTORE_OK ? status : drops_end(&d);
}

void region_rollback(region *r) {
  int status = r->walled ? PAGESTORE_EIO : r->tracker->collect(r);
  dirty_count d = count_dirty(r);
  if (status == PAGESTORE_OK) status = mend_broken(r);
  if (status == PAGESTORE_OK) status = blocks_drop_each(r, &r->dirty, rollback_mask);
  if (status != PAGESTORE_OK) status = blocks_drop_all(r);
  if (status == PAGESTORE_OK) {
    clean_shut(r); /* what was narrowed to nothing */
    r->failure = PAGESTORE_OK;
  } else {
    doom(r, 0);
  }
  end_message(r, d);
}

/* ---- dropping, loading ------------------------------------------------------------------------------------------ */

static bool is_known(const region *r, uint64_t page) {
  if (page >= pages_of(r)) return false;
  return r->blocks[page].present != 0 || pageset_has(&r->dirty, page) || pageset_has(&r->broken, page);
}

/* From the first to the last of them: a call for each run would cost more than loading what lies between again. */
static int forget_blocks(drops *d, region_blocks b) {
  if (pageset_has(&d->r->broken, b.page) || d->r->tracker->loads_by_protection) return mend_page(d, b.page);
  uint64_t low = (uint64_t)__builtin_ctz(b.blocks), high = 31 - (uint64_t)__builtin_clz(b.blocks);
  drops_add(d, b.page * PAGE_BLOCKS + low, high - low + 1);
  return d->status;
}

void region_forget(region *r, const region_blocks *changed, unsigned count) {
  drops d;
  int status = PAGESTORE_OK;
  drops_begin(&d, r);
  for (unsigned i = 0; i < count && status == PAGESTORE_OK && !r->walled; i++)
    if (changed[i].blocks != 0 && is_known(r, changed[i].page)) status = forget_blocks(&d, changed[i]);
  if (status == PAGESTORE_OK) status = drops_end(&d);
  if (status != PAGESTORE_OK) doom(r, changed[0].page);
}

void region_forget_all(region *r) {
  if (blocks_drop_all(r) != PAGESTORE_OK) doom(r, 0);
  ASSERT_FULL(region_is_valid(r));
}

static int load_said(region *r, int status) {
  if (status == PAGESTORE_EQUOTA)
    return fail(status, "the message may load %llu pages and has; roll back or raise load_limit",
                (unsigned long long)r->load_limit);
  if (status == PAGESTORE_ENOMEM)
    return fail(status, "no memory or no mappings to load a page (vm.max_map_count, cgroup limit)");
  return status;
}

static int load_pages(region *r, uint64_t first, uint64_t count) {
  uint64_t end = first + count;
  for (uint64_t page = first; page < end; page++) {
    if (is_complete(r, page) && !r->walled) continue;
    if (r->walled || is_broken(r, page)) return r->failure != PAGESTORE_OK ? r->failure : PAGESTORE_EIO;
    uint64_t room = AHEAD_PAGES_MAX, stop = page + 1;
    if (r->load_limit != 0) room = min_u64(room, r->load_limit - min_u64(r->loaded, r->load_limit));
    if (room == 0) return PAGESTORE_EQUOTA;
    while (stop < end && stop - page < room && !is_complete(r, stop) && !is_broken(r, stop)) stop++;
    int status = load_window(r, page, stop - page, ANY_PAGE);
    if (status != PAGESTORE_OK) return status;
    page--; /* the window may have been widened around its first page only: look again */
  }
  return PAGESTORE_OK;
}

int region_load(region *r, uint64_t first, uint64_t count) {
  ASSERT(range_fits(first, count, pages_of(r)));
  int status = load_said(r, load_pages(r, first, count));
  for (uint64_t p = first; status == PAGESTORE_OK && p < first + count; p++) pageset_add(&r->pinned, p);
  return status;
}

static int open_pages(region *r, uint64_t first, uint64_t count) {
  int status = PAGESTORE_OK;
  if (r->tracker->open == NULL || r->marks_only) return status;
  for (uint64_t p = first; p < first + count && status == PAGESTORE_OK; p++)
    if (r->blocks[p].writable != ALL_BLOCKS) status = r->tracker->open(r, p, ALL_BLOCKS);
  return load_said(r, status);
}

static int read_only(void) { return fail(PAGESTORE_EREADONLY, "this memory is a read-only view"); }

int region_open_write(region *r, uint64_t first, uint64_t count) {
  if (r->read_only) return read_only();
  int status = region_load(r, first, count);
  return status != PAGESTORE_OK ? status : open_pages(r, first, count);
}

bool region_is_touched(const region *r, uint64_t page, bool to_write) {
  if (r->walled || !is_complete(r, page)) return false;
  if (!to_write) return true;
  return !r->read_only && (r->tracker->open == NULL || r->marks_only || r->blocks[page].writable == ALL_BLOCKS);
}

int region_touch(region *r, uint64_t first, uint64_t count, bool to_write) {
  ASSERT(range_fits(first, count, pages_of(r)));
  if (to_write && r->read_only) return read_only();
  give_back_before_load(r);
  int status = load_said(r, load_pages(r, first, count));
  return status != PAGESTORE_OK || !to_write ? status : open_pages(r, first, count);
}

int region_failure(const region *r, uint64_t *page) {
  if (r->failure != PAGESTORE_OK && page != NULL) *page = r->failure_page;
  return r->failure;
}

bool region_resident_next(const region *r, uint64_t from, uint64_t *page) {
  uint64_t found = pageset_next(&r->resident, from);
  if (found == PAGESET_END) return false;
  *page = found;
  return true;
}

uint64_t region_resident_bytes(const region *r) { return r->resident.count * PAGE_BYTES; }

/* ---- trackers, fork, validity ----------------------------------------------------------------------------------- */

region_tracker region_tracker_now(const region *r, const char **reason) {
  if (reason != NULL) *reason = r->choice.reason;
  return r->marks_only ? REGION_EXPLICIT : r->read_only ? REGION_NONE : r->tracker->name;
}

region_support region_probe(void) {
  os_support have = os_support_now();
  return (region_support){ .scan = have.async, .fault = have.sync, .userfaultfd = have.userfaultfd };
}

void region_after_fork(void) {
  atomic_fetch_add(&process_generation, 1);
  table_after_fork();
  os_after_fork();
}

static bool page_is_valid(const region *r, uint64_t page) {
  const page_blocks *b = &r->blocks[page];
  bool is_dirty = pageset_has(&r->dirty, page);
  if (pageset_has(&r->resident, page) != (b->present != 0)) return false;
  if (!is_dirty && (b->dirty | b->writable) != 0) return false;
  if (pageset_has(&r->open, page) != (b->writable != 0) || (b->writable & ~b->present) != 0) return false;
  if ((pageset_has(&r->inexact, page) || pageset_has(&r->open, page)) && !is_dirty) return false;
  if (pageset_has(&r->recent, page) && b->present == 0) return false;
  if (r->tracker->loads_by_protection && b->present != 0 && b->present != ALL_BLOCKS) return false;
  return !pageset_has(&r->broken, page) || b->present == 0 || b->present == ALL_BLOCKS;
}

bool region_is_valid(const region *r) {
  const pageset *sets[] = { &r->resident, &r->dirty, &r->inexact, &r->open, &r->recent, &r->broken, &r->pinned };
  for (unsigned i = 0; i < sizeof sets / sizeof *sets; i++)
    if (!pageset_is_valid(sets[i]) || pageset_next(sets[i], pages_of(r)) != PAGESET_END) return false;
  for (uint64_t page = 0; page < pages_of(r); page++)
    if (!page_is_valid(r, page)) return false;
  return pages_of(r) <= r->max_pages && r->max_pages * PAGE_BYTES <= r->reserved_bytes;
}
