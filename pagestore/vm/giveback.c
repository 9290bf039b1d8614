/* giveback.c - clean pages back to the kernel: over the resident limit, and on request.
 *
 * CLOCK over the resident pages: the hand passes a page that was loaded or written since it last came by,
 * once; the next time round it goes. A page with a dirty block stays, whether the books know of it or only
 * the kernel does, and so do pages promised to a system call.
 *
 * Thread: the region's own, in the handler too: there the steps are bounded, and the pages of the last few faults stay,
 *         or an instruction that needs two pages under a limit of one would never end.
 */
#include "base/check.h"
#include "vm/tracker.h"

typedef struct {
  uint64_t steps, pages;  /* at most */
  uint64_t keep_bytes;    /* of this region */
  bool to_limit;          /* no more than brings the store under its limit */
  bool in_fault;
} give_back_plan;

static bool is_over_limit(const region *r) {
  return atomic_load_explicit(&r->budget->resident_bytes, memory_order_relaxed) > r->budget->limit_bytes;
}

static bool was_demanded(const region *r, uint64_t page) {
  for (unsigned i = 0; i < DEMANDED_KEPT; i++)
    if (r->demanded.page[i] == page) return true;
  return page >= r->ahead.first && page < r->ahead.end;
}

static bool may_go(region *r, uint64_t page, bool in_fault) {
  if (pageset_has(&r->dirty, page) || pageset_has(&r->broken, page) || pageset_has(&r->pinned, page)) return false;
  if (in_fault && was_demanded(r, page)) return false;
  if (pageset_remove(&r->recent, page)) return false;
  return r->tracker->unseen == NULL || r->tracker->unseen(r, page) == 0;
}

static void give_back(region *r, give_back_plan plan) {
  while (plan.steps-- != 0 && plan.pages != 0 && r->resident.count * PAGE_BYTES > plan.keep_bytes) {
    if (plan.to_limit && !is_over_limit(r)) return;
    uint64_t page = pageset_next(&r->resident, r->clock_hand);
    if (page == PAGESET_END) page = pageset_next(&r->resident, 0);
    r->clock_hand = page + 1;
    if (!may_go(r, page, plan.in_fault)) continue;
    /* A page that the kernel will not split off or drop stays: the limit is a wish, the bytes are not. */
    if (blocks_drop(r, page * PAGE_BLOCKS, PAGE_BLOCKS) == PAGESTORE_OK) plan.pages--;
  }
}

/* A batch, so that not every load at the limit pays for a turn of the hand; small where the limit is small, but no
 * smaller than what was just loaded. */
void give_back_on_fault(region *r) {
  if (!is_over_limit(r)) return;
  uint64_t batch = min_u64(r->budget->limit_bytes / PAGE_BYTES / 8, GIVE_BACK_BATCH);
  batch = max_u64(batch, r->ahead.end - r->ahead.first);
  give_back(r, (give_back_plan){ .steps = 4 * GIVE_BACK_BATCH, .pages = batch, .in_fault = true });
}

/* For loads that are no faults: what is asked for is loaded afterwards, so any clean page may go. */
void give_back_before_load(region *r) {
  if (is_over_limit(r))
    give_back(r, (give_back_plan){ .steps = 4 * GIVE_BACK_BATCH, .pages = GIVE_BACK_BATCH, .to_limit = true });
}

/* Twice round: the first turn may only take the mark of recent pages away. */
void give_back_at_boundary(region *r) {
  if (!is_over_limit(r)) return;
  give_back(r, (give_back_plan){ .steps = 2 * r->resident.count, .pages = UINT64_MAX, .to_limit = true });
}

void region_trim(region *r, uint64_t keep_bytes) {
  give_back(r, (give_back_plan){ .steps = 2 * r->resident.count, .pages = UINT64_MAX, .keep_bytes = keep_bytes });
}
