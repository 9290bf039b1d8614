/* compare.h - walks the pages in which two versions differ: for diff and send.
 *
 * Each page has a reader of its own, gone before anyone is called with what was found: a slow
 * callback holds up neither the flusher nor LMDB's reuse of pages. What keeps the rows is that both
 * versions are pinned; views of a store opened for reading look through the reader that they hold.
 *
 * Thread: one at a time per comparison, which counts as a call on both handles.
 */
#ifndef PAGESTORE_COMPARE_H
#define PAGESTORE_COMPARE_H

#include "instance.h"
#include "storage/pagemap.h"

typedef struct {
  pagestore_instance *from, *to; /* from NULL: nothing, which is zeros */
  const core_version *from_version, *to_version;
  uint8_t *room; /* three pages: scratch of either side, and the page that was found */
} comparison;

/* The versions are pinned by their handles, or by the caller. ENOMEM */
int compare_open(comparison *, pagestore_instance *from, const core_version *from_version,
                 pagestore_instance *to, const core_version *to_version);
void compare_close(comparison *);

/* The first page >= *page in which the memory differs, memory_from 0: from zeros. *mask: the
 * blocks; *bytes: the page as it is in `to`, NULL: zeros; good until the next call. ENOTFOUND: no
 * more. ECORRUPT names the place. EIO */
int compare_next(comparison *, uint32_t memory_from, const memory_entry *memory_to, uint64_t *page,
                 uint16_t *mask, const uint8_t **bytes);

uint16_t blocks_not_zero(const uint8_t *page_bytes); /* NULL: a page of zeros */

#endif
