/* workload.h - a seeded program of a host: a store is created, instances commit in every way there is, all is recorded.
 *
 * Every choice comes from the seed. What each seal must leave goes into the chronicle before the call that seals,
 * with a BEGIN in the log; an ACK follows when the library says that it is durable: a synchronous call returned, a
 * wait, or on_durable.
 *
 * Thread: one; on_durable comes from the library's.
 */
#ifndef CRASHSIM_WORKLOAD_H
#define CRASHSIM_WORKLOAD_H

#include <pagestore.h>

#include "chronicle.h"
#include "record.h"

typedef enum {
  WORKLOAD_PLAIN,    /* a store beside: made under another name and renamed */
  WORKLOAD_INSIDE,   /* a store made in an empty directory */
  WORKLOAD_FULL_MAP, /* a small map that is filled, then opened with a larger one */
  WORKLOAD_DEEP,     /* restore upon restore, until the layers are re-rooted by copying */
  WORKLOAD_TRASH,    /* more rows become trash than one step works off */
  WORKLOAD_LOG,      /* a small log that is filled again and again, with everything that leans on it */
  WORKLOAD_KINDS,
  WORKLOAD_AFTER_CRASH, /* goes on with a store that was found: synchronous commits alone */
} workload_kind;
extern const char *const workload_names[WORKLOAD_KINDS];

#define STORE_NAME "store"

/* Runs one of `commits` commits with the store `STORE_NAME` below root, an empty directory. Fills log and chronicle,
 * which the caller frees. The store is closed when it returns. */
void workload_run(workload_kind, uint64_t seed, uint64_t commits, const char *root, record_log *log,
                  chronicle *chronicle);

/* Two commits on an open store that was found at a moment; the chronicle begins with that and gets theirs. */
void workload_go_on(pagestore_store *, uint64_t seed, const moment *found, chronicle *chronicle);

#endif
