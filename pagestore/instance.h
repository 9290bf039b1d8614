/* instance.h - a handle of an instance: the writable one with its open message, or a view.
 *
 *              first change              commit                     |
 *   boundary ---------------> message ------------> boundary        |  a view has no boundary but
 *       ^                        |   (refused: stays open)          |  advance; a private one rolls back
 *       +-------- rollback ------+                                  |
 *
 * What a handle sees: `message.pending` if the message changed sizes, metadata, module or table; else the
 * committed state (the core's, or the view's). Its pages: the message's restored line, the core's line and
 * index, or the view's.
 *
 * Thread: one call at a time per handle; `view` of a view and the core's committed fields change only in
 *         calls of their owner.
 */
#ifndef PAGESTORE_INSTANCE_H
#define PAGESTORE_INSTANCE_H

#include "snapshot.h"

typedef enum { INSTANCE_WRITABLE, INSTANCE_READ, INSTANCE_PRIVATE } instance_kind;

/* What the open message has changed besides bytes. All zero: nothing. */
typedef struct {
  state *pending;               /* may be sealed (a commit was taken back): then it is copied before the next change */
  line *restored;               /* pinned: the pages come from a snapshot */
  state *restored_counts;       /* stored_pages there */
  uint64_t restored_serial;     /* the snapshot's serial, 0: not known */
  id128 restored_id;
  bool upgraded;
} message;

struct pagestore_instance {
  pagestore_store *store;
  core *core;
  instance_kind kind;
  void *user;
  message message;
  core_version view;            /* views: what they see */
  /* store opened for reading: the view's own reader, and the layers as of it; else NULL */
  db_slot *slot;
  layers *layers;
  uint64_t slot_renewed_ns;
  pagestore_memory *memories;
  uint64_t boundaries;          /* commits, rollbacks and advances so far: another number, another message */
  int broken;                   /* a rollback failed: the handle can only be closed */
};

typedef enum { NEEDS_NOTHING, NEEDS_WRITABLE_STORE, NEEDS_WRITABLE, NEEDS_PRIVATE } instance_need;
/* EINVAL EFORKED EIO; EREADONLY by need: a store opened for writing, the writable handle, a handle that takes
 * writes at all. */
int instance_check(const pagestore_instance *, instance_need);
uint64_t instance_version(const pagestore_instance *);
const state *instance_committed_state(const pagestore_instance *);
const state *instance_state(const pagestore_instance *);
int instance_change(pagestore_instance *, state **);   /* the pending state, for writing. ENOMEM */
/* a change was refused: without a pending state `before`, there is none again */
void instance_unchange(pagestore_instance *, const state *before);
void message_free(pagestore_store *, message *);
int instance_rollback(pagestore_instance *);            /* drops the message; a failure makes the handle broken */

/* One commit of what did not come through regions: the whole state, the changed blocks, and a snapshot of the version,
 * in one flush. Takes over `state` and `changes` whatever it returns. The handle is writable, without open memories and
 * without a message. Durable on return, or nothing has changed (but after EFAILED). EEXIST: the snapshot's name is
 * taken. Blocks */
typedef struct {
  state *state;
  delta *changes;               /* NULL: none */
  const char *snapshot;         /* NULL: no snapshot */
  id128 snapshot_id;
} instance_content;
int instance_apply(pagestore_instance *, instance_content);

/* Finds or loads the core of a stored or open instance, with a reference: ENOTFOUND; with PAGESTORE_CREATE a
 * fresh one. Takes store->lock. */
int core_acquire(pagestore_store *, const char *name, unsigned flags, core **);
void core_drop(pagestore_store *, core *);             /* core_release with the lock taken */

int instance_lost_layer(const char *name, uint64_t layer);   /* ECORRUPT, with its text */
/* NULL: no memory */
pagestore_instance *instance_allocate(pagestore_store *, core *, const pagestore_instance_options *);
int module_check(const char *name, const state *committed, const uint8_t *hash);   /* EMODULE */
/* into its view. ENOTFOUND. Blocks while a flush is in progress */
int instance_capture_durable(pagestore_instance *);
/* What the handle's version is made of, pinned; not in a store opened for reading. ENOMEM */
int instance_capture(pagestore_instance *, core_version *);
/* What a snapshot holds, pinned; waits until it is durable. ENOTFOUND. Blocks */
int snapshot_capture(pagestore_instance *, const char *name, core_version *);
/* Views of a store that is open for reading (reader.c): each reads through a slot of its own. That of the present is
 * renewed by advance only; that of a snapshot by refresh, which calls that read make now and then. */
int reader_open(pagestore_store *, const char *name, const pagestore_instance_options *, pagestore_instance **);
int reader_advance(pagestore_instance *, bool *moved);
/* Nothing that was read may point into the mapping any more. Nothing is done for the present, or soon after the last
 * time. ENOTFOUND: the snapshot was dropped. Not for handlers */
int reader_refresh(pagestore_instance *);

#endif
