/* prove_log.h - the log in what a durable meta page reaches: whole, or a crash would find it damaged.
 *
 *   I6  each block record is sealed, of this store and under its number; the catalog says of each, and of no other, where
 *       its blocks belong, and says the same; they follow each other without a gap from the log's beginning on, which
 *       never moves back; while there is one, the store record names the feature
 *
 * One look: begin, then the rows of the catalog and those of `log`, in this order, then end; then the next look.
 * Thread: one.
 */
#ifndef CRASHSIM_PROVE_LOG_H
#define CRASHSIM_PROVE_LOG_H

#include "storage/format.h"

typedef struct {
  log_addresses *said;    /* by the catalog, ascending */
  uint64_t count, room;
  uint64_t met;           /* of them, as rows */
  uint64_t beginning, newest, doomed;   /* doomed: how many lie before the beginning */
  uint64_t beginning_before, newest_before, doomed_before;
  id128 store;
  bool has_feature;
  const char *wrong;      /* what is not as it must be; NULL: nothing so far */
} found_log;

void prove_log_forget(found_log *);     /* what comes is another store's */
void prove_log_begin(found_log *);
void prove_log_store(found_log *, bytes record);
void prove_log_catalog(found_log *, uint64_t sequence, bytes record);
void prove_log_row(found_log *, bytes key, bytes value);
const char *prove_log_end(found_log *);  /* NULL, or what is wrong. Counts what was seen */

#endif
