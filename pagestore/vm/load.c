/* load.c - bytes from the source into absent blocks, on demand and ahead of it.
 *
 * A demand load that follows the last one, upwards or downwards, doubles its window up to 1 MiB. What is read ahead
 * neither fails a load nor counts against the load limit; the limit only clips it, so a guest is stopped by the pages
 * it touched and by no others.
 *
 * Invariant: the source's cursor is ended before anything else can leave these functions: a trap hook may longjmp.
 * Thread:    the region's, in its fault handler too: no lock, no allocation.
 */
#include "base/check.h"
#include "base/probe.h"
#include "vm/tracker.h"

static bool is_wanting(const region *r, uint64_t page) {
  return !is_complete(r, page) && !pageset_has(&r->broken, page);
}

static int load_page(region *r, void *cursor, uint64_t page) {
  const uint8_t *bytes = NULL;
  int status = r->source.page(r->source.env, cursor, page, &bytes);
  return status != PAGESTORE_OK ? status : r->tracker->load_page(r, page, bytes);
}

static int fill(region *r, uint64_t first, uint64_t count, uint64_t wanted) {
  void *cursor;
  int result = r->source.begin(r->source.env, &cursor);
  if (result != PAGESTORE_OK) return result;
  for (uint64_t page = first; page < first + count; page++) {
    if (!is_wanting(r, page)) continue;
    int status = load_page(r, cursor, page);
    bool is_wanted = wanted == page || wanted == ANY_PAGE;
    if (is_wanted && result == PAGESTORE_OK) result = status;
    if (status == PAGESTORE_OK) (*(is_wanted ? &r->loaded : &r->loaded_ahead))++;
  }
  r->source.end(r->source.env, cursor);
  return result;
}

int load_window(region *r, uint64_t first, uint64_t count, uint64_t wanted) {
  int status = r->tracker->load_begin(r, first, count);
  if (status == PAGESTORE_ENOMEM) return load_wide(r, wanted != ANY_PAGE ? wanted : first, false);
  if (status != PAGESTORE_OK) return status;
  status = fill(r, first, count, wanted);
  r->tracker->load_end(r, first, count);
  PROBE3(load, first, count, status);
  return status;
}

/* 1 MiB, 16 MiB, ... the whole memory: it must be all loaded, so that it is one kind of mapping again. */
int load_wide(region *r, uint64_t page, bool open) {
  uint64_t pages = pages_of(r), first, count, span = AHEAD_PAGES_MAX;
  int status;
  do {
    first = align_down(page, span);
    count = min_u64(span, pages - first);
    status = r->tracker->load_begin(r, first, count);
    span *= 16;
  } while (status == PAGESTORE_ENOMEM && count != pages);
  if (status != PAGESTORE_OK) return status;
  status = fill(r, first, count, page);
  for (uint64_t p = first; open && p < first + count; p++)
    if (is_complete(r, p)) region_move(r, p, ALL_BLOCKS, MOVE_OPEN);
  r->tracker->load_end(r, first, count);
  if (open) pageset_add(&r->inexact, page);
  return r->walled ? PAGESTORE_ENOMEM : status;
}

/* ---- on demand -------------------------------------------------------------------------------------------------- */

/* How many pages at most: the step, the load limit, a quarter of the resident limit. */
static uint64_t window_limit(const region *r) {
  uint64_t most = max_u64(r->budget->limit_bytes / PAGE_BYTES / 4, 1);
  if (r->load_limit != 0) {
    uint64_t used = r->loaded + r->loaded_ahead;
    most = min_u64(most, used < r->load_limit ? r->load_limit - used : 1);
  }
  return min_u64(most, r->ahead.window);
}

static bool is_absent(const region *r, uint64_t page) {
  return r->blocks[page].present == 0 && !pageset_has(&r->broken, page);
}

/* Sets ahead.first, end and window to what is to be loaded for this page. */
static void plan(region *r, uint64_t page) {
  bool is_up = page == r->ahead.end && page != 0, is_down = page + 1 == r->ahead.first;
  r->ahead.window = is_up || is_down ? min_u64(r->ahead.window * 2, AHEAD_PAGES_MAX) : 1;
  uint64_t limit = window_limit(r), first = page, end = page + 1, pages = pages_of(r);
  if (!is_down)
    while (end - first < limit && end < pages && is_absent(r, end)) end++;
  else
    while (end - first < limit && first > 0 && is_absent(r, first - 1)) first--;
  r->ahead.first = first;
  r->ahead.end = end;
}

int load_on_fault(region *r, uint64_t page) {
  if (r->load_limit != 0 && r->loaded >= r->load_limit) return PAGESTORE_EQUOTA;
  plan(r, page);
  int status = load_window(r, r->ahead.first, r->ahead.end - r->ahead.first, page);
  if (status != PAGESTORE_OK) return status;
  r->demanded.page[r->demanded.next++ % DEMANDED_KEPT] = page;
  atomic_fetch_add_explicit(&r->budget->faults_load, 1, memory_order_relaxed);
  PROBE1(fault_load, page);
  return PAGESTORE_OK;
}

int load_zeros(region *r, uint64_t page) {
  int status = r->tracker->load_begin(r, page, 1);
  if (status != PAGESTORE_OK) return status;
  status = r->tracker->load_page(r, page, NULL);
  r->tracker->load_end(r, page, 1);
  if (status == PAGESTORE_OK) region_move(r, page, ALL_BLOCKS, MOVE_ZERO);
  return r->walled ? PAGESTORE_ENOMEM : status;
}
