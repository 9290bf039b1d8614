/* flusher_inside.h - what flusher.c, flusher_wait.c and flusher_trash.c share.
 *
 * Thread: under store->lock, but for what is marked as the flusher's own.
 */
#ifndef PAGESTORE_FLUSHER_INSIDE_H
#define PAGESTORE_FLUSHER_INSIDE_H

#include "group.h"
#include "store.h"

enum { ORPHANS_MAX = 64, DONE_CONDITIONS = 64 };

struct flusher {
  pagestore_store *store;
  pthread_t thread;
  pthread_cond_t wake;            /* to the flusher: works, stop, trash */
  pthread_cond_t moved;           /* from it: room, versions, failure */
  /* likewise: a synchronous work is done; by its number, so that nobody wakes for another's */
  pthread_cond_t done[DONE_CONDITIONS];
  work *head, *tail;
  uint64_t queue_bytes, queue_works, works_pushed;
  uint64_t taken;                 /* the number of the first work of the group that is being flushed; 0: none */
  bool flushing;                  /* somebody has the role */
  bool dozing;                    /* the thread sleeps until it is signalled */
  bool stopping, trash, kick, measure;
  uint64_t pages_free;            /* LMDB pages, as of the last transaction, about */
  uint64_t trash_ends;            /* how often nothing was left of it */
  uint64_t trash_freed;           /* LMDB pages, in all; the flusher's own */
  uint64_t room_owed;             /* LMDB pages that the file has grown by while there was trash */
  uint32_t turn;                  /* of the steps */
  /* a transaction since the last ageing may have freed pages; the flusher's own, as the next */
  bool freed;
  bool narrow;                    /* a group found no room: its works are tried one by one */
  uint32_t wait_idle;             /* openers that need a moment without a flush */
  int failure;                    /* 0, or why it stands still */
  char failure_text[256];
  uint32_t retry_ms;
  uint64_t retry_at_ns;           /* what comes meanwhile does not put it off */
  uint64_t tries_failed, upkeep_from_ns;
  uint64_t measured_ns;           /* the flusher's own */
  pthread_mutex_t orphans_lock;   /* innermost */
  uint64_t orphans[ORPHANS_MAX];  /* layers whose pins are gone */
  uint32_t orphan_count;
  uint8_t *scratch;
  /* no room: again after the next group that found some; the flusher's own, as the next */
  bool merge_failed;
  uint64_t merge_from_ns;         /* or not before that */
  uint64_t merge_owed;            /* blocks of groups that have left the merging for them to a later one */
  log_goal goal;
  int merge_status;               /* why it failed */
  uint32_t drain;                 /* who waits for an empty log */
  bool merge_again;               /* somebody came to wait: whatever failed is tried once more */
  uint64_t awaited_through;       /* somebody waits for the works up to this number: they are not gathered */
  uint64_t gather_until_ns;       /* works are queued, none of them awaited: none is taken before that. 0: at once */
};

/* All works up to this number are done. A refused one is done before older ones that stay. */
static inline uint64_t done_through(const flusher *f) {
  uint64_t oldest = f->taken ? f->taken : f->head ? f->head->number : f->works_pushed + 1;
  return oldest - 1;
}

static inline pthread_cond_t *done_condition(flusher *f, const work *w) {
  return &f->done[w->number % DONE_CONDITIONS];
}

/* Flushes what is queued on the caller's thread, if the role is free. Whether the flusher's thread has to be woken up,
 * for that or for what there is to do now. The lock is held, and let go of meanwhile. */
bool flusher_lead(flusher *);

/* Whether there is something to flush: nothing while it gathers. The lock is held. */
static inline bool has_works(const flusher *f) { return f->head && !f->gather_until_ns; }

/* ---- flusher_trash.c ------------------------------------------------------------------------- */

void flusher_want_trash(flusher *);
void flusher_note_room(flusher *, free_room);      /* of a transaction that is durable */
int flusher_work_off_trash(flusher *);             /* a step. EFAILED and what it says */
bool flusher_give_back(flusher *);                 /* for a group that has no room: whether there was any */
/* The lock is held. */
bool flusher_has_orphans(flusher *);
bool flusher_may_work_off_trash(flusher *);
bool flusher_is_trash_next(const flusher *);       /* before what is queued */

static inline bool is_half_full(const flusher *f) { return f->queue_bytes >= f->store->options.queue_bytes / 2; }

#endif
