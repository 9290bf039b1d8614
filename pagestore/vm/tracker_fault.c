/* tracker_fault.c - at most two signals per page and message (userfaultfd, synchronous write-protect).
 *
 * A page is loaded protected. The first write raises SIGBUS and opens its block: scattered writes, one to a
 * page, are known exactly. A second block of the same page opens the whole page, inexact: dense writes cost
 * two signals and a comparison. No cost follows the resident size: what a large memory with small messages
 * wants.
 *
 * Invariant: a present block that is not writable in the books is protected.
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

static bool is_one_block(uint16_t blocks) { return (blocks & (blocks - 1)) == 0; }

static int fault_open(region *r, uint64_t page, uint16_t blocks) {
  ASSERT(is_complete(r, page) && blocks != 0);
  bool alone = is_one_block(blocks) && r->blocks[page].writable == 0;
  if (!alone) blocks = ALL_BLOCKS;
  uint8_t *from = alone ? page_at(r, page) + (unsigned)__builtin_ctz(blocks) * BLOCK_BYTES : page_at(r, page);
  if (os_uffd_protect(r->uffd, from, alone ? BLOCK_BYTES : PAGE_BYTES, false) != 0) return PAGESTORE_EIO;
  region_move(r, page, blocks, MOVE_OPEN);
  return PAGESTORE_OK;
}

/* From the first open block to the last one: the kernel looks at each block of what it is given. */
static int fault_shut(region *r, uint64_t first, uint64_t count) {
  unsigned before = (unsigned)__builtin_ctz(r->blocks[first].writable);
  unsigned behind = (unsigned)__builtin_clz(r->blocks[first + count - 1].writable) - (32 - PAGE_BLOCKS);
  uint64_t bytes = (count * PAGE_BLOCKS - before - behind) * BLOCK_BYTES;
  int error = os_uffd_protect(r->uffd, block_at(r, first * PAGE_BLOCKS + before), bytes, true);
  return error == 0 ? PAGESTORE_OK : PAGESTORE_EIO;
}

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
