/* retained.c - one walk over the keys of the layers that snapshots lie in. The contract is in retained.h. */
#include "retained.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "instance.h"
#include "snapshot.h"
#include "storage/rows.h"

typedef struct {
  pagestore_store *store;
  const char *name;
  uint64_t instance, present_layer;
  retained_list *list;
  layers *layers;          /* as durable, with every snapshot's point in it */
} measurement;

static int add(retained_list *l, const char *name, uint64_t layer, uint64_t version) {
  if (l->count == l->room) {
    uint32_t room = l->room ? l->room * 2 : 16;
    retained_snapshot *items = realloc(l->items, room * sizeof *items);
    if (!items) return fail(PAGESTORE_ENOMEM, "no memory for the list: free some and try again");
    l->items = items;
    l->room = room;
  }
  retained_snapshot *item = &l->items[l->count++];
  *item = (retained_snapshot){ .layer = layer, .version = version };
  memcpy(item->name, name, strlen(name) + 1);
  return 0;
}

static int retain_one(void *env, uint64_t instance, const char *name, const state_record *record) {
  measurement *m = env;
  int status = layers_retain(m->layers, record->layer, record->version);
  if (status == PAGESTORE_ENOTFOUND) status = snapshot_lost_layer(name, record->layer);
  else if (status) return fail(status, "no memory for the list: free some and try again");
  if (!status && m->store->read_only && instance == m->instance)
    status = add(m->list, name, record->layer, record->version);
  return status;
}

/* The one snapshot of the list with its point in [from, next) of the layer; NULL if there are several, or none. */
static retained_snapshot *only_one(const retained_list *l, uint64_t layer, uint64_t from, uint64_t next) {
  retained_snapshot *only = NULL;
  for (uint32_t i = 0; i < l->count; i++) {
    const retained_snapshot *s = &l->items[i];
    if (s->layer != layer || s->version < from || s->version >= next) continue;
    if (only) return NULL;
    only = &l->items[i];
  }
  return only;
}

static void count_row(measurement *m, page_key row, uint64_t next_newer, size_t bytes) {
  if (next_newer == BOUND_OPEN && row.layer == m->present_layer) return;
  retained_snapshot *only = only_one(m->list, row.layer, row.version, next_newer);
  if (!only) return;
  layers_unretain(m->layers, only->layer, only->version);
  if (layers_needed(m->layers, row.layer, row.version, next_newer) == ROW_UNNEEDED) only->bytes += bytes;
  layers_retain(m->layers, only->layer, only->version);  /* room was there a moment ago */
}

static int measure_layer(measurement *m, db_reader reader, uint64_t layer) {
  page_key row, before = {0};
  bytes value;
  uint64_t next_newer = BOUND_OPEN;
  int status = row_seek(reader, (page_key){ .layer = layer, .version = UINT64_MAX }, &row, &value);
  for (; status == 0 && row.layer == layer; status = row_next(reader, &row, &value)) {
    next_newer = before.layer && row_same_page(before, row) ? before.version : BOUND_OPEN;
    count_row(m, row, next_newer, value.size);
    before = row;
  }
  if (status == 0 || status == PAGESTORE_ENOTFOUND) return 0;
  return fail(status, "rows of layer %llu cannot be read: check the disk", (unsigned long long)layer);
}

static bool first_of_layer(const retained_list *l, uint32_t at) {
  for (uint32_t i = 0; i < at; i++)
    if (l->items[i].layer == l->items[at].layer) return false;
  return true;
}

static int measure(void *env, db_reader reader) {
  measurement *m = env;
  state_record record;
  int status = layers_load(reader, &m->layers);
  if (status) return status;
  status = catalog_find(reader, m->name, &m->instance);
  if (status == PAGESTORE_ENOTFOUND && m->list->count) {
    layers_free(m->layers);
    return 0;  /* sealed, nothing of it durable yet */
  }
  if (!status) status = catalog_instance(reader, m->layers, m->store->record.id, m->instance, &record);
  if (!status) {
    m->present_layer = record.layer;
    state_release(record.state);
    status = catalog_each_snapshot(reader, retain_one, m);
  }
  for (uint32_t i = 0; i < m->list->count && !status; i++)
    if (first_of_layer(m->list, i)) status = measure_layer(m, reader, m->list->items[i].layer);
  layers_free(m->layers);
  return status == PAGESTORE_ENOTFOUND ? fail(status, "no instance '%s': list what is there", m->name) : status;
}

/* The sealed snapshots of a store that is open for writing. */
static int list_sealed(pagestore_store *s, const char *instance, retained_list *l) {
  core *c;
  int status = core_acquire(s, instance, 0, &c);
  if (status) return status;
  pthread_mutex_lock(&s->lock);
  for (const snapshot *at = snapshot_next(s, c->id, ""); at && !status; at = snapshot_next(s, c->id, at->name))
    status = add(l, at->name, at->layer, at->version);
  core_release(c);
  pthread_mutex_unlock(&s->lock);
  return status;
}

int retained_measure(pagestore_store *s, const char *instance, retained_list *out) {
  *out = (retained_list){0};
  measurement m = { .store = s, .name = instance, .list = out };
  int status = s->read_only ? 0 : list_sealed(s, instance, out);
  if (!status && (s->read_only || out->count)) status = store_read(s, measure, &m);
  if (status) {
    free(out->items);
    *out = (retained_list){0};
  }
  return status;
}
