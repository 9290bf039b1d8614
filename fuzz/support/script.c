/* script.c - the steps of a history, each made from the state before it; see script.h. */
#include "fuzz/support/script.h"

#include <stdio.h>
#include <string.h>

#include <pagestore.h>

#include "fuzz/fuzz.h"

enum { WIDE = 2, NONE = SCRIPT_INSTANCES, PAGES_CROWDED = 700, PAGES_ROOMY = 300, WIDE_PAGES_USUAL = 12 };

const script_memory script_memories[SCRIPT_MEMORIES] = {
    {"heap", PAGESTORE_KEEP, 2, 20, 0},
    {"stack", 0, 1, 8, 20 * PAGE_CELLS},
    {"wide", PAGESTORE_MEMORY64, 3, 192, 28 * PAGE_CELLS},
    {"marked", PAGESTORE_EXPLICIT | PAGESTORE_KEEP, 1, 6, 220 * PAGE_CELLS},
};
const char *const script_keys[SCRIPT_KEYS] = {"large", "module.state", "step"};

/* ---- dice, bytes, names ------------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t z) { /* splitmix64 */
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

script_dice script_dice_for(uint64_t seed, uint64_t what) {
  return (script_dice){mix(seed + 0x9e3779b97f4a7c15u) ^ mix(what * 0xd1342543de82ef95u + 1)};
}

uint64_t script_roll(script_dice *d) { return mix(d->state += 0x9e3779b97f4a7c15u); }

uint64_t script_below(script_dice *d, uint64_t limit) { return limit ? script_roll(d) % limit : 0; }

bool script_chance(script_dice *d, uint32_t percent) { return script_below(d, 100) < percent; }

void script_cell(const script *s, uint32_t stamp, uint32_t cell, uint8_t to[CELL_BYTES]) {
  if (stamp == 0) {
    memset(to, 0, CELL_BYTES);
    return;
  }
  uint64_t word = mix(s->seed ^ ((uint64_t)stamp << 32 | cell));
  for (uint32_t i = 0; i < CELL_BYTES; i += sizeof word) {
    word = word * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
    memcpy(to + i, &word, sizeof word);
  }
}

void script_value(const script *s, uint32_t stamp, uint32_t length, uint8_t *to) {
  uint8_t cell[CELL_BYTES];
  for (uint32_t at = 0; at < length; at += CELL_BYTES) {
    script_cell(s, stamp, UINT32_MAX - at / CELL_BYTES, cell);
    memcpy(to + at, cell, length - at < CELL_BYTES ? length - at : CELL_BYTES);
  }
}

void script_name(char to[32], uint32_t instance) { snprintf(to, 32, "instance %u", instance); }

void script_snapshot_name(char to[32], uint64_t snapshot) {
  snprintf(to, 32, "step %llu", (unsigned long long)snapshot);
}

static uint32_t state_pages(const script_state *state) {
  uint32_t pages = 0;
  for (uint32_t m = 0; m < SCRIPT_MEMORIES; m++) pages += state->memory[m].pages;
  return pages;
}

uint32_t script_pages(const script *s) {
  uint32_t pages = 0;
  for (uint32_t i = 0; i < SCRIPT_INSTANCES; i++) {
    if (!s->instance[i].exists) continue;
    pages += state_pages(&s->instance[i].now);
    for (uint32_t n = 0; n < SCRIPT_SNAPSHOTS; n++)
      if (s->instance[i].snapshot[n].name) pages += state_pages(&s->instance[i].snapshot[n].of);
  }
  return pages;
}

/* ---- writing a plan ---------------------------------------------------------------------------------------------- */

typedef struct {
  script *s;
  script_plan *p;
  script_dice dice;
  bool fresh; /* memories of the instance must be opened before use */
} writer;

static script_action *act(writer *w, script_verb verb, uint32_t instance) {
  MUST(w->p->actions < ACTIONS_MAX);
  script_action *a = &w->p->action[w->p->actions++];
  *a = (script_action){.verb = verb, .instance = (uint8_t)instance, .stride = 1};
  return a;
}

static uint32_t new_stamp(const writer *w) { return (uint32_t)(w->s->step * ACTIONS_MAX + w->p->actions); }

static uint32_t *cells(writer *w, uint32_t instance, uint32_t memory) {
  return w->s->instance[instance].now.cell + script_memories[memory].cell_first;
}

static void empty_memory(script_state *state, uint32_t memory) {
  const script_memory *spec = &script_memories[memory];
  memset(state->cell + spec->cell_first, 0, (size_t)spec->max_pages * PAGE_CELLS * sizeof *state->cell);
  state->memory[memory].pages = 0;
}

static void open_memory(writer *w, uint32_t instance, uint32_t memory, bool upgraded) {
  script_state *now = &w->s->instance[instance].now;
  script_action *a = act(w, DO_OPEN, instance);
  a->memory = (uint8_t)memory;
  if (!now->memory[memory].present || (upgraded && now->memory[memory].pages == 0))
    now->memory[memory].pages = script_memories[memory].pages;
  now->memory[memory].present = true;
}

static void grow(writer *w, uint32_t instance, uint32_t memory, uint32_t count) {
  script_state *now = &w->s->instance[instance].now;
  uint32_t room = script_memories[memory].max_pages - now->memory[memory].pages;
  if (count > room) return;
  script_action *a = act(w, DO_GROW, instance);
  a->memory = (uint8_t)memory;
  a->count = count;
  now->memory[memory].pages += count;
}

static void write_cells(writer *w, uint32_t instance, uint32_t memory, uint32_t first, uint32_t count,
                        uint32_t stride) {
  script_action *a = act(w, DO_WRITE, instance);
  a->memory = (uint8_t)memory;
  a->first = first;
  a->count = count;
  a->stride = stride;
  a->stamp = new_stamp(w);
  for (uint32_t n = 0; n < count; n++) cells(w, instance, memory)[first + n * stride] = a->stamp;
}

static void zero_cells(writer *w, uint32_t instance, uint32_t memory, uint32_t first, uint32_t count) {
  script_action *a = act(w, DO_ZERO, instance);
  a->memory = (uint8_t)memory;
  a->first = first;
  a->count = count;
  memset(cells(w, instance, memory) + first, 0, count * sizeof(uint32_t));
}

static void set_value(writer *w, uint32_t instance, uint32_t key, uint32_t length) {
  script_action *a = act(w, DO_SET, instance);
  a->memory = (uint8_t)key;
  a->count = length;
  a->stamp = length ? new_stamp(w) : 0;
  w->s->instance[instance].now.value[key].stamp = a->stamp;
  w->s->instance[instance].now.value[key].length = length;
}

/* ---- a message --------------------------------------------------------------------------------------------------- */

static void some_writes(writer *w, uint32_t instance, uint32_t memory) {
  uint32_t size = w->s->instance[instance].now.memory[memory].pages * PAGE_CELLS;
  for (uint64_t n = 1 + script_below(&w->dice, 4); n > 0 && size > 0; n--) {
    uint32_t most = script_chance(&w->dice, 70) ? 1 : script_chance(&w->dice, 80) ? 40 : 300;
    uint32_t first = (uint32_t)script_below(&w->dice, size), count = 1 + (uint32_t)script_below(&w->dice, most);
    if (count > size - first) count = size - first;
    if (!script_chance(&w->dice, 12)) {
      write_cells(w, instance, memory, first, count, 1);
      continue;
    }
    if (script_chance(&w->dice, 50)) first -= first % PAGE_CELLS, count = PAGE_CELLS; /* a whole page of zeros */
    zero_cells(w, instance, memory, first, count);
  }
}

static void some_values(writer *w, uint32_t instance) {
  if (script_chance(&w->dice, 15)) {
    bool large = script_chance(&w->dice, 30);
    set_value(w, instance, KEY_LARGE, (uint32_t)script_below(&w->dice, large ? VALUE_BYTES_MAX : 900));
  }
  if (script_chance(&w->dice, 10)) set_value(w, instance, KEY_MODULE, 1 + (uint32_t)script_below(&w->dice, 60));
}

/* One or two memories; ends with the key "step", so that no message is without a change. */
static void message(writer *w, uint32_t instance) {
  script_state *now = &w->s->instance[instance].now;
  for (uint64_t n = 1 + script_below(&w->dice, 2); n > 0; n--) {
    uint32_t m = (uint32_t)script_below(&w->dice, SCRIPT_MEMORIES);
    if (w->fresh || !now->memory[m].present) open_memory(w, instance, m, false);
    bool may_grow = m != WIDE || now->memory[m].pages < WIDE_PAGES_USUAL;
    if ((may_grow && script_chance(&w->dice, 20)) || now->memory[m].pages == 0)
      grow(w, instance, m, 1 + (uint32_t)script_below(&w->dice, 3));
    some_writes(w, instance, m);
  }
  some_values(w, instance);
  set_value(w, instance, KEY_STEP, STEP_BYTES);
}

static void seal(writer *w, script_seal how, uint32_t instance) {
  w->p->seal = how;
  w->p->instances |= 1u << instance;
}

static void commit(writer *w, uint32_t instance) {
  message(w, instance);
  w->s->instance[instance].now.version++;
  seal(w, SEAL_COMMIT, instance);
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

static uint32_t some_instance(writer *w, bool exists) {
  uint32_t from = (uint32_t)script_below(&w->dice, SCRIPT_INSTANCES);
  for (uint32_t n = 0; n < SCRIPT_INSTANCES; n++) {
    uint32_t i = (from + n) % SCRIPT_INSTANCES;
    if (w->s->instance[i].exists == exists) return i;
  }
  return NONE;
}

static script_snapshot *some_snapshot(writer *w, uint32_t instance, bool taken) {
  if (instance == NONE) return NULL;
  uint32_t from = (uint32_t)script_below(&w->dice, SCRIPT_SNAPSHOTS);
  for (uint32_t n = 0; n < SCRIPT_SNAPSHOTS; n++) {
    script_snapshot *s = &w->s->instance[instance].snapshot[(from + n) % SCRIPT_SNAPSHOTS];
    if ((s->name != 0) == taken) return s;
  }
  return NULL;
}

/* ---- the kinds of steps: each says whether the state allowed it -------------------------------------------------- */

static bool step_message(writer *w) {
  uint32_t i = some_instance(w, true);
  if (i == NONE) return false;
  uint32_t m = (uint32_t)script_below(&w->dice, SCRIPT_MEMORIES), pages = w->s->instance[i].now.memory[m].pages;
  if (pages && script_chance(&w->dice, 10)) {
    script_action *a = act(w, DO_JUNK, i);
    a->memory = (uint8_t)m;
    a->first = (uint32_t)script_below(&w->dice, pages * PAGE_CELLS);
    a->count = 1 + (uint32_t)script_below(&w->dice, 20);
    if (a->count > pages * PAGE_CELLS - a->first) a->count = pages * PAGE_CELLS - a->first;
  }
  commit(w, i);
  return true;
}

static bool step_create(writer *w) {
  uint32_t i = some_instance(w, false);
  if (i == NONE) return false;
  memset(&w->s->instance[i], 0, sizeof w->s->instance[i]);
  w->s->instance[i].exists = true;
  w->s->instance[i].now.module = 1;
  act(w, DO_CREATE, i);
  commit(w, i);
  return true;
}

static bool step_several(writer *w) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < SCRIPT_INSTANCES && count < 3; i++) {
    if (!w->s->instance[i].exists || !script_chance(&w->dice, 60)) continue;
    script_state *now = &w->s->instance[i].now;
    uint32_t m = (uint32_t)script_below(&w->dice, SCRIPT_MEMORIES);
    if (!now->memory[m].present) open_memory(w, i, m, false);
    uint32_t size = now->memory[m].pages * PAGE_CELLS;
    if (size) write_cells(w, i, m, (uint32_t)script_below(&w->dice, size), 1, 1);
    set_value(w, i, KEY_STEP, STEP_BYTES);
    now->version++;
    seal(w, SEAL_COMMIT, i);
    count++;
  }
  return count > 0;
}

static bool step_snapshot(writer *w) {
  uint32_t i = some_instance(w, true);
  script_snapshot *s = some_snapshot(w, i, false);
  if (!s || script_pages(w->s) > PAGES_CROWDED) return false;
  s->name = w->p->snapshot = w->s->step;
  s->of = w->s->instance[i].now;
  seal(w, SEAL_SNAPSHOT, i);
  return true;
}

static bool step_drop(writer *w) {
  uint32_t i = some_instance(w, true);
  script_snapshot *s = some_snapshot(w, i, true);
  if (!s) return false;
  w->p->snapshot = s->name;
  s->name = 0;
  seal(w, SEAL_DROP, i);
  return true;
}

static bool step_restore(writer *w) {
  uint32_t i = some_instance(w, true);
  script_snapshot *s = some_snapshot(w, i, true);
  if (!s) return false;
  script_state *now = &w->s->instance[i].now;
  uint64_t version = now->version;
  *now = s->of;
  now->version = version;
  act(w, DO_RESTORE, i)->snapshot = s->name;
  w->fresh = true;
  w->p->reshaped |= 1u << i;
  commit(w, i);
  return true;
}

static bool step_fork(writer *w) {
  uint32_t from = some_instance(w, true), to = some_instance(w, false);
  if (from == NONE || to == NONE || script_pages(w->s) > PAGES_CROWDED) return false;
  script_snapshot *s = script_chance(&w->dice, 50) ? some_snapshot(w, from, true) : NULL;
  script_instance *new = &w->s->instance[to];
  memset(new, 0, sizeof *new);
  new->exists = true;
  new->now = s ? s->of : w->s->instance[from].now;
  new->now.version = 0;
  script_action *a = act(w, DO_FORK, to);
  a->from = (uint8_t)from;
  a->snapshot = s ? s->name : 0;
  w->fresh = true;
  w->p->reshaped |= 1u << to;
  commit(w, to);
  return true;
}

static bool step_delete(writer *w) {
  uint32_t i = some_instance(w, true), count = 0;
  for (uint32_t n = 0; n < SCRIPT_INSTANCES; n++) count += w->s->instance[n].exists;
  if (count < 2) return false;
  w->s->instance[i].exists = false;
  seal(w, SEAL_DELETE, i);
  return true;
}

static bool step_upgrade(writer *w) {
  uint32_t i = some_instance(w, true);
  if (i == NONE) return false;
  script_state *now = &w->s->instance[i].now;
  uint8_t module = (uint8_t)(1 + (now->module + script_below(&w->dice, 200)) % 250);
  act(w, DO_UPGRADE, i)->count = module;
  now->module = module;
  now->value[KEY_MODULE].stamp = now->value[KEY_MODULE].length = 0;
  for (uint32_t m = 0; m < SCRIPT_MEMORIES; m++) {
    if (!now->memory[m].present) continue;
    if (!(script_memories[m].flags & PAGESTORE_KEEP)) empty_memory(now, m);
    open_memory(w, i, m, true);
  }
  w->p->reshaped |= 1u << i;
  commit(w, i);
  return true;
}

static bool step_delete_memory(writer *w) {
  uint32_t i = some_instance(w, true), m = (uint32_t)script_below(&w->dice, SCRIPT_MEMORIES);
  if (i == NONE || !w->s->instance[i].now.memory[m].present) return false;
  act(w, DO_DELETE_MEMORY, i)->memory = (uint8_t)m;
  empty_memory(&w->s->instance[i].now, m);
  w->s->instance[i].now.memory[m].present = false;
  w->p->reshaped |= 1u << i;
  commit(w, i);
  return true;
}

/* More pages than the flusher works off of the trash at a time. */
static bool step_bulk(writer *w) {
  uint32_t i = some_instance(w, true);
  if (i == NONE || script_pages(w->s) > PAGES_ROOMY) return false;
  if (!w->s->instance[i].now.memory[WIDE].present) open_memory(w, i, WIDE, false);
  uint32_t pages = 140 + (uint32_t)script_below(&w->dice, 50), now = w->s->instance[i].now.memory[WIDE].pages;
  if (now < pages) grow(w, i, WIDE, pages - now);
  pages = w->s->instance[i].now.memory[WIDE].pages;
  write_cells(w, i, WIDE, (uint32_t)script_below(&w->dice, PAGE_CELLS), pages, PAGE_CELLS);
  commit(w, i);
  return true;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

typedef struct {
  uint32_t weight;
  bool (*make)(writer *);
} step_kind;
static const step_kind kinds[] = {
    {420, step_message}, {30, step_create},        {90, step_several}, {90, step_snapshot},
    {60, step_drop},     {90, step_restore},       {80, step_fork},    {50, step_delete},
    {50, step_upgrade},  {30, step_delete_memory}, {12, step_bulk},
};

static bool (*choose(writer *w))(writer *) {
  uint32_t total = 0;
  for (size_t n = 0; n < sizeof kinds / sizeof *kinds; n++) total += kinds[n].weight;
  uint64_t at = script_below(&w->dice, total);
  const step_kind *kind = kinds;
  while (at >= kind->weight) at -= kind++->weight;
  return kind->make;
}

const char *const script_sort_name[STEP_SORTS] = {"commit",  "commit_all", "create", "fork",  "restore",
                                                  "upgrade", "snapshot",   "drop",   "delete"};

script_sort script_sort_of(const script_plan *p) {
  if (p->seal == SEAL_SNAPSHOT) return STEP_SNAPSHOT;
  if (p->seal == SEAL_DROP) return STEP_DROP;
  if (p->seal == SEAL_DELETE) return STEP_DELETE;
  if (p->instances & (p->instances - 1)) return STEP_COMMIT_ALL;
  switch (p->action[0].verb) {
  case DO_CREATE: return STEP_CREATE;
  case DO_FORK: return STEP_FORK;
  case DO_RESTORE: return STEP_RESTORE;
  case DO_UPGRADE: return STEP_UPGRADE;
  default: return STEP_COMMIT;
  }
}

void script_begin(script *s, uint64_t seed) {
  memset(s, 0, sizeof *s);
  s->seed = seed;
}

void script_step(script *s, script_plan *p) {
  s->step++;
  writer w = {.s = s, .p = p, .dice = script_dice_for(s->seed, s->step)};
  *p = (script_plan){.step = s->step, .waits = script_chance(&w.dice, 25)};
  bool crowded = script_pages(s) > PAGES_CROWDED;
  if (crowded && (step_drop(&w) || step_delete(&w))) return;
  while (!choose(&w)(&w) && !step_create(&w)) continue;
}
