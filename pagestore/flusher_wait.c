/* flusher_wait.c - the queue from outside: pushing, waiting for room, for works, versions, an empty log. The contract
 * is in flusher.h. Thread: any. */
#include <errno.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"
#include "flusher_inside.h"

/* ---- queue ----------------------------------------------------------------------------------- */

/* Somebody waits for what is queued by now. */
static void end_gathering(flusher *f) {
  f->awaited_through = f->works_pushed;
  if (!f->gather_until_ns) return;
  f->gather_until_ns = 0;
  pthread_cond_signal(&f->wake);
}

/* Likewise; a failure from before that does not tell whether there is room by now. */
static void want_now(flusher *f) {
  f->awaited_through = f->works_pushed;
  f->gather_until_ns = 0;
  f->kick = true;
}

static void try_now(flusher *f) {
  want_now(f);
  pthread_cond_signal(&f->wake);
}

void flusher_push(flusher *f, work *first) {
  bool awaited = false;
  for (work *w = first; w; w = w->next) {
    ASSERT(w->progress == WORK_QUEUED);
    f->queue_bytes += w->bytes;
    f->queue_works++;
    w->number = ++f->works_pushed;
    if (f->tail) f->tail->next = w;
    else f->head = w;
    f->tail = w;
    awaited |= w->synchronous;
  }
  if (is_half_full(f)) f->gather_until_ns = 0;
  /* Who waits for it flushes it, or signals. While it gathers it wakes by itself: a signal would cost a system call for
   * each commit. */
  if (awaited) want_now(f);
  else if (!f->gather_until_ns) pthread_cond_signal(&f->wake);
}

static int refuse(const flusher *f) {
  return fail(f->failure, "%s", f->failure_text);
}

int flusher_room(flusher *f, uint64_t bytes, bool nowait) {
  pagestore_store *s = f->store;
  uint64_t limit = s->options.queue_bytes;
  int status = 0;
  pthread_mutex_lock(&s->lock);
  uint64_t before = f->tries_failed;
  while (f->failure != PAGESTORE_EFAILED && f->queue_bytes > 0 && f->queue_bytes + bytes > limit) {
    if (nowait) {
      end_gathering(f);
      status = fail(PAGESTORE_EAGAIN, "the flush queue is full (%llu bytes): call again, or commit without NOWAIT",
                    (unsigned long long)f->queue_bytes);
      break;
    }
    if (f->failure && f->tries_failed != before) break;
    try_now(f);
    pthread_cond_wait(&f->moved, &s->lock);
  }
  if (!status && (f->failure == PAGESTORE_EFAILED || (f->failure && f->queue_bytes + bytes > limit)))
    status = refuse(f);
  pthread_mutex_unlock(&s->lock);
  return status;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Waits on `moved` once more: false when the time is over. */
static bool wait_moved(flusher *f, int timeout_ms, const struct timespec *deadline) {
  if (timeout_ms < 0) return pthread_cond_wait(&f->moved, &f->store->lock) == 0;
  if (timeout_ms == 0) return false;
  return pthread_cond_timedwait(&f->moved, &f->store->lock, deadline) != ETIMEDOUT;
}

/* Who is done signals without the lock: the thread would wake only to wait for it, and both would pay. */
int flusher_wait_work(flusher *f, work *w) {
  pthread_mutex_lock(&f->store->lock);
  bool wake = w->progress == WORK_QUEUED && flusher_lead(f), is_done = w->progress == WORK_DONE;
  if (wake && !is_done) pthread_cond_signal(&f->wake);
  while (w->progress != WORK_DONE) pthread_cond_wait(done_condition(f, w), &f->store->lock);
  int status = w->status ? fail(w->status, "%s", f->failure_text) : 0;
  pthread_mutex_unlock(&f->store->lock);
  if (wake && is_done) pthread_cond_signal(&f->wake);
  return status;
}

/* Called with the lock; `done` says whether what is waited for is there. Waiting ends early while the flusher
 * stands still. */
static int wait_until(flusher *f, bool (*done)(const flusher *, const void *), const void *of, int timeout_ms) {
  struct timespec deadline = timespec_of(monotonic_ns() + (timeout_ms < 0 ? 0 : (uint64_t)timeout_ms * 1000000u));
  uint64_t before = f->tries_failed;
  try_now(f);
  while (!done(f, of)) {
    if (f->failure == PAGESTORE_EFAILED || (f->failure && (timeout_ms == 0 || f->tries_failed != before)))
      return refuse(f);
    if (!wait_moved(f, timeout_ms, &deadline))
      return fail(PAGESTORE_ETIMEDOUT, "not durable after %d ms: wait again", timeout_ms);
  }
  return 0;
}

typedef struct { const core *core; uint64_t version; } awaited_version;

/* Or taken back: a refused commit was waited for by another thread. */
static bool version_settled(const flusher *f, const void *of) {
  (void)f;
  const awaited_version *awaited = of;
  return atomic_load(&awaited->core->durable) >= awaited->version ||
         atomic_load(&awaited->core->committed) < awaited->version;
}

int flusher_wait_version(flusher *f, core *c, uint64_t version, int timeout_ms) {
  if (atomic_load(&c->durable) >= version) return 0;
  awaited_version awaited = { c, version };
  pthread_mutex_lock(&f->store->lock);
  int status = wait_until(f, version_settled, &awaited, timeout_ms);
  if (!status && atomic_load(&c->durable) < version)
    status = fail(PAGESTORE_ENOSPC, "version %llu of '%s' found no room and was taken back: commit again",
                  (unsigned long long)version, c->name);
  pthread_mutex_unlock(&f->store->lock);
  return status;
}

static bool works_through(const flusher *f, const void *of) {
  return done_through(f) >= *(const uint64_t *)of;
}

int flusher_wait_all(flusher *f, int timeout_ms) {
  pthread_mutex_lock(&f->store->lock);
  uint64_t through = f->works_pushed;
  int status = wait_until(f, works_through, &through, timeout_ms);
  if (!status && f->failure == PAGESTORE_EFAILED) status = refuse(f);
  pthread_mutex_unlock(&f->store->lock);
  return status;
}

/* Between two steps the log may be looked at. */
typedef struct { uint64_t through, trash_ends; } awaited_drain;
static bool is_drained(const flusher *f, const void *of) {
  const awaited_drain *awaited = of;
  if (f->flushing || !works_through(f, &awaited->through)) return false;
  if (f->trash && f->trash_ends == awaited->trash_ends) return false;
  return block_log_is_empty(f->store->log) || (f->merge_failed && !f->merge_again);
}

int flusher_drain(flusher *f, int timeout_ms) {
  pthread_mutex_lock(&f->store->lock);
  awaited_drain awaited = { f->works_pushed, f->trash_ends };
  f->drain++;
  f->merge_again = true;
  int status = wait_until(f, is_drained, &awaited, timeout_ms);
  f->drain--;
  if (!status && !block_log_is_empty(f->store->log)) {
    status = f->merge_status ? f->merge_status : PAGESTORE_ENOSPC;  /* 0: a group had no room for merging beside it */
    fail(status, "the log could not be merged into pages (%s): free some room, then try again",
         pagestore_strerror(status));
  }
  pthread_mutex_unlock(&f->store->lock);
  return status;
}

void flusher_wait_idle(flusher *f, core *c) {
  pthread_mutex_lock(&f->store->lock);
  f->wait_idle++;
  for (;;) {
    while (f->flushing) pthread_cond_wait(&f->moved, &f->store->lock);
    pthread_mutex_unlock(&f->store->lock);
    pthread_mutex_lock(&c->lock);  /* order: core, then store */
    pthread_mutex_lock(&f->store->lock);
    if (!f->flushing) break;
    pthread_mutex_unlock(&c->lock);
  }
  f->wait_idle--;
  pthread_cond_signal(&f->wake);
  pthread_mutex_unlock(&f->store->lock);
}

void flusher_lock_settled(flusher *f, core *c) {
  pthread_mutex_lock(&c->lock);
  if (!c->flushing_refusable) return;
  pthread_mutex_unlock(&c->lock);
  flusher_wait_idle(f, c);
}

void flusher_taken_back(flusher *f) {
  pthread_mutex_lock(&f->store->lock);
  pthread_cond_broadcast(&f->moved);
  pthread_mutex_unlock(&f->store->lock);
}

int flusher_failure(flusher *f) {
  pthread_mutex_lock(&f->store->lock);
  int failure = f->failure;
  pthread_mutex_unlock(&f->store->lock);
  return failure;
}

flusher_load flusher_queue(flusher *f) {
  pthread_mutex_lock(&f->store->lock);
  flusher_load load = { f->queue_bytes, f->queue_works };
  pthread_mutex_unlock(&f->store->lock);
  return load;
}
