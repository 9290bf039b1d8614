/* internal.h - a region from inside: what is known of each block, and the parts that act on it.
 *
 *   fault.c     what a fault in a region means              load.c      bytes from the source into absent blocks
 *   giveback.c  clean pages back to the kernel              choice.c    which tracker, and when to change it
 *   blocks.c    the block states                            region.c    the public calls, the boundary
 *
 * A block is  absent  (not present)
 *             clean   (present, not dirty)
 *             dirty   (dirty; under EXPLICIT it may have been marked before it was loaded)
 * and a page is broken (in `broken`, no block present: PROT_NONE), or zeroed (in `broken`, all present: zeros stand in
 * for bytes that could not be had, or host code has written to a read-only region). Neither can be committed; rollback
 * ends both.
 *
 * Invariants (region_is_valid checks them):
 * - resident = pages with a present block; dirty and writable blocks only in pages of the set `dirty`;
 * - open = pages with a writable block: those that a write reaches without the tracker seeing it. They stay dirty,
 *   whatever region_narrow said, until the boundary shuts them: a refused commit must find later writes to them;
 * - recent is part of resident; inexact is part of dirty; members of all sets are < pages;
 * - the kernel's protection of a block is never wider than its state allows, but for a block just being loaded.
 *
 * Thread: as region.h; the fault handler is the region's own thread.
 */
#ifndef PAGESTORE_VM_INTERNAL_H
#define PAGESTORE_VM_INTERNAL_H

#include "base/pageset.h"
#include "base/units.h"
#include "vm/os.h"
#include "vm/region.h"

enum {
  AHEAD_PAGES_MAX = 16,     /* 1 MiB: a page costs 24 us then, 28 us alone; more gains nothing */
  GIVE_BACK_BATCH = 64,
  DEMANDED_KEPT = 8,        /* pages of the last faults, which one instruction may need together */
  REPEATS_MAX = 8,          /* of a fault that finds nothing to do, before it is somebody else's */
  METADATA_PAGES_MIN = 64,
  DROPS_MAX = 32,           /* runs dropped in one call; small, for the stack's sake */
};

typedef struct { uint16_t present, dirty, writable; } page_blocks;

typedef struct { uint64_t first, count; } block_run;

typedef struct tracker tracker;

struct region {
  uint8_t *base;
  uint64_t reserved_bytes;
  _Atomic uint64_t pages; /* atomic: pagestore_memory_pages is for any thread */
  uint64_t max_pages;
  int64_t mappings;       /* our part of budget->mappings: an estimate */
  unsigned generation;    /* of the process: another one in a forked child */

  region_source source;
  region_budget *budget;
  pagestore_trap_fn trap;
  void *trap_env;
  bool marks_only, read_only;

  page_blocks *blocks;    /* `capacity` of them */
  uint64_t capacity;
  /* pinned: promised to a system call until the boundary */
  pageset resident, dirty, inexact, open, recent, broken, pinned;

  const tracker *tracker;
  int uffd;               /* while a userfaultfd tracker is attached */

  /* The message. */
  uint64_t load_limit, loaded, loaded_ahead;
  uint64_t settled_pages; /* the size at its beginning; what is beyond, it has grown */
  int failure;
  uint64_t failure_page;
  bool walled;            /* the inside is PROT_NONE as a whole: the last resort when the kernel refuses finer steps */

  struct { uint64_t first, end, window; } ahead;  /* the last demand load */
  struct { uint64_t page[DEMANDED_KEPT]; unsigned next; } demanded;
  unsigned repeats;
  uint64_t clock_hand;
  struct {  /* choice.c */
    bool on;
    double regret_ns, factor;
    uint64_t stretches;  /* that the last scan took one by one */
    const char *reason;
  } choice;
};

static inline uint64_t pages_of(const region *r) { return atomic_load_explicit(&r->pages, memory_order_relaxed); }
static inline uint8_t *page_at(const region *r, uint64_t page) { return r->base + page * PAGE_BYTES; }
static inline uint8_t *block_at(const region *r, uint64_t block) { return r->base + block * BLOCK_BYTES; }
static inline bool is_complete(const region *r, uint64_t page) { return r->blocks[page].present == ALL_BLOCKS; }
static inline bool is_broken(const region *r, uint64_t page) {
  return pageset_has(&r->broken, page) && !is_complete(r, page);
}
static inline void count_mappings(region *r, int64_t more) {
  r->mappings += more;
  atomic_fetch_add_explicit(&r->budget->mappings, (uint64_t)more, memory_order_relaxed);
}

/* ---- blocks.c --------------------------------------------------------------------------------------------------- */

typedef enum {
  MOVE_LOAD,   /* absent -> clean (or dirty, where it was marked before) */
  MOVE_WRITE,  /* -> dirty, exactly these blocks */
  MOVE_OPEN,   /* -> dirty and writable unseen; a whole page at a time makes it inexact */
  MOVE_CLEAN,  /* dirty -> clean: the whole page */
  MOVE_DROP,   /* -> absent */
  MOVE_BREAK,  /* -> absent, and broken: the whole page */
  MOVE_ZERO,   /* absent -> zeroed: the whole page */
} block_move;

void region_move(region *, uint64_t page, uint16_t blocks, block_move);
int blocks_reserve(region *, uint64_t pages);  /* metadata for so many; 0 or ENOMEM, nothing changed */
void blocks_free(region *);

/* Runs of blocks to be dropped, neighbours joined: in memory and in the books. A failure (EIO) leaves the books of what
 * was not yet dropped as they were. What was added is dropped at the latest by drops_end. */
typedef struct {
  region *r;
  unsigned count;
  int status;
  block_run runs[DROPS_MAX];
} drops;
static inline void drops_begin(drops *d, region *r) {
  d->r = r;
  d->count = 0;
  d->status = PAGESTORE_OK;
}
void drops_add(drops *, uint64_t block_first, uint64_t count);
int drops_end(drops *);
int blocks_drop(region *, uint64_t block_first, uint64_t count);
/* The masks of a set's pages: `mask` tells which blocks of a page. */
int blocks_drop_each(region *, const pageset *, uint16_t (*mask)(const region *, uint64_t page));
int blocks_drop_all(region *);   /* and makes the inside accessible again where it was walled */

void note_failure(region *, uint64_t page, int status);
void recount_mappings(region *);
bool break_page(region *, uint64_t page);  /* false: the kernel refused even the wall */
bool wall(region *);
os_access inside_access(const region *);

/* ---- load.c ----------------------------------------------------------------------------------------------------- */

#define ANY_PAGE UINT64_MAX
/* Absent blocks of the pages; the status of `wanted` (ANY_PAGE: of the first that failed), other pages'
 * failures are ignored. */
int load_window(region *, uint64_t first, uint64_t count, uint64_t wanted);
/* When the mapping count is exhausted: a window around the page that needs no more mappings. `open`: writable
 * as well. */
int load_wide(region *, uint64_t page, bool open);
int load_on_fault(region *, uint64_t page);
int load_zeros(region *, uint64_t page);

/* ---- fault.c, giveback.c, choice.c ----------------------------------------------------------- */

bool region_fault(int signal, uintptr_t address, void *ucontext);

void give_back_on_fault(region *);
void give_back_before_load(region *);
void give_back_at_boundary(region *);

int choose_tracker(region *, pagestore_tracker asked);
typedef struct { uint64_t pages, blocks; } dirty_count;
void reconsider_tracker(region *, dirty_count);

#endif
