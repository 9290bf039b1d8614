/* fault.c - what a fault in a region means, decided by its address and the books alone.
 *
 *   not in a region, beyond the size, in the guard, broken, walled   not ours: the chain has it
 *   absent block                                                     load; failed: the hook, zeros, or broken
 *   present block                                                    a write: opened. Nothing to open: taken again,
 *                                                                    a few times at most
 *
 * A fault that was answered is simply taken again; so when a failed load has made the page PROT_NONE it comes back as
 * the plain SIGSEGV that engines turn into a trap.
 *
 * Thread: the region's own. No lock, no allocation, small frames; errno is the caller's business (faults.c).
 */
#include <signal.h>

#include "base/check.h"
#include "vm/table.h"
#include "vm/tracker.h"

/* The hook may never return: the books are right and the source's cursor is ended when it is called. */
static bool fail_page(region *r, uint64_t page, int status, uintptr_t address, void *ucontext) {
  note_failure(r, page, status);
  if (r->walled) return true;
  if (r->trap != NULL) {
    if (r->trap(r->trap_env, status, (void *)address, ucontext)) return true;
    if (!is_complete(r, page) && load_zeros(r, page) == PAGESTORE_OK) return true;
    if (r->walled) return true;
  }
  return break_page(r, page);
}

static bool fault_absent(region *r, uint64_t page, uintptr_t address, void *ucontext) {
  r->repeats = 0;
  int status = load_on_fault(r, page);
  if (status != PAGESTORE_OK) return fail_page(r, page, status, address, ucontext);
  give_back_on_fault(r);
  return true;
}

/* Another processor may have been first, and a damaged memory cell is SIGBUS as well: only the latter comes back. */
static bool fault_again(region *r) { return ++r->repeats <= REPEATS_MAX; }

static bool fault_present(region *r, uint64_t page, uint16_t block, uintptr_t address, void *ucontext) {
  const tracker *t = r->tracker;
  if (r->read_only) return t->loads_by_protection ? false : fault_again(r);
  if (t->open == NULL || r->marks_only || (r->blocks[page].writable & block) != 0) return fault_again(r);
  r->repeats = 0;
  int status = t->open(r, page, block);
  if (status != PAGESTORE_OK) return fail_page(r, page, status, address, ucontext);
  atomic_fetch_add_explicit(&r->budget->faults_write, 1, memory_order_relaxed);
  return true;
}

bool region_fault(int signal, uintptr_t address, void *ucontext) {
  region *r = table_find(address);
  if (r == NULL) return false;
  uint64_t offset = address - (uintptr_t)r->base, page = offset / PAGE_BYTES;
  if (page >= pages_of(r) || r->walled || is_broken(r, page)) return false;
  if (signal != (r->tracker->loads_by_protection ? SIGSEGV : SIGBUS)) return false;
  if (!is_complete(r, page)) return fault_absent(r, page, address, ucontext);
  uint16_t block = (uint16_t)(1u << (offset / BLOCK_BYTES % PAGE_BLOCKS));
  return fault_present(r, page, block, address, ucontext);
}
