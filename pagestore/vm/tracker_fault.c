/* tracker_fault.c - one signal per page and message (userfaultfd, synchronous write-protect).
 *
 * A page is loaded protected; the first write raises SIGBUS, the handler opens the whole page and notes it, inexact.
 * No cost follows the resident size: what a large memory with small messages wants.
 *
 * Invariant: a present page that is not in `open` is protected.
 */
#include "base/check.h"
#include "vm/tracker.h"

static int fault_attach(region *r) { return userfault_attach(r, OS_UFFD_SYNC, true); }

static int protect(region *r, uint64_t first, uint64_t count, bool write_protect) {
  int error = os_uffd_protect(r->uffd, page_at(r, first), count * PAGE_BYTES, write_protect);
  return error == 0 ? PAGESTORE_OK : PAGESTORE_EIO;
}

/* The zero page arrives without protection: protected behind it, before the guest runs on. Were that refused, the page
 * counts as written to, which costs a comparison and misses nothing. */
static int fault_load_page(region *r, uint64_t page, const uint8_t *bytes) {
  int status = userfault_load_page(r, page, bytes, true);
  if (bytes != NULL || r->blocks[page].present == 0) return status;
  if (pageset_has(&r->open, page) || protect(r, page, 1, true) != PAGESTORE_OK) {
    protect(r, page, 1, false);
    region_move(r, page, r->blocks[page].present, MOVE_OPEN);
  }
  return status;
}

static int fault_open(region *r, uint64_t page, uint16_t blocks) {
  (void)blocks;
  ASSERT(is_complete(r, page));
  int status = protect(r, page, 1, false);
  if (status == PAGESTORE_OK) region_move(r, page, ALL_BLOCKS, MOVE_OPEN);
  return status;
}

static int fault_shut(region *r, uint64_t first, uint64_t count) { return protect(r, first, count, true); }

const tracker tracker_fault = {
  .name = REGION_FAULT,
  .attach = fault_attach,
  .detach = userfault_detach,
  .load_begin = userfault_load_begin,
  .load_page = fault_load_page,
  .load_end = userfault_load_end,
  .open = fault_open,
  .shut = fault_shut,
  .collect = collect_open,
  .drop = userfault_drop,
};
