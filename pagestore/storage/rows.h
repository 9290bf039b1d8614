/* rows.h - the table of pages, row by row: keys are decoded under the guard, values are handed on as they lie
 * in the mapping.
 *
 * Thread: the reader's rule; row_seek and row_next in a fault handler too.
 */
#ifndef PAGESTORE_STORAGE_ROWS_H
#define PAGESTORE_STORAGE_ROWS_H

#include "storage/format.h"

/* The newest row of the key's page with version <= the key's, if there is one; else the first row behind it.
 * ENOTFOUND: no more. */
int row_seek(db_reader, page_key from, page_key *found, bytes *value);
int row_next(db_reader, page_key *found, bytes *value);   /* after row_seek */
int row_delete(db_txn *, page_key);                        /* ENOTFOUND */

static inline bool row_same_page(page_key a, page_key b) {
  return a.layer == b.layer && a.memory == b.memory && a.page == b.page;
}

#endif
