/* fault.c - what a fault in a region means, decided by its address and the books alone.
 *
 *   not in a region, beyond the size, in the guard, walled   not ours: the chain has it
 *   absent block                                             load; failed: the hook, zeros, or broken
 *   broken page, write to a read-only region                 the hook; without one, not ours
 *   present block                                            a write: opened. Nothing to open: taken again, a few
 *                                                            times at most
 *
 * A fault that was answered is simply taken again; so when a failed load has made the page PROT_NONE it comes back as
 * the plain SIGSEGV that engines turn into a trap.
 *
 * Thread: the region's own. No lock, no allocation, small frames; errno is the caller's business (faults.c).
 */
#include <signal.h>
#include <ucontext.h>

#include "base/check.h"
#include "base/probe.h"
#include "vm/table.h"
#include "vm/tracker.h"

/* What is to become of an access that cannot be served. */
typedef enum {
  PLAIN,      /* it faults again, as the plain SIGSEGV that engines know */
  ELSEWHERE,  /* the thread goes on at another place */
  GO_ON,      /* host code without a trap: it must come through; the message is marked */
} verdict;

static uintptr_t place_of(const void *ucontext) {
  const ucontext_t *context = ucontext;
#if defined(__x86_64__)
  return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
  return (uintptr_t)context->uc_mcontext.pc;
#else
#error "where a signal's context keeps the program counter"
#endif
}

/* The hook may never return: the books are right and the source's cursor is ended when it is called. */
static verdict ask(region *r, int status, uintptr_t address, void *ucontext) {
  if (r->trap == NULL) return PLAIN;
  uintptr_t place = place_of(ucontext);
  if (!r->trap(r->trap_env, status, (void *)address, ucontext)) return GO_ON;
  return place_of(ucontext) == place ? PLAIN : ELSEWHERE;
}

static bool fail_page(region *r, uint64_t page, int status, uintptr_t address, void *ucontext) {
  note_failure(r, page, status);
  if (r->walled) return true;
  verdict v = ask(r, status, address, ucontext);
  if (v == ELSEWHERE) return true;
  if (v == GO_ON && !is_complete(r, page) && load_zeros(r, page) == PAGESTORE_OK) return true;
  return r->walled || break_page(r, page);
}

/* The engine's own code has met the page before, or does so now; host code must come through here, too. */
static bool fault_broken(region *r, uint64_t page, uintptr_t address, void *ucontext) {
  verdict v = ask(r, r->failure, address, ucontext);
  if (v != GO_ON) return v == ELSEWHERE;
  bool opens = !r->tracker->loads_by_protection;
  if (opens && os_protect(page_at(r, page), PAGE_BYTES, inside_access(r)) != 0) return false;
  if (load_zeros(r, page) != PAGESTORE_OK && !r->walled) return false;
  if (opens) count_mappings(r, -2);
  return true;
}

/* Host code that writes to a read-only view writes to this handle's copy of the page, until rollback. */
static bool fault_read_only(region *r, uint64_t page, uintptr_t address, void *ucontext) {
  verdict v = ask(r, PAGESTORE_EREADONLY, address, ucontext);
  if (v != GO_ON) return v == ELSEWHERE;
  note_failure(r, page, PAGESTORE_EREADONLY);
  if (!is_complete(r, page) && load_on_fault(r, page) != PAGESTORE_OK && load_zeros(r, page) != PAGESTORE_OK)
    return false;
  if (os_protect(page_at(r, page), PAGE_BYTES, OS_WRITE) != 0) return false;
  if (!r->tracker->loads_by_protection) count_mappings(r, 2);
  region_move(r, page, ALL_BLOCKS, MOVE_ZERO);
  return true;
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
  if (r->read_only) return fault_again(r);
  if (t->open == NULL || r->marks_only || (r->blocks[page].writable & block) != 0) return fault_again(r);
  r->repeats = 0;
  int status = t->open(r, page, block);
  if (status != PAGESTORE_OK) return fail_page(r, page, status, address, ucontext);
  atomic_fetch_add_explicit(&r->budget->faults_write, 1, memory_order_relaxed);
  PROBE2(fault_write, page, block);
  return true;
}

bool region_fault(int signal, uintptr_t address, void *ucontext) {
  region *r = table_find(address);
  if (r == NULL) return false;
  uint64_t offset = address - (uintptr_t)r->base, page = offset / PAGE_BYTES;
  if (page >= pages_of(r) || r->walled) return false;
  if (is_broken(r, page)) return fault_broken(r, page, address, ucontext);
  if (signal != (r->tracker->loads_by_protection ? SIGSEGV : SIGBUS))
    return signal == SIGSEGV && r->read_only && fault_read_only(r, page, address, ucontext);
  if (!is_complete(r, page)) return fault_absent(r, page, address, ucontext);
  if (r->read_only && r->tracker->loads_by_protection) return fault_read_only(r, page, address, ucontext);
  uint16_t block = (uint16_t)(1u << (offset / BLOCK_BYTES % PAGE_BLOCKS));
  return fault_present(r, page, block, address, ucontext);
}
