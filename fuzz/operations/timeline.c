/* timeline.c - taking, comparing and giving back the states of a store; see timeline.h. */
#include "timeline.h"

static void moment_free(moment *m) {
  for (int i = 0; i < WORLD_INSTANCES; i++) instance_forget(&m->instance[i]);
}

/* An instance without a committed version is not in the store. */
static void copy_instance(world_instance *to, const world_instance *from) {
  *to = *from;
  memset(to->history, 0, sizeof to->history);
  to->h = (holder){.committed = NULL};
  if (!from->exists || from->h.committed->number == 0) {
    to->exists = false;
    to->snapshots = to->fork_depth = 0;
    to->parent = 0;
    return;
  }
  to->h.committed = version_share(from->h.committed);
  for (uint32_t s = 0; s < to->snapshots; s++) version_share(to->snapshot[s].of);
}

void timeline_note(timeline *t, const world *w, bool durable) {
  t->moments = realloc(t->moments, (t->count + 1) * sizeof *t->moments);
  for (int i = 0; i < WORLD_INSTANCES; i++) copy_instance(&t->moments[t->count].instance[i], &w->instance[i]);
  t->count++;
  if (!durable) return;
  for (size_t i = 0; i + 1 < t->count; i++) moment_free(&t->moments[i]);
  t->moments[0] = t->moments[t->count - 1];
  t->count = 1;
}

void timeline_free(timeline *t) {
  for (size_t i = 0; i < t->count; i++) moment_free(&t->moments[i]);
  free(t->moments);
  *t = (timeline){0};
}

void timeline_floor(const world *w, durable_floor *out) {
  memset(out, 0, sizeof *out);
  for (int i = 0; i < WORLD_INSTANCES; i++) {
    const world_instance *at = &w->instance[i];
    if (!at->h.handle) continue;
    out->serial[i] = at->serial;
    out->version[i] = pagestore_durable_version(at->h.handle);
  }
}

static bool is_above(const moment *m, const durable_floor *floor) {
  for (int i = 0; i < WORLD_INSTANCES; i++) {
    const world_instance *at = &m->instance[i];
    if (floor->version[i] == 0) continue;
    if (!at->exists || at->serial != floor->serial[i] || at->h.committed->number < floor->version[i]) return false;
  }
  return true;
}

/* ---- what the store shows ---------------------------------------------------------------------- */

typedef struct {
  const world_instance *instances;
  const world_instance *of;
  unsigned found;
} listing;

static int is_listed(void *env, const pagestore_instance_info *info) {
  listing *l = env;
  for (int i = 0; i < WORLD_INSTANCES; i++) {
    const world_instance *at = &l->instances[i];
    if (!at->exists || strcmp(at->name, info->name) != 0) continue;
    l->found += at->h.committed->number == info->committed;
    return at->h.committed->number != info->committed;
  }
  return 1;
}

static int is_snapshot(void *env, const char *name, uint64_t number, uint64_t retained_bytes) {
  listing *l = env;
  (void)retained_bytes;
  for (uint32_t s = 0; s < l->of->snapshots; s++)
    if (strcmp(l->of->snapshot[s].name, name) == 0 && l->of->snapshot[s].of->number == number) {
      l->found++;
      return 0;
    }
  return 1;
}

static bool lists(pagestore_store *store, const moment *m) {
  listing l = {.instances = m->instance};
  unsigned exist = 0;
  for (int i = 0; i < WORLD_INSTANCES; i++) exist += m->instance[i].exists;
  if (pagestore_instance_each(store, NULL, is_listed, &l) != 0 || l.found != exist) return false;
  for (int i = 0; i < WORLD_INSTANCES; i++) {
    l.of = &m->instance[i];
    l.found = 0;
    if (!l.of->exists) continue;
    if (pagestore_snapshot_each(store, l.of->name, is_snapshot, &l) != 0 || l.found != l.of->snapshots) return false;
  }
  return true;
}

/* The same name at the same version may have been two instances, one after the other. */
static bool shows_bytes(pagestore_instance *view, const version *must) {
  for (int m = 0; m < MODEL_MEMORIES; m++) {
    const model_memory *model = &must->memory[m];
    pagestore_memory *memory;
    int status = pagestore_memory_open(view, world_memory[m].name, NULL, &memory);
    if (status == PAGESTORE_ENOTFOUND && !model->present) continue;
    if (status || !model->present || pagestore_memory_pages(memory) != model->pages) return false;
    for (uint64_t page = 0; page < model->pages; page++)
      if (memcmp(pagestore_memory_base(memory) + page * PAGE, model_page(model, page), PAGE) != 0) return false;
  }
  return true;
}

static bool shows(pagestore_store *store, const moment *m) {
  if (!lists(store, m)) return false;
  bool same = true;
  for (int i = 0; i < WORLD_INSTANCES && same; i++) {
    pagestore_instance *view;
    if (!m->instance[i].exists) continue;
    const pagestore_instance_options *options = PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ);
    if (pagestore_instance_open(store, m->instance[i].name, options, &view) != 0) return false;
    same = shows_bytes(view, m->instance[i].h.committed);
    pagestore_instance_close(view);
  }
  return same;
}

void timeline_find(timeline *t, world *w, const durable_floor *floor) {
  size_t at = t->count;
  while (at > 0 && !(is_above(&t->moments[at - 1], floor) && shows(w->store, &t->moments[at - 1]))) at--;
  WORLD_CHECK(w, at > 0, "none of %zu states was found after a crash: %s", t->count, pagestore_detail());
  for (int i = 0; i < WORLD_INSTANCES; i++) {
    copy_instance(&w->instance[i], &t->moments[at - 1].instance[i]);
    world_instance *to = &w->instance[i];
    if (to->exists) to->history[to->h.committed->number % WORLD_HISTORY] = version_share(to->h.committed);
  }
  timeline_free(t);
  timeline_note(t, w, true);
}
