/* witness.c - reads a whole store and compares it with the script; see witness.h. */
#include "fuzz/support/witness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

#include <pagestore.h>

#include "storage/format.h"
#include "storage/walker.h"

/* What tells one step from another: versions, what the last commit set, snapshots. Versions are not enough: an instance
 * that was deleted and made anew may have the same. */
typedef struct {
  struct {
    bool exists;
    uint64_t version;
    uint8_t step[STEP_BYTES];
    uint32_t snapshots;
    struct {
      uint64_t name, version;
    } snapshot[SCRIPT_SNAPSHOTS];
  } instance[SCRIPT_INSTANCES];
} listing;

typedef struct {
  script *s;
  ledger *ledger;
  pagestore_store *store;
  listing is;
} witness;

#define BROKEN(w, ...) ledger_broken((w)->ledger, __VA_ARGS__)
#define OK(w, call)    ok((w), (call), #call)

static void ok(const witness *w, int status, const char *call) {
  if (status) BROKEN(w, "%s: %s: %s", call, pagestore_strerror(status), pagestore_detail());
}

/* ---- listings ---------------------------------------------------------------------------------------------------- */

static int list_snapshot(void *env, const char *name, uint64_t version, uint64_t retained_bytes) {
  witness *w = ((void **)env)[0];
  uint32_t i = *(uint32_t *)((void **)env)[1], n = w->is.instance[i].snapshots++;
  unsigned long long step;
  (void)retained_bytes;
  if (n == SCRIPT_SNAPSHOTS || sscanf(name, "step %llu", &step) != 1)
    BROKEN(w, "snapshot '%s' of instance %u never was", name, i);
  w->is.instance[i].snapshot[n].name = step;
  w->is.instance[i].snapshot[n].version = version;
  return 0;
}

static int list_instance(void *env, const pagestore_instance_info *info) {
  witness *w = env;
  uint32_t i;
  if (sscanf(info->name, "instance %u", &i) != 1 || i >= SCRIPT_INSTANCES)
    BROKEN(w, "instance '%s' never was", info->name);
  w->is.instance[i].exists = true;
  w->is.instance[i].version = info->durable;
  return 0;
}

static void read_step(witness *w, const char *name, uint8_t to[STEP_BYTES]) {
  pagestore_instance *view;
  size_t length;
  OK(w, pagestore_instance_open(w->store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ),
                                &view));
  OK(w, pagestore_metadata_get(view, script_keys[KEY_STEP], to, STEP_BYTES, &length));
  pagestore_instance_close(view);
}

static void list(witness *w) {
  char name[32];
  OK(w, pagestore_instance_each(w->store, NULL, list_instance, w));
  for (uint32_t i = 0; i < SCRIPT_INSTANCES; i++) {
    if (!w->is.instance[i].exists) continue;
    script_name(name, i);
    read_step(w, name, w->is.instance[i].step);
    OK(w, pagestore_snapshot_each(w->store, name, list_snapshot, (void *[]){w, &i}));
  }
}

static bool has_snapshot(const listing *is, uint32_t i, const script_snapshot *must) {
  for (uint32_t n = 0; n < is->instance[i].snapshots; n++)
    if (is->instance[i].snapshot[n].name == must->name) return is->instance[i].snapshot[n].version == must->of.version;
  return false;
}

static bool has_step(const script *s, const script_state *must, const uint8_t step[STEP_BYTES]) {
  uint8_t value[STEP_BYTES];
  script_value(s, must->value[KEY_STEP].stamp, STEP_BYTES, value);
  return memcmp(step, value, STEP_BYTES) == 0;
}

static bool fits(const script *s, const listing *is) {
  for (uint32_t i = 0; i < SCRIPT_INSTANCES; i++) {
    const script_instance *must = &s->instance[i];
    if (must->exists != is->instance[i].exists) return false;
    if (!must->exists) continue;
    uint32_t snapshots = 0;
    for (uint32_t n = 0; n < SCRIPT_SNAPSHOTS; n++) {
      if (!must->snapshot[n].name) continue;
      if (!has_snapshot(is, i, &must->snapshot[n])) return false;
      snapshots++;
    }
    if (must->now.version != is->instance[i].version || snapshots != is->instance[i].snapshots) return false;
    if (!has_step(s, &must->now, is->instance[i].step)) return false;
  }
  return true;
}

static void describe(const listing *is, char *to, size_t room) {
  size_t at = 0;
  to[0] = 0;
  for (uint32_t i = 0; i < SCRIPT_INSTANCES && at < room; i++) {
    if (!is->instance[i].exists) continue;
    at += (size_t)snprintf(to + at, room - at, " %u:version %llu", i, (unsigned long long)is->instance[i].version);
    for (uint32_t n = 0; n < is->instance[i].snapshots && at < room; n++)
      at += (size_t)snprintf(to + at, room - at, " snapshot %llu",
                             (unsigned long long)is->instance[i].snapshot[n].name);
  }
}

/* Whether the store is at a step from the history's begin on: what was acknowledged later is lost. */
static bool find_older(const witness *w, uint64_t acknowledged, uint64_t *step) {
  static script s;
  script_plan plan;
  bool found = false;
  for (script_begin(&s, w->s->seed); s.step < acknowledged; script_step(&s, &plan)) {
    if (!fits(&s, &w->is)) continue;
    *step = s.step;
    found = true;
  }
  return found;
}

static void find_step(witness *w) {
  uint64_t begun = atomic_load(&w->ledger->begun), acknowledged = atomic_load(&w->ledger->acknowledged);
  uint64_t older = 0;
  script_plan plan;
  char text[700];
  while (w->s->step < acknowledged) script_step(w->s, &plan);
  for (; !fits(w->s, &w->is) && w->s->step < begun; script_step(w->s, &plan)) continue;
  if (fits(w->s, &w->is)) return;
  describe(&w->is, text, sizeof text);
  if (find_older(w, acknowledged, &older))
    BROKEN(w, "LOST: step %llu was acknowledged, the store is at step %llu:%s", (unsigned long long)acknowledged,
           (unsigned long long)older, text);
  BROKEN(w, "TORN: step %llu was acknowledged and %llu begun, the store is at none:%s",
         (unsigned long long)acknowledged, (unsigned long long)begun, text);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

typedef struct {
  witness *w;
  const script_state *must;
  uint32_t instance;
  char snapshot[32]; /* empty: the present */
  uint32_t seen;
  uint64_t stored_pages;
} looking;

#define WRONG(l, format, ...)                                                                                          \
  BROKEN((l)->w, "WRONG: step %llu, instance %u, %s: " format, (unsigned long long)(l)->w->s->step, (l)->instance,     \
         (l)->snapshot[0] ? (l)->snapshot : "present", __VA_ARGS__)

static void compare_page(looking *l, pagestore_memory *m, uint32_t memory, uint32_t page) {
  const uint32_t *stamp = l->must->cell + script_memories[memory].cell_first + page * PAGE_CELLS;
  const uint8_t *is = pagestore_memory_base(m) + (size_t)page * PAGESTORE_PAGE;
  uint8_t must[CELL_BYTES];
  bool stored = false;
  OK(l->w, pagestore_memory_prepare(m, (uint64_t)page * PAGESTORE_PAGE, PAGESTORE_PAGE, false));
  for (uint32_t n = 0; n < PAGE_CELLS; n++) {
    script_cell(l->w->s, stamp[n], page * PAGE_CELLS + n, must);
    if (memcmp(is + n * CELL_BYTES, must, CELL_BYTES) != 0)
      WRONG(l, "memory '%s' page %u cell %u, of step %u", script_memories[memory].name, page, n,
            stamp[n] / ACTIONS_MAX);
    stored |= stamp[n] != 0;
  }
  l->stored_pages += stored;
}

static void compare_memory(looking *l, pagestore_instance *view, uint32_t memory) {
  pagestore_memory *m;
  OK(l->w, pagestore_memory_open(view, script_memories[memory].name, NULL, &m));
  for (uint32_t page = 0; page < l->must->memory[memory].pages; page++) compare_page(l, m, memory, page);
}

static int check_memory(void *env, const pagestore_memory_info *info) {
  looking *l = env;
  uint32_t m = 0;
  while (m < SCRIPT_MEMORIES && strcmp(script_memories[m].name, info->name) != 0) m++;
  if (m == SCRIPT_MEMORIES || !l->must->memory[m].present) WRONG(l, "memory '%s' should not be there", info->name);
  if (info->pages != l->must->memory[m].pages)
    WRONG(l, "memory '%s' has %llu pages, not %u", info->name, (unsigned long long)info->pages,
          l->must->memory[m].pages);
  l->seen |= 1u << m;
  return 0;
}

static int check_value(void *env, const char *key, const void *value, size_t length) {
  looking *l = env;
  static uint8_t must[VALUE_BYTES_MAX];
  uint32_t k = 0;
  while (k < SCRIPT_KEYS && strcmp(script_keys[k], key) != 0) k++;
  if (k == SCRIPT_KEYS || !l->must->value[k].stamp) WRONG(l, "key '%s' should not be there", key);
  script_value(l->w->s, l->must->value[k].stamp, l->must->value[k].length, must);
  if (length != l->must->value[k].length || memcmp(value, must, length) != 0)
    WRONG(l, "the value of '%s' is another", key);
  l->seen |= 1u << k;
  return 0;
}

static void check_parts(looking *l, pagestore_instance *view) {
  l->seen = 0;
  OK(l->w, pagestore_memory_each(view, check_memory, l));
  for (uint32_t m = 0; m < SCRIPT_MEMORIES; m++)
    if (l->must->memory[m].present && !(l->seen & 1u << m)) WRONG(l, "memory '%s' is missing", script_memories[m].name);
  l->seen = 0;
  OK(l->w, pagestore_metadata_each(view, check_value, l));
  for (uint32_t k = 0; k < SCRIPT_KEYS; k++)
    if (l->must->value[k].stamp && !(l->seen & 1u << k)) WRONG(l, "key '%s' is missing", script_keys[k]);
}

static void compare_state(looking *l) {
  char name[32];
  pagestore_instance *view;
  pagestore_instance_info info = {.size = sizeof info};
  script_name(name, l->instance);
  OK(l->w, pagestore_instance_open(l->w->store, name,
                                   PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ,
                                                  .snapshot = l->snapshot[0] ? l->snapshot : NULL),
                                   &view));
  check_parts(l, view);
  for (uint32_t m = 0; m < SCRIPT_MEMORIES; m++)
    if (l->must->memory[m].present) compare_memory(l, view, m);
  OK(l->w, pagestore_instance_stat(view, &info));
  for (int n = 0; n < 32; n++)
    if (info.module_hash[n] != l->must->module) WRONG(l, "module %u, not %u", info.module_hash[n], l->must->module);
  if (info.committed != l->must->version) WRONG(l, "version %llu", (unsigned long long)info.committed);
  if (info.stored_pages != l->stored_pages)
    WRONG(l, "%llu stored pages, not %llu", (unsigned long long)info.stored_pages, (unsigned long long)l->stored_pages);
  pagestore_instance_close(view);
}

static void compare_instance(witness *w, uint32_t instance) {
  const script_instance *i = &w->s->instance[instance];
  looking now = {.w = w, .must = &i->now, .instance = instance};
  compare_state(&now);
  for (uint32_t n = 0; n < SCRIPT_SNAPSHOTS; n++) {
    if (!i->snapshot[n].name) continue;
    looking then = {.w = w, .must = &i->snapshot[n].of, .instance = instance};
    script_snapshot_name(then.snapshot, i->snapshot[n].name);
    compare_state(&then);
  }
}

void witness_look(const char *path, script *s, ledger *ledger, uint32_t flags) {
  static witness w;
  w = (witness){.s = s, .ledger = ledger};
  ledger->trash = false;
  int status = pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ | flags), &w.store);
  if (status == PAGESTORE_ENOTFOUND && !atomic_load(&ledger->made)) {
    ledger->found = 0;
    return;
  }
  ok(&w, status, "pagestore_open");
  pagestore_store_info info = {.size = sizeof info};
  OK(&w, pagestore_store_stat(w.store, &info));
  ledger->trash = info.trash;
  list(&w);
  find_step(&w);
  for (uint32_t i = 0; i < SCRIPT_INSTANCES; i++)
    if (s->instance[i].exists) compare_instance(&w, i);
  OK(&w, pagestore_close(w.store));
  ledger->found = s->step;
}

/* ---- an empty store ---------------------------------------------------------------------------------------------- */

static int found_damage(void *env, uint64_t page, const char *text) {
  ledger_broken(env, "page %llu: %s", (unsigned long long)page, text);
}

/* What stays: the store's record, and where its log begins. */
static int found_row(void *env, const char *table, bytes key, walker_place value) {
  (void)value;
  const catalog_key beginning = catalog_key_id(CATALOG_LOG, LOG_BEGINNING);
  bool is_beginning = key.size == beginning.size && memcmp(key.data, beginning.byte, key.size) == 0;
  bool stays = strcmp(table, "catalog") == 0 && (key.size == 1 || is_beginning);
  if (!stays) ledger_broken(env, "table %s still has rows", table);
  return 0;
}

void witness_look_empty(const char *path, ledger *ledger) {
  char file[4200];
  walker_metas metas;
  walker_summary summary = {0};
  snprintf(file, sizeof file, "%s/data.mdb", path);
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || walker_check_meta(fd, file, &metas) != 0) ledger_broken(ledger, "%s", pagestore_detail());
  const walker_callbacks callbacks = {.env = ledger, .finding = found_damage, .row = found_row};
  if (walker_walk(fd, &metas, metas.newest, &callbacks, &summary) != 0) ledger_broken(ledger, "%s", pagestore_detail());
  if (summary.pages_lost) ledger_broken(ledger, "%llu pages are lost", (unsigned long long)summary.pages_lost);
  close(fd);
}
