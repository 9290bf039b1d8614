/* trash.h - works off rows that nobody needs any more, a bounded number in each transaction, resumable after a crash.
 *
 * Whoever drops a snapshot, deletes an instance, restores, clears a memory or removes a last child only puts
 * a trash record in the same transaction. A step goes on at the record's resume key, deletes rows that the
 * keep rule does not need (of a memory that died: whose last
 * life ends at died_at; of a layer that is no instance's present any more: the newest rows too), and moves
 * the key. At the end of the layer the record goes; a layer without rows, points and present goes with it,
 * and its parent gets a trash record in turn. Rows that only pins need make the
 * record start again (outcome.pinned) once they are released; so do rows of a memory that died which older
 * points need: its record is the only one that knows of the death, and stays while they do.
 * Thread: the flusher.
 */
#ifndef PAGESTORE_STORAGE_TRASH_H
#define PAGESTORE_STORAGE_TRASH_H

#include "storage/layers.h"

typedef struct {
  bool worked;                  /* there was a record */
  /* every record left waits: do not come again before a point or pin went or a record was put */
  bool pinned;
  uint64_t rows_deleted, rows_seen;
  uint64_t layer_removed;       /* 0: none. After the commit: layers_remove */
} trash_outcome;

enum { TRASH_ROWS_DELETED_MAX = 128, TRASH_ROWS_SEEN_MAX = 2048 };

int trash_put(db_txn *, uint64_t id, const trash_record *);
/* its rows have become somebody's: the end of re-rooting. Gone already: no error */
int trash_delete(db_txn *, uint64_t id);
/* One step of the first record that does not wait. `*next_trash` is the id for the record of a parent, if one
 * is put: counted up. */
int trash_step(db_txn *, layers *, uint64_t *next_trash, trash_outcome *);
bool trash_pending(db_reader);

#endif
