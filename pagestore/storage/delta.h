/* delta.h - the blocks that one commit changed, and the index of all that are not flushed yet.
 *
 * A delta is filled by one thread and immutable once it is in an index; counted. Blocks of zeros take no room.
 *
 * `unflushed` maps (memory, page) to the newest unflushed bytes of each block. It is replaced, never edited,
 * so keeping one is a reference, and a lookup needs no lock: it is a short list of runs, each a sorted table
 * over one delta or several merged neighbours
 * (sizes grow geometrically, so their number is logarithmic). A merged run never crosses `cut`, the last
 * serial that a flush in progress
 * covers: what the flush writes can be dropped whole.
 *
 * Serials number the seals of an instance, never again the same one (a version that was taken back may be).
 * Invariant: runs ascend in serial; a run holds, for each block, the newest of its serials; runs leave oldest first.
 * Thread:    push and drop: one at a time per instance (its lock). find: any, async-signal-safe. Counting: any.
 */
#ifndef PAGESTORE_STORAGE_DELTA_H
#define PAGESTORE_STORAGE_DELTA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/units.h"

typedef struct delta delta;
int delta_new(uint64_t pages, uint64_t blocks, delta **);       /* room for at most these. ENOMEM */
/* Copies the blocks of `mask` out of a 64 KiB page. (memory, page) ascend from call to call. */
void delta_add(delta *, uint32_t memory, uint64_t page, uint16_t mask, const uint8_t *page_bytes);
delta *delta_reference(delta *);
void delta_release(delta *);                                     /* NULL allowed */
uint64_t delta_bytes(const delta *);                             /* what it holds in memory */
uint64_t delta_blocks(const delta *);

/* block: NULL where not in mask */
typedef struct { uint32_t memory; uint16_t mask; uint64_t page; const uint8_t *block[PAGE_BLOCKS]; } delta_page;
bool delta_next(const delta *, uint64_t *at, delta_page *);      /* at = 0 first */

typedef struct unflushed unflushed;                              /* NULL is the empty index */
int unflushed_push(const unflushed *, delta *, uint64_t serial, uint64_t cut, unflushed **out);   /* ENOMEM */
/* Without the runs whose serials are all <= through. *out may become NULL. ENOMEM: keep the old one, it is
 * still right. */
int unflushed_drop(const unflushed *, uint64_t through, unflushed **out);
/* the same bytes, all under one serial: a fork's inheritance */
int unflushed_restamp(const unflushed *, uint64_t serial, unflushed **out);
unflushed *unflushed_reference(unflushed *);
void unflushed_release(unflushed *);
/* Fills block[] for those found; returns their mask. block[] entries outside the mask are NULL. */
uint16_t unflushed_find(const unflushed *, uint32_t memory, uint64_t page, const uint8_t *block[PAGE_BLOCKS]);
bool unflushed_has(const unflushed *, uint32_t memory, uint64_t page);
/* First (memory, page) >= the given one with unflushed blocks, the newest of each, or false. */
bool unflushed_next(const unflushed *, uint32_t memory, uint64_t page, delta_page *);
bool unflushed_is_valid(const unflushed *);

#endif
