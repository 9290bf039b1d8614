/* region.h - an open memory as the engine sees it: reserved addresses, bytes loaded on demand, writes tracked.
 *
 *   base                        base + pages                base + max_pages           + guard
 *   |  inside: loads and stores  |  PROT_NONE: growth goes here  |  PROT_NONE for ever  |
 *
 * Life of a block; region_move() is the one function that goes along these arrows:
 *
 *   absent --load--> clean --first write--> dirty --region_clean (commit)--> clean
 *                      |                      |
 *                      +--trim, forget--------+--region_rollback--> absent
 *
 * A page whose bytes cannot be had is `broken`: PROT_NONE until rollback, so that the access faults as a
 * plain SIGSEGV, which the engine turns into a trap; region_failure() says why.
 *
 * Invariants:
 * - the base never moves; bytes past the size are PROT_NONE at all times; at most two mappings unless the
 *   mprotect tracker or broken pages split them;
 * - a present block is never replaced; a block leaves the dirty set only by region_clean or region_rollback:
 *   a call that re-protected and then failed has lost nothing;
 * - clean pages are given back only by the thread that runs the message (in these calls or in its own fault).
 *
 * Thread: one call at a time per region, guest execution included; the table of regions is for all threads.
 * Owner:  memory.c, which also provides the source of bytes. Knows nothing of storage/.
 */
#ifndef PAGESTORE_VM_REGION_H
#define PAGESTORE_VM_REGION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <pagestore.h>

typedef struct region region;

/* Where committed bytes come from. Called inside the fault handler: no lock, no allocation, under 2 KiB of stack.
 * begin .. page, page, .. end; `page` gives 64 KiB, or NULL for a page of zeros, good until the next call;
 * its failure is the status that region_failure() and the trap hook see. */
typedef struct {
  int (*begin)(void *env, void **cursor);
  int (*page)(void *env, void *cursor, uint64_t page, const uint8_t **bytes);
  void (*end)(void *env, void *cursor);
  void *env;
} region_source;

/* Shared by the regions of a store: the resident limit and the counters of pagestore_stats. */
typedef struct {
  uint64_t limit_bytes;                  /* clean pages are given back over this; never 0 */
  _Atomic uint64_t resident_bytes;       /* pages held by all regions, by 64 KiB */
  _Atomic uint64_t faults_load, faults_write, mappings;
} region_budget;

typedef enum {
  REGION_SCAN, REGION_FAULT, REGION_MPROTECT, /* as in pagestore_tracker */
  REGION_EXPLICIT,                            /* region_mark is the only source of dirty blocks */
  REGION_NONE,                                /* read-only view: nothing can be written */
} region_tracker;

typedef struct {
  uint64_t pages, max_pages;    /* max_pages >= pages, max_pages >= 1 */
  uint64_t guard_bytes;         /* multiple of 64 KiB, may be 0 */
  pagestore_tracker tracker;    /* AUTO or one of the others; asked for and not to be had: EUNSUPPORTED */
  bool marks_only;              /* PAGESTORE_EXPLICIT */
  bool read_only;               /* PROT_READ: a write is a plain SIGSEGV */
  uint64_t load_limit;          /* pages a message may load; 0: no limit. Over it a load fails with EQUOTA */
  region_source source;
  region_budget *budget;
  pagestore_trap_fn trap;       /* may be NULL */
  void *trap_env;
} region_options;

int region_open(const region_options *, region **);   /* ENOMEM EUNSUPPORTED EIO */
void region_close(region *);
uint8_t *region_base(const region *);
uint64_t region_pages(const region *);
uint64_t region_max(const region *);

/* Grows (new bytes are zero as far as the source says so) or shrinks (what is beyond is dropped and
 * protected, its dirty blocks forgotten). ENOMEM: nothing changed. */
int region_resize(region *, uint64_t pages);
int region_extend(region *, uint64_t max_pages, uint64_t guard_bytes);  /* in place, or ENOMEM */
void region_limits(region *, uint64_t load_limit, pagestore_trap_fn, void *trap_env);

/* ---- dirty blocks ----------------------------------------------------------------------------------------------- */

/* Brings what the tracker knows into the region's own set and re-protects what it brought. EIO: the set holds
 * what was brought. */
int region_collect(region *);

/* First page >= from with dirty blocks, or false. `exact` false: the tracker saw only that the page was
 * written to (per-page faults, widened mprotect windows): all sixteen bits are set and the owner narrows
 * them. Valid after region_collect. */
typedef struct { uint64_t page; uint16_t blocks; bool exact; } region_dirty;
bool region_dirty_next(const region *, uint64_t from, region_dirty *);
/* the blocks that really differ; may be 0: the page stays in the set */
void region_narrow(region *, uint64_t page, uint16_t blocks);
/* exact; EXPLICIT writes, and a delta taken back. Async-signal-safe */
void region_mark(region *, uint64_t page, uint16_t blocks);

/* The boundary. clean: the set's blocks become clean (re-protected where the tracker needs it); to be called
 * after sealing, engine stopped. rollback: dirty blocks are dropped (absent), broken pages mended, the
 * failure cleared. Both end the message: they
 * give back clean pages over the limit, start the load limit anew and let `auto` choose again. Never fail:
 * what the kernel refuses (ENOMEM on mappings) is done more coarsely. */
void region_clean(region *);
void region_rollback(region *);

/* Blocks whose committed bytes changed under the region (restore, advance, undo of those): dropped, so the
 * next touch loads. A page may come more than once. */
typedef struct { uint64_t page; uint16_t blocks; } region_blocks;
void region_forget(region *, const region_blocks *, unsigned count);
void region_forget_all(region *);

/* ---- loading ---------------------------------------------------------------------------------------------------- */

/* present afterwards; the source's error, or ENOMEM EQUOTA. Blocks */
int region_load(region *, uint64_t first, uint64_t count);
/* loaded and writable by system calls until the boundary */
int region_open_write(region *, uint64_t first, uint64_t count);
/* The same for host code that copies at once: good until the next call on this region, nothing is promised beyond it,
 * so the resident limit holds through a long message. is_touched: nothing would be left to do for this page. */
int region_touch(region *, uint64_t first, uint64_t count, bool to_write);
bool region_is_touched(const region *, uint64_t page, bool to_write);
int region_failure(const region *, uint64_t *page);               /* 0, or the first failed load of this message */
/* clean pages go until at most this is resident; oldest loads first */
void region_trim(region *, uint64_t keep_bytes);
bool region_resident_next(const region *, uint64_t from, uint64_t *page);
uint64_t region_resident_bytes(const region *);

/* ---- which tracker ---------------------------------------------------------------------------------------------- */

region_tracker region_tracker_now(const region *, const char **reason);  /* reason: constant text */

/* What this kernel and process allow: for doctor, stats, and tests. */
typedef struct {
  bool scan, fault;          /* userfaultfd with async / with synchronous write-protect */
  const char *userfaultfd;   /* "privileged", "user-mode only", or why refused: constant text */
} region_support;
region_support region_probe(void);

void region_after_fork(void);  /* in the child: the table is empty, the userfaultfds are closed */
bool region_is_valid(const region *);

#endif
