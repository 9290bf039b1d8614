/* listing.c - what is there: instances and snapshots by name; and deleting an instance.
 *
 * A store open for writing lists what is sealed; one open for reading, what is durable.
 * Thread: any. Callbacks run without locks, on copies.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/status.h"
#include "instance.h"
#include "retained.h"

/* ---- instances ------------------------------------------------------------------------------- */

typedef struct { char **items; size_t count, room; } name_list;

static int list_add(name_list *l, const char *name) {
  if (l->count == l->room) {
    size_t room = l->room ? l->room * 2 : 64;
    char **items = realloc(l->items, room * sizeof *items);
    if (!items) return fail(PAGESTORE_ENOMEM, "no memory for the list: free some and try again");
    l->items = items;
    l->room = room;
  }
  if (!(l->items[l->count] = strdup(name)))
    return fail(PAGESTORE_ENOMEM, "no memory for the list: free some and try again");
  l->count++;
  return 0;
}

static void list_free(name_list *l) {
  for (size_t i = 0; i < l->count; i++) free(l->items[i]);
  free(l->items);
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int add_stored(void *env, db_reader reader) {
  name_list *l = env;
  char name[NAME_BYTES_MAX + 1] = "";
  uint64_t id;
  int status;
  while ((status = catalog_next_name(reader, name, name, &id)) == 0)
    if ((status = list_add(l, name)) != 0) return status;
  return status == PAGESTORE_ENOTFOUND ? 0 : status;
}

/* Instances that are open and never flushed are in no table on disk. */
static int add_fresh(pagestore_store *s, name_list *l) {
  int status = 0;
  pthread_mutex_lock(&s->lock);
  for (unsigned bucket = 0; bucket < CORE_BUCKETS && !status; bucket++)
    for (const core *c = s->cores[bucket]; c && !status; c = c->next)
      if (c->life == CORE_FRESH) status = list_add(l, c->name);
  pthread_mutex_unlock(&s->lock);
  return status;
}

static void count_pages(pagestore_instance_info *info, const state *sizes, const state *stored) {
  memcpy(info->module_hash, sizes->module_hash, sizeof info->module_hash);
  for (uint32_t i = 0; i < sizes->memory_count; i++) info->pages += sizes->memories[i].pages;
  for (uint32_t i = 0; stored && i < stored->memory_count; i++) info->stored_pages += stored->memories[i].stored_pages;
}

static void describe_core(core *c, pagestore_instance_info *info) {
  pthread_mutex_lock(&c->lock);
  *info = (pagestore_instance_info){
    .size = sizeof *info, .name = c->name, .committed = c->committed, .durable = c->durable, .open = c->handles > 0,
  };
  count_pages(info, c->state, c->counts);
  pthread_mutex_unlock(&c->lock);
}

static int describe_record(pagestore_store *s, db_reader reader, layers *layers, const char *name,
                           pagestore_instance_info *out) {
  uint64_t id;
  state_record record;
  int status = catalog_find(reader, name, &id);
  if (!status) status = catalog_instance(reader, layers, s->record.id, id, &record);
  if (status) return status;
  *out = (pagestore_instance_info){
    .size = sizeof *out, .name = name, .committed = record.version, .durable = record.version,
  };
  count_pages(out, record.state, record.state);
  state_release(record.state);
  return 0;
}

typedef struct { pagestore_store *store; const char *name; pagestore_instance_info *info; } record_request;

static int describe_stored(void *env, db_reader reader) {
  record_request *r = env;
  return describe_record(r->store, reader, r->store->layers, r->name, r->info);
}

/* In a store that is open for writing. ENOTFOUND: deleted meanwhile. */
static int describe(pagestore_store *s, const char *name, pagestore_instance_info *info) {
  pthread_mutex_lock(&s->lock);
  core *c = core_find(s, name);
  if (c) core_retain(c);
  bool deleted = c && c->life == CORE_DELETED;
  pthread_mutex_unlock(&s->lock);
  if (!c) return store_read(s, describe_stored, &(record_request){ s, name, info });
  if (!deleted) describe_core(c, info);
  info->name = name;
  core_drop(s, c);
  return deleted ? PAGESTORE_ENOTFOUND : 0;
}

/* Some instances of a store that is open for reading, as one reader sees them: its layers are loaded once for
 * all of them. */
enum { WINDOW = 512 };
typedef struct {
  pagestore_store *store;
  char *const *names;
  size_t first, count;      /* of names: those described */
  pagestore_instance_info info[WINDOW];
  int status[WINDOW];       /* ENOTFOUND: deleted meanwhile */
} window;

/* Ends with the first failure, whose text stays. */
static int describe_window(void *env, db_reader reader) {
  window *w = env;
  layers *layers;
  int status = layers_load(reader, &layers);
  if (status) return status;
  for (size_t i = 0; i < w->count; i++) {
    w->status[i] = describe_record(w->store, reader, layers, w->names[w->first + i], &w->info[i]);
    if (w->status[i] && w->status[i] != PAGESTORE_ENOTFOUND) w->count = i + 1;
  }
  layers_free(layers);
  return 0;
}

static int describe_in_window(window *w, size_t at, size_t names, pagestore_instance_info *info) {
  if (at >= w->first + w->count) {
    w->first = at;
    w->count = min_u64(names - at, WINDOW);
    int status = store_read(w->store, describe_window, w);
    if (status) return status;
  }
  *info = w->info[at - w->first];
  return w->status[at - w->first];
}

static int list_names(pagestore_store *s, name_list *names) {
  int status = store_read(s, add_stored, names);
  if (!status && !s->read_only) status = add_fresh(s, names);
  if (!status && names->count) qsort(names->items, names->count, sizeof *names->items, by_bytes);
  return status;
}

int pagestore_instance_each(pagestore_store *s, const char *after, pagestore_instance_fn each, void *env) {
  int status = store_check(s, false);
  if (!status && !each) status = input_null("callback");
  if (status) return status;
  name_list names = {0};
  window *w = calloc(1, sizeof *w);
  status = w ? list_names(s, &names) : fail(PAGESTORE_ENOMEM, "no memory for the list: free some and try again");
  if (w) w->store = s, w->names = names.items;
  for (size_t i = 0; i < names.count && !status; i++) {
    pagestore_instance_info info;
    bool twice = i > 0 && strcmp(names.items[i], names.items[i - 1]) == 0;
    if (twice || (after && strcmp(names.items[i], after) <= 0)) continue;
    int found = s->read_only ? describe_in_window(w, i, names.count, &info) : describe(s, names.items[i], &info);
    if (found == PAGESTORE_ENOTFOUND) continue;
    int stop = 0;
    if (found) status = found;
    else if ((stop = each(env, &info)) != 0) status = fail(PAGESTORE_EABORTED, "the callback returned %d", stop);
  }
  list_free(&names);
  free(w);
  return status;
}

int pagestore_instance_stat(pagestore_instance *i, pagestore_instance_info *out) {
  int status = instance_check(i, NEEDS_NOTHING);
  if (!status && !out) status = input_null("info");
  if (status) return status;
  pagestore_instance_info info;
  if (i->kind == INSTANCE_WRITABLE) {
    describe_core(i->core, &info);
  } else {
    info = (pagestore_instance_info){
        .size = sizeof info,
        .name = i->core->name,
        .committed = i->view.version,
        .durable = pagestore_durable_version(i),
        .open = true,
    };
    count_pages(&info, i->view.state, i->view.counts);
  }
  size_t size = out->size;
  if (size < sizeof size || size > 4096)
    return fail(PAGESTORE_EINVAL, "pagestore_instance_info.size is %zu: set it to sizeof the struct", size);
  if (size > sizeof info) memset((uint8_t *)out + sizeof info, 0, size - sizeof info);
  memcpy(out, &info, size < sizeof info ? size : sizeof info);
  out->size = size;
  return 0;
}

/* ---- deleting -------------------------------------------------------------------------------- */

static void mark_snapshots(pagestore_store *s, uint64_t instance, snapshot_life from, snapshot_life to) {
  for (uint32_t i = 0; i < s->snapshots.count; i++)
    if (s->snapshots.items[i]->instance == instance && s->snapshots.items[i]->life == from)
      s->snapshots.items[i]->life = to;
}

static int seal_delete(pagestore_store *s, core *c, bool synchronous, core_life *life_before, work **out) {
  if (c->handles) return fail(PAGESTORE_EBUSY, "instance '%s' is open: close its handles and views first", c->name);
  if (c->life == CORE_DELETED) return fail(PAGESTORE_ENOTFOUND, "instance '%s' was deleted", c->name);
  work *w = work_new(WORK_DELETE, c);
  if (!w) return fail(PAGESTORE_ENOMEM, "no memory to delete: free some and try again");
  *life_before = c->life;
  core_move(c, CORE_DELETED);
  s->departures++;
  mark_snapshots(s, c->id, SNAPSHOT_KEPT, SNAPSHOT_DROPPING);
  w->synchronous = synchronous;
  flusher_push(s->flusher, w);
  *out = w;
  return 0;
}

int pagestore_instance_delete(pagestore_store *s, const char *name, unsigned flags) {
  int status = store_check(s, true);
  if (!status) status = input_name(name, "instance name");
  if (!status) status = input_commit_flags(flags);
  core *c = NULL;
  if (!status) status = core_acquire(s, name, 0, &c);
  if (status) return status;
  bool synchronous = !(flags & PAGESTORE_ASYNC);
  work *w = NULL;
  core_life life_before = CORE_STORED;
  pthread_mutex_lock(&s->lock);
  status = seal_delete(s, c, synchronous, &life_before, &w);
  core_release(c);
  pthread_mutex_unlock(&s->lock);
  if (status || !synchronous) return status;
  status = flusher_wait_work(s->flusher, w);
  if (status && status != PAGESTORE_EFAILED) {
    pthread_mutex_lock(&s->lock);
    core_move(w->core, life_before);
    mark_snapshots(s, w->core->id, SNAPSHOT_DROPPING, SNAPSHOT_KEPT);
    pthread_mutex_unlock(&s->lock);
  }
  work_free(s, w);
  return status;
}

/* ---- snapshots ------------------------------------------------------------------------------- */

int pagestore_snapshot_each(pagestore_store *s, const char *instance, pagestore_snapshot_fn each, void *env) {
  int status = store_check(s, false);
  if (!status) status = input_name(instance, "instance name");
  if (!status && !each) status = input_null("callback");
  if (status) return status;
  retained_list list;
  if ((status = retained_measure(s, instance, &list)) != 0) return status;
  for (uint32_t i = 0; i < list.count && !status; i++) {
    int stop = each(env, list.items[i].name, list.items[i].version, list.items[i].bytes);
    if (stop) status = fail(PAGESTORE_EABORTED, "the callback returned %d", stop);
  }
  free(list.items);
  return status;
}
