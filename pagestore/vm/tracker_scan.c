/* tracker_scan.c - the kernel notes writes (userfaultfd, asynchronous write-protect), PAGEMAP_SCAN asks it.
 *
 * A block is loaded protected; the first write costs a page fault inside the kernel, no signal. A scan reports the
 * blocks that are written and protects them again in one step, so whatever it reported lives on in the region's own
 * set only: it is moved there before anything else can fail.
 */
#include "vm/tracker.h"

/* Small, for the stack's sake; a full buffer ends the scan early and costs one more call, 1 us for 32 runs. */
enum {
  RUNS_MAX = 32,
  DENSE_PAGES_MIN = 32,  /* a run that gains more than its call costs */
  GAP_PAGES_MIN = 32,    /* likewise absent pages left out: their page tables may be there, from before a trim */
};

static int scan_attach(region *r) { return userfault_attach(r, OS_UFFD_ASYNC, true); }

/* The zero page arrives without protection, and would be reported once without need. Protected only where the
 * whole page was absent: in a partly present one a dirty block that no scan has seen yet would be lost. */
static int load_shared_zeros(region *r, uint64_t page) {
  bool was_absent = r->blocks[page].present == 0;
  int status = userfault_load_page(r, page, NULL, true);
  if (was_absent && status == PAGESTORE_OK) os_uffd_protect(r->uffd, page_at(r, page), PAGE_BYTES, true);
  return status;
}

/* What a message has grown it writes: memory of its own at once (28 us a page) spares each block the copy of the zero
 * page at its first write (0.7 us instead of 3.2). Elsewhere a page of zeros may only be read. */
static int scan_load_page(region *r, uint64_t page, const uint8_t *bytes) {
  static const uint8_t zeros[PAGE_BYTES];
  if (bytes == NULL && page < r->settled_pages) return load_shared_zeros(r, page);
  return userfault_load_page(r, page, bytes != NULL ? bytes : zeros, true);
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

static int scan_pages(region *r, uint64_t first, uint64_t page_end, os_scan_kind kind) {
  r->choice.stretches++;
  uint8_t *at = page_at(r, first), *end = page_at(r, page_end);
  while (at < end) {
    os_run runs[RUNS_MAX];
    unsigned count;
    uint8_t *stop;
    if (os_scan(at, (uint64_t)(end - at), kind, runs, RUNS_MAX, &count, &stop) != 0 || stop <= at) {
      suspect_all(r, (uint64_t)(at - r->base) / PAGE_BYTES);
      return PAGESTORE_EIO;
    }
    for (unsigned i = 0; i < count; i++) note_run(r, &runs[i]);
    at = stop;
  }
  return PAGESTORE_OK;
}

static uint64_t complete_end(const region *r, uint64_t page) {
  uint64_t pages = pages_of(r);
  while (page < pages && is_complete(r, page)) page++;
  return page;
}

/* Where the sparse stretch that begins here ends: at the next long run of complete pages, or before a long gap. */
static uint64_t sparse_end(const region *r, uint64_t page) {
  for (;;) {
    uint64_t end = complete_end(r, page);
    if (end - page >= DENSE_PAGES_MIN) return page;
    end = max_u64(end, page + 1);
    page = pageset_next(&r->resident, end);
    if (page == PAGESET_END || page - end >= GAP_PAGES_MIN) return end;
  }
}

static int scan_collect(region *r) {
  int status = PAGESTORE_OK;
  uint64_t page = pageset_next(&r->resident, 0);
  r->choice.stretches = 0;
  while (page != PAGESET_END && status == PAGESTORE_OK) {
    uint64_t sparse = sparse_end(r, page), end = complete_end(r, sparse);
    if (page < sparse) status = scan_pages(r, page, sparse, OS_SCAN_PROTECT);
    if (sparse < end && status == PAGESTORE_OK) status = scan_pages(r, sparse, end, OS_SCAN_DENSE);
    page = pageset_next(&r->resident, end);
  }
  return status;
}

/* One run is enough to know that there is some; a scan that fails counts as "all". */
static uint16_t scan_unseen(region *r, uint64_t page) {
  os_run run;
  unsigned count;
  uint8_t *stop;
  if (os_scan(page_at(r, page), PAGE_BYTES, OS_SCAN_LOOK, &run, 1, &count, &stop) != 0) return ALL_BLOCKS;
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
