/* workload_ops.c - one random operation of the host, on the library and in the model. See workload_ops.h. */
#include "workload_ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "totals.h"

#define TRY(w, call)                                                                                                   \
  do {                                                                                                                 \
    int status_ = (call);                                                                                              \
    if (status_) {                                                                                                     \
      workload_failed(w, #call, status_);                                                                              \
      return;                                                                                                          \
    }                                                                                                                  \
  } while (0)

/* ---- choosing -------------------------------------------------------------------------------- */

static guest *some_guest(workload *w) {
  uint64_t from = dice_below(&w->dice, INSTANCES);
  for (uint64_t n = 0; n < INSTANCES; n++)
    if (w->guest[(from + n) % INSTANCES].handle) return &w->guest[(from + n) % INSTANCES];
  return NULL;
}

static guest *free_guest(workload *w) {
  uint64_t from = dice_below(&w->dice, INSTANCES);
  for (uint64_t n = 0; n < INSTANCES; n++)
    if (!w->guest[(from + n) % INSTANCES].handle) return &w->guest[(from + n) % INSTANCES];
  return NULL;
}

static moment_instance *moment_of(workload *w, moment *m, const guest *g) { return &m->instance[g - w->guest]; }
static const moment_instance *present_of(workload *w, const guest *g) {
  return &chronicle_last(w->chronicle)->instance[g - w->guest];
}

/* Whoever waits for the flusher must not hold it. */
static void let_go(workload *w) {
  if (w->holding) record_release();
  w->holding = false;
}

static unsigned some_flags(workload *w) {
  if (w->kind == WORKLOAD_AFTER_CRASH) return 0;
  bool asynchronous = w->holding || (w->kind != WORKLOAD_FULL_MAP && dice_chance(&w->dice, 60));
  return asynchronous ? PAGESTORE_ASYNC : 0;
}

/* ---- changes --------------------------------------------------------------------------------- */

/* The memory in the open message, created if it is not there. NULL: an error, which was reported. */
static pagestore_memory *use(workload *w, guest *g, int number) {
  const memory_spec *spec = &memory_specs[number];
  model_memory *model = &g->work->memory[number];
  uint64_t pages = w->kind == WORKLOAD_FULL_MAP ? spec->pages_most : spec->pages;
  const pagestore_memory_options *options = PAGESTORE_WITH(pagestore_memory_options, .flags = spec->flags,
                                                           .pages = pages, .max_pages = spec->max_pages,
                                                           .guard_bytes = PAGESTORE_PAGE);
  int status = pagestore_memory_open(g->handle, spec->name, options, &g->memory[number]);
  if (status) return workload_failed(w, "memory_open", status), NULL;
  if (!model->present || (g->upgraded && model->pages == 0)) {
    model_resize(model, pages);
    model->present = true;
    g->changed = true;
  }
  if (pagestore_memory_pages(g->memory[number]) != model->pages) {
    violation("without a crash: memory '%s' has another size", spec->name);
    w->broken = true;
    return NULL;
  }
  return g->memory[number];
}

static void write_bytes(workload *w, guest *g, int number, uint64_t offset, uint64_t length) {
  uint8_t *bytes = malloc(length), *base = pagestore_memory_base(g->memory[number]);
  uint64_t word = dice_roll(&w->dice);
  if (!bytes) give_up("no memory for a write");
  for (uint64_t i = 0; i < length; i++) bytes[i] = (uint8_t)((word >> i % 57) + i / 4096);
  if (dice_chance(&w->dice, 70)) memcpy(base + offset, bytes, length);
  else TRY(w, pagestore_memory_write(g->memory[number], offset, bytes, length));
  model_write(&g->work->memory[number], offset, bytes, length);
  free(bytes);
  g->changed = true;
}

static void fill_pages(workload *w, guest *g, int number) {
  model_memory *model = &g->work->memory[number];
  uint64_t page = dice_below(&w->dice, model->pages);
  int byte = dice_chance(&w->dice, 70) ? 0 : (int)dice_below(&w->dice, 256);
  TRY(w, pagestore_memory_fill(g->memory[number], page * PAGESTORE_PAGE, byte, PAGESTORE_PAGE));
  model_fill(model, page * PAGESTORE_PAGE, byte, PAGESTORE_PAGE);
  g->changed = true;
}

static void change_memory(workload *w, guest *g) {
  int number = (int)dice_below(&w->dice, MEMORY_BULK);
  if (!use(w, g, number)) return;
  model_memory *model = &g->work->memory[number];
  if (model->pages == 0) return;
  uint64_t bytes = model->pages * PAGESTORE_PAGE;
  if (dice_chance(&w->dice, 15)) {
    fill_pages(w, g, number);
    return;
  }
  for (uint64_t n = 1 + dice_below(&w->dice, 3); n-- > 0 && !w->broken;) {
    uint64_t offset = dice_below(&w->dice, bytes);
    uint64_t length = 1 + dice_below(&w->dice, dice_chance(&w->dice, 70) ? 200 : 40000);
    if (w->kind == WORKLOAD_FULL_MAP) length += 2 * PAGESTORE_PAGE;
    write_bytes(w, g, number, offset, length < bytes - offset ? length : bytes - offset);
  }
}

static void change_size(workload *w, guest *g) {
  int number = (int)dice_below(&w->dice, MEMORY_BULK);
  if (!use(w, g, number)) return;
  model_memory *model = &g->work->memory[number];
  if (model->pages >= memory_specs[number].pages_most) return;
  TRY(w, pagestore_memory_grow(g->memory[number], 1, NULL));
  model_resize(model, model->pages + 1);
  g->changed = true;
}

static void change_metadata(workload *w, guest *g) {
  int key = (int)dice_below(&w->dice, MODEL_KEYS);
  size_t length = dice_below(&w->dice, dice_chance(&w->dice, 20) ? 9000 : 60);
  uint8_t *bytes = malloc(length + 1);
  if (!bytes) give_up("no memory for metadata");
  for (size_t i = 0; i < length; i++) bytes[i] = (uint8_t)dice_roll(&w->dice);
  bool remove = dice_chance(&w->dice, 20);
  TRY(w, pagestore_metadata_set(g->handle, model_key[key], remove ? NULL : bytes, remove ? 0 : length));
  version_set(g->work, key, remove ? NULL : bytes, length);
  free(bytes);
  g->changed = true;
}

static void delete_memory(workload *w, guest *g, int number) {
  if (!g->work->memory[number].present || !use(w, g, number)) return;
  TRY(w, pagestore_memory_delete(g->memory[number]));
  g->memory[number] = NULL;
  model_resize(&g->work->memory[number], 0);
  g->work->memory[number].present = false;
  g->changed = true;
}

static void change(workload *w, guest *g) {
  uint64_t choice = dice_below(&w->dice, 100);
  if (choice < 70) change_memory(w, g);
  else if (choice < 84) change_size(w, g);
  else if (choice < 97) change_metadata(w, g);
  else delete_memory(w, g, (int)dice_below(&w->dice, MEMORY_BULK));
}

/* Something that makes a version whatever was there. */
static void change_surely(workload *w, guest *g) {
  change(w, g);
  if (!w->broken && !g->changed) change_metadata(w, g);
}

static void upgrade(workload *w, guest *g) {
  uint8_t hash[32];
  static const bool keeps[MODEL_MEMORIES] = {true, false, false, false, false};
  uint8_t module = (uint8_t)(1 + dice_below(&w->dice, 200));
  memset(hash, module, sizeof hash);
  TRY(w, pagestore_upgrade(g->handle, hash));
  version_upgrade(g->work, module, keeps);
  g->changed = g->upgraded = true;
  totals_saw(SAW_UPGRADE);
}

static void restore(workload *w, guest *g, uint32_t number) {
  const moment_snapshot *s = &present_of(w, g)->snapshot[number];
  let_go(w);
  TRY(w, pagestore_restore(g->handle, s->name));
  version_release(g->work);
  g->work = version_clone(s->of);
  g->work->number = g->committed->number;
  g->changed = true;
  g->upgraded = false;
  totals_saw(SAW_RESTORE);
}

/* ---- boundaries ------------------------------------------------------------------------------ */

/* The map is full: nothing was sealed. As a host would: roll back, close, open with a larger map. */
static void take_larger_map(workload *w) {
  totals_saw(SAW_FULL_MAP);
  seal_refused(w);
  for (int i = 0; i < INSTANCES; i++)
    if (w->guest[i].handle) guest_rolled_back(&w->guest[i]);
  workload_close(w);
  w->map_bytes *= 2;
  if (!w->broken) workload_open(w, false);
}

/* A call of the host that seals has returned. */
static bool sealed(workload *w, const char *call, int status, unsigned flags) {
  if (status == PAGESTORE_EFULL && w->kind == WORKLOAD_FULL_MAP) {
    take_larger_map(w);
    return false;
  }
  if (status) return workload_failed(w, call, status), false;
  if (!(flags & PAGESTORE_ASYNC)) seal_acknowledge(w);
  return true;
}

static void commit(workload *w, guest *g, unsigned flags) {
  if (!g->changed || w->broken) return;
  uint64_t number;
  if (!(flags & PAGESTORE_ASYNC)) let_go(w);
  seal_commit(w, seal_begin(w), g);
  seal_mark(w);
  int status = pagestore_commit(g->handle, flags, &number);
  if (!sealed(w, "commit", status, flags)) return;
  if (number != g->sealing->number) violation("without a crash: commit made version %llu", (unsigned long long)number);
  guest_committed(g);
  w->commits++;
}

static void commit_several(workload *w) {
  pagestore_instance *handles[INSTANCES];
  size_t count = 0;
  unsigned flags = some_flags(w);
  for (int i = 0; i < INSTANCES; i++) {
    guest *g = &w->guest[i];
    if (!g->handle) continue;
    change_surely(w, g);
    handles[count++] = g->handle;
  }
  if (count == 0 || w->broken) return;
  if (!(flags & PAGESTORE_ASYNC)) let_go(w);
  moment *m = seal_begin(w);
  for (int i = 0; i < INSTANCES; i++)
    if (w->guest[i].handle) seal_commit(w, m, &w->guest[i]);
  seal_mark(w);
  if (!sealed(w, "commit_all", pagestore_commit_all(handles, count, flags), flags)) return;
  for (int i = 0; i < INSTANCES; i++)
    if (w->guest[i].handle) guest_committed(&w->guest[i]);
  w->commits += count;
  if (count > 1) totals_saw(SAW_COMMIT_ALL);
}

static void op_commit(workload *w) {
  guest *g = some_guest(w);
  if (!g) return;
  for (uint64_t n = 1 + dice_below(&w->dice, 3); n-- > 0 && !w->broken;) change_surely(w, g);
  commit(w, g, some_flags(w));
}

/* Several commits that become one transaction: they gather while the flusher waits at its sync. */
static void op_burst(workload *w) {
  if (w->kind == WORKLOAD_FULL_MAP) return;
  record_hold();
  w->holding = true;
  for (uint64_t n = 2 + dice_below(&w->dice, 5); n-- > 0 && !w->broken;) {
    if (dice_chance(&w->dice, 20)) commit_several(w);
    else op_commit(w);
  }
  let_go(w);
}

static void op_commit_all(workload *w) { commit_several(w); }

static void op_rollback(workload *w) {
  guest *g = some_guest(w);
  if (!g) return;
  change_surely(w, g);
  if (w->broken) return;
  TRY(w, pagestore_rollback(g->handle));
  guest_rolled_back(g);
}

static void op_upgrade(workload *w) {
  guest *g = some_guest(w);
  if (!g) return;
  upgrade(w, g);
  if (dice_chance(&w->dice, 60)) change_surely(w, g);
  commit(w, g, some_flags(w));
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void snapshot(workload *w, guest *g, unsigned flags) {
  char name[NAME_BYTES];
  snprintf(name, sizeof name, "s%llu", (unsigned long long)++w->serial);
  moment *m = seal_begin(w);
  moment_add_snapshot(moment_of(w, m, g), name, g->committed);
  seal_mark(w);
  if (sealed(w, "snapshot_create", pagestore_snapshot_create(g->handle, name, flags), flags)) totals_saw(SAW_SNAPSHOT);
}

static void op_snapshot(workload *w) {
  guest *g = some_guest(w);
  if (!g || g->committed->number == 0 || present_of(w, g)->snapshots == SNAPSHOTS) return;
  snapshot(w, g, some_flags(w));
  if (w->broken || !w->store || !g->handle || !dice_chance(&w->dice, 60)) return;
  change_surely(w, g);
  commit(w, g, some_flags(w));
}

static void drop_snapshot(workload *w, guest *g, uint32_t number, unsigned flags) {
  char name[NAME_BYTES];
  strcpy(name, present_of(w, g)->snapshot[number].name);
  moment *m = seal_begin(w);
  moment_drop_snapshot(moment_of(w, m, g), number);
  seal_mark(w);
  totals_saw(SAW_DROP);
  sealed(w, "snapshot_drop", pagestore_snapshot_drop(w->store, present_of(w, g)->name, name, flags), flags);
}

static void op_drop(workload *w) {
  guest *g = some_guest(w);
  if (!g || !present_of(w, g)->snapshots) return;
  drop_snapshot(w, g, (uint32_t)dice_below(&w->dice, present_of(w, g)->snapshots), some_flags(w));
}

static void op_restore(workload *w) {
  guest *g = some_guest(w);
  if (!g || !present_of(w, g)->snapshots) return;
  restore(w, g, (uint32_t)dice_below(&w->dice, present_of(w, g)->snapshots));
  if (!w->broken && dice_chance(&w->dice, 50)) change_surely(w, g);
  commit(w, g, some_flags(w));
}

/* ---- life ------------------------------------------------------------------------------------ */

static void op_create(workload *w) {
  guest *g = free_guest(w);
  if (!g || guest_open(w, g, true) != 0) return;
  change_surely(w, g);
  commit(w, g, some_flags(w));
}

static void op_fork(workload *w) {
  guest *from = some_guest(w), *to = free_guest(w);
  pagestore_instance *handle;
  if (!from || !to) return;
  to->serial = ++w->serial;
  const pagestore_instance_options *options = PAGESTORE_WITH(pagestore_instance_options,
                                                             .user = (void *)(uintptr_t)to->serial);
  TRY(w, pagestore_fork(from->handle, present_of(w, to)->name, options, &handle));
  version *first = version_clone(from->committed);
  first->number = 0;
  guest_begin(w, to, handle, first);
  totals_saw(SAW_FORK);
  version_release(first);
  change_surely(w, to);
  commit(w, to, some_flags(w));
}

static void close_view_of(workload *w, const guest *g) {
  if (w->view && w->view_of == g - w->guest) view_end(w);
}

static void delete_guest(workload *w, guest *g) {
  bool stored = g->committed->number > 0;
  let_go(w);
  close_view_of(w, g);
  guest_end(g);
  if (!stored) return;
  unsigned flags = some_flags(w);
  const char *name = present_of(w, g)->name;
  char copy[NAME_BYTES];
  strcpy(copy, name);
  moment_remove_instance(moment_of(w, seal_begin(w), g));
  seal_mark(w);
  totals_saw(SAW_DELETE);
  sealed(w, "instance_delete", pagestore_instance_delete(w->store, copy, flags), flags);
}

static void op_delete(workload *w) {
  guest *g = some_guest(w);
  if (g) delete_guest(w, g);
}

/* A view pins its version: what it needs is kept, until it closes or the process dies. */
static void op_view(workload *w) {
  guest *g = some_guest(w);
  if (w->view) {
    let_go(w);
    view_end(w);
    return;
  }
  if (!g || g->committed->number == 0) return;
  TRY(w, pagestore_instance_open(w->store, present_of(w, g)->name,
                                 PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &w->view));
  w->view_of = (int)(g - w->guest);
  w->view_at = version_share(g->committed);
}

static void op_sync(workload *w) {
  guest *g = some_guest(w);
  if (!g || w->chronicle->count < 2) return;
  if (dice_chance(&w->dice, 50) && g->committed->number) {
    TRY(w, pagestore_wait(g->handle, g->committed->number, PAGESTORE_FOREVER));
    return;
  }
  TRY(w, pagestore_sync(w->store, PAGESTORE_FOREVER));
  seal_acknowledge_all(w);
}

static void op_reopen(workload *w) {
  totals_saw(SAW_REOPEN);
  workload_close(w);
  if (!w->broken) workload_open(w, false);
}

enum { DEEP_RESTORES = 34 };

void workload_go_deep(workload *w) {
  while (!w->broken && !some_guest(w)) op_create(w);
  guest *g = some_guest(w);
  for (int n = 0; n < DEEP_RESTORES && !w->broken; n++) {
    change_surely(w, g);
    commit(w, g, PAGESTORE_ASYNC);
    if (present_of(w, g)->snapshots == SNAPSHOTS) drop_snapshot(w, g, 0, PAGESTORE_ASYNC);
    if (!w->broken) snapshot(w, g, PAGESTORE_ASYNC);
    if (!w->broken) restore(w, g, present_of(w, g)->snapshots - 1);
    if (!w->broken) commit(w, g, n % 8 ? PAGESTORE_ASYNC : 0);
  }
}

enum { TRASH_ROWS = 136 }; /* one step deletes 128 */

static void write_each_page(workload *w, guest *g) {
  for (uint64_t page = 0; page < TRASH_ROWS && !w->broken; page++)
    write_bytes(w, g, MEMORY_BULK, page * PAGESTORE_PAGE + dice_below(&w->dice, PAGESTORE_PAGE - 8), 8);
  commit(w, g, some_flags(w));
}

/* Makes rows, for trash to delete: what is merely logged leaves none behind. */
static void merge_all(workload *w) {
  TRY(w, pagestore_drain(w->store, PAGESTORE_FOREVER));
  seal_acknowledge_all(w);
}

/* The rows that only a snapshot needed, among others that stay. */
static void drop_with_rows(workload *w, guest *g) {
  if (present_of(w, g)->snapshots == SNAPSHOTS) drop_snapshot(w, g, 0, some_flags(w));
  if (!w->broken) snapshot(w, g, some_flags(w));
  if (!w->broken) write_each_page(w, g);
  if (!w->broken) merge_all(w);
  if (!w->broken) drop_snapshot(w, g, present_of(w, g)->snapshots - 1, some_flags(w));
  if (!w->broken) op_commit_all(w);
}

void workload_make_trash(workload *w) {
  while (!w->broken && !some_guest(w)) op_create(w);
  guest *g = some_guest(w);
  if (w->broken || !use(w, g, MEMORY_BULK)) return;
  model_memory *model = &g->work->memory[MEMORY_BULK];
  TRY(w, pagestore_memory_grow(g->memory[MEMORY_BULK], TRASH_ROWS - model->pages, NULL));
  model_resize(model, TRASH_ROWS);
  write_each_page(w, g);
  if (!w->broken) merge_all(w);
  uint64_t choice = dice_below(&w->dice, 4);
  if (choice == 0 && !w->broken) drop_with_rows(w, g);
  if (w->broken) return;
  if (choice == 1) {
    delete_guest(w, g);
    return;
  }
  if (choice == 2) upgrade(w, g);
  else delete_memory(w, g, MEMORY_BULK);
  commit(w, g, some_flags(w));
}

typedef struct {
  unsigned weight;
  void (*run)(workload *);
} operation;

static void run_one_of(workload *w, const operation *list, size_t count) {
  unsigned total = 0;
  for (size_t i = 0; i < count; i++) total += list[i].weight;
  uint64_t chosen = dice_below(&w->dice, total);
  while (chosen >= list->weight) chosen -= list++->weight;
  list->run(w);
}

enum { LOG_PAGES = 136, LOG_COMMITS = 24, LOG_BLOCKS = 16, LOG_OPS_PERCENT = 25 };

/* A block here, a block there: each commit a record, a page of zeros now and then among the logged ones. */
static void log_blocks(workload *w, guest *g) {
  if (!use(w, g, MEMORY_BULK)) return;
  for (int n = 0; n < LOG_BLOCKS && !w->broken; n++)
    write_bytes(w, g, MEMORY_BULK, dice_below(&w->dice, LOG_PAGES) * PAGESTORE_PAGE + dice_below(&w->dice, PAGESTORE_PAGE - 8), 8);
  if (!w->broken && dice_chance(&w->dice, 25)) fill_pages(w, g, MEMORY_BULK);
  commit(w, g, some_flags(w));
}

void workload_fill_log(workload *w) {
  static const operation among[] = {{20, op_view}, {20, op_snapshot}, {10, op_drop}, {15, op_fork}, {15, op_restore},
                                    {10, op_sync}, {5, op_reopen},    {5, op_delete}, {10, op_burst}};
  for (int n = 0; n < LOG_COMMITS && !w->broken; n++) {
    while (!w->broken && !some_guest(w)) op_create(w);
    guest *g = some_guest(w);
    if (w->broken || !use(w, g, MEMORY_BULK)) return;
    model_memory *model = &g->work->memory[MEMORY_BULK];
    if (model->pages < LOG_PAGES) {
      TRY(w, pagestore_memory_grow(g->memory[MEMORY_BULK], LOG_PAGES - model->pages, NULL));
      model_resize(model, LOG_PAGES);
      g->changed = true;
    }
    log_blocks(w, g);
    if (!w->broken && dice_chance(&w->dice, LOG_OPS_PERCENT)) run_one_of(w, among, sizeof among / sizeof *among);
  }
}

/* ---- after a crash --------------------------------------------------------------------------- */

static void op_nothing(workload *w) { (void)w; }

/* What takes ids, layers and rows of its own, as well as plain commits. */
static const operation after_crash[] = {
    {40, op_nothing}, {15, op_commit_all}, {8, op_create}, {10, op_fork},  {10, op_restore},
    {5, op_upgrade},  {7, op_snapshot},    {7, op_drop},   {3, op_delete},
};

void workload_commit_twice(workload *w) {
  for (int n = 0; n < 2 && !w->broken; n++) {
    run_one_of(w, after_crash, sizeof after_crash / sizeof *after_crash);
    if (w->broken) return;
    guest *g = some_guest(w);
    if (!g) op_create(w);
    else change_surely(w, g), commit(w, g, 0);
  }
}

/* ---- any of them ----------------------------------------------------------------------------- */

static const operation operations[] = {
    {24, op_commit},   {12, op_burst}, {8, op_commit_all}, {4, op_rollback}, {8, op_upgrade},
    {20, op_snapshot}, {8, op_drop},   {16, op_restore},   {12, op_create},  {12, op_fork},
    {8, op_delete},    {5, op_view},   {5, op_sync},       {5, op_reopen},
};

void workload_step(workload *w) { run_one_of(w, operations, sizeof operations / sizeof *operations); }
