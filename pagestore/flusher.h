/* flusher.h - makes sealed works durable, oldest first, in groups; the only one that begins write transactions.
 *
 * The flusher is a role: its own thread has it, or a thread that waits for its synchronous work and finds the role
 * free. That one leads a flush of what is queued, once, and is spared two changes of threads. Everything else is the
 * thread's: what came meanwhile, upkeep, failures, and the flushes of a host that wants to be told.
 *
 *   QUEUED --taken--> FLUSHING --commit durable--> DONE (0)
 *     ^                  |
 *     |  no room: asynchronous works go back; synchronous commits are taken back: DONE (ENOSPC, EFULL ...)
 *     +------------------+
 *                        sync or meta write failed: the store is FAILED, everything queued DONE (EFAILED), for good
 *
 * Invariants:
 * - works become durable in the order of the queue, a whole group or nothing of it; works joined by
 *   `together` are never in two groups;
 * - nothing is called durable before db_commit returned; a failed sync is never tried again;
 * - an instance's commits of one group become one set of rows, the newest block of each, but never across a
 *   snapshot of it;
 * - asynchronous works that come in faster than they are flushed stay QUEUED to be gathered into one larger group:
 *   four times as long as the last flush took, at most gather_ms, and no longer once somebody waits for one or half
 *   the queue is full.
 *
 * Thread: push and wait from any thread; the rest by who has the role.
 * Owner:  a work belongs to the queue until it is DONE, then to the waiter if it is synchronous; asynchronous
 *         ones are freed.
 */
#ifndef PAGESTORE_FLUSHER_H
#define PAGESTORE_FLUSHER_H

#include "core.h"
#include "storage/catalog.h"

typedef struct snapshot snapshot;

typedef enum { WORK_COMMIT, WORK_SNAPSHOT, WORK_DROP, WORK_DELETE } work_kind;
/* CORE: what was durable before. GIVEN: restore, fork, a view's snapshot. UNKNOWN: taken during a flush, to
 * be counted. */
typedef enum { COUNTS_CORE, COUNTS_GIVEN, COUNTS_UNKNOWN } counts_source;
typedef enum { WORK_QUEUED, WORK_FLUSHING, WORK_DONE } work_progress;

typedef struct work {
  struct work *next;
  work_kind kind;
  work_progress progress;
  uint64_t number;             /* in the order of the queue, from 1 */
  bool together;               /* with the next one: commit_all */
  bool synchronous;            /* somebody waits and owns it afterwards */
  int status;                  /* when DONE */
  uint64_t bytes;              /* against queue_bytes */
  core *core;                  /* a reference */
  void *user;                  /* for on_durable */

  /* COMMIT, and SNAPSHOT of a version whose blocks must be written first */
  uint64_t version, serial;
  state *state;
  delta *delta;                /* NULL: sizes or metadata alone */
  line *line;                  /* its head is the layer to write into */
  /* a fork's first commit, a view's snapshot: blocks of the source to be written under its own */
  unflushed *inherited;
  unflushed *inherited_logged; /* likewise what is in the log, of inherited_layer */
  uint64_t inherited_layer;
  log_line *log;               /* of the line's head; NULL: its blocks are all in rows */
  bool new_layer;              /* line->steps[0].layer is new: `layer` is its record */
  layer_record layer;
  counts_source counts_from;   /* where stored_pages under this work's blocks are known from */
  state *counts;               /* GIVEN: here; NULL: nothing is stored */
  uint64_t rerooted_trash;     /* re-rooted: the trash record that goes with the group; 0: not */
  uint64_t left_layer;         /* restore: the layer that is no present any more; 0: none */

  line *pinned;                /* what a new layer stands on, until the work is done: unpinned with it. NULL: nothing */

  snapshot *snapshot;          /* SNAPSHOT, DROP */
} work;

work *work_new(work_kind, core *);          /* takes a reference on the core (store->lock held). NULL: no memory */
void work_free(struct pagestore_store *, work *);
/* on_durable for why the flusher stands still, once for each instance with asynchronous commits among the works.
 * STANDING: they are tried again, told once. FINAL: they will never be, told up to their last version. */
typedef enum { TELL_STANDING, TELL_FINAL } tell;
void works_tell_failure(struct pagestore_store *, const work *, int status, tell);

typedef struct flusher flusher;
int flusher_start(struct pagestore_store *, flusher **);   /* ENOMEM */
/* Works off the queue (what can be: a store without room keeps the rest, whose callbacks then say so), ends
 * the thread. Returns the last failure, 0 if none. Blocks. */
int flusher_stop(flusher *);

/* Appends a list of works: sealed from here on. Who pushes synchronous ones waits for them next. store->lock held. */
void flusher_push(flusher *, work *first);
/* Waits for room in the queue for `bytes`: 0; EAGAIN with nowait; ENOSPC, EFULL, EFAILED ... while the
 * flusher stands still. */
int flusher_room(flusher *, uint64_t bytes, bool nowait);
int flusher_wait_work(flusher *, work *);                          /* until DONE; its status. May lead */
/* ENOSPC: also when it was taken back */
int flusher_wait_version(flusher *, core *, uint64_t version, int timeout_ms);
/* a refused commit's owner has taken it back: others may wait for its version */
void flusher_taken_back(flusher *);
int flusher_wait_all(flusher *, int timeout_ms);
/* Until what was pushed so far is durable, the log is empty (meanwhile nothing comes to it) and trash is worked off.
 * ENOSPC and what merging says */
int flusher_drain(flusher *, int timeout_ms);
/* Until no flush of the core is in progress: then rows at its durable version are whole and can be pinned.
 * core->lock NOT held; returns with it held. */
void flusher_wait_idle(flusher *, core *);
/* Locks the core, but not while a synchronous commit of it is being flushed: a view bounded by that version
 * would, once it was refused, see rows of the next commit that gets the number. Waits for one flush at most. */
void flusher_lock_settled(flusher *, core *);
int flusher_failure(flusher *);             /* 0, or why it stands still. Any thread, never blocks */
/* For layers_unpin: rows of a layer lost their pin, a trash pass is wanted. Any thread, whatever it has locked. */
void flusher_orphaned(void *store, uint64_t layer);

typedef struct { uint64_t queue_bytes, queue_works; } flusher_load;
flusher_load flusher_queue(flusher *);

#endif
