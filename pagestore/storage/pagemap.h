/* pagemap.h - "the bytes of page i at version v": unflushed blocks over logged ones over stored rows.
 *
 *   sealed --flush--> unflushed index ... log --merge--> row      a block moves to the right
 *
 * They are looked at from left to right: the index of unflushed blocks first, then the log's, then the reader is
 * renewed, so that a block which moves in between is found at least once. A logged block counts while the row that the
 * reader finds is older; its record lies in the mapping as long as such a reader can be there (block_log.h). Blocks
 * from the store are checked against their checksums before anyone sees them; those that an index overrides are not
 * looked at.
 * Thread: any, in a fault handler too: no lock, no allocation, under 2 KiB of stack.
 */
#ifndef PAGESTORE_STORAGE_PAGEMAP_H
#define PAGESTORE_STORAGE_PAGEMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/db.h"
#include "storage/delta.h"
#include "storage/format.h"
#include "storage/layers.h"

typedef struct { uint64_t layer, version; } row_place;    /* version 0: no row */

typedef struct {
  db_reader reader;             /* a slot renewed after the indexes were read, or the write transaction */
  const line *line;
  const unflushed *unflushed;   /* may be NULL */
  const unflushed *logged;      /* blocks of logged_layer in the log; may be NULL */
  uint64_t logged_layer;
  id128 store;
} pagemap;

/* *bytes: 64 KiB in the mapping or in `scratch` (64 KiB), NULL for a page of zeros; good until the reader
 * moves. EIO; ECORRUPT with *damage. */
int pagemap_read(const pagemap *, uint32_t memory, uint64_t page, uint8_t *scratch, const uint8_t **bytes,
                 row_place *damage);

/* Which row a lookup finds: value empty and place.version 0 if none. Not checked. */
int pagemap_row(const pagemap *, uint32_t memory, uint64_t page, row_place *, bytes *value);

/* The logged blocks of the page that count over the row at `place`: their mask, which may be 0. Records are not
 * looked at. */
uint16_t pagemap_logged(const pagemap *, uint32_t memory, uint64_t page, row_place, logged_page *);

/* First page >= from that has a row in some step of the line, logged or unflushed blocks; it may still be a page of
 * zeros. ENOTFOUND: no more. */
int pagemap_next(const pagemap *, uint32_t memory, uint64_t from, uint64_t *page);

/* Which blocks of a page differ between two maps; pages that share their row cost no comparison. Scratch: 64
 * KiB each. */
int pagemap_diff(const pagemap *a, const pagemap *b, uint32_t memory_a, uint32_t memory_b, uint64_t page,
                 uint8_t *scratch_a, uint8_t *scratch_b, uint16_t *mask, row_place *damage);

#endif
