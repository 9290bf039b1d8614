/* reroot.h - layers that have become too deep are copied into one without a parent.
 *
 * Before the group: every visible page goes into the new layer, in bounded transactions; nobody refers to it
 * yet, and a trash record removes it should the process die. In the group: its record is put without a parent
 * and the trash record goes.
 * Thread: the flusher.
 */
#ifndef PAGESTORE_REROOT_H
#define PAGESTORE_REROOT_H

#include "store.h"

enum { REROOT_ROWS_MAX = 512 };

int reroot_prepare(pagestore_store *, uint8_t *scratch, work *);   /* sets work->rerooted_trash. Blocks */
int reroot_finish(db_txn *, const work *);
void reroot_publish(pagestore_store *, work *);

#endif
