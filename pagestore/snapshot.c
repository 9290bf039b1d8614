/* snapshot.c - the table of snapshots, and the public calls on them. */
#include "snapshot.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"
#include "instance.h"

/* ---- table: sorted by (instance, name), several lives of one name side by side --------------- */

static int compare(const snapshot *s, uint64_t instance, const char *name) {
  if (s->instance != instance) return s->instance < instance ? -1 : 1;
  return strcmp(s->name, name);
}

/* First with (instance, name) >= the given one, or > it. */
static uint32_t position(const snapshot_table *t, uint64_t instance, const char *name, bool after) {
  uint32_t low = 0, high = t->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    int order = compare(t->items[middle], instance, name);
    if (order < 0 || (after && order == 0)) low = middle + 1;
    else high = middle;
  }
  return low;
}

snapshot *snapshot_find(pagestore_store *s, uint64_t instance, const char *name) {
  snapshot_table *t = &s->snapshots;
  for (uint32_t i = position(t, instance, name, false); i < t->count && compare(t->items[i], instance, name) == 0; i++)
    if (t->items[i]->life != SNAPSHOT_DROPPING) return t->items[i];
  return NULL;
}

snapshot *snapshot_next(pagestore_store *s, uint64_t instance, const char *after) {
  snapshot_table *t = &s->snapshots;
  for (uint32_t i = position(t, instance, after, true); i < t->count && t->items[i]->instance == instance; i++)
    if (t->items[i]->life != SNAPSHOT_DROPPING) return t->items[i];
  return NULL;
}

int snapshot_add(pagestore_store *s, const snapshot *given, snapshot **out) {
  snapshot_table *t = &s->snapshots;
  if (t->count == t->room) {
    uint32_t room = t->room ? t->room * 2 : 16;
    snapshot **items = realloc(t->items, room * sizeof *items);
    if (!items) return fail(PAGESTORE_ENOMEM, "no memory for a snapshot: free some and try again");
    t->items = items;
    t->room = room;
  }
  snapshot *made = malloc(sizeof *made);
  if (!made) return fail(PAGESTORE_ENOMEM, "no memory for a snapshot: free some and try again");
  int status = layers_retain(s->layers, given->layer, given->version);
  if (status) {
    free(made);
    return status == PAGESTORE_ENOMEM ? fail(status, "no memory for a snapshot: free some and try again") : status;
  }
  *made = *given;
  uint32_t at = position(t, given->instance, given->name, true);
  memmove(t->items + at + 1, t->items + at, (t->count - at) * sizeof *t->items);
  t->items[at] = made;
  t->count++;
  if (out) *out = made;
  return 0;
}

void snapshot_is_at(pagestore_store *s, uint64_t instance, id128 id, uint64_t serial) {
  snapshot_table *t = &s->snapshots;
  for (uint32_t i = position(t, instance, "", false); i < t->count && t->items[i]->instance == instance; i++)
    if (memcmp(&t->items[i]->id, &id, sizeof id) == 0) t->items[i]->serial = serial;
}

void snapshot_remove(pagestore_store *s, snapshot *gone) {
  snapshot_table *t = &s->snapshots;
  uint32_t at = 0;
  while (t->items[at] != gone) at++;
  t->count--;
  memmove(t->items + at, t->items + at + 1, (t->count - at) * sizeof *t->items);
  layers_unretain(s->layers, gone->layer, gone->version);
  free(gone);
}

int snapshot_lost_layer(const char *name, uint64_t layer) {
  return fail(PAGESTORE_ECORRUPT, "snapshot '%s' lies in layer %llu, which is missing: run `pagestore check`", name,
              (unsigned long long)layer);
}

static int load_one(void *env, uint64_t instance, const char *name, const state_record *record) {
  snapshot loaded = { .life = SNAPSHOT_KEPT, .instance = instance, .layer = record->layer, .version = record->version,
                      .time_ns = record->time_ns, .id = record->snapshot };
  memcpy(loaded.name, name, strlen(name) + 1);
  int status = snapshot_add(env, &loaded, NULL);
  return status == PAGESTORE_ENOTFOUND ? snapshot_lost_layer(name, record->layer) : status;
}

int snapshot_table_load(pagestore_store *s, db_reader reader) {
  return catalog_each_snapshot(reader, load_one, s);
}

void snapshot_table_free(pagestore_store *s) {
  for (uint32_t i = 0; i < s->snapshots.count; i++) free(s->snapshots.items[i]);
  free(s->snapshots.items);
  s->snapshots = (snapshot_table){0};
}

/* ---- create ---------------------------------------------------------------------------------- */

/* A view whose newest blocks are not in rows of its own layer: they become rows of a layer of the snapshot's.
 * Core and store locked. */
static int own_layer(pagestore_instance *i, work *w) {
  pagestore_store *s = i->store;
  const core_version *v = &i->view;
  uint64_t id = store_new_id(&s->record.next_layer);
  int status = line_extend(v->line, id, &w->line);
  if (!status) status = layers_pin(s->layers, v->line);
  if (status) return status;
  w->pinned = line_reference(v->line);
  if (v->unflushed) w->inherited = unflushed_reference(v->unflushed);
  if (v->logged) w->inherited_logged = unflushed_reference(v->logged);
  w->inherited_layer = v->logged_layer;
  w->new_layer = true;
  w->layer = (layer_record){ .depth = v->line->depth + 1, .instance = i->core->id };
  if (v->line->depth > 0) {
    w->layer.parent = v->line->steps[0].layer;
    w->layer.parent_version = v->line->steps[0].bound;
  }
  return layers_add(s->layers, id, &w->layer);
}

/* Where the handle's committed version lies. Core and store locked. */
static int place(pagestore_instance *i, work *w) {
  core *c = i->core;
  if (i->kind == INSTANCE_WRITABLE) {
    w->version = c->committed;
    w->state = state_reference(c->state);
    w->line = line_reference(c->line);
    return block_log_line(i->store->log, w->line->steps[0].layer, &w->log);
  }
  const core_version *v = &i->view;
  w->version = v->version;
  w->state = state_reference(v->state);
  w->counts = v->counts ? state_reference(v->counts) : NULL;
  w->counts_from = v->counts ? COUNTS_GIVEN : COUNTS_UNKNOWN;
  if (v->unflushed || v->logged) return own_layer(i, w);
  w->line = line_reference(v->line);
  return 0;
}

static int prepare(pagestore_instance *i, const char *name, work *w) {
  core *c = i->core;
  if (snapshot_find(i->store, c->id, name))
    return fail(PAGESTORE_EEXIST, "snapshot '%s' of '%s' exists: drop it or take another name", name, c->name);
  if (c->life == CORE_DELETED) return fail(PAGESTORE_ENOTFOUND, "instance '%s' was deleted", c->name);
  int status = place(i, w);
  if (status) return fail(status, "no memory for a snapshot: free some and try again");
  snapshot made = { .life = SNAPSHOT_QUEUED, .instance = c->id, .layer = w->line->steps[0].layer, .version = w->version,
                    .time_ns = wall_ns(), .serial = i->kind == INSTANCE_WRITABLE ? c->serial : i->view.serial };
  memcpy(made.name, name, strlen(name) + 1);
  if (getrandom(&made.id, sizeof made.id, 0) != sizeof made.id)
    return fail(PAGESTORE_EIO, "getrandom failed: the snapshot has no identity; try again");
  return snapshot_add(i->store, &made, &w->snapshot);
}

int pagestore_snapshot_create(pagestore_instance *i, const char *name, unsigned flags) {
  int status = instance_check(i, NEEDS_WRITABLE_STORE);
  if (!status) status = input_name(name, "snapshot name");
  if (!status) status = input_commit_flags(flags);
  if (status) return status;
  if (instance_version(i) == 0)
    return fail(PAGESTORE_ENOTFOUND, "instance '%s' was never committed: commit, then take the snapshot",
                i->core->name);
  pagestore_store *s = i->store;
  pthread_mutex_lock(&i->core->lock);
  pthread_mutex_lock(&s->lock);
  work *w = work_new(WORK_SNAPSHOT, i->core);
  status = w ? prepare(i, name, w) : fail(PAGESTORE_ENOMEM, "no memory for a snapshot: free some and try again");
  bool synchronous = !(flags & PAGESTORE_ASYNC);
  if (!status) {
    w->synchronous = synchronous;
    flusher_push(s->flusher, w);
  }
  if (status && w && w->new_layer) layers_remove(s->layers, w->line->steps[0].layer);
  pthread_mutex_unlock(&s->lock);
  pthread_mutex_unlock(&i->core->lock);
  if (status) {
    if (w) work_free(s, w);
    return status;
  }
  if (!synchronous) return 0;
  status = flusher_wait_work(s->flusher, w);
  if (status) {
    pthread_mutex_lock(&s->lock);
    snapshot_remove(s, w->snapshot);
    if (w->new_layer) layers_remove(s->layers, w->line->steps[0].layer);
    pthread_mutex_unlock(&s->lock);
  }
  work_free(s, w);
  return status;
}

/* ---- drop ------------------------------------------------------------------------------------ */

/* Store locked. The snapshot's own instance need not be open: a tombstone-like core carries the work. */
static int prepare_drop(pagestore_store *s, core *c, const char *name, work **out) {
  snapshot *found = snapshot_find(s, c->id, name);
  if (!found) return fail(PAGESTORE_ENOTFOUND, "no snapshot '%s' of '%s'", name, c->name);
  work *w = work_new(WORK_DROP, c);
  if (!w) return fail(PAGESTORE_ENOMEM, "no memory to drop a snapshot: free some and try again");
  found->life = SNAPSHOT_DROPPING;
  w->snapshot = found;
  *out = w;
  return 0;
}

int pagestore_snapshot_drop(pagestore_store *s, const char *instance, const char *name, unsigned flags) {
  int status = store_check(s, true);
  if (!status) status = input_name(instance, "instance name");
  if (!status) status = input_name(name, "snapshot name");
  if (!status) status = input_commit_flags(flags);
  core *c;
  if (!status) status = core_acquire(s, instance, 0, &c);
  if (status) return status;
  bool synchronous = !(flags & PAGESTORE_ASYNC);
  work *w = NULL;
  pthread_mutex_lock(&s->lock);
  status = prepare_drop(s, c, name, &w);
  if (!status) {
    w->synchronous = synchronous;
    flusher_push(s->flusher, w);
  }
  core_release(c);
  pthread_mutex_unlock(&s->lock);
  if (status || !synchronous) return status;
  status = flusher_wait_work(s->flusher, w);
  if (status) {
    pthread_mutex_lock(&s->lock);
    w->snapshot->life = SNAPSHOT_KEPT;
    pthread_mutex_unlock(&s->lock);
  }
  work_free(s, w);
  return status;
}
