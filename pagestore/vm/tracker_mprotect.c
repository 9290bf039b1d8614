/* tracker_mprotect.c - protection and SIGSEGV alone, where there is no userfaultfd.
 *
 *   absent PROT_NONE      clean PROT_READ      writable PROT_READ | PROT_WRITE
 *
 * A block's protection follows from the books (access_of), so a page is present whole or not at all, and a fault is
 * decided by state: absent, load; clean, open. Reads and writes need not be told apart.
 *
 * Every change of protection between neighbours is a mapping, and a process has 65,530. When the kernel says ENOMEM the
 * window is widened, since a range that begins and ends where mappings already do needs no further ones:
 * first what lies between the outermost such places in the window is made equal, which frees mappings, then
 * the rest of it.
 *
 * Invariant: the kernel's protection is never wider than the state allows (but inside load_begin .. load_end). Narrower
 *            it may be: the fault that follows puts it right, at worst calling a block dirty that was only read.
 */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/faults.h"
#include "base/status.h"
#include "vm/tracker.h"

static os_access access_of(const region *r, uint64_t block) {
  if (block >= pages_of(r) * PAGE_BLOCKS) return OS_NONE;
  const page_blocks *b = &r->blocks[block / PAGE_BLOCKS];
  if (b->present == 0) return OS_NONE;
  if (r->read_only) return OS_READ;
  return r->marks_only || (b->writable >> (block % PAGE_BLOCKS) & 1) ? OS_WRITE : OS_READ;
}

/* First block in (from, end) whose protection differs from its predecessor's, or end. */
static uint64_t next_edge(const region *r, uint64_t from, uint64_t end) {
  uint64_t block = from + 1;
  while (block < end && access_of(r, block) == access_of(r, block - 1)) block++;
  return min_u64(block, end);
}

/* Edges in the blocks [first, end) and at both ends: what the books say about the number of mappings. */
static int64_t edges(const region *r, uint64_t first, uint64_t end) {
  int64_t count = 0;
  for (uint64_t b = max_u64(first, 1); b <= end; b++) count += access_of(r, b) != access_of(r, b - 1);
  return count;
}

/* How many of the run's two ends are edges once all of it is `access`. */
static int64_t outer_edges(const region *r, uint64_t first, uint64_t end, os_access access) {
  return (first > 0 && access_of(r, first - 1) != access) + (access_of(r, end) != access);
}

static int64_t mprotect_mappings(const region *r) {
  int64_t count = 1;
  for (uint64_t p = pageset_next(&r->resident, 0); p != PAGESET_END; p = pageset_next(&r->resident, p + 1)) {
    count += edges(r, p * PAGE_BLOCKS, (p + 1) * PAGE_BLOCKS);
    if (pageset_has(&r->resident, p + 1)) count -= edges(r, (p + 1) * PAGE_BLOCKS, (p + 1) * PAGE_BLOCKS);
  }
  return count;
}

static int set_access(region *r, uint64_t first, uint64_t end, os_access access) {
  int error = os_protect(block_at(r, first), (end - first) * BLOCK_BYTES, access);
  if (error == 0) return PAGESTORE_OK;
  return error == ENOMEM ? PAGESTORE_ENOMEM : PAGESTORE_EIO;
}

/* From the first to the last edge inside needs no new mapping and frees those between; the two ends then take them. */
static int widen_access(region *r, uint64_t first, uint64_t end) {
  uint64_t inner = next_edge(r, first, end), last = inner;
  for (uint64_t b = inner; b < end; b = next_edge(r, b, end)) last = b;
  if (inner < last) {
    int status = set_access(r, inner, last, OS_WRITE);
    if (status != PAGESTORE_OK) return status;
  }
  return set_access(r, first, end, OS_WRITE);
}

/* Brings the kernel to what the books say, run by run. A clean run that the kernel will not protect becomes dirty; an
 * absent one must not stay readable: then the whole inside is walled, which needs no mapping. */
static void apply(region *r, uint64_t first, uint64_t end) {
  for (uint64_t b = first, stop; b < end; b = stop) {
    stop = next_edge(r, b, end);
    os_access access = access_of(r, b);
    if (set_access(r, b, stop, access) == PAGESTORE_OK) continue;
    if (access != OS_READ || r->read_only) {
      note_failure(r, b / PAGE_BLOCKS, PAGESTORE_ENOMEM);
      wall(r);
      return;
    }
    stop = min_u64(end, align_up(stop, PAGE_BLOCKS));
    for (uint64_t p = b / PAGE_BLOCKS; p * PAGE_BLOCKS < stop; p++)
      if (is_complete(r, p)) region_move(r, p, ALL_BLOCKS, MOVE_OPEN);
  }
}

/* While the region is empty: at opening, not when the reservation is extended. */
static int mprotect_attach(region *r) {
  if (pages_of(r) != 0) return PAGESTORE_OK;
  if (os_unify(r->base, r->reserved_bytes) == 0) return PAGESTORE_OK;
  return fail(PAGESTORE_ENOMEM, "the kernel refused to protect a memory's reservation: free some memory or mappings");
}

static int mprotect_detach(region *r) {
  (void)r;
  return PAGESTORE_OK;
}

/* ---- loading ---------------------------------------------------------------------------------------------------- */

static int mprotect_load_begin(region *r, uint64_t first, uint64_t count) {
  uint64_t low = first * PAGE_BLOCKS, end = (first + count) * PAGE_BLOCKS;
  count_mappings(r, -edges(r, low, end));
  int status = widen_access(r, low, end);
  if (status == PAGESTORE_OK) return status;
  apply(r, low, end);
  count_mappings(r, edges(r, low, end));
  return status;
}

/* The source may be LMDB's mapping: a read error there is SIGBUS, which the guard turns into a return. */
static int copy_guarded(uint8_t *to, const uint8_t *from) {
  guard g;
  if (guard_enter(&g, from, PAGE_BYTES)) return PAGESTORE_EIO;
  memcpy(to, from, PAGE_BYTES);
  guard_leave(&g);
  return PAGESTORE_OK;
}

static int mprotect_load_page(region *r, uint64_t page, const uint8_t *bytes) {
  ASSERT(r->blocks[page].present == 0);
  if (bytes != NULL && copy_guarded(page_at(r, page), bytes) != PAGESTORE_OK) {
    os_drop(page_at(r, page), PAGE_BYTES);
    return PAGESTORE_EIO;
  }
  region_move(r, page, ALL_BLOCKS, MOVE_LOAD);
  return PAGESTORE_OK;
}

static void mprotect_load_end(region *r, uint64_t first, uint64_t count) {
  uint64_t low = first * PAGE_BLOCKS, end = (first + count) * PAGE_BLOCKS;
  apply(r, low, end);
  count_mappings(r, edges(r, low, end));
}

/* ---- writes ----------------------------------------------------------------------------------------------------- */

static int open_run(region *r, uint64_t first, uint64_t end) {
  int status = set_access(r, first, end, OS_WRITE);
  if (status != PAGESTORE_OK) return status;
  count_mappings(r, -edges(r, first, end));
  uint16_t mask = (uint16_t)((ALL_BLOCKS >> (PAGE_BLOCKS - (end - first))) << (first % PAGE_BLOCKS));
  region_move(r, first / PAGE_BLOCKS, mask, MOVE_OPEN);
  count_mappings(r, edges(r, first, end));
  return PAGESTORE_OK;
}

/* The blocks, or where mappings are short the page, or a window that grows until it needs no more of them. */
static int mprotect_open(region *r, uint64_t page, uint16_t blocks) {
  ASSERT(blocks != 0 && is_complete(r, page));
  uint64_t base = page * PAGE_BLOCKS, low = base + (unsigned)__builtin_ctz(blocks);
  uint64_t end = base + 32 - (unsigned)__builtin_clz(blocks);
  int status = open_run(r, low, end);
  if (status == PAGESTORE_ENOMEM) status = open_run(r, base, base + PAGE_BLOCKS);
  if (status == PAGESTORE_ENOMEM) status = load_wide(r, page, true);
  return status;
}

static int mprotect_shut(region *r, uint64_t first, uint64_t count) {
  uint64_t low = first * PAGE_BLOCKS, end = (first + count) * PAGE_BLOCKS;
  if (r->marks_only || r->walled) return PAGESTORE_OK;
  int64_t before = edges(r, low, end);
  int status = set_access(r, low, end, OS_READ);
  if (status == PAGESTORE_OK) count_mappings(r, outer_edges(r, low, end, OS_READ) - before);
  return status;
}

static int drop_run(region *r, uint64_t block_first, uint64_t count) {
  ASSERT(block_first % PAGE_BLOCKS == 0 && count % PAGE_BLOCKS == 0);
  uint64_t end = block_first + count;
  int64_t before = edges(r, block_first, end);
  int status = set_access(r, block_first, end, OS_NONE);
  if (status != PAGESTORE_OK) return status;
  count_mappings(r, outer_edges(r, block_first, end, OS_NONE) - before);
  return os_drop(block_at(r, block_first), count * BLOCK_BYTES) == 0 ? PAGESTORE_OK : PAGESTORE_EIO;
}

static int mprotect_drop(region *r, const block_run *runs, unsigned count) {
  int status = PAGESTORE_OK;
  for (unsigned i = 0; i < count && status == PAGESTORE_OK; i++) status = drop_run(r, runs[i].first, runs[i].count);
  return status;
}

const tracker tracker_mprotect = {
  .name = REGION_MPROTECT,
  .loads_by_protection = true,
  .attach = mprotect_attach,
  .detach = mprotect_detach,
  .load_begin = mprotect_load_begin,
  .load_page = mprotect_load_page,
  .load_end = mprotect_load_end,
  .open = mprotect_open,
  .shut = mprotect_shut,
  .collect = collect_open,
  .drop = mprotect_drop,
  .mappings = mprotect_mappings,
};
