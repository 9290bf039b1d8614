/* writer.h - turns unflushed blocks into page records inside one write transaction, and keeps what the keep rule keeps.
 *
 * For each page: the stored record under it (through the line), the new blocks compared with it, unchanged
 * blocks' bytes and checksums carried along as they were (never laundering damage: where the stored header is
 * damaged, carried blocks get a checksum that cannot match), the
 * row put at `version`, superseded rows of that page in that layer deleted unless a retained point needs
 * them, older orphans included. A page that becomes all zeros gives its storage back: its row goes, and a
 * zero marker is put only where a lookup would still find a row. Blocks that compare equal
 * write nothing.
 * Thread: the flusher.
 */
#ifndef PAGESTORE_STORAGE_WRITER_H
#define PAGESTORE_STORAGE_WRITER_H

#include "storage/pagemap.h"

typedef struct {
  db_txn *txn;
  layers *layers;
  id128 store;
  uint8_t *scratch;             /* PAGE_RECORD_BYTES */
  uint64_t rows_put, rows_deleted, blocks_written, blocks_unchanged, bytes_put;   /* counted up */
} writer;

/* Everything in `changes` as rows at `version` in line->steps[0].layer. Memories that `state` does not hold
 * are left out; stored_pages of those it holds are counted up and down. `state` is not sealed. */
int writer_apply(writer *, const line *, uint64_t version, const unflushed *changes, state *);

/* Metadata and table that a state record has no room for: as pages of memory 0 at `version`. */
int writer_system_pages(writer *, const line *, uint64_t version, uint64_t first_page, const uint8_t *, size_t length);

/* Re-rooting: copies visible pages of `from` as rows at `version` into layer `to`, at most rows_max of them;
 *             *at says where to go on (zeroed
 * first), *done when all are there. Damaged blocks are carried as damaged. */
typedef struct { uint32_t memory; uint64_t page; } reroot_at;
int writer_reroot(writer *, const line *from, const state *, uint64_t to, uint64_t version, uint64_t rows_max,
                  reroot_at *at, bool *done);

#endif
