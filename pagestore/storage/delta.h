/* delta.h - the blocks that one commit changed, and indexes of blocks that are in no page record yet.
 *
 * A delta is filled by one thread and immutable once it is in an index; counted. Blocks of zeros take no room.
 * A record of the log is a delta, too, one without places of its own: its blocks lie in the store's mapping,
 * until delta_move gives them a copy (its row is about to go, and somebody holds an old index).
 *
 * There are two indexes of an instance: of what is sealed and not flushed, by serials; and of what lies in the
 * log and is not merged, by the sequence numbers of its records (block_log.h).
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
#include "storage/format.h"

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

/* The header and the blocks of a record in the mapping. One reference. ENOMEM */
int delta_of_record(const uint8_t *mapped, uint64_t sequence, delta **);
/* It is being written, at `record`: slots from `kept` on lie there until delta_land, and the older ones where they lay.
 * From then on all of it is at `mapped`; who looked an older slot up before may go on where it lay. */
void delta_write(delta *, const uint8_t *record, const uint8_t *mapped, unsigned kept);
void delta_land(delta *);
uint64_t delta_sequence(const delta *);                          /* 0: no record of the log */
const uint8_t *delta_record(const delta *);                      /* where it lies now */
bool delta_in_mapping(const delta *);
bool delta_is_shared(const delta *);                             /* by others than the caller */
/* From now on it lies in `copy`, PAGE_RECORD_BYTES from malloc, which becomes the delta's. Who looked it up before
 * may go on in the mapping. */
void delta_move(delta *, uint8_t *copy);

typedef struct unflushed unflushed;                              /* NULL is the empty index */
int unflushed_push(const unflushed *, delta *, uint64_t serial, uint64_t cut, unflushed **out);   /* ENOMEM */
/* Blocks of records, (memory, page, number) ascending, none twice; first and last: sequence numbers, in place of the
 * serial. ENOMEM */
typedef struct { delta *record; uint64_t page, version; uint32_t memory; uint8_t number, slot; } logged_block;
int unflushed_push_logged(const unflushed *, const logged_block *, uint64_t count, uint64_t first, uint64_t last,
                          uint64_t cut, unflushed **out);
/* Without the runs whose serials are all <= through. *out may become NULL. ENOMEM: keep the old one, it is
 * still right. */
int unflushed_drop(const unflushed *, uint64_t through, unflushed **out);
/* the same bytes, all under one serial: a fork's inheritance */
int unflushed_restamp(const unflushed *, uint64_t serial, unflushed **out);
unflushed *unflushed_reference(unflushed *);
void unflushed_release(unflushed *);
/* Fills block[] for those found; returns their mask. block[] entries outside the mask are NULL. */
uint16_t unflushed_find(const unflushed *, uint32_t memory, uint64_t page, const uint8_t *block[PAGE_BLOCKS]);
/* The same of an index of the log: in which record, where in it, and of which version. Entries outside the mask are
 * not set. */
typedef struct {
  uint16_t mask;
  uint8_t slot[PAGE_BLOCKS];
  delta *owner[PAGE_BLOCKS];
  const uint8_t *record[PAGE_BLOCKS];
  uint64_t sequence[PAGE_BLOCKS], version[PAGE_BLOCKS];
} logged_page;
uint16_t unflushed_find_logged(const unflushed *, uint32_t memory, uint64_t page, logged_page *);
/* Whether one of them is in its record and undamaged. The record's header is checked when the first of its blocks is:
 * what is read of it later is compared with the block. ECORRUPT */
int logged_block_check(const logged_page *, unsigned block, id128 store, const log_address *);
bool unflushed_has(const unflushed *, uint32_t memory, uint64_t page);
/* First (memory, page) >= the given one with unflushed blocks, the newest of each, or false. */
bool unflushed_next(const unflushed *, uint32_t memory, uint64_t page, delta_page *);
/* The same, of the runs with something in (after, through], the place alone. */
bool unflushed_next_in(const unflushed *, uint64_t after, uint64_t through, uint32_t memory, uint64_t page,
                       uint32_t *next_memory, uint64_t *next_page);
uint64_t unflushed_first(const unflushed *);                     /* the oldest serial; not of NULL, nor the next */
uint64_t unflushed_pages(const unflushed *, uint64_t through);   /* of the runs up to there, each run's counted */
bool unflushed_is_valid(const unflushed *);

#endif
