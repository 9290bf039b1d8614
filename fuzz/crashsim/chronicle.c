/* chronicle.c - moments; see chronicle.h. */
#include "chronicle.h"

#include <pagestore.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "totals.h"

const memory_spec memory_specs[MEMORIES] = {
    {"heap", PAGESTORE_KEEP, 1, 5, 8},
    {"module", 0, 1, 3, 6},
    {"wide", PAGESTORE_MEMORY64, 2, 8, 16},
    {"bulk", 0, 1, 160, 160},
};

static version *share(version *v) { return v ? version_share(v) : NULL; }

void moment_set(moment_instance *i, version *v) {
  version_release(i->of);
  i->of = share(v);
}

void moment_remove_instance(moment_instance *i) {
  moment_set(i, NULL);
  while (i->snapshots) moment_drop_snapshot(i, i->snapshots - 1);
}

void moment_add_snapshot(moment_instance *i, const char *name, version *of) {
  moment_snapshot *s = &i->snapshot[i->snapshots++];
  snprintf(s->name, sizeof s->name, "%s", name);
  s->of = share(of);
}

void moment_drop_snapshot(moment_instance *i, uint32_t number) {
  version_release(i->snapshot[number].of);
  i->snapshot[number] = i->snapshot[--i->snapshots];
}

moment moment_copy(const moment *from) {
  moment m = *from;
  m.refused = false;
  for (int i = 0; i < INSTANCES; i++) {
    share(m.instance[i].of);
    for (uint32_t s = 0; s < m.instance[i].snapshots; s++) share(m.instance[i].snapshot[s].of);
  }
  return m;
}

void moment_free(moment *m) {
  for (int i = 0; i < INSTANCES; i++) moment_remove_instance(&m->instance[i]);
}

/* ---- the list -------------------------------------------------------------------------------- */

static moment *append(chronicle *h, moment m) {
  if (h->count == h->room) {
    h->room = h->room ? h->room * 2 : 64;
    h->list = realloc(h->list, h->room * sizeof *h->list);
    if (!h->list) give_up("no memory for the chronicle");
  }
  h->list[h->count] = m;
  return &h->list[h->count++];
}

void chronicle_begin(chronicle *h, const moment *first) {
  *h = (chronicle){0};
  moment none = {0};
  for (int i = 0; i < INSTANCES; i++) snprintf(none.instance[i].name, NAME_BYTES, "instance %d", i);
  append(h, first ? moment_copy(first) : none);
}

const moment *chronicle_last(const chronicle *h) {
  uint64_t at = h->count - 1;
  while (h->list[at].refused) at--;
  return &h->list[at];
}

moment *chronicle_add(chronicle *h) { return append(h, moment_copy(chronicle_last(h))); }
void chronicle_refuse(chronicle *h) { h->list[h->count - 1].refused = true; }

void chronicle_free(chronicle *h) {
  for (uint64_t i = 0; i < h->count; i++) moment_free(&h->list[i]);
  free(h->list);
  *h = (chronicle){0};
}

/* ---- in a file ------------------------------------------------------------------------------- */

static void put(FILE *f, const void *bytes, size_t size) {
  if (size && fwrite(bytes, size, 1, f) != 1) give_up("the expectation cannot be written");
}

static void get(FILE *f, void *bytes, size_t size) {
  if (size && fread(bytes, size, 1, f) != 1) give_up("the expectation cannot be read");
}

static void save_version(FILE *f, const version *v) {
  put(f, &v->number, sizeof v->number);
  put(f, &v->module, sizeof v->module);
  for (int m = 0; m < MEMORIES; m++) {
    const model_memory *memory = &v->memory[m];
    put(f, &memory->present, sizeof memory->present);
    put(f, &memory->pages, sizeof memory->pages);
    for (uint64_t p = 0; p < memory->pages; p++) put(f, model_page(memory, p), PAGESTORE_PAGE);
  }
  for (int k = 0; k < MODEL_KEYS; k++) {
    uint64_t length = v->value[k] ? v->value[k]->length + 1 : 0;
    put(f, &length, sizeof length);
    if (length) put(f, v->value[k]->bytes, length - 1);
  }
}

static version *load_version(FILE *f) {
  version *v = version_new();
  get(f, &v->number, sizeof v->number);
  get(f, &v->module, sizeof v->module);
  for (int m = 0; m < MEMORIES; m++) {
    uint64_t pages;
    get(f, &v->memory[m].present, sizeof v->memory[m].present);
    get(f, &pages, sizeof pages);
    if (pages > MODEL_PAGES_MAX) give_up("the expectation is damaged");
    model_resize(&v->memory[m], pages);
    for (uint64_t p = 0; p < pages; p++) get(f, model_page_for_write(&v->memory[m], p), PAGESTORE_PAGE);
  }
  for (int k = 0; k < MODEL_KEYS; k++) {
    uint64_t length;
    get(f, &length, sizeof length);
    if (!length) continue;
    uint8_t *bytes = malloc(length);
    if (!bytes) give_up("no memory for an expectation");
    get(f, bytes, length - 1);
    version_set(v, k, bytes, length - 1);
    free(bytes);
  }
  return v;
}

static void save_moment(FILE *f, const moment *m) {
  put(f, &m->refused, sizeof m->refused);
  for (int i = 0; i < INSTANCES; i++) {
    const moment_instance *at = &m->instance[i];
    bool there = at->of != NULL;
    put(f, at->name, sizeof at->name);
    put(f, &there, sizeof there);
    if (!there) continue;
    save_version(f, at->of);
    put(f, &at->snapshots, sizeof at->snapshots);
    for (uint32_t s = 0; s < at->snapshots; s++) {
      put(f, at->snapshot[s].name, sizeof at->snapshot[s].name);
      save_version(f, at->snapshot[s].of);
    }
  }
}

static void load_moment(FILE *f, moment *m) {
  *m = (moment){0};
  get(f, &m->refused, sizeof m->refused);
  for (int i = 0; i < INSTANCES; i++) {
    moment_instance *at = &m->instance[i];
    bool there;
    get(f, at->name, sizeof at->name);
    get(f, &there, sizeof there);
    if (!there) continue;
    at->of = load_version(f);
    get(f, &at->snapshots, sizeof at->snapshots);
    if (at->snapshots > SNAPSHOTS) give_up("the expectation is damaged");
    for (uint32_t s = 0; s < at->snapshots; s++) {
      get(f, at->snapshot[s].name, sizeof at->snapshot[s].name);
      at->snapshot[s].of = load_version(f);
    }
  }
}

/* Only the moments that may be found: they are numbered from 0 in the file. */
void chronicle_save(const chronicle *h, int64_t acknowledged, int64_t begun, const char *path) {
  FILE *f = fopen(path, "w");
  if (!f) give_up("%s cannot be written", path);
  int64_t first = acknowledged < 0 ? 0 : acknowledged, low = acknowledged < 0 ? NO_STORE : 0, high = begun - first;
  put(f, &low, sizeof low);
  put(f, &high, sizeof high);
  for (int64_t at = first; at <= begun; at++) save_moment(f, &h->list[at]);
  if (fclose(f) != 0) give_up("%s cannot be written", path);
}

void chronicle_load(chronicle *h, int64_t *acknowledged, int64_t *begun, const char *path) {
  FILE *f = fopen(path, "r");
  if (!f) give_up("%s cannot be read", path);
  get(f, acknowledged, sizeof *acknowledged);
  get(f, begun, sizeof *begun);
  *h = (chronicle){0};
  for (int64_t at = 0; at <= *begun; at++) {
    moment m;
    load_moment(f, &m);
    append(h, m);
  }
  fclose(f);
}
