/* writer.h - turns changed blocks into page records or into block records of the log, inside one write transaction,
 * and keeps what the keep rule keeps.
 *
 * For each page: what is stored under it (the row through the line, logged blocks over it), the new blocks compared
 * with that; what compares equal writes nothing. Then
 * - a few blocks go to the log, packed with those of others; the row stays as it is;
 * - many, or any block of zeros, make a page record at `version`: unchanged blocks' bytes and checksums are carried
 *   along as they were (never laundering damage: where the stored header is damaged, carried blocks get a checksum
 *   that cannot match), logged blocks come into it, and superseded rows of that page in that layer are deleted unless a
 *   retained point needs them, older orphans included. A page that becomes all zeros gives its storage back: its row
 *   goes, and a zero marker is put only where a lookup would still find a row.
 * So a page with logged blocks is never all zeros, and merging them into its record changes no count of stored pages.
 * Thread: the flusher.
 */
#ifndef PAGESTORE_STORAGE_WRITER_H
#define PAGESTORE_STORAGE_WRITER_H

#include "storage/packer.h"
#include "storage/pagemap.h"

typedef struct {
  db_txn *txn;
  packer *packer;               /* NULL: page records only */
  /* Blocks that merging may log anew instead, of pages of which the log has few: they are written so often that a page
   * record for each is dear, or so seldom that they can wait. Counts down. */
  uint64_t relocate_blocks;
  /* Whether a layer's log has blocks of a page: rows that they become may show through a layer over it. NULL: there is
   * no log. */
  bool (*is_logged)(const void *log, uint64_t layer, uint32_t memory, uint64_t page);
  const void *log;
  layers *layers;
  id128 store;
  uint8_t *scratch;             /* PAGE_RECORD_BYTES */
  uint64_t rows_put, rows_deleted, blocks_written, blocks_unchanged, bytes_put;   /* counted up */
} writer;

/* What goes into line->steps[0].layer. */
typedef struct {
  const unflushed *blocks;      /* the newest of each; may be NULL */
  const unflushed *logged;      /* what is in the log under them, of logged_layer; may be NULL */
  uint64_t logged_layer;
  bool carry;                   /* logged_layer is another layer: its blocks are written into this one, too */
  bool as_rows;                 /* nothing to the log: something is about to rely on rows */
} writer_changes;

/* Writes them at `version`. Memories that `state` does not hold are left out; stored_pages of those it holds are
 * counted up and down. `state` is not sealed. What went to the log is in the packer's blocks, (memory, page, number)
 * ascending. */
int writer_apply(writer *, const line *, uint64_t version, const writer_changes *, state *);

/* Merges logged blocks of the line's first layer into page records at `version`, the newest durable one: the pages that
 * are in runs of (after, through], with all their blocks, at most *pages of them, which counts down. `at`: where to go
 * on, zeroed first. */
typedef struct { const unflushed *logged; uint64_t after, through; } merge_range;
typedef struct { uint32_t memory; uint64_t page; bool done; } merge_at;
int writer_merge(writer *, const line *, uint64_t version, const merge_range *, const state *, uint64_t *pages,
                 merge_at *at);

/* Metadata and table that a state record has no room for: as pages of memory 0 at `version`. */
int writer_system_pages(writer *, const line *, uint64_t version, uint64_t first_page, const uint8_t *, size_t length);

/* Re-rooting: copies visible pages of `from`, what is logged of them included, as rows at `version` into layer `to`, at
 * most rows_max of them; *at says where to go on (zeroed first), *done when all are there. Damaged blocks are carried
 * as damaged. */
typedef struct {
  const line *line;
  const unflushed *logged;      /* of logged_layer; may be NULL */
  uint64_t logged_layer;
} reroot_source;
typedef struct { uint32_t memory; uint64_t page; } reroot_at;
int writer_reroot(writer *, const reroot_source *from, const state *, uint64_t to, uint64_t version, uint64_t rows_max,
                  reroot_at *at, bool *done);

#endif
