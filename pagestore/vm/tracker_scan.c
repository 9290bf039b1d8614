/* tracker_scan.c - the kernel notes writes (userfaultfd, asynchronous write-protect), PAGEMAP_SCAN asks it.
 *
 * A block is loaded protected; the first write costs a page fault inside the kernel, no signal. A scan reports the
 * blocks that are written and protects them again in one step, so whatever it reported lives on in the region's own
 * set only: it is moved there before anything else can fail.
 */
#include "vm/tracker.h"

/* Small, for the stack's sake; a full buffer ends the scan early and costs one more call, 1 us for 32 runs. */
enum { RUNS_MAX = 32 };

static int scan_attach(region *r) { return userfault_attach(r, OS_UFFD_ASYNC, true); }

static int scan_load_page(region *r, uint64_t page, const uint8_t *bytes) {
  return userfault_load_page(r, page, bytes, true);
}

static void note_run(region *r, const os_run *run) {
  uint64_t block = (run->start - (uint64_t)(uintptr_t)r->base) / BLOCK_BYTES;
  uint64_t end = (run->end - (uint64_t)(uintptr_t)r->base) / BLOCK_BYTES;
  while (block < end) {
    unsigned low = (unsigned)(block % PAGE_BLOCKS);
    unsigned count = (unsigned)min_u64(PAGE_BLOCKS - low, end - block);
    region_move(r, block / PAGE_BLOCKS, (uint16_t)(((1u << count) - 1) << low), MOVE_WRITE);
    block += count;
  }
}

/* A scan that failed may have protected blocks without telling which: every page from here on may have been written. */
static void suspect_all(region *r, uint64_t page) {
  for (page = pageset_next(&r->resident, page); page != PAGESET_END; page = pageset_next(&r->resident, page + 1)) {
    region_move(r, page, r->blocks[page].present, MOVE_WRITE);
    pageset_add(&r->inexact, page);
  }
}

static int scan_collect(region *r) {
  if (r->resident.count == 0) return PAGESTORE_OK;
  uint8_t *at = page_at(r, pageset_next(&r->resident, 0)), *end = page_at(r, pages_of(r));
  while (at < end) {
    os_run runs[RUNS_MAX];
    unsigned count;
    uint8_t *stop;
    if (os_scan(at, (uint64_t)(end - at), true, runs, RUNS_MAX, &count, &stop) != 0 || stop <= at) {
      suspect_all(r, (uint64_t)(at - r->base) / PAGE_BYTES);
      return PAGESTORE_EIO;
    }
    for (unsigned i = 0; i < count; i++) note_run(r, &runs[i]);
    at = stop;
  }
  return PAGESTORE_OK;
}

/* One run is enough to know that there is some; a scan that fails counts as "all". */
static uint16_t scan_unseen(region *r, uint64_t page) {
  os_run run;
  unsigned count;
  uint8_t *stop;
  if (os_scan(page_at(r, page), PAGE_BYTES, false, &run, 1, &count, &stop) != 0) return ALL_BLOCKS;
  return count != 0 ? ALL_BLOCKS : 0;
}

static int scan_shut(region *r, uint64_t first, uint64_t count) {
  (void)r, (void)first, (void)count;
  return PAGESTORE_OK;
}

const tracker tracker_scan = {
  .name = REGION_SCAN,
  .attach = scan_attach,
  .detach = userfault_detach,
  .load_begin = userfault_load_begin,
  .load_page = scan_load_page,
  .load_end = userfault_load_end,
  .shut = scan_shut,
  .collect = scan_collect,
  .unseen = scan_unseen,
  .drop = userfault_drop,
};
