/* memory.h - one region and one page map: the only place where vm/ and storage/ meet for reading and collecting.
 *
 * Invariants: while `id` is not 0 the memory is in the instance's state and the region has that entry's size;
 *             id 0 is a ghost (its creation was rolled back, or a restore or delete took it): size 0, calls
 *             say ENOTFOUND, opening the name again revives it. `region` never changes: one base.
 * Thread:     the instance's rule. The source runs in fault handlers of the instance's thread.
 */
#ifndef PAGESTORE_MEMORY_H
#define PAGESTORE_MEMORY_H

#include "instance.h"
#include "shadow.h"
#include "storage/pagemap.h"
#include "vm/region.h"

#define MEMORY_VOLATILE_ID UINT32_MAX

struct pagestore_memory {
  pagestore_memory *next;
  pagestore_instance *instance;
  region *region;
  uint32_t id;                  /* in the instance's state; 0: a ghost; VOLATILE: MEMORY_VOLATILE_ID */
  uint32_t flags;
  uint64_t dirty_limit;
  uint64_t committed_pages;     /* VOLATILE: its size at the last boundary */
  shadow shadow;                /* VOLATILE */
  uint64_t shadow_pages;        /* VOLATILE: the smallest size since the boundary; what has grown since is zeros */
  pagemap map;                  /* of the cursor in use */
  row_place damage;             /* of the load that failed */
  char name[NAME_BYTES_MAX + 1];
};

int memory_check(const pagestore_memory *, bool to_write);

/* For host code that copies at once: the bytes, inside the size, are there, and marked where the memory is EXPLICIT.
 * Good until the next call on this memory. EREADONLY; a load's failure, with its text. is_touched, for bytes of one
 * page: nothing is left to do but marking. */
int memory_touch(pagestore_memory *, uint64_t offset, uint64_t length, bool to_write);
bool memory_is_touched(const pagestore_memory *, uint64_t offset, bool to_write);
void memory_mark_range(pagestore_memory *, uint64_t offset, uint64_t length);   /* if it is EXPLICIT */
uint64_t memory_default_guard(uint32_t flags, uint64_t max_pages);
/* What to reserve for a memory that is stored: its maximum. A table that names none is not ours; its size is then. */
uint64_t memory_max_of(const memory_entry *);

/* ---- the page map under the region ----------------------------------------------------------- */

region_source memory_source(pagestore_memory *);
/* A reader for m->map; the cursor is its slot, NULL for a volatile memory. In fault handlers too. */
int memory_source_begin(void *memory, void **cursor);
void memory_source_end(void *memory, void *cursor);
int memory_describe(const pagestore_memory *, int status, uint64_t page);   /* the text of a load that failed */

/* ---- boundaries ------------------------------------------------------------------------------ */

/* What the tracker knows, pages that were only seen to be written to narrowed to the blocks that differ. EIO */
int memory_collect_blocks(pagestore_memory *);
/* Collects and, where the tracker saw only pages, narrows to the blocks that differ. Counts what is dirty.
 * EQUOTA over the limit; the status of a failed load, with its text. */
int memory_collect(pagestore_memory *, uint64_t *pages, uint64_t *blocks);
int memory_prepare_boundary(pagestore_memory *);                 /* what the boundary needs memory for. ENOMEM */
void memory_add_to(pagestore_memory *, delta *);                  /* the collected blocks */
void memory_mark_delta(pagestore_instance *, const delta *);      /* a delta taken back: its blocks are dirty again */
void memory_boundary(pagestore_memory *);                         /* sealed: clean */
/* Drops what the message wrote and follows the instance's state as it is now (rollback, restore, advance): id
 * and size. Pages that may differ besides are
 * dropped: those in (after, through] of the history if it is covered, or all. ENOMEM EIO */
typedef struct { bool covered; uint64_t after, through; } memory_drift;
int memory_follow(pagestore_memory *, memory_drift);
/* Whether memory_follow would find room: to be asked before anything changes. ENOMEM */
int memory_can_follow(pagestore_memory *, const state *);
void memory_close(pagestore_memory *);

bool memory_is_volatile(const pagestore_memory *);
/* the largest maximum that a memory of this index type can have */
uint64_t memory_pages_most(uint32_t flags);

#endif
