/* userfault.c - what the trackers on userfaultfd share, and the one that is nothing more: plain.
 *
 * The whole reservation is registered once, guard included: growth is then a single mprotect, and the mappings stay
 * two. A PROT_NONE part raises SIGSEGV although it is registered: the kernel checks access before it looks for pages.
 *
 * Invariant: a block that the books call absent may be present (somebody was first, or a copy was cut short); EEXIST
 *            tells, and what is there stays.
 */
#include <errno.h>

#include "base/check.h"
#include "vm/tracker.h"

int userfault_attach(region *r, os_uffd_kind kind, bool write_protect) {
  int error = os_uffd(kind, &r->uffd);
  if (error == 0) error = os_uffd_register(r->uffd, r->base, r->reserved_bytes, write_protect);
  if (error == ENOMEM) return PAGESTORE_ENOMEM;
  return error == 0 ? PAGESTORE_OK : PAGESTORE_EUNSUPPORTED;
}

int userfault_detach(region *r) {
  return os_uffd_unregister(r->uffd, r->base, r->reserved_bytes) == 0 ? PAGESTORE_OK : PAGESTORE_EIO;
}

int userfault_load_begin(region *r, uint64_t first, uint64_t count) {
  (void)r, (void)first, (void)count;
  return PAGESTORE_OK;
}

void userfault_load_end(region *r, uint64_t first, uint64_t count) { (void)r, (void)first, (void)count; }

static int status_of(int error) { return error == ENOMEM ? PAGESTORE_ENOMEM : PAGESTORE_EIO; }

/* One run of absent blocks. EFAULT: the source's bytes lie in a mapping whose file could not be read. */
static int load_blocks(region *r, uint64_t page, const uint8_t *bytes, unsigned low, unsigned end, bool protect) {
  while (low < end) {
    uint64_t done, offset = low * BLOCK_BYTES, length = (end - low) * BLOCK_BYTES;
    uint8_t *to = page_at(r, page) + offset;
    int error = bytes != NULL ? os_uffd_copy(r->uffd, to, bytes + offset, length, protect, &done)
                              : os_uffd_zero(r->uffd, to, length, &done);
    ASSERT(done % BLOCK_BYTES == 0 && done <= length);
    unsigned filled = (unsigned)(done / BLOCK_BYTES);
    bool is_present = error == EEXIST;
    if (is_present) filled++;
    if (filled != 0) region_move(r, page, (uint16_t)(((1u << filled) - 1) << low), MOVE_LOAD);
    low += filled;
    if (error != 0 && !is_present) return status_of(error);
  }
  return PAGESTORE_OK;
}

int userfault_load_page(region *r, uint64_t page, const uint8_t *bytes, bool write_protect) {
  unsigned missing = (uint16_t)~r->blocks[page].present;
  while (missing != 0) {
    unsigned low = (unsigned)__builtin_ctz(missing), length = (unsigned)__builtin_ctz(~(missing >> low));
    int status = load_blocks(r, page, bytes, low, low + length, write_protect);
    if (status != PAGESTORE_OK) return status;
    missing &= ~(((1u << length) - 1) << low);
  }
  return PAGESTORE_OK;
}

int userfault_drop(region *r, const block_run *runs, unsigned count) {
  os_range ranges[DROPS_MAX];
  ASSERT(count <= DROPS_MAX);
  for (unsigned i = 0; i < count; i++)
    ranges[i] = (os_range){ block_at(r, runs[i].first), runs[i].count * BLOCK_BYTES };
  return os_drop_each(ranges, count) == 0 ? PAGESTORE_OK : PAGESTORE_EIO;
}

/* Present blocks only: protecting absent ones would leave markers all over the page table, or not work at all. */
int userfault_protect_present(region *r) {
  uint64_t run_first = 0, run_count = 0;
  for (uint64_t p = pageset_next(&r->resident, 0); p != PAGESET_END; p = pageset_next(&r->resident, p + 1)) {
    unsigned mask = r->blocks[p].present;
    while (mask != 0) {
      unsigned low = (unsigned)__builtin_ctz(mask), length = (unsigned)__builtin_ctz(~(mask >> low));
      uint64_t first = p * PAGE_BLOCKS + low;
      mask &= ~(((1u << length) - 1) << low);
      if (run_first + run_count == first) {
        run_count += length;
        continue;
      }
      if (run_count != 0 && os_uffd_protect(r->uffd, block_at(r, run_first), run_count * BLOCK_BYTES, true) != 0)
        return PAGESTORE_EIO;
      run_first = first;
      run_count = length;
    }
  }
  if (run_count != 0 && os_uffd_protect(r->uffd, block_at(r, run_first), run_count * BLOCK_BYTES, true) != 0)
    return PAGESTORE_EIO;
  return PAGESTORE_OK;
}

/* ---- plain: loads, and notices nothing -------------------------------------------------------------------------- */

/* Registered for missing pages only, either descriptor will do. */
static int plain_attach(region *r) {
  int status = userfault_attach(r, OS_UFFD_ASYNC, false);
  return status == PAGESTORE_EUNSUPPORTED ? userfault_attach(r, OS_UFFD_SYNC, false) : status;
}

static int plain_load_page(region *r, uint64_t page, const uint8_t *bytes) {
  return userfault_load_page(r, page, bytes, false);
}

static int plain_shut(region *r, uint64_t first, uint64_t count) {
  (void)r, (void)first, (void)count;
  return PAGESTORE_OK;
}

const tracker tracker_plain = {
  .name = REGION_EXPLICIT,
  .attach = plain_attach,
  .detach = userfault_detach,
  .load_begin = userfault_load_begin,
  .load_page = plain_load_page,
  .load_end = userfault_load_end,
  .shut = plain_shut,
  .collect = collect_open,
  .drop = userfault_drop,
};
