/* core.h - an instance of an open store, shared by all its handles and by the flusher's queue.
 *
 *              seal                         flush
 *   message ---------> committed versions ---------> durable version
 *             (owner)   line, unflushed,   (flusher)  counts
 *                       state, history
 *
 * Life of a core, moved by core_move():
 *
 *   FRESH (nothing on disk; goes with its last handle) --first flush--> STORED
 *     |                                                                   |
 *     +------- delete (taken back if the disk is full) ---> DELETED <-----+      a tombstone, until it is durable:
 *                                                              |                 it hides what the disk still has
 *                                                              +------------> GONE
 *
 * Invariants:
 * - durable <= committed, flushing is 0 or in (durable, committed]; neither committed nor durable moves back,
 *   save that a refused synchronous commit is taken back by its own owner;
 * - serial grows with every seal, restore and taking back, and is never used twice, nor by a later core of
 *   the instance: versions may be;
 * - a reader that takes `unflushed` first, then what `log` shows, and renews its slot afterwards sees every
 *   committed block;
 * - line's head bound is BOUND_OPEN; a view takes the line bounded by core_bound().
 *
 * Thread: fields under `lock`, except `unflushed` and `log`, which fault handlers load (retired by
 *         db_slots_settle), and `committed`, `durable` for quick reads. Lock order: core, then store.
 */
#ifndef PAGESTORE_CORE_H
#define PAGESTORE_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "history.h"
#include "input.h"
#include "storage/block_log.h"
#include "storage/delta.h"
#include "storage/layers.h"
#include "storage/state.h"

struct pagestore_store;
typedef struct pagestore_instance pagestore_instance;

typedef enum { CORE_FRESH, CORE_STORED, CORE_DELETED, CORE_GONE } core_life;

typedef struct core {
  struct core *next;              /* in the store's table; under store->lock, as the three below */
  uint32_t references;            /* handles and works */
  uint32_t handles;
  core_life life;
  pagestore_instance *writer;     /* the writable handle, or NULL */

  struct pagestore_store *store;
  uint64_t id;
  char name[NAME_BYTES_MAX + 1];

  pthread_mutex_t lock;
  _Atomic uint64_t committed, durable;
  /* what the flush in progress, or the one that failed for good, covers; 0: none */
  uint64_t flushing, flushing_serial;
  /* and whether its version may be taken back, to be given again with other blocks */
  bool flushing_refusable;
  uint64_t serial;
  state *state;                   /* of the committed version; sealed; stored_pages not kept */
  /* of the durable version (a fork's: of its source's), stored_pages exact; NULL: nothing, or to be counted */
  state *counts;
  line *line;
  /* under which the durable version lies: a restore that is not flushed has left it. NULL: none yet */
  line *line_durable;
  line *line_next;                /* after re-rooting: the owner's next seal takes it */
  line *pinned;                   /* a fork's or re-rooted instance's source: unpinned with the core */
  _Atomic(unflushed *) unflushed;
  /* The logged blocks of its layer; a fork's, until its first flush: of its source's layer, as they were. NULL: it was
   * never committed. */
  _Atomic(log_line *) log;
  history history;
  uint32_t group_at;              /* the flusher's: where it is in the group */
  bool stored;                    /* the flusher's: its name is on disk */
  int told_status;                /* what on_durable has said about why the flusher stands still; 0: nothing */
  uint64_t told_version;          /* and for which version last */
} core;

/* For want of memory a version cannot be captured: ENOMEM, with its text. */
int core_not_captured(const char *name);

/* ---- table; store->lock held ----------------------------------------------------------------- */

/* The live core of a name; a tombstone if there is no live one; or NULL. */
core *core_find(struct pagestore_store *, const char *name);
/* one reference; in the table. ENOMEM */
int core_new(struct pagestore_store *, const char *name, uint64_t id, core **);
void core_retain(core *);
void core_release(core *);        /* the last one frees it: unpins, leaves the table */
void core_move(core *, core_life);

/* ---- committed state; core->lock held -------------------------------------------------------- */

/* The bound under which a view of the present reads rows: what is durable, or what the flush in progress will
 * have written. Either way index over rows gives the committed bytes. */
uint64_t core_bound(const core *);
/* What a version is made of: references for the caller. ENOMEM */
typedef struct {
  uint64_t version, serial;
  line *line;                     /* bounded, pinned */
  unflushed *unflushed;
  unflushed *logged;              /* of logged_layer */
  uint64_t logged_layer;
  state *state;
  /* stored_pages under `line`; NULL: not known, a flush was in progress or the line is not flushed */
  state *counts;
  id128 snapshot;                 /* the snapshot that it is, and its name; zero: none */
  char snapshot_name[NAME_BYTES_MAX + 1];
} core_version;
int core_capture(core *, core_version *);
void core_version_release(struct pagestore_store *, core_version *);

bool core_is_valid(const core *);

#endif
