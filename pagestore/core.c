/* core.c - the table of instances, and what a version is made of when captured. The contract is in core.h. */
#include "core.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/status.h"
#include "store.h"

static core **bucket_of(pagestore_store *s, const char *name) {
  uint64_t hash = 14695981039346656037u;  /* FNV-1a */
  for (const char *c = name; *c; c++) hash = (hash ^ (uint8_t)*c) * 1099511628211u;
  return &s->cores[(hash ^ hash >> 32) % CORE_BUCKETS];
}

core *core_find(pagestore_store *s, const char *name) {
  core *tombstone = NULL;
  for (core *c = *bucket_of(s, name); c; c = c->next) {
    if (strcmp(c->name, name) != 0) continue;
    if (c->life == CORE_DELETED) tombstone = c;
    else if (c->life != CORE_GONE) return c;
  }
  return tombstone;
}

int core_new(pagestore_store *s, const char *name, uint64_t id, core **out) {
  core *c = calloc(1, sizeof *c);
  if (!c) return fail(PAGESTORE_ENOMEM, "no memory for an instance: free some and open again");
  c->references = 1;
  c->store = s;
  c->id = id;
  c->serial = c->history.floor = s->serial_last + 1;
  memcpy(c->name, name, strlen(name) + 1);
  pthread_mutex_init(&c->lock, NULL);
  core **bucket = bucket_of(s, name);
  c->next = *bucket;
  *bucket = c;
  *out = c;
  return 0;
}

void core_retain(core *c) { c->references++; }

void core_release(core *c) {
  ASSERT(c->references > 0);
  if (--c->references > 0) return;
  core **at = bucket_of(c->store, c->name);
  while (*at != c) at = &(*at)->next;
  *at = c->next;
  c->store->departures++;
  c->store->serial_last = max_u64(c->store->serial_last, c->serial);
  if (c->pinned) layers_unpin(c->store->layers, c->pinned, flusher_orphaned, c->store);
  line_release(c->pinned);
  line_release(c->line_next);
  line_release(c->line_durable);
  line_release(c->line);
  unflushed_release(atomic_load(&c->unflushed));
  log_line_release(c->store->log, atomic_load(&c->log));
  state_release(c->counts);
  state_release(c->state);
  history_free(&c->history);
  pthread_mutex_destroy(&c->lock);
  free(c);
}

void core_move(core *c, core_life to) {
  ASSERT(c->life != to && (c->life != CORE_STORED || to == CORE_DELETED));
  ASSERT(c->life != CORE_GONE && (to != CORE_GONE || c->life == CORE_DELETED));
  c->life = to;
}

uint64_t core_bound(const core *c) {
  return c->flushing ? c->flushing : c->durable;
}

int core_not_captured(const char *name) {
  return fail(PAGESTORE_ENOMEM, "no memory to look at '%s': free some and try again", name);
}

int core_capture(core *c, core_version *out) {
  const line *newest = c->line_next ? c->line_next : c->line;
  line *bounded;
  /* A fork that was never flushed: its line is its source's, bounded and pinned already. */
  bool own_layer = newest->depth > 0 && newest->steps[0].bound == BOUND_OPEN;
  if (own_layer && line_rebound(newest, core_bound(c), &bounded) != 0) return core_not_captured(c->name);
  if (!own_layer) bounded = line_reference(c->line);
  if (layers_pin(c->store->layers, bounded) != 0) {
    line_release(bounded);
    return core_not_captured(c->name);
  }
  *out = (core_version){
    .version = c->committed, .serial = c->serial, .line = bounded, .state = state_reference(c->state),
  };
  unflushed *index = atomic_load(&c->unflushed);
  if (index) out->unflushed = unflushed_reference(index);
  log_line *log = atomic_load(&c->log);
  if ((out->logged = log_line_capture(c->store->log, log)) != NULL) out->logged_layer = log->layer;
  /* A restore that is not flushed stands on other rows than those that were counted. */
  bool moved = c->line_durable && c->line_durable->steps[0].layer != newest->steps[0].layer;
  if (c->counts && !c->flushing && !moved) out->counts = state_reference(c->counts);
  return 0;
}

void core_version_release(pagestore_store *s, core_version *v) {
  if (v->line && s->layers) layers_unpin(s->layers, v->line, flusher_orphaned, s);
  line_release(v->line);
  unflushed_release(v->unflushed);
  unflushed_release(v->logged);
  state_release(v->state);
  state_release(v->counts);
  *v = (core_version){0};
}

bool core_is_valid(const core *c) {
  return c->references > 0 && c->durable <= c->committed && (c->flushing == 0 || c->flushing > c->durable) &&
         (c->life != CORE_FRESH || c->durable == 0) && c->state && c->line;
}
