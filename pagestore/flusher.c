/* flusher.c - groups, what their outcome means for those who wait, and what is done between them. The contract is in
 * flusher.h; who waits is in flusher_wait.c. */
#include "flusher_inside.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"
#include "group.h"
#include "snapshot.h"

enum {
  GROUP_BYTES_MAX = 64 << 20, /* dirty bytes in one transaction: bounds LMDB's copies and everyone's wait */
  RETRY_FIRST_MS = 50,
  RETRY_MAX_MS = 1000,
  UPKEEP_PAUSE_MS = 4,    /* after them, before all turns are its: who waited goes first, and what he does next */
  MEASURE_EVERY_MS = 1000, MERGE_RETRY_MS = 1000,
  MERGE_PAGES = 32,       /* looked at in one transaction of merging alone: somebody may come meanwhile */
  MERGE_PAGES_MIN = 16, MERGE_PAGES_MAX = 1024, /* along with a group */
  OWED_BLOCKS_MAX = 64,   /* after which fewer are merged, too */
  GATHER_WORKS_MIN = 4,   /* so many came during a flush: they come in faster than they are flushed */
  GATHER_FLUSHES = 4,     /* it gathers for the time of so many flushes */
};

/* ---- taking and finishing groups ------------------------------------------------------------- */

/* Detaches what is sealed, up to a bound; `together` works are not parted. The lock is held. */
static work *take_group(flusher *f) {
  ASSERT(has_works(f));
  work *first = f->head, *last = first;
  uint64_t total = 0;
  for (work *w = first; w; w = w->next) {
    last = w;
    total += w->bytes;
    w->progress = WORK_FLUSHING;
    if (!w->together && (f->narrow || total >= GROUP_BYTES_MAX)) break;
  }
  f->head = last->next;
  if (!f->head) f->tail = NULL;
  last->next = NULL;
  f->taken = first->number;
  return first;
}

/* Whether a group can be parted. */
static bool has_parts(const work *w) {
  while (w->together) w = w->next;
  return w->next != NULL;
}

/* The other way: a group that found no room goes on waiting in its place. The lock is held. */
static void put_back(flusher *f, work *first) {
  work *last = first;
  if (!first) return;
  for (; last->next; last = last->next) last->progress = WORK_QUEUED;
  last->progress = WORK_QUEUED;
  last->next = f->head;
  f->head = first;
  if (!f->tail) f->tail = last;
}

static void mark_cores(work *w) {
  for (; w; w = w->next) {
    if (w->kind != WORK_COMMIT) continue;
    pthread_mutex_lock(&w->core->lock);
    w->core->flushing = w->version;
    w->core->flushing_serial = w->serial;
    w->core->flushing_refusable |= w->synchronous;
    pthread_mutex_unlock(&w->core->lock);
  }
}

static void unmark_cores(work *w) {
  for (; w; w = w->next) {
    pthread_mutex_lock(&w->core->lock);
    w->core->flushing = w->core->flushing_serial = 0;
    w->core->flushing_refusable = false;
    pthread_mutex_unlock(&w->core->lock);
  }
}

/* The lock is held. A synchronous work is its waiter's from here on; others are freed by the caller. */
static void finish(flusher *f, work *w, int status) {
  f->queue_bytes -= w->bytes;
  f->queue_works--;
  w->next = NULL;
  w->status = status;
  w->progress = WORK_DONE;
  if (w->synchronous) pthread_cond_broadcast(done_condition(f, w));
}

static void finish_all(flusher *f, work *w, int status) {
  work *first = NULL, **last = &first;
  pthread_mutex_lock(&f->store->lock);
  while (w) {
    work *next = w->next;
    bool owned = w->synchronous;
    finish(f, w, status);
    if (!owned) {
      *last = w;
      last = &w->next;
    }
    w = next;
  }
  pthread_mutex_unlock(&f->store->lock);
  while ((w = first) != NULL) {
    first = w->next;
    work_free(f->store, w);
  }
}

/* A group that found no room, with what is queued behind it. */
static void take_rest(flusher *f, work *group) {
  while (group->next) group = group->next;
  pthread_mutex_lock(&f->store->lock);
  group->next = f->head;
  f->head = f->tail = NULL;
  pthread_mutex_unlock(&f->store->lock);
}

/* Nothing overtakes a work that found no room. So all synchronous ones are taken back by their waiters; the
 * others stay, in order. Without others nothing stands still: the failure is the waiters' alone. */
static void refuse_synchronous(flusher *f, work *group, int status) {
  pthread_mutex_lock(&f->store->lock);
  for (work **at = &group; *at;) {
    work *w = *at;
    if (!w->synchronous) {
      at = &w->next;
      continue;
    }
    *at = w->next;
    finish(f, w, status);
  }
  put_back(f, group);
  if (!f->head) {
    f->failure = 0;
    f->retry_ms = 0;
  }
  pthread_mutex_unlock(&f->store->lock);
}

/* Everything that is queued, and all that comes later. */
static void fail_queue(flusher *f) {
  pthread_mutex_lock(&f->store->lock);
  work *rest = f->head;
  f->head = f->tail = NULL;
  pthread_mutex_unlock(&f->store->lock);
  works_tell_failure(f->store, rest, PAGESTORE_EFAILED, TELL_FINAL);
  finish_all(f, rest, PAGESTORE_EFAILED);
}

static void set_failure(flusher *f, int status) {
  if (status && !*pagestore_detail())
    fail(status, "the queue could not be flushed (%s): it is tried again", pagestore_strerror(status));
  const char *text = pagestore_detail();
  pthread_mutex_lock(&f->store->lock);
  bool news = f->failure != status;
  f->failure = status;
  f->gather_until_ns = 0;
  if (status) {
    f->tries_failed++;
    size_t length = strnlen(text, sizeof f->failure_text - 1);
    memcpy(f->failure_text, text, length);
    f->failure_text[length] = 0;
    f->retry_ms = f->retry_ms ? (uint32_t)min_u64(f->retry_ms * 2, RETRY_MAX_MS) : RETRY_FIRST_MS;
    f->retry_at_ns = monotonic_ns() + f->retry_ms * 1000000ull;
  } else {
    f->retry_ms = 0;
  }
  pthread_mutex_unlock(&f->store->lock);
  if (status && news) store_log(f->store, 1, text);
}

static void count_flush(flusher *f, const group *g, uint64_t flush_ns) {
  store_counters *c = &f->store->counters;
  atomic_fetch_add(&c->flushes, 1);
  atomic_fetch_add(&c->flush_ns, flush_ns);
  atomic_fetch_add(&c->bytes_flushed, g->writer.bytes_put);
  atomic_fetch_add(&c->blocks_unchanged, g->writer.blocks_unchanged);
}

/* How many pages of the log are merged along with a group, by the blocks that it may add. A few small groups owe them
 * together: one of them pays, and the others are done sooner. */
static uint64_t merge_along(flusher *f, const work *first) {
  uint64_t bytes = 0;
  for (const work *w = first; w; w = w->next) bytes += w->bytes;
  f->merge_owed += bytes / BLOCK_BYTES + 1;
  uint64_t pages = min_u64(block_log_pace(f->store->log, f->merge_owed), MERGE_PAGES_MAX);
  if (pages < MERGE_PAGES_MIN && f->merge_owed < OWED_BLOCKS_MAX) return 0;
  f->merge_owed = 0;
  return pages;
}

static group new_group(flusher *f, work *first) {
  bool merges = !f->merge_failed && !f->narrow;
  return (group){
    .store = f->store, .works = first, .merges = merges, .merge_pages = merges ? merge_along(f, first) : 0,
    .as_rows = f->goal == LOG_EVERYTHING,
    .writer = { .layers = f->store->layers, .store = f->store->record.id, .scratch = f->scratch,
                .is_logged = block_log_has_page, .log = f->store->log },
  };
}

/* The log has grown, and its budget with the pages. */
static void follow_log(flusher *f, const group *g) {
  pagestore_store *s = f->store;
  uint64_t budget = log_budget(s, g->page_rows);
  block_log_budget(s->log, budget);
  atomic_store(&s->counters.log_budget_bytes, budget);
  atomic_store(&s->counters.log_bytes, block_log_bytes(s->log));
  if (monotonic_ns() >= f->merge_from_ns) f->merge_failed = false;
}

/* What cannot be merged (a damaged record, a disk error) must not keep others from committing: the log grows
 * meanwhile. */
static void merging_failed(flusher *f, int status) {
  bool no_room = status == PAGESTORE_ENOSPC || status == PAGESTORE_EFULL;
  f->merge_failed = true;
  f->merge_status = status;
  f->merge_from_ns = no_room ? 0 : monotonic_ns() + MERGE_RETRY_MS * 1000000ull;
  if (!no_room) store_log(f->store, 1, pagestore_detail());
}

static int write_without_merging(flusher *f, group *g, int why) {
  work *works = g->works;
  merging_failed(f, why);
  group_free(g);
  *g = new_group(f, works);
  return group_write(g);
}

/* What the last transaction freed can be used by the second one after it: without room, one that only ages
 * the free list comes in between. Else a refused commit would be refused for ever, since only a commit makes
 * transactions pass. */
static int write_group(flusher *f, group *g) {
  int status = group_write(g);
  bool no_room = status == PAGESTORE_ENOSPC || status == PAGESTORE_EFULL;
  if (no_room && flusher_give_back(f)) f->freed = true;
  if (no_room && f->freed) {
    f->freed = false;
    int aged = group_age_free_pages(f->store);
    if (aged) return aged == PAGESTORE_EFAILED ? aged : status;
    status = write_without_merging(f, g, status);
  } else if (status && !no_room && status != PAGESTORE_EFAILED && g->merges) {
    status = write_without_merging(f, g, status);
  }
  if (!status) f->freed = true;
  return status;
}

/* A first try of several works: what comes first may find room, or make some. */
static void narrow_down(flusher *f, work *first) {
  f->narrow = true;
  pthread_mutex_lock(&f->store->lock);
  put_back(f, first);
  f->kick = true;
  pthread_mutex_unlock(&f->store->lock);
}

static void group_failed(flusher *f, work *first, int status) {
  if (status != PAGESTORE_EFAILED && has_parts(first)) {
    narrow_down(f, first);
    return;
  }
  take_rest(f, first);
  set_failure(f, status);
  works_tell_failure(f->store, first, status, status == PAGESTORE_EFAILED ? TELL_FINAL : TELL_STANDING);
  if (status == PAGESTORE_EFAILED) finish_all(f, first, status);
  else refuse_synchronous(f, first, status);
}

/* Whether what is queued may wait for more of its kind. The lock is held. */
static bool may_gather(const flusher *f) {
  return f->queue_works >= GATHER_WORKS_MIN && f->head->number > f->awaited_through && !is_half_full(f) && !f->drain;
}

static void gather(flusher *f, uint64_t flush_ns) {
  uint32_t most_ms = f->store->options.gather_ms;
  if (most_ms == PAGESTORE_NO_GATHER) return;
  pthread_mutex_lock(&f->store->lock);
  if (may_gather(f)) f->gather_until_ns = monotonic_ns() + min_u64(GATHER_FLUSHES * flush_ns, most_ms * 1000000ull);
  pthread_mutex_unlock(&f->store->lock);
}

static bool has_synchronous(const work *w) {
  while (w && !w->synchronous) w = w->next;
  return w != NULL;
}

static void group_flushed(flusher *f, group *g, uint64_t began_ns) {
  group_publish(g);
  uint64_t flush_ns = monotonic_ns() - began_ns;
  bool awaited = has_synchronous(g->works);
  count_flush(f, g, flush_ns);
  follow_log(f, g);
  set_failure(f, 0);
  f->narrow = false;
  if (g->trash) flusher_want_trash(f);
  flusher_note_room(f, g->room);
  group_tell(g);
  f->upkeep_from_ns = monotonic_ns() + UPKEEP_PAUSE_MS * 1000000ull;
  finish_all(f, g->works, 0);
  if (!awaited) gather(f, flush_ns);
}

static void flush_group(flusher *f, work *first) {
  uint64_t began_ns = monotonic_ns();
  mark_cores(first);
  group g = new_group(f, first);
  fail(0, "%s", "");  /* what fails without a text must not get an older one */
  int status = write_group(f, &g);
  if (status == 0) {
    group_flushed(f, &g, began_ns);
  } else {
    /* Unknown: the rows may be those of before or after, and may have been pruned. Views go on taking both
     * for right, see core_bound. */
    if (status != PAGESTORE_EFAILED) unmark_cores(first);
    group_failed(f, first, status);
  }
  group_free(&g);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void measure(flusher *f) {
  f->measured_ns = monotonic_ns();
  db_info info;
  if (db_measure(f->store->db, &info) != 0) return;
  store_counters *c = &f->store->counters;
  atomic_store(&c->file_bytes, info.file_bytes);
  atomic_store(&c->free_bytes, info.free_pages * info.page_bytes);
  atomic_store(&c->free_largest_run, info.free_largest_run * info.page_bytes);
}

static bool may_merge(const flusher *f) {
  return !f->merge_failed && !f->stopping && !f->failure && block_log_has_work(f->store->log, f->goal);
}

static void work_off_trash(flusher *f) {
  if (flusher_work_off_trash(f) == PAGESTORE_EFAILED) set_failure(f, PAGESTORE_EFAILED);
}

static void merge_log(flusher *f) {
  int status = group_merge(f->store, f->scratch, f->goal, MERGE_PAGES);
  f->freed = true;
  f->merge_status = status;
  if (status) merging_failed(f, status);
  if (status == PAGESTORE_EFAILED) set_failure(f, status);
}

/* After a failure: when somebody waits, or it is time. */
static bool may_try(const flusher *f) {
  return !f->failure || f->failure == PAGESTORE_EFAILED || f->kick || f->stopping || monotonic_ns() >= f->retry_at_ns;
}

static bool wants_upkeep(flusher *f) {
  return (flusher_may_work_off_trash(f) && (f->failure || !has_works(f))) || may_merge(f);
}

/* The lock is held. */
static void doze(flusher *f) {
  f->dozing = true;
  pthread_cond_wait(&f->wake, &f->store->lock);
  f->dozing = false;
}

/* The lock is held. Until somebody signals, or it is time: true then. */
static bool wait_for_time(flusher *f, bool upkeep) {
  uint64_t until_ns = f->gather_until_ns ? f->gather_until_ns : UINT64_MAX;
  if (upkeep) until_ns = min_u64(until_ns, f->upkeep_from_ns);
  else if (f->failure && f->head) until_ns = f->retry_at_ns;
  if (until_ns == UINT64_MAX) {
    doze(f);
    return false;
  }
  struct timespec deadline = timespec_of(until_ns);
  return pthread_cond_timedwait(&f->wake, &f->store->lock, &deadline) == ETIMEDOUT;
}

/* The lock is held. Whether there is something to try now; otherwise waits once. */
static bool ready(flusher *f) {
  if (f->flushing) {  /* a leader: until it is done nothing of the flusher's may be looked at */
    doze(f);
    return false;
  }
  if (flusher_has_orphans(f)) f->trash = true;
  if (f->gather_until_ns && monotonic_ns() >= f->gather_until_ns) f->gather_until_ns = 0;
  bool works = has_works(f) && may_try(f);
  f->kick = false;
  f->goal = f->drain ? LOG_EVERYTHING : LOG_BUDGET;
  if (f->merge_again) f->merge_failed = f->merge_again = false;
  if (f->wait_idle) {
    pthread_cond_broadcast(&f->moved);
    doze(f);
    f->kick = true;
    return false;
  }
  bool upkeep = wants_upkeep(f);
  if (works || f->stopping || f->measure || (upkeep && monotonic_ns() >= f->upkeep_from_ns)) return true;
  if (wait_for_time(f, upkeep)) f->kick = true;
  return false;
}

typedef enum { STEP_STOP, STEP_GROUP, STEP_TRASH, STEP_MERGE, STEP_MEASURE, STEP_FAIL } step;

/* The lock is held. */
static step choose(flusher *f) {
  bool works = has_works(f);
  if (f->failure == PAGESTORE_EFAILED && f->head) return STEP_FAIL;
  if (flusher_may_work_off_trash(f) && flusher_is_trash_next(f)) return STEP_TRASH;
  if (may_merge(f) && (!works || block_log_is_behind(f->store->log) || (f->drain && f->turn % 2))) return STEP_MERGE;
  if (works) return STEP_GROUP;
  return f->measure && !f->stopping ? STEP_MEASURE : STEP_STOP;
}

/* The lock is held, and the role free. */
static work *begin(flusher *f, step next) {
  f->turn++;
  f->flushing = next != STEP_STOP;
  if (next == STEP_MEASURE) f->measure = false;
  return next == STEP_GROUP ? take_group(f) : NULL;
}

/* The lock is held. The role is free again. */
static void end(flusher *f) {
  f->flushing = false;
  f->taken = 0;
  if (!has_works(f) && monotonic_ns() - f->measured_ns >= MEASURE_EVERY_MS * 1000000ull) f->measure = true;
  pthread_cond_broadcast(&f->moved);
}

static step next_step(flusher *f, work **group) {
  pthread_mutex_lock(&f->store->lock);
  while (!ready(f)) continue;
  step next = choose(f);
  *group = begin(f, next);
  pthread_mutex_unlock(&f->store->lock);
  return next;
}

/* Whether the thread may go on: not when it is to stop and its last try found no room. */
static bool step_done(flusher *f) {
  pthread_mutex_lock(&f->store->lock);
  bool stuck = f->stopping && f->failure && f->failure != PAGESTORE_EFAILED;
  end(f);
  pthread_mutex_unlock(&f->store->lock);
  return !stuck;
}

/* A thread that is woken up on the processor of the one that committed takes its place there, and the commit lasts as
 * long as the flush; one for batch work waits until that one sleeps, or another processor is free. Where the host has
 * given its threads a policy, this one keeps it. */
static void yield_to_commits(void) {
  int policy;
  struct sched_param parameters;
  if (pthread_getschedparam(pthread_self(), &policy, &parameters) == 0 && policy == SCHED_OTHER)
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &parameters);
}

static void *run(void *env) {
  flusher *f = env;
  yield_to_commits();
  work *group = NULL;
  step next;
  do {
    next = next_step(f, &group);
    if (next == STEP_GROUP) flush_group(f, group);
    else if (next == STEP_TRASH) work_off_trash(f);
    else if (next == STEP_MERGE) merge_log(f);
    else if (next == STEP_MEASURE) measure(f);
    else if (next == STEP_FAIL) fail_queue(f);
  } while (next != STEP_STOP && step_done(f));
  return NULL;
}

/* Nothing out of the ordinary: then it is the thread's. So is telling the host. The lock is held. */
static bool may_lead(flusher *f) {
  if (f->flushing || f->wait_idle || f->failure || f->stopping || f->drain || f->narrow) return false;
  return !f->store->options.on_durable && choose(f) == STEP_GROUP;
}

/* Whether the thread has to be woken up: who signalled it meanwhile found it waiting for the role. */
static bool is_thread_wanted(flusher *f) {
  if (has_works(f) || f->kick) return true;
  return f->dozing && (f->measure || f->stopping || flusher_has_orphans(f) || wants_upkeep(f));
}

bool flusher_lead(flusher *f) {
  if (!may_lead(f)) return true;
  f->goal = LOG_BUDGET;
  f->kick = false;
  work *group = begin(f, STEP_GROUP);
  pthread_mutex_unlock(&f->store->lock);
  flush_group(f, group);
  pthread_mutex_lock(&f->store->lock);
  end(f);
  return is_thread_wanted(f);
}

/* ---- life ------------------------------------------------------------------------------------ */

int flusher_start(pagestore_store *s, flusher **out) {
  flusher *f = calloc(1, sizeof *f);
  uint8_t *scratch = malloc(PAGE_RECORD_BYTES);
  if (!f || !scratch) goto free_flusher;
  f->store = s;
  f->scratch = scratch;
  f->trash = true;  /* what an earlier process left */
  f->turn = 1;
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&f->wake, &monotonic);
  pthread_cond_init(&f->moved, &monotonic);
  for (int i = 0; i < DONE_CONDITIONS; i++) pthread_cond_init(&f->done[i], NULL);
  pthread_condattr_destroy(&monotonic);
  pthread_mutex_init(&f->orphans_lock, NULL);
  measure(f);
  if (pthread_create(&f->thread, NULL, run, f) != 0) goto free_conditions;
  *out = f;
  return 0;
free_conditions:
  pthread_mutex_destroy(&f->orphans_lock);
  pthread_cond_destroy(&f->moved);
  for (int i = 0; i < DONE_CONDITIONS; i++) pthread_cond_destroy(&f->done[i]);
  pthread_cond_destroy(&f->wake);
free_flusher:
  free(scratch);
  free(f);
  return fail(PAGESTORE_ENOMEM, "no memory for the flusher: free some and open again");
}

int flusher_stop(flusher *f) {
  pthread_mutex_lock(&f->store->lock);
  f->stopping = true;
  f->awaited_through = UINT64_MAX;
  f->gather_until_ns = 0;
  pthread_cond_signal(&f->wake);
  pthread_mutex_unlock(&f->store->lock);
  pthread_join(f->thread, NULL);
  int status = f->failure;
  works_tell_failure(f->store, f->head, status, TELL_FINAL);
  finish_all(f, f->head, status);
  if (status) fail(status, "%s", f->failure_text);
  pthread_mutex_destroy(&f->orphans_lock);
  pthread_cond_destroy(&f->moved);
  for (int i = 0; i < DONE_CONDITIONS; i++) pthread_cond_destroy(&f->done[i]);
  pthread_cond_destroy(&f->wake);
  free(f->scratch);
  free(f);
  return status;
}
