/* message.c - where a message ends: commit and rollback; and the calls that change the whole instance inside
 * it, upgrade and restore.
 *
 *   collect -> refuse (load failed, over a limit)      nothing has changed
 *           -> build: copy the dirty blocks            no memory: refused, blocks stay dirty
 *           -> room in the queue                        EAGAIN, no room: refused
 *           -> seal: version, index, history, queue     from here on the version exists
 *           -> boundary: the regions are clean
 *           -> wait (synchronous)                       full disk: taken back, the message is open again as it was
 *
 * Thread: the instance's rule. The engine does not run meanwhile: a store between copying a block and
 *         re-protecting it would be lost; second_look.h notices some of these at the full price of assertions.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/probe.h"
#include "base/status.h"
#include "memory.h"
#include "second_look.h"

/* One instance on its way through a commit. */
typedef struct {
  pagestore_instance *instance;
  uint64_t pages, blocks;
  bool wrote;                   /* dirty pages of durable memories, also with the same bytes */
  work *work;                   /* NULL: nothing to commit */
  delta *copied;                /* for the second look */
  const instance_content *content;   /* instance_apply: instead of regions. NULL: a message */
  struct work *naming;          /* its snapshot, flushed together with the commit. NULL: none */
  /* what taking back needs */
  message message;
  state *state_before;
  line *line_before;
  unflushed *index_before;
  log_line *log_before;         /* what a restore has left; NULL: the line is as it was */
  uint64_t serial_before, serial;
} boundary;

/* ---- before sealing -------------------------------------------------------------------------- */

static int collect(boundary *b) {
  int status = 0;
  for (pagestore_memory *m = b->instance->memories; m && !status; m = m->next) {
    uint64_t pages, blocks;
    if (m->id == 0) continue;
    if ((status = memory_collect(m, &pages, &blocks)) != 0) return status;
    if (memory_is_volatile(m)) continue;
    b->pages += pages;
    b->blocks += blocks;
  }
  b->wrote = b->pages > 0;
  for (pagestore_memory *m = b->instance->memories; m && !status; m = m->next)
    if (m->id) status = memory_prepare_boundary(m);
  return status;
}

static pagestore_memory *next_by_id(const pagestore_instance *i, uint32_t after) {
  pagestore_memory *next = NULL;
  for (pagestore_memory *m = i->memories; m; m = m->next)
    if (m->id > after && !memory_is_volatile(m) && (!next || m->id < next->id)) next = m;
  return next;
}

static int build_delta(boundary *b) {
  if (b->content && b->content->changes) b->work->delta = delta_reference(b->content->changes);
  if (b->blocks == 0) return 0;
  int status = delta_new(b->pages, b->blocks, &b->work->delta);
  if (status)
    return fail(status, "no memory to copy %llu dirty blocks: free some and commit again, or roll back",
                (unsigned long long)b->blocks);
  for (pagestore_memory *m = next_by_id(b->instance, 0); m; m = next_by_id(b->instance, m->id))
    memory_add_to(m, b->work->delta);
  b->copied = second_look_keep(b->work->delta);
  return 0;
}

static int build(boundary *b) {
  pagestore_instance *i = b->instance;
  if (!b->wrote && !i->message.pending) return 0;
  pthread_mutex_lock(&i->store->lock);
  b->work = work_new(WORK_COMMIT, i->core);
  bool deleted = i->core->life == CORE_DELETED, named = b->content && b->content->snapshot;
  if (named) b->naming = work_new(WORK_SNAPSHOT, i->core);
  pthread_mutex_unlock(&i->store->lock);
  if (!b->work || (named && !b->naming))
    return fail(PAGESTORE_ENOMEM, "no memory to commit: free some and commit again, or roll back");
  if (deleted) return fail(PAGESTORE_ENOTFOUND, "instance '%s' was deleted", i->core->name);
  int status = build_delta(b);
  if (status) return status;
  b->work->bytes = (b->work->delta ? delta_bytes(b->work->delta) : 0) + sizeof(work);
  b->work->user = i->user;
  return 0;
}

/* ---- sealing; core and store locked ---------------------------------------------------------- */

static int new_layer(boundary *b, const line *over) {
  pagestore_store *s = b->instance->store;
  work *w = b->work;
  uint64_t id = store_new_id(&s->record.next_layer);
  int status = line_extend(over, id, &w->line);
  if (status) return status;
  w->layer = (layer_record){ .depth = over->depth + 1, .instance = b->instance->core->id };
  if (over->depth > 0) {
    w->layer.parent = over->steps[0].layer;
    w->layer.parent_version = over->steps[0].bound;
    if ((status = layers_pin(s->layers, over)) != 0) return status;
    w->pinned = line_reference((line *)(uintptr_t)over);
  }
  if ((status = layers_add(s->layers, id, &w->layer)) != 0) return status;
  w->new_layer = true;
  return 0;
}

/* Into which layer, and what else has to be written there. */
static int choose_layer(boundary *b) {
  pagestore_instance *i = b->instance;
  core *c = i->core;
  work *w = b->work;
  const line *present = c->line_next ? c->line_next : c->line;
  if (i->message.restored) {
    w->counts_from = COUNTS_GIVEN;
    w->counts = i->message.restored_counts ? state_reference(i->message.restored_counts) : NULL;
    bool own = present->depth > 0 && present->steps[0].bound == BOUND_OPEN;
    w->left_layer = own ? present->steps[0].layer : 0;
    return new_layer(b, i->message.restored);
  }
  if (present->depth > 0 && present->steps[0].bound == BOUND_OPEN) {
    w->line = line_reference((line *)(uintptr_t)present);
    return 0;
  }
  /* The first commit: of a new instance, or of a fork, which takes its source's unflushed blocks along. */
  w->counts_from = present->depth > 0 && !c->counts ? COUNTS_UNKNOWN : COUNTS_GIVEN;
  w->counts = c->counts ? state_reference(c->counts) : NULL;
  unflushed *inherited = atomic_load(&c->unflushed);
  if (inherited) w->inherited = unflushed_reference(inherited);
  log_line *log = atomic_load(&c->log);
  if ((w->inherited_logged = log_line_capture(i->store->log, log)) != NULL) w->inherited_layer = log->layer;
  return new_layer(b, present);
}

static int new_index(boundary *b, unflushed **out) {
  core *c = b->instance->core;
  unflushed *base = b->instance->message.restored ? NULL : atomic_load(&c->unflushed);
  if (b->work->delta) return unflushed_push(base, b->work->delta, b->serial, c->flushing_serial, out);
  *out = base ? unflushed_reference(base) : NULL;
  return 0;
}

/* The version that is about to be sealed gets its name. */
static int name_version(boundary *b) {
  pagestore_store *s = b->instance->store;
  core *c = b->instance->core;
  work *w = b->naming;
  snapshot made = {
    .life = SNAPSHOT_QUEUED, .instance = c->id, .layer = b->work->line->steps[0].layer, .version = c->committed + 1,
    .time_ns = wall_ns(), .serial = c->serial + 1, .id = b->content->snapshot_id,
  };
  if (snapshot_find(s, c->id, b->content->snapshot))
    return fail(PAGESTORE_EEXIST, "snapshot '%s' of '%s' exists: drop it and try again", b->content->snapshot, c->name);
  memcpy(made.name, b->content->snapshot, strlen(b->content->snapshot) + 1);
  w->version = made.version;
  w->state = state_reference(b->instance->message.pending);
  w->line = line_reference(b->work->line);
  w->log = log_line_reference(b->work->log);
  return snapshot_add(s, &made, &w->snapshot);
}

/* A restore takes a serial of its own, at which the instance is what the snapshot is: from then on the way
 * back to it is counted from there. The message's own blocks come under the next one. */
static void write_history(boundary *b) {
  core *c = b->instance->core;
  delta_page changed;
  const message *m = &b->instance->message;
  if (m->restored) {
    history_repeat(&c->history, m->restored_serial, b->serial_before, b->serial_before + 1);
    snapshot_is_at(b->instance->store, c->id, m->restored_id, b->serial_before + 1);
  }
  for (uint64_t at = 0; b->work->delta && delta_next(b->work->delta, &at, &changed);)
    history_add(&c->history, c->serial, changed.memory, changed.page, changed.mask);
}

/* Everything that can fail comes before anything that others see. */
static int seal(boundary *b) {
  pagestore_instance *i = b->instance;
  core *c = i->core;
  work *w = b->work;
  ASSERT(c->writer == i && w->progress == WORK_QUEUED);
  b->serial_before = c->serial;
  b->serial = c->serial + (i->message.restored ? 2 : 1);
  int status = choose_layer(b);
  unflushed *index = NULL;
  if (!status) status = block_log_line(i->store->log, w->line->steps[0].layer, &w->log);
  if (!status) status = new_index(b, &index);
  if (!status && b->naming) status = name_version(b);
  if (status) {
    unflushed_release(index);
    if (w->new_layer) layers_remove(i->store->layers, w->line->steps[0].layer);
    w->new_layer = false;
    if (status == PAGESTORE_EEXIST) return status;
    return fail(status, "no memory to seal the commit: free some and commit again, or roll back");
  }
  b->state_before = c->state;
  b->line_before = c->line;
  b->index_before = atomic_load(&c->unflushed);
  b->message = i->message;
  c->state = i->message.pending ? state_seal(state_reference(i->message.pending)) : state_reference(c->state);
  c->line = line_reference(w->line);
  line_release(c->line_next);
  c->line_next = NULL;
  atomic_store(&c->unflushed, index);
  /* What a fork stands on is shown until its first flush has carried it into its own layer. */
  if (w->new_layer && !w->inherited_logged) b->log_before = atomic_exchange(&c->log, log_line_reference(w->log));
  w->serial = c->serial = b->serial;
  w->version = c->committed + 1;
  w->state = state_reference(c->state);
  write_history(b);
  c->committed = w->version;
  i->message = (message){0};
  ASSERT_FULL(core_is_valid(c));
  return 0;
}

/* Nobody may have seen the version, or views have: for them it changes once more. The message is open again
 * as it was. */
static void take_back(boundary *b) {
  pagestore_instance *i = b->instance;
  core *c = i->core;
  work *w = b->work;
  pthread_mutex_lock(&c->lock);
  ASSERT(c->serial == w->serial && c->committed == w->version && c->durable < w->version);
  unflushed_release(atomic_load(&c->unflushed));
  /* runs flushed meanwhile are in it still: they hold what the rows hold */
  atomic_store(&c->unflushed, b->index_before);
  state_release(c->state);
  c->state = b->state_before;
  line_release(c->line);
  c->line = b->line_before;
  log_line *left = b->work->new_layer && !b->work->inherited_logged ? atomic_exchange(&c->log, b->log_before) : NULL;
  c->committed = w->version - 1;
  c->serial++;
  history_repeat(&c->history, b->serial_before, w->serial, c->serial);
  if (b->naming) {
    pthread_mutex_lock(&i->store->lock);
    snapshot_remove(i->store, b->naming->snapshot);
    pthread_mutex_unlock(&i->store->lock);
  }
  if (w->new_layer) layers_remove(i->store->layers, w->line->steps[0].layer);
  pthread_mutex_unlock(&c->lock);
  log_line_release(i->store->log, left);
  b->log_before = NULL;
  i->message = b->message;
  if (w->delta) memory_mark_delta(i, w->delta);
  b->state_before = NULL;
  b->line_before = NULL;
  b->index_before = NULL;
  b->message = (message){0};
}

/* The whole group of boundaries is sealed, or none. Locks of the cores in address order, then the store's. */
static int seal_all(boundary *const *sorted, boundary *all, size_t count) {
  pagestore_store *s = all[0].instance->store;
  for (size_t i = 0; i < count; i++) pthread_mutex_lock(&sorted[i]->instance->core->lock);
  pthread_mutex_lock(&s->lock);
  int status = 0;
  size_t sealed = 0;
  for (; sealed < count && !status; sealed++)
    if (all[sealed].work) status = seal(&all[sealed]);
  work *first = NULL, **link = &first, *last = NULL;
  for (size_t i = 0; i < count && !status; i++) {
    if (!all[i].work) continue;
    if (last) last->together = true;
    *link = last = all[i].work;
    link = &last->next;
    if (!all[i].naming) continue;
    last->together = true;
    *link = last = all[i].naming;
    link = &last->next;
  }
  if (!status && first) flusher_push(s->flusher, first);
  pthread_mutex_unlock(&s->lock);
  for (size_t i = 0; i < count; i++) pthread_mutex_unlock(&sorted[i]->instance->core->lock);
  /* An undone seal among several: the ones before it were never queued. */
  for (size_t i = 0; status && i + 1 < sealed; i++)
    if (all[i].work) take_back(&all[i]);
  return status;
}

/* ---- afterwards ------------------------------------------------------------------------------ */

static void clean_regions(boundary *b, bool volatiles) {
  for (pagestore_memory *m = b->instance->memories; m; m = m->next)
    if ((m->id || volatiles) && memory_is_volatile(m) == volatiles) memory_boundary(m);
}

static void forget_before(boundary *b) {
  state_release(b->state_before);
  line_release(b->line_before);
  unflushed_release(b->index_before);
  log_line_release(b->instance->store->log, b->log_before);
  message_free(b->instance->store, &b->message);
}

/* Volatile memories come last: what is taken back must find them as they were. */
static void finish(boundary *b) {
  store_counters *c = &b->instance->store->counters;
  clean_regions(b, true);
  forget_before(b);
  b->instance->boundaries++;
  atomic_fetch_add(&c->blocks_dirty, b->blocks);
  if (b->work) atomic_fetch_add(&c->commits, 1);
}

/* A synchronous work: durable, unknown (the version stays sealed, the store is FAILED), or taken back. */
static int settle(boundary *b) {
  pagestore_store *s = b->instance->store;
  int status = flusher_wait_work(s->flusher, b->work);
  if (b->naming) (void)flusher_wait_work(s->flusher, b->naming);  /* the same: they are of one group */
  if (status && status != PAGESTORE_EFAILED) {
    take_back(b);
    flusher_taken_back(s->flusher);
  } else {
    finish(b);
  }
  if (b->naming) work_free(s, b->naming);
  work_free(s, b->work);
  return status;
}

static void discard(boundary *all, size_t count) {
  for (size_t i = 0; i < count; i++) {
    delta_release(all[i].copied);
    if (all[i].naming) work_free(all[i].instance->store, all[i].naming);
    if (all[i].work) work_free(all[i].instance->store, all[i].work);
  }
}

static int prepare(boundary *all, size_t count, unsigned flags) {
  uint64_t total_bytes = 0;
  int status = 0;
  for (size_t i = 0; i < count && !status; i++) status = collect(&all[i]);
  for (size_t i = 0; i < count && !status; i++) {
    status = build(&all[i]);
    if (!all[i].work) continue;
    total_bytes += all[i].work->bytes;
    all[i].work->synchronous = !(flags & PAGESTORE_ASYNC);
    if (all[i].naming) all[i].naming->synchronous = all[i].work->synchronous;
  }
  return status ? status : flusher_room(all[0].instance->store->flusher, total_bytes, flags & PAGESTORE_NOWAIT);
}

static int commit(boundary *all, boundary **sorted, size_t count, unsigned flags) {
  int status = prepare(all, count, flags);
  if (!status) status = seal_all(sorted, all, count);
  if (status) {
    discard(all, count);
    return status;
  }
  for (size_t i = 0; i < count; i++) clean_regions(&all[i], false);
  for (size_t i = 0; i < count; i++) {
    second_look(all[i].instance, all[i].copied);
    delta_release(all[i].copied);
  }
  for (size_t i = 0; i < count; i++) {
    int outcome = 0;
    core *c = all[i].instance->core;
    PROBE2(commit, c->name, (uint64_t)c->committed);
    if (flags & PAGESTORE_ASYNC) finish(&all[i]);
    else if (all[i].work) outcome = settle(&all[i]);
    else {
      finish(&all[i]);
      outcome = flusher_wait_version(c->store->flusher, c, c->committed, PAGESTORE_FOREVER);
    }
    if (outcome) status = outcome;
  }
  return status;
}

int pagestore_commit(pagestore_instance *i, unsigned flags, uint64_t *version) {
  int status = instance_check(i, NEEDS_WRITABLE);
  if (!status) status = input_commit_flags(flags);
  if (status) return status;
  boundary b = { .instance = i }, *sorted = &b;
  status = commit(&b, &sorted, 1, flags);
  if (!status && version) *version = i->core->committed;
  return status;
}

static int by_address(const void *a, const void *b) {
  const boundary *x = *(boundary *const *)a, *y = *(boundary *const *)b;
  uintptr_t p = (uintptr_t)x->instance->core, q = (uintptr_t)y->instance->core;
  return p < q ? -1 : p > q;
}

static int check_all(pagestore_instance *const *instances, size_t count) {
  for (size_t i = 0; i < count; i++) {
    int status = instance_check(instances[i], NEEDS_WRITABLE);
    if (status) return status;
    if (instances[i]->store != instances[0]->store)
      return fail(PAGESTORE_EINVAL, "commit_all takes instances of one store");
  }
  return 0;
}

int pagestore_commit_all(pagestore_instance *const *instances, size_t count, unsigned flags) {
  if (count == 0) return 0;
  if (!instances) return input_null("instances");
  int status = check_all(instances, count);
  if (!status) status = input_commit_flags(flags);
  if (status) return status;
  boundary *all = calloc(count, sizeof *all);
  boundary **sorted = calloc(count, sizeof *sorted);
  if (!all || !sorted) status = fail(PAGESTORE_ENOMEM, "no memory to commit: free some and commit again");
  for (size_t i = 0; i < count && !status; i++) {
    all[i].instance = instances[i];
    sorted[i] = &all[i];
  }
  if (!status) qsort(sorted, count, sizeof *sorted, by_address);
  for (size_t i = 1; i < count && !status; i++)
    if (sorted[i]->instance == sorted[i - 1]->instance)
      status = fail(PAGESTORE_EINVAL, "commit_all was given an instance twice");
  if (!status) status = commit(all, sorted, count, flags);
  free(sorted);
  free(all);
  return status;
}

int instance_apply(pagestore_instance *i, instance_content content) {
  ASSERT(i->kind == INSTANCE_WRITABLE && !i->memories && !i->message.pending && !i->message.restored);
  i->message.pending = content.state;
  boundary b = { .instance = i, .content = &content }, *sorted = &b;
  int status = commit(&b, &sorted, 1, 0);
  delta_release(content.changes);
  if (status) message_free(i->store, &i->message);
  return status;
}

/* ---- rollback -------------------------------------------------------------------------------- */

/* How far the regions are from the committed state again. */
static memory_drift drift_of(const pagestore_instance *i, bool restored, uint64_t serial) {
  if (!restored) return (memory_drift){ .covered = true };
  pthread_mutex_lock(&i->core->lock);
  memory_drift drift = {
    .covered = serial && history_covers(&i->core->history, serial), .after = serial, .through = i->core->serial,
  };
  pthread_mutex_unlock(&i->core->lock);
  return drift;
}

int instance_rollback(pagestore_instance *i) {
  memory_drift drift = drift_of(i, i->message.restored, i->message.restored_serial);
  message_free(i->store, &i->message);
  i->boundaries++;
  int status = 0;
  for (pagestore_memory *m = i->memories; m; m = m->next) {
    int outcome = memory_follow(m, drift);
    if (outcome && !status) status = outcome;
  }
  if (status) i->broken = PAGESTORE_EIO;
  return status;
}

int pagestore_rollback(pagestore_instance *i) {
  int status = instance_check(i, NEEDS_NOTHING);
  if (status) return status;
  status = instance_rollback(i);
  atomic_fetch_add(&i->store->counters.rollbacks, 1);
  return status ? fail(PAGESTORE_EIO, "instance '%s' could not be rolled back: close the handle and open it again",
                       i->core->name)
                : 0;
}

/* ---- upgrade --------------------------------------------------------------------------------- */

int pagestore_upgrade(pagestore_instance *i, const uint8_t module_hash[32]) {
  int status = instance_check(i, NEEDS_WRITABLE);
  if (!status && !module_hash) status = input_null("module hash");
  if (status) return status;
  state *pending;
  if ((status = instance_change(i, &pending)) != 0) return status;
  for (uint32_t at = 0; at < pending->memory_count; at++) {
    memory_entry *entry = &pending->memories[at];
    if (entry->flags & PAGESTORE_KEEP) continue;
    state_memory_renew(pending, entry);
    entry->pages = 0;
  }
  state_metadata_remove_prefix(pending, "module.");
  memcpy(pending->module_hash, module_hash, 32);
  i->message.upgraded = true;
  for (pagestore_memory *m = i->memories; m; m = m->next) {
    if (m->id == 0 || (m->flags & PAGESTORE_KEEP)) continue;
    const memory_entry *entry = memory_is_volatile(m) ? NULL : state_memory(pending, m->name);
    if (entry) m->id = entry->id;
    m->shadow_pages = 0;
    region_resize(m->region, 0);  /* shrinking does not fail */
  }
  return 0;
}

/* ---- restore --------------------------------------------------------------------------------- */

int pagestore_restore(pagestore_instance *i, const char *snapshot_name) {
  int status = instance_check(i, NEEDS_WRITABLE);
  if (!status) status = input_name(snapshot_name, "snapshot name");
  core_version to;
  if (!status) status = snapshot_capture(i, snapshot_name, &to);
  if (status) return status;
  for (pagestore_memory *m = i->memories; m && !status; m = m->next) status = memory_can_follow(m, to.state);
  state *pending = NULL;
  if (!status) status = state_clone(to.state, &pending);
  /* Memories that show another snapshot go back first: their way to this one leads over the present. */
  if (!status && i->message.restored) status = instance_rollback(i);
  if (status) {
    state_release(pending);
    core_version_release(i->store, &to);
    return fail(status, "no memory to restore '%s': free some and try again", snapshot_name);
  }
  message_free(i->store, &i->message);
  if (pending->next_memory < i->core->state->next_memory) pending->next_memory = i->core->state->next_memory;
  i->message = (message){
      .pending = pending,
      .restored = to.line,
      .restored_counts = state_reference(to.counts),
      .restored_serial = to.serial,
      .restored_id = to.snapshot,
  };
  to.line = NULL;  /* the message has it, pin included */
  core_version_release(i->store, &to);
  memory_drift drift = drift_of(i, true, i->message.restored_serial);
  for (pagestore_memory *m = i->memories; m && !status; m = m->next) status = memory_follow(m, drift);
  if (status) i->broken = PAGESTORE_EIO;
  return status;
}
