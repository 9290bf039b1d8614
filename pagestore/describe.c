/* describe.c - what a store, an instance and what is kept of it are made of: for tools that look
 * and for hosts that report.
 *
 * The store and the history are described as they are on disk: durable. The memories of a handle,
 * as its message sees them.
 * Thread: as said at each function in the public header. Callbacks run without locks and without a
 *         reader, on copies.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "instance.h"
#include "storage/record.h"
#include "storage/trash.h"

/* ---- the store ------------------------------------------------------------------------------- */

typedef struct {
  pagestore_store *store;
  pagestore_store_info *info;
} store_request;

static int count_snapshot(void *env, uint64_t instance, const char *name,
                          const state_record *record) {
  (void)instance, (void)name, (void)record;
  ++*(uint64_t *)env;
  return 0;
}

static int count_records(void *env, db_reader reader) {
  store_request *r = env;
  char name[NAME_BYTES_MAX + 1] = "";
  uint64_t id;
  layer_record layer;
  int status;
  while ((status = catalog_next_name(reader, name, name, &id)) == 0) r->info->instances++;
  if (status != PAGESTORE_ENOTFOUND) return status;
  if ((status = catalog_each_snapshot(reader, count_snapshot, &r->info->snapshots)) != 0)
    return status;
  for (uint64_t at = 0; (status = record_next_layer(reader, at, &id, &layer)) == 0; at = id + 1)
    r->info->layers++;
  if (status != PAGESTORE_ENOTFOUND) return status;
  r->info->trash = trash_pending(reader);
  return 0;
}

int pagestore_store_stat(pagestore_store *s, pagestore_store_info *out) {
  int status = store_check(s, false);
  if (!status && !out) status = input_null("store info");
  if (status) return status;
  pthread_mutex_lock(&s->lock);
  store_record r = s->record;
  pthread_mutex_unlock(&s->lock);
  pagestore_store_info info = {
      .size = sizeof info,
      .format_version = r.format_version,
      .created_ns = r.created_ns,
      .incompatible = r.incompatible,
      .read_only = r.read_only,
      .compatible = r.compatible,
  };
  memcpy(info.id, r.id.byte, sizeof info.id);
  db_info db;
  if ((status = store_read(s, count_records, &(store_request){s, &info})) != 0) return status;
  if ((status = db_measure(s->db, &db)) != 0) return status;
  info.file_bytes = db.file_bytes;
  info.free_bytes = db.free_pages * db.page_bytes;
  info.free_largest_run = db.free_largest_run * db.page_bytes;
  info.map_bytes = db.map_bytes;
  info.log_records = db.entries[DB_LOG];
  info.log_bytes = info.log_records * PAGE_RECORD_BYTES;
  info.log_budget_bytes = log_budget(s, db.entries[DB_PAGES]);
  return input_result(out, &info, sizeof info, "pagestore_store_info");
}

static int read_transaction(void *env, db_reader reader) {
  *(uint64_t *)env = db_slot_txn_id(reader.slot);
  return 0;
}

int pagestore_transaction(pagestore_store *s, uint64_t *out) {
  int status = store_check(s, false);
  uint64_t id;
  if (!status && !out) status = input_null("transaction");
  if (!status) status = store_read(s, read_transaction, &id);
  if (!status) *out = id;
  return status;
}

/* ---- memories -------------------------------------------------------------------------------- */

/* Names ascend, so the walk goes on behind the last name, whatever the callback did to the table.
 */
static const memory_entry *entry_after(const state *s, const char *name) {
  for (uint32_t i = 0; i < s->memory_count; i++)
    if (strcmp(s->memories[i].name, name) > 0) return &s->memories[i];
  return NULL;
}

static uint64_t stored_pages_of(const state *counts, uint32_t id) {
  const memory_entry *entry = counts ? state_memory_by_id(counts, id) : NULL;
  return entry ? entry->stored_pages : 0;
}

static uint64_t stored_pages(pagestore_instance *i, uint32_t id) {
  if (i->message.restored) return stored_pages_of(i->message.restored_counts, id);
  if (i->kind != INSTANCE_WRITABLE) return stored_pages_of(i->view.counts, id);
  pthread_mutex_lock(&i->core->lock);
  uint64_t pages = stored_pages_of(i->core->counts, id);
  pthread_mutex_unlock(&i->core->lock);
  return pages;
}

int pagestore_memory_each(pagestore_instance *i, pagestore_memory_fn each, void *env) {
  int status = instance_check(i, NEEDS_NOTHING);
  if (!status && !each) status = input_null("callback");
  if (status) return status;
  char name[NAME_BYTES_MAX + 1] = "";
  for (const memory_entry *entry; (entry = entry_after(instance_state(i), name)) != NULL;) {
    memcpy(name, entry->name, strlen(entry->name) + 1);
    pagestore_memory_info info = {
        .size = sizeof info,
        .name = name,
        .flags = entry->flags,
        .pages = entry->pages,
        .max_pages = entry->max_pages,
        .stored_pages = stored_pages(i, entry->id),
    };
    int stop = each(env, &info);
    if (stop) return fail(PAGESTORE_EABORTED, "the callback returned %d", stop);
  }
  return 0;
}

/* ---- history --------------------------------------------------------------------------------- */

typedef struct {
  pagestore_history_info info;
  char name[NAME_BYTES_MAX + 1];
} kept;
typedef struct {
  pagestore_store *store;
  const char *instance;
  kept *items;
  size_t count, room;
  layers *layers; /* NULL until a paged part asks for them: there may be many, and few records have such parts */
} kept_list;

/* snapshot "": the present. */
static int add(kept_list *l, const char *snapshot, const state_record *r) {
  if (l->count == l->room) {
    size_t room = l->room ? l->room * 2 : 16;
    kept *items = realloc(l->items, room * sizeof *items);
    if (!items) return fail(PAGESTORE_ENOMEM, "no memory for the list: free some and try again");
    l->items = items;
    l->room = room;
  }
  kept *k = &l->items[l->count++];
  *k = (kept){.info = {.size = sizeof k->info, .version = r->version, .time_ns = r->time_ns}};
  memcpy(k->name, snapshot, strlen(snapshot) + 1);
  memcpy(k->info.module_hash, r->state->module_hash, sizeof k->info.module_hash);
  k->info.memories = r->state->memory_count;
  for (uint32_t i = 0; i < r->state->memory_count; i++) {
    k->info.pages += r->state->memories[i].pages;
    k->info.stored_pages += r->state->memories[i].stored_pages;
  }
  return 0;
}

static int add_record(kept_list *l, db_reader reader, uint64_t id, const char *snapshot) {
  state_record record;
  id128 store = l->store->record.id;
  int status = snapshot[0] ? catalog_snapshot(reader, l->layers, store, id, snapshot, &record)
                           : catalog_instance(reader, l->layers, store, id, &record);
  if (status) return status;
  status = add(l, snapshot, &record);
  state_release(record.state);
  return status;
}

static int add_all(kept_list *l, db_reader reader, uint64_t id) {
  char name[NAME_BYTES_MAX + 1] = "";
  state_record record;
  int status;
  while ((status = catalog_next_snapshot(reader, id, name, name, &record)) == 0) {
    state_release(record.state);
    bool paged = record.metadata_paged || record.table_paged;
    if (paged && !l->layers && (status = layers_load(reader, &l->layers)) != 0) return status;
    if ((status = add_record(l, reader, id, name)) != 0) return status;
  }
  return status == PAGESTORE_ENOTFOUND ? add_record(l, reader, id, "") : status;
}

static int load_history(void *env, db_reader reader) {
  kept_list *l = env;
  uint64_t id;
  int status = catalog_find(reader, l->instance, &id);
  if (status == PAGESTORE_ENOTFOUND)
    return fail(status, "no instance '%s': list what is there", l->instance);
  if (status) return status;
  status = add_all(l, reader, id);
  layers_free(l->layers);
  l->layers = NULL;
  return status;
}

static int by_version(const void *a, const void *b) {
  const kept *x = a, *y = b;
  if (!x->name[0] || !y->name[0]) return !x->name[0] - !y->name[0]; /* the present is last */
  if (x->info.version != y->info.version) return x->info.version < y->info.version ? -1 : 1;
  if (x->info.time_ns != y->info.time_ns) return x->info.time_ns < y->info.time_ns ? -1 : 1;
  return strcmp(x->name, y->name);
}

int pagestore_history_each(pagestore_store *s, const char *instance, pagestore_history_fn each,
                           void *env) {
  int status = store_check(s, false);
  if (!status) status = input_name(instance, "instance name");
  if (!status && !each) status = input_null("callback");
  if (status) return status;
  kept_list l = {.store = s, .instance = instance};
  status = store_read(s, load_history, &l);
  if (!status) qsort(l.items, l.count, sizeof *l.items, by_version);
  for (size_t i = 0; i < l.count && !status; i++) {
    if (l.items[i].name[0]) l.items[i].info.snapshot = l.items[i].name;
    int stop = each(env, &l.items[i].info);
    if (stop) status = fail(PAGESTORE_EABORTED, "the callback returned %d", stop);
  }
  free(l.items);
  return status;
}
