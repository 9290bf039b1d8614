/* workload_ops.h - inside the workload: the host's state, and one random operation at a time.
 *
 * Invariant: a guest that is open has `committed`, what its last boundary left, and `work`, that and the open
 *            message; versions in the chronicle are the same objects.
 */
#ifndef CRASHSIM_WORKLOAD_OPS_H
#define CRASHSIM_WORKLOAD_OPS_H

#include <pagestore.h>
#include <pthread.h>

#include "dice.h"
#include "workload.h"

#define FULL_MAP_BYTES (1ull << 20)

typedef struct {
  pagestore_instance *handle;         /* NULL: not open, or there is none */
  pagestore_memory *memory[MEMORIES]; /* NULL: not used since it was opened */
  uint64_t serial;                    /* of this life of the name */
  version *committed, *work, *sealing;
  bool changed, upgraded;
} guest;

typedef struct {
  uint64_t serial, number, seal;
} seal_named;

typedef struct {
  dice dice;
  workload_kind kind;
  char path[256];
  uint64_t map_bytes;
  pagestore_tracker tracker;
  pagestore_store *store;
  guest guest[INSTANCES];   /* by the same numbers as in the moments */
  pagestore_instance *view; /* pins a version; NULL: none */
  int view_of;
  version *view_at;         /* what it must show to its end */
  chronicle *chronicle;
  pthread_mutex_t lock; /* chronicle, named: read by on_durable */
  uint64_t seal;        /* the last one begun */
  seal_named named[4096];
  uint64_t named_count;
  uint64_t serial, commits;
  bool holding; /* the flusher waits at its next sync */
  bool broken;  /* a call failed that must not: no more steps */
} workload;

/* A seal, in this order: begin, change the moment, mark, the library's call, then acknowledge or refused. */
moment *seal_begin(workload *);
void seal_commit(workload *, moment *, guest *); /* the guest's work is part of it */
void seal_mark(workload *);
void seal_acknowledge(workload *);
void seal_acknowledge_all(workload *); /* whatever was sealed */
void seal_refused(workload *);

void guest_begin(workload *, guest *, pagestore_instance *, version *committed);
void guest_end(guest *);
void guest_rolled_back(guest *);
void guest_committed(guest *);
int guest_open(workload *, guest *, bool create);

void view_end(workload *); /* looked at once more; none: nothing */

int workload_open(workload *, bool create);
void workload_close(workload *);
void workload_failed(const workload *, const char *call, int status);

void workload_step(workload *);
void workload_make_trash(workload *); /* a memory of many rows is cleared, deleted, or goes with its instance */
void workload_fill_log(workload *);   /* single blocks of many pages, until the log is merged, and more */
void workload_go_deep(workload *);    /* more layers, one upon the other, than a line may have */
void workload_commit_twice(
    workload *); /* synchronously, of some instances, with or without another change of the store */

#endif
