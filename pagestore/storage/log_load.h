/* log_load.h - the log as it is on disk, for building indexes: a generation's worth of records at a time.
 *
 * Where blocks belong is read from the catalog; a record is only looked at where its address record is damaged.
 * Thread: the reader's rule.
 */
#ifndef PAGESTORE_STORAGE_LOG_LOAD_H
#define PAGESTORE_STORAGE_LOG_LOAD_H

#include "storage/delta.h"
#include "storage/format.h"

typedef struct {
  void *env;
  uint64_t only_layer;        /* 0: every layer */
  /* Where the log begins: records before it are given to `records` alone, in batches of their own. May be NULL. */
  void (*beginning)(void *env, uint64_t sequence);
  /* Blocks of one layer in the batch, (memory, page, number) ascending, the newest of each; first, last: the batch's
   * sequence numbers. The records are the caller's, who keeps references in what it makes of them. */
  int (*layer)(void *env, uint64_t layer, const logged_block *, uint64_t count, uint64_t first, uint64_t last);
  /* Then the batch's records, in order; may be NULL. */
  int (*records)(void *env, delta *const *, uint64_t count);
} log_loading;

/* ECORRUPT with a text; ENOMEM EIO; what a callback says. */
int log_load(db_reader, id128 store, const log_loading *);

#endif
