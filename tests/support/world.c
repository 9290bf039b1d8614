/* world.c - a store beside its model; see world.h. */
#include "world.h"

#include <unistd.h>

const memory_spec world_memory[MODEL_MEMORIES] = {
  { "heap", PAGESTORE_KEEP, 3, 24 },
  { "module", 0, 2, 24 },
  { "wide", PAGESTORE_MEMORY64, 5, MODEL_PAGES_MAX },
  { "marked", PAGESTORE_KEEP | PAGESTORE_EXPLICIT, 2, 16 },
  { "scratch", PAGESTORE_VOLATILE, 2, 16 },
};
const bool world_keeps[MODEL_MEMORIES] = { true, false, false, true, false };

const char *const world_event_name[DID_COUNT] = {
  "restore twice", "restore rolled back", "fork of a fork", "fork of an unflushed version", "fork of a view", "drop under a fork",
  "parent deleted", "reopen in the middle of trash", "clear rolled back", "clear committed", "snapshot of an unflushed version",
  "view during a flush", "advance during a flush", "forty layers", "queue full", "large metadata", "memory deleted", "commit_all",
  "private writes dropped", "durable view behind",
};

void world_fail(const world *w, const char *file, int line, const char *condition, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  print_error("step %llu, tracker %d: %s: %s\n", (unsigned long long)w->step, (int)w->tracker, condition, text);
  _fail(file, line);
}

void world_enter(world *w) {
  if (w->hooks.enter) w->hooks.enter();
}

bool world_left(world *w, int status) {
  if (w->hooks.leave) w->hooks.leave();
  return status && w->hooks.again && w->hooks.again(status);
}

void world_sealed(world *w, int status, bool durable) {
  if (w->hooks.sealed) w->hooks.sealed(w, durable && status == 0);
  if (status) w->hooks.lost(w);
}

/* ---- the store ------------------------------------------------------------------------------------ */

/* From no log over one that is merged at once, and one of a few records, to one that is never full here. */
static const uint64_t log_sizes[] = { 0, 1, PAGESTORE_NO_LOG, 700 << 10, 1, 2 << 20 };
static const uint32_t gather_times[] = { 0, 0, PAGESTORE_NO_GATHER, 200, 1 };

static void hear(void *env, void *user, uint64_t version, int status) { (void)env, (void)user, (void)version, (void)status; }
/* Where nobody listens, who waits for a commit may flush it. */
static void (*const listeners[])(void *, void *, uint64_t, int) = { hear, hear, hear, NULL, NULL, hear };

#define OF_THIS_LIFE(row, state) (row)[(state) % (sizeof(row) / sizeof *(row))]

void world_open_store(world *w) {
  const pagestore_options *options = PAGESTORE_WITH(
    pagestore_options, .flags = PAGESTORE_CREATE | PAGESTORE_VERIFY, .tracker = w->tracker, .queue_bytes = 192 << 10, .map_bytes = 1ull << 34,
    .log_bytes = OF_THIS_LIFE(log_sizes, w->samples.state), .gather_ms = OF_THIS_LIFE(gather_times, w->samples.state),
    .on_durable = OF_THIS_LIFE(listeners, w->samples.state));
  w->samples.state++;
  WORLD_OK(w, pagestore_open(w->path, options, &w->store));
}

void world_open(world *w, const char *path, pagestore_tracker tracker, uint64_t seed) {
  *w = (world){ .path = strdup(path), .tracker = tracker, .dice = { .state = seed }, .samples = { .state = seed } };
  for (int i = 0; i < WORLD_INSTANCES; i++) snprintf(w->instance[i].name, sizeof w->instance[i].name, "instance %d/%c", i, 'a' + i);
  world_open_store(w);
}

static void close_handles(world *w) {
  for (int i = 0; i < WORLD_VIEWS; i++)
    if (w->view[i].h.handle) holder_end(&w->view[i].h);
  for (int i = 0; i < WORLD_INSTANCES; i++) {
    world_instance *at = &w->instance[i];
    if (at->h.handle) holder_end(&at->h);
    if (at->exists && at->h.committed->number == 0) instance_forget(at);
  }
}

void world_close(world *w) {
  close_handles(w);
  WORLD_OK(w, pagestore_close(w->store));
  for (int i = 0; i < WORLD_INSTANCES; i++) instance_forget(&w->instance[i]);
  free(w->path);
}

void world_abandon(world *w) {
  for (int i = 0; i < WORLD_VIEWS; i++)
    if (w->view[i].h.handle) holder_end(&w->view[i].h);
  for (int i = 0; i < WORLD_INSTANCES; i++) {
    if (w->instance[i].h.handle) holder_end(&w->instance[i].h);
    instance_forget(&w->instance[i]);
  }
  pagestore_close(w->store);
  w->store = NULL;
}

/* ---- versions and handles ------------------------------------------------------------------------------- */

bool instance_unflushed(const world_instance *i) {
  return i->h.handle && pagestore_durable_version(i->h.handle) < i->h.committed->number;
}

void instance_forget(world_instance *i) {
  for (int at = 0; at < WORLD_HISTORY; at++) {
    version_release(i->history[at]);
    i->history[at] = NULL;
  }
  for (uint32_t s = 0; s < i->snapshots; s++) version_release(i->snapshot[s].of);
  i->snapshots = 0;
  version_release(i->h.committed);
  i->h.committed = NULL;
  i->exists = false;
  i->fork_depth = 0;
  i->parent = 0;
}

void holder_begin(holder *h, pagestore_instance *handle, uint32_t kind, version *committed) {
  *h = (holder){ .handle = handle, .kind = kind, .committed = version_share(committed), .work = version_clone(committed) };
}

/* What is committed outlives the handle of an instance; a view has nothing that does. */
void holder_end(holder *h) {
  pagestore_instance_close(h->handle);
  h->handle = NULL;
  version_release(h->work);
  h->work = NULL;
  model_resize(&h->volatile_committed, 0);
  memset(h->memory, 0, sizeof h->memory);
  h->changed = h->upgraded = false;
  if (h->kind == 0) return;
  version_release(h->committed);
  h->committed = NULL;
}

static void new_work(holder *h) {
  version_release(h->work);
  h->work = version_clone(h->committed);
  if (h->memory[MEMORY_VOLATILE]) {
    model_copy(&h->work->memory[MEMORY_VOLATILE], &h->volatile_committed);
    h->work->memory[MEMORY_VOLATILE].present = true;
  }
  h->changed = h->upgraded = false;
}

void holder_rolled_back(holder *h) { new_work(h); }

void holder_committed(world_instance *i, uint64_t number) {
  holder *h = &i->h;
  version *committed = h->work;
  h->work = NULL;
  committed->number = number;
  model_memory *scratch = &committed->memory[MEMORY_VOLATILE];
  if (scratch->present) model_copy(&h->volatile_committed, scratch);
  model_resize(scratch, 0);
  scratch->present = false;
  version **slot = &i->history[committed->number % WORLD_HISTORY];
  version_release(*slot);
  *slot = version_share(committed);
  version_release(h->committed);
  h->committed = committed;
  new_work(h);
}

pagestore_memory *world_use(world *w, holder *h, int memory) {
  const memory_spec *spec = &world_memory[memory];
  model_memory *model = &h->work->memory[memory];
  if (!model->present && h->kind == PAGESTORE_READ) return NULL;
  const pagestore_memory_options *options = PAGESTORE_WITH(
    pagestore_memory_options, .flags = spec->flags, .pages = spec->pages, .max_pages = spec->max_pages, .guard_bytes = PAGE);
  pagestore_memory *opened;
  WORLD_OK(w, pagestore_memory_open(h->handle, spec->name, options, &opened));
  bool volatile_ = memory == MEMORY_VOLATILE;
  if (!model->present || (h->upgraded && model->pages == 0 && !volatile_)) {
    model_resize(model, spec->pages);
    model->present = true;
    if (volatile_) model_copy(&h->volatile_committed, model);
    else h->changed = true;
  }
  WORLD_CHECK(w, !h->memory[memory] || h->memory[memory] == opened, "memory '%s' has two handles", spec->name);
  WORLD_CHECK(w, !h->memory[memory] || h->base[memory] == pagestore_memory_base(opened), "memory '%s' moved", spec->name);
  WORLD_CHECK(w, pagestore_memory_pages(opened) == model->pages, "memory '%s' has %llu pages, not %llu", spec->name,
              (unsigned long long)pagestore_memory_pages(opened), (unsigned long long)model->pages);
  h->memory[memory] = opened;
  h->base[memory] = pagestore_memory_base(opened);
  return opened;
}

/* ---- checks ------------------------------------------------------------------------------------------------- */

static void check_page(world *w, const holder *h, int memory, uint64_t page) {
  const uint8_t *is = h->base[memory] + page * PAGE, *must = model_page(&h->work->memory[memory], page);
  if (memcmp(is, must, PAGE) == 0) return;
  size_t at = 0;
  while (is[at] == must[at]) at++;
  pagestore_instance_info info = { .size = sizeof info };
  pagestore_instance_stat(h->handle, &info);
  world_fail(w, __FILE__, __LINE__, "bytes", "'%s' kind %u version %llu memory '%s' page %llu byte %zu: is %02x, must be %02x", info.name,
             h->kind, (unsigned long long)info.committed, world_memory[memory].name, (unsigned long long)page, at, is[at], must[at]);
}

/* Of the memories that are open: ghosts are empty, the others have their size. */
static void check_sizes(world *w, const holder *h) {
  for (int m = 0; m < MODEL_MEMORIES; m++) {
    if (!h->memory[m]) continue;
    uint64_t must = h->work->memory[m].present ? h->work->memory[m].pages : 0;
    WORLD_CHECK(w, pagestore_memory_pages(h->memory[m]) == must, "memory '%s' has %llu pages, not %llu", world_memory[m].name,
                (unsigned long long)pagestore_memory_pages(h->memory[m]), (unsigned long long)must);
  }
}

void holder_spot_check(world *w, holder *h) {
  uint64_t must = h->committed->number, is = pagestore_committed_version(h->handle);
  WORLD_CHECK(w, is == must, "at version %llu, not %llu", (unsigned long long)is, (unsigned long long)must);
  check_sizes(w, h);
  for (int n = 0; n < 3; n++) {
    int m = (int)dice_below(&w->samples, MODEL_MEMORIES);
    uint64_t page = dice_roll(&w->samples);
    const model_memory *model = &h->work->memory[m];
    if (h->memory[m] && model->present && model->pages) check_page(w, h, m, page % model->pages);
  }
}

typedef struct { world *world; const holder *holder; int next; } key_walk;

static int check_key(void *env, const char *key, const void *value, size_t length) {
  key_walk *walk = env;
  const version *v = walk->holder->work;
  while (walk->next < MODEL_KEYS && !v->value[walk->next]) walk->next++;
  WORLD_CHECK(walk->world, walk->next < MODEL_KEYS, "key '%s' should not be there", key);
  const model_value *must = v->value[walk->next];
  WORLD_CHECK(walk->world, strcmp(key, model_key[walk->next]) == 0, "key '%s' instead of '%s'", key, model_key[walk->next]);
  WORLD_CHECK(walk->world, length == must->length && memcmp(value, must->bytes, length) == 0, "the value of '%s' differs", key);
  walk->next++;
  return 0;
}

static void check_metadata(world *w, const holder *h) {
  key_walk walk = { w, h, 0 };
  WORLD_OK(w, pagestore_metadata_each(h->handle, check_key, &walk));
  while (walk.next < MODEL_KEYS) {
    WORLD_CHECK(w, !h->work->value[walk.next], "key '%s' is missing", model_key[walk.next]);
    walk.next++;
  }
}

void holder_check(world *w, holder *h) {
  for (int m = 0; m < MODEL_MEMORIES; m++) {
    if (!h->work->memory[m].present || !world_use(w, h, m)) continue;
    for (uint64_t page = 0; page < h->work->memory[m].pages; page++) check_page(w, h, m, page);
  }
  check_sizes(w, h);
  check_metadata(w, h);
}

/* ---- everything ------------------------------------------------------------------------------------------------ */

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length) {
  const uint8_t *at = bytes;
  uint64_t word;
  for (; length >= sizeof word; at += sizeof word, length -= sizeof word) {
    memcpy(&word, at, sizeof word);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  while (length--) hash = (hash ^ *at++) * 1099511628211u;
  return hash;
}

/* Pages and pages stored; the latter are exact once all is durable. */
static void check_stat(world *w, const holder *h, bool writable) {
  pagestore_instance_info info = { .size = sizeof info };
  WORLD_OK(w, pagestore_instance_stat(h->handle, &info));
  uint64_t pages = 0, stored = 0;
  for (int m = 0; m < MODEL_MEMORIES; m++) {
    pages += h->committed->memory[m].pages;
    stored += model_stored(&h->committed->memory[m]);
  }
  WORLD_CHECK(w, info.pages == pages, "'%s' has %llu pages, not %llu", info.name, (unsigned long long)info.pages, (unsigned long long)pages);
  WORLD_CHECK(w, info.stored_pages == stored, "'%s' (%s) has %llu stored pages, not %llu", info.name, writable ? "writable" : "view",
              (unsigned long long)info.stored_pages, (unsigned long long)stored);
  WORLD_CHECK(w, info.committed == h->committed->number && info.durable == info.committed, "versions of '%s'", info.name);
  for (int i = 0; i < 32; i++) WORLD_CHECK(w, info.module_hash[i] == h->committed->module, "module hash of '%s'", info.name);
}

/* A view of what is stored, checked and hashed. */
static uint64_t export_one(world *w, world_instance *i, const char *snapshot, version *must, uint64_t hash) {
  pagestore_instance *handle;
  const pagestore_instance_options *options =
    PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .snapshot = snapshot, .version = snapshot ? 0 : PAGESTORE_DURABLE);
  WORLD_OK(w, pagestore_instance_open(w->store, i->name, options, &handle));
  holder h;
  holder_begin(&h, handle, PAGESTORE_READ, must);
  WORLD_CHECK(w, pagestore_committed_version(handle) == must->number, "'%s' is at %llu, must be %llu", i->name,
              (unsigned long long)pagestore_committed_version(handle), (unsigned long long)must->number);
  holder_check(w, &h);
  check_stat(w, &h, false);
  hash = hash_bytes(hash, i->name, strlen(i->name));
  hash = hash_bytes(hash, &must->number, sizeof must->number);
  for (int m = 0; m < MODEL_MEMORIES; m++)
    if (must->memory[m].present) hash = hash_bytes(hash, h.base[m], must->memory[m].pages * PAGE);
  for (int k = 0; k < MODEL_KEYS; k++)
    if (must->value[k]) hash = hash_bytes(hash, must->value[k]->bytes, must->value[k]->length);
  holder_end(&h);
  return hash;
}

typedef struct { world *world; world_instance *instance; uint32_t seen; } snapshot_walk;

static int check_snapshot(void *env, const char *name, uint64_t number, uint64_t retained_bytes) {
  snapshot_walk *walk = env;
  (void)retained_bytes;
  for (uint32_t s = 0; s < walk->instance->snapshots; s++) {
    const world_snapshot *at = &walk->instance->snapshot[s];
    if (strcmp(at->name, name) != 0) continue;
    WORLD_CHECK(walk->world, at->of->number == number, "snapshot '%s' is of version %llu", name, (unsigned long long)number);
    walk->seen++;
    return 0;
  }
  world_fail(walk->world, __FILE__, __LINE__, "snapshot", "'%s' of '%s' should not be there", name, walk->instance->name);
  return 1;
}

static int count_instance(void *env, const pagestore_instance_info *info) {
  world *w = ((void **)env)[0];
  uint32_t *seen = ((void **)env)[1];
  for (int i = 0; i < WORLD_INSTANCES; i++) {
    if (strcmp(w->instance[i].name, info->name) != 0) continue;
    WORLD_CHECK(w, w->instance[i].exists, "'%s' should not be there", info->name);
    WORLD_CHECK(w, info->committed == w->instance[i].h.committed->number, "'%s' is listed at %llu", info->name, (unsigned long long)info->committed);
    *seen += 1;
    return 0;
  }
  world_fail(w, __FILE__, __LINE__, "instance", "'%s' should not be there", info->name);
  return 1;
}

uint64_t world_export(world *w) {
  uint64_t hash = 14695981039346656037u;
  uint32_t seen = 0, exist = 0;
  WORLD_OK(w, pagestore_sync(w->store, PAGESTORE_FOREVER));
  for (int i = 0; i < WORLD_INSTANCES; i++) {
    world_instance *at = &w->instance[i];
    if (!at->exists) continue;
    exist++;
    if (at->h.committed->number == 0) continue;
    hash = export_one(w, at, NULL, at->h.committed, hash);
    if (at->h.handle) check_stat(w, &at->h, true);
    snapshot_walk walk = { w, at, 0 };
    WORLD_OK(w, pagestore_snapshot_each(w->store, at->name, check_snapshot, &walk));
    WORLD_CHECK(w, walk.seen == at->snapshots, "'%s' has %u snapshots, not %u", at->name, walk.seen, at->snapshots);
    for (uint32_t s = 0; s < at->snapshots; s++) hash = export_one(w, at, at->snapshot[s].name, at->snapshot[s].of, hash);
  }
  WORLD_OK(w, pagestore_instance_each(w->store, NULL, count_instance, (void *[]){ w, &seen }));
  WORLD_CHECK(w, seen == exist, "%u instances are listed, %u exist", seen, exist);
  return hash;
}

void world_reopen(world *w, bool trash) {
  close_handles(w);
  WORLD_OK(w, pagestore_close(w->store));
  world_open_store(w);
  if (trash) w->did[DID_REOPEN_IN_TRASH]++;
  world_export(w);
}
