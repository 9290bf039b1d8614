/* look.c - every public call that reads a store, and a few that change it; see look.h. */
#include "look.h"

#include <stdio.h>
#include <string.h>

#include <pagestore.h>

#include "fuzz/fuzz.h"

enum { NAMES_MAX = 96, PAGES_MAX = 96, VIEWS_MAX = 3 };
#define MAP_BYTES (1ull << 30)

typedef struct {
  look_counts *counts;
  pagestore_store *store;
  char names[NAMES_MAX][256];
  unsigned count;
} look;

/* Whether the call was served. */
static bool served(int status) {
  if (status == 0) return true;
  MUST(status < 0 && status >= PAGESTORE_EFULL);
  MUST(strlen(pagestore_detail()) > 3);
  return false;
}

static int note_name(void *env, const pagestore_instance_info *info) {
  look *l = env;
  MUST(strlen(info->name) < sizeof *l->names);
  if (l->count < NAMES_MAX) strcpy(l->names[l->count++], info->name);
  return 0;
}

/* ---- one view --------------------------------------------------------------------------------- */

typedef struct {
  char name[256];
  uint32_t flags;
  uint64_t pages;
} memory_found;

typedef struct {
  memory_found found[NAMES_MAX];
  unsigned count;
} memory_list;

static int note_memory(void *env, const pagestore_memory_info *info) {
  memory_list *l = env;
  if (l->count == NAMES_MAX) return 1;
  memory_found *m = &l->found[l->count++];
  MUST(strlen(info->name) < sizeof m->name);
  strcpy(m->name, info->name);
  m->flags = info->flags;
  m->pages = info->pages;
  return 0;
}

static int note_metadata(void *env, const char *key, const void *value, size_t length) {
  uint64_t *sum = env;
  *sum += strlen(key);
  for (size_t i = 0; i < length; i++) *sum += ((const uint8_t *)value)[i];
  return 0;
}

typedef struct {
  look *l;
  uint64_t pages;
} reading;

static int read_range(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  static uint8_t page[PAGESTORE_PAGE];
  reading *r = env;
  MUST(offset % PAGESTORE_PAGE == 0 && length > 0);
  for (; length > 0 && r->pages < PAGES_MAX; offset += PAGESTORE_PAGE, length -= PAGESTORE_PAGE, r->pages++) {
    bool whole = served(pagestore_memory_read(m, offset, page, sizeof page));
    r->l->counts->pages += whole;
    r->l->counts->damaged += !whole;
  }
  return r->pages == PAGES_MAX;
}

static void read_memory(look *l, pagestore_instance *view, const memory_found *m) {
  pagestore_memory *memory;
  reading r = {.l = l};
  const pagestore_memory_options *options = PAGESTORE_WITH(pagestore_memory_options, .flags = m->flags,
                                                           .max_pages = m->pages ? m->pages : 1,
                                                           .guard_bytes = PAGESTORE_PAGE);
  if (!served(pagestore_memory_open(view, m->name, options, &memory))) return;
  (void)served(pagestore_memory_blocks(memory, PAGESTORE_BLOCKS_STORED, read_range, &r));
}

static void read_view(look *l, pagestore_instance *view) {
  static memory_list memories;
  pagestore_instance_info info = {.size = sizeof info};
  uint64_t sum = 0;
  memories.count = 0;
  l->counts->views++;
  (void)served(pagestore_instance_stat(view, &info));
  (void)served(pagestore_memory_each(view, note_memory, &memories));
  (void)served(pagestore_metadata_each(view, note_metadata, &sum));
  for (unsigned i = 0; i < memories.count; i++) read_memory(l, view, &memories.found[i]);
}

/* ---- one instance: its versions, and each against the one before --------------------------------- */

typedef struct {
  char name[VIEWS_MAX][256];
  unsigned count;
} snapshot_list;

static int note_snapshot(void *env, const char *name, uint64_t version, uint64_t retained_bytes) {
  snapshot_list *s = env;
  (void)version, (void)retained_bytes;
  MUST(strlen(name) < sizeof *s->name);
  if (s->count < VIEWS_MAX) strcpy(s->name[s->count++], name);
  return 0;
}

static int note_history(void *env, const pagestore_history_info *info) {
  *(uint64_t *)env += info->pages + (info->snapshot ? strlen(info->snapshot) : 0);
  return 0;
}

static int note_difference(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  uint64_t *ranges = env;
  MUST(length > 0 && offset + length <= pagestore_memory_pages(m) * PAGESTORE_PAGE);
  return ++*ranges > 100000;
}

static void read_instance(look *l, const char *name) {
  snapshot_list snapshots = {.count = 0};
  pagestore_instance *before = NULL, *view;
  uint64_t sum = 0;
  (void)served(pagestore_snapshot_each(l->store, name, note_snapshot, &snapshots));
  (void)served(pagestore_history_each(l->store, name, note_history, &sum));
  for (unsigned i = 0; i <= snapshots.count; i++) {
    const pagestore_instance_options *options = PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ,
                                                               .snapshot = i < snapshots.count ? snapshots.name[i]
                                                                                               : NULL);
    uint64_t ranges = 0;
    if (!served(pagestore_instance_open(l->store, name, options, &view))) continue;
    read_view(l, view);
    if (before) l->counts->diffs += served(pagestore_diff(before, view, note_difference, &ranges));
    if (before) pagestore_instance_close(before);
    before = view;
  }
  if (before) pagestore_instance_close(before);
}

static void read_store(look *l) {
  pagestore_store_info info = {.size = sizeof info};
  pagestore_statistics statistics = {.size = sizeof statistics};
  l->count = 0;
  l->counts->opened++;
  (void)served(pagestore_store_stat(l->store, &info));
  (void)served(pagestore_stats(l->store, &statistics));
  (void)served(pagestore_instance_each(l->store, NULL, note_name, l));
  for (unsigned i = 0; i < l->count; i++) read_instance(l, l->names[i]);
}

void look_read(const char *path, look_counts *counts) {
  static look l;
  l.counts = counts;
  const pagestore_options *options = PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ | PAGESTORE_VERIFY,
                                                    .map_bytes = MAP_BYTES);
  if (!served(pagestore_open(path, options, &l.store))) return;
  read_store(&l);
  (void)served(pagestore_close(l.store));
}

/* ---- changes ---------------------------------------------------------------------------------- */

static void change_instance(look *l, const char *name) {
  pagestore_instance *i, *fork;
  pagestore_memory *m;
  if (!served(pagestore_instance_open(l->store, name, NULL, &i))) return;
  const pagestore_memory_options *options = PAGESTORE_WITH(pagestore_memory_options, .pages = 2, .max_pages = 64,
                                                           .guard_bytes = PAGESTORE_PAGE);
  if (served(pagestore_memory_open(i, "new", options, &m))) (void)served(pagestore_memory_fill(m, 70000, 1, 9000));
  if (served(pagestore_memory_open(i, "heap", NULL, &m))) (void)served(pagestore_memory_fill(m, 0, 2, 70000));
  (void)served(pagestore_metadata_set(i, "new", "value", 5));
  l->counts->commits += served(pagestore_commit(i, 0, NULL));
  (void)served(pagestore_snapshot_create(i, "new", PAGESTORE_ASYNC));
  if (served(pagestore_restore(i, "first"))) (void)served(pagestore_commit(i, PAGESTORE_ASYNC, NULL));
  if (served(pagestore_fork(i, "a fork", NULL, &fork))) {
    (void)served(pagestore_metadata_set(fork, "new", "another", 7));
    (void)served(pagestore_commit(fork, 0, NULL));
    pagestore_instance_close(fork);
  }
  (void)served(pagestore_rollback(i));
  pagestore_instance_close(i);
  (void)served(pagestore_snapshot_drop(l->store, name, "second", 0));
}

void look_write(const char *path, look_counts *counts) {
  static look l;
  l.counts = counts;
  const pagestore_options *options = PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_VERIFY,
                                                    .map_bytes = MAP_BYTES);
  if (!served(pagestore_open(path, options, &l.store))) return;
  l.count = 0;
  (void)served(pagestore_instance_each(l.store, NULL, note_name, &l));
  for (unsigned i = 0; i < l.count && i < 3; i++) change_instance(&l, l.names[i]);
  if (l.count) (void)served(pagestore_instance_delete(l.store, l.names[l.count - 1], PAGESTORE_ASYNC));
  (void)served(pagestore_sync(l.store, PAGESTORE_FOREVER));
  read_store(&l);
  (void)served(pagestore_close(l.store));
}
