/* world_ops.c - one random operation on both at a time; see world.h. */
#include "world_ops.h"

/* ---- choosing ------------------------------------------------------------------------------------- */

static world_instance *some_instance(world *w, bool open) {
  uint64_t from = dice_below(&w->dice, WORLD_INSTANCES);
  for (uint64_t n = 0; n < WORLD_INSTANCES; n++) {
    world_instance *i = &w->instance[(from + n) % WORLD_INSTANCES];
    if (i->exists && (i->h.handle != NULL) == open) return i;
  }
  return NULL;
}

static world_instance *free_instance(world *w) {
  uint64_t from = dice_below(&w->dice, WORLD_INSTANCES);
  for (uint64_t n = 0; n < WORLD_INSTANCES; n++)
    if (!w->instance[(from + n) % WORLD_INSTANCES].exists) return &w->instance[(from + n) % WORLD_INSTANCES];
  return NULL;
}

static world_view *some_view(world *w, bool open) {
  uint64_t from = dice_below(&w->dice, WORLD_VIEWS);
  for (uint64_t n = 0; n < WORLD_VIEWS; n++) {
    world_view *v = &w->view[(from + n) % WORLD_VIEWS];
    if ((v->h.handle != NULL) == open) return v;
  }
  return NULL;
}

/* A handle that takes writes: mostly an instance. */
holder *world_some_writer(world *w) {
  world_view *v = some_view(w, true);
  if (v && v->h.kind == PAGESTORE_PRIVATE && dice_chance(&w->dice, 20)) return &v->h;
  world_instance *i = some_instance(w, true);
  return i ? &i->h : NULL;
}

static void end_views_of(world *w, const world_instance *i, const char *snapshot) {
  for (int v = 0; v < WORLD_VIEWS; v++) {
    if (!w->view[v].h.handle || w->view[v].of != i) continue;
    if (!snapshot || strcmp(w->view[v].snapshot, snapshot) == 0) holder_end(&w->view[v].h);
  }
}

/* ---- boundaries ------------------------------------------------------------------------------------------- */

static unsigned commit_flags(world *w) {
  uint64_t choice = dice_below(&w->dice, 10);
  return choice < 2 ? 0 : choice < 8 ? PAGESTORE_ASYNC : PAGESTORE_ASYNC | PAGESTORE_NOWAIT;
}

static void commit(world *w, world_instance *i, unsigned flags) {
  holder *h = &i->h;
  uint64_t must = h->committed->number + h->changed, is = UINT64_MAX;
  int status;
  WORLD_STATUS(w, status, pagestore_commit(h->handle, flags, &is));
  if (status == PAGESTORE_EAGAIN && flags & PAGESTORE_NOWAIT) {
    w->did[DID_QUEUE_FULL]++;
    holder_spot_check(w, h);
    WORLD_STATUS(w, status, pagestore_commit(h->handle, flags & ~(unsigned)PAGESTORE_NOWAIT, &is));
  }
  WORLD_CHECK_SEALED(w, status, "commit");
  WORLD_CHECK(w, status || is == must, "committed version %llu, not %llu", (unsigned long long)is, (unsigned long long)must);
  bool sealed = h->changed;  /* else it waits for nothing that other instances have sealed */
  holder_committed(i, must);
  if (sealed || status) world_sealed(w, status, !(flags & PAGESTORE_ASYNC));
  holder_spot_check(w, h);
}

static void op_commit(world *w) {
  world_instance *i = some_instance(w, true);
  if (i) commit(w, i, commit_flags(w));
}

static void op_commit_all(world *w) {
  world_instance *of[WORLD_INSTANCES];
  pagestore_instance *handles[WORLD_INSTANCES];
  size_t count = 0;
  for (int i = 0; i < WORLD_INSTANCES; i++)
    if (w->instance[i].h.handle && dice_chance(&w->dice, 60)) of[count] = &w->instance[i], handles[count++] = w->instance[i].h.handle;
  int status;
  unsigned flags = dice_chance(&w->dice, 20) ? 0 : PAGESTORE_ASYNC;
  WORLD_STATUS(w, status, pagestore_commit_all(handles, count, flags));
  WORLD_CHECK_SEALED(w, status, "commit_all");
  bool sealed = false;
  for (size_t i = 0; i < count; i++) {
    sealed |= of[i]->h.changed;
    holder_committed(of[i], of[i]->h.committed->number + of[i]->h.changed);
  }
  if (sealed || status) world_sealed(w, status, !flags);
  for (size_t i = 0; i < count; i++) holder_spot_check(w, &of[i]->h);
  if (count > 1) w->did[DID_COMMIT_ALL]++;
}

static void rollback(world *w, holder *h) {
  WORLD_OK(w, pagestore_rollback(h->handle));
  if (h->kind == PAGESTORE_PRIVATE && h->changed) w->did[DID_PRIVATE_ROLLED_BACK]++;
  holder_rolled_back(h);
  holder_spot_check(w, h);
}

static void op_rollback(world *w) {
  holder *h = world_some_writer(w);
  if (h) rollback(w, h);
}

static void op_upgrade(world *w) {
  world_instance *i = some_instance(w, true);
  if (!i) return;
  uint8_t hash[32];
  uint8_t module = (uint8_t)(1 + dice_below(&w->dice, 200));
  memset(hash, module, sizeof hash);
  if (dice_chance(&w->dice, 50)) world_use(w, &i->h, 1);
  WORLD_OK(w, pagestore_upgrade(i->h.handle, hash));
  version_upgrade(i->h.work, module, world_keeps);
  i->h.changed = i->h.upgraded = true;
  for (int m = 0; m < MODEL_MEMORIES; m++)
    if (i->h.work->memory[m].present && dice_chance(&w->dice, 80)) world_use(w, &i->h, m);
  if (dice_chance(&w->dice, 60)) world_write(w);
  holder_spot_check(w, &i->h);
  if (dice_chance(&w->dice, 40)) {
    rollback(w, &i->h);
    w->did[DID_CLEAR_ROLLED_BACK]++;
  } else if (dice_chance(&w->dice, 70)) {
    commit(w, i, commit_flags(w));
    w->did[DID_CLEAR_COMMITTED]++;
  }
}

/* ---- snapshots ---------------------------------------------------------------------------------------------- */

static world_snapshot *some_snapshot(world *w, world_instance *i) {
  return i && i->snapshots ? &i->snapshot[dice_below(&w->dice, i->snapshots)] : NULL;
}

static void create(world *w, world_instance *i, pagestore_instance *handle, version *of, const char *name) {
  bool unflushed = instance_unflushed(i);
  int status;
  unsigned flags = dice_chance(&w->dice, 70) ? PAGESTORE_ASYNC : 0;
  WORLD_STATUS(w, status, pagestore_snapshot_create(handle, name, flags));
  if (of->number == 0) {
    WORLD_CHECK(w, status == PAGESTORE_ENOTFOUND, "a snapshot of nothing: %d", status);
    return;
  }
  WORLD_CHECK_SEALED(w, status, "snapshot");
  world_snapshot *s = &i->snapshot[i->snapshots++];
  *s = (world_snapshot){ .of = version_share(of) };
  snprintf(s->name, sizeof s->name, "%s", name);
  w->did[DID_SNAPSHOT_UNFLUSHED] += unflushed;
  world_sealed(w, status, !flags);
}

static void op_snapshot(world *w) {
  char name[64];
  snprintf(name, sizeof name, "s%llu", (unsigned long long)++w->serial);
  world_view *v = some_view(w, true);
  if (v && dice_chance(&w->dice, 25)) {
    if (!v->durable && v->of->snapshots < WORLD_SNAPSHOTS) create(w, v->of, v->h.handle, v->h.committed, name);
    return;
  }
  world_instance *i = some_instance(w, true);
  if (!i || i->snapshots == WORLD_SNAPSHOTS) return;
  if (dice_chance(&w->dice, 60)) commit(w, i, PAGESTORE_ASYNC);
  create(w, i, i->h.handle, i->h.committed, name);
  if (!dice_chance(&w->dice, 60)) return;
  world_write(w);
  commit(w, i, PAGESTORE_ASYNC);
}

static void drop(world *w, world_instance *i, world_snapshot *s) {
  for (uint32_t f = 0; f < s->fork_count; f++)
    for (int at = 0; at < WORLD_INSTANCES; at++)
      if (w->instance[at].exists && w->instance[at].serial == s->forks[f]) w->did[DID_DROP_UNDER_FORK]++;
  int status;
  unsigned flags = dice_chance(&w->dice, 50) ? PAGESTORE_ASYNC : 0;
  WORLD_STATUS(w, status, pagestore_snapshot_drop(w->store, i->name, s->name, flags));
  WORLD_CHECK_SEALED(w, status, "drop");
  version_release(s->of);
  *s = i->snapshot[--i->snapshots];
  world_sealed(w, status, !flags);
}

static void op_drop(world *w) {
  world_instance *i = some_instance(w, dice_chance(&w->dice, 80));
  world_snapshot *s = some_snapshot(w, i);
  if (s) drop(w, i, s);
}

static void restore(world *w, world_instance *i, const world_snapshot *s) {
  holder *h = &i->h;
  WORLD_OK(w, pagestore_restore(h->handle, s->name));
  holder_rolled_back(h);
  uint64_t number = h->work->number;
  model_memory scratch = {0};
  model_copy(&scratch, &h->work->memory[MEMORY_VOLATILE]);
  version_release(h->work);
  h->work = version_clone(s->of);
  h->work->number = number;
  h->work->memory[MEMORY_VOLATILE] = scratch;
  h->changed = true;
  for (int n = 0; n < 3; n++) holder_spot_check(w, h);
}

static void fork_from(world *, world_instance *, world_view *);

static void op_restore(world *w) {
  world_instance *i = some_instance(w, true);
  world_snapshot *s = some_snapshot(w, i);
  if (!s) return;
  restore(w, i, s);
  if (dice_chance(&w->dice, 30)) {
    if (dice_chance(&w->dice, 50)) commit(w, i, PAGESTORE_ASYNC);
    restore(w, i, some_snapshot(w, i));
    w->did[DID_RESTORE_TWICE]++;
  }
  if (dice_chance(&w->dice, 50)) world_write(w);
  if (dice_chance(&w->dice, 30)) {
    rollback(w, &i->h);
    w->did[DID_RESTORE_ROLLED_BACK]++;
  } else if (dice_chance(&w->dice, 70)) {
    commit(w, i, commit_flags(w));
    if (dice_chance(&w->dice, 40)) fork_from(w, i, NULL);  /* of a restore that is not flushed */
  }
}

/* ---- views and forks ------------------------------------------------------------------------------------------- */

/* What a view that asked for the durable version got: any of the last ones. */
static version *version_of(world *w, const world_instance *i, uint64_t number) {
  version *v = i->history[number % WORLD_HISTORY];
  if (i->h.committed->number == number) return i->h.committed;
  WORLD_CHECK(w, v && v->number == number, "'%s' never was at version %llu", i->name, (unsigned long long)number);
  return v;
}

static void op_view(world *w) {
  world_view *v = some_view(w, false);
  world_instance *i = some_instance(w, dice_chance(&w->dice, 85));
  if (!v || !i) return;
  world_snapshot *s = dice_chance(&w->dice, 30) ? some_snapshot(w, i) : NULL;
  uint32_t kind = dice_chance(&w->dice, 50) ? PAGESTORE_PRIVATE : PAGESTORE_READ;
  bool asked = !s && dice_chance(&w->dice, 25), durable = asked;  /* which version that is, is chance: such views are only read */
  if (durable) kind = PAGESTORE_READ;
  bool unflushed = instance_unflushed(i);
  pagestore_instance *handle;
  const pagestore_instance_options *options = PAGESTORE_WITH(
    pagestore_instance_options, .flags = kind, .snapshot = s ? s->name : NULL, .version = durable ? PAGESTORE_DURABLE : 0);
  int status;
  WORLD_STATUS(w, status, pagestore_instance_open(w->store, i->name, options, &handle));
  if (durable && status == PAGESTORE_ENOTFOUND && (unflushed || !i->h.handle || i->h.committed->number == 0)) {
    durable = false;
    options = PAGESTORE_WITH(pagestore_instance_options, .flags = kind);
    WORLD_STATUS(w, status, pagestore_instance_open(w->store, i->name, options, &handle));
  }
  if (status == PAGESTORE_EFAILED && w->hooks.lost) w->hooks.lost(w);
  WORLD_CHECK(w, status == 0, "view of '%s': %s", i->name, pagestore_detail());
  version *of = s ? s->of : durable ? version_of(w, i, pagestore_committed_version(handle)) : i->h.committed;
  holder_begin(&v->h, handle, kind, of);
  v->of = i;
  v->durable = asked;
  snprintf(v->snapshot, sizeof v->snapshot, "%s", s ? s->name : "");
  w->did[DID_VIEW_UNFLUSHED] += unflushed && !s;
  w->did[DID_DURABLE_BEHIND] += durable && of->number < i->h.committed->number;
  holder_check(w, &v->h);
}

static void op_advance(world *w) {
  world_view *v = some_view(w, true);
  if (!v) return;
  if (v->of->h.handle && dice_chance(&w->dice, 60)) {
    world_write(w);
    commit(w, v->of, PAGESTORE_ASYNC);
  }
  bool unflushed = instance_unflushed(v->of);
  WORLD_OK(w, pagestore_instance_advance(v->h.handle, PAGESTORE_LATEST));
  version_release(v->h.committed);
  v->h.committed = version_share(v->of->h.committed);
  holder_rolled_back(&v->h);
  v->snapshot[0] = 0;
  v->durable = false;
  w->did[DID_ADVANCE_UNFLUSHED] += unflushed;
  holder_spot_check(w, &v->h);
  if (dice_chance(&w->dice, 40)) holder_check(w, &v->h);
}

static void op_end_view(world *w) {
  world_view *v = some_view(w, true);
  if (!v) return;
  if (dice_chance(&w->dice, 50)) holder_check(w, &v->h);
  holder_end(&v->h);
}

static void begin_instance(world *w, world_instance *i, pagestore_instance *handle, version *of) {
  version *first = version_clone(of);
  first->number = 0;
  i->exists = true;
  i->serial = ++w->serial;
  holder_begin(&i->h, handle, 0, first);
  version_release(first);
}

static void fork_from(world *w, world_instance *from, world_view *v) {
  world_instance *to = free_instance(w);
  if (!to) return;
  w->did[DID_FORK_UNFLUSHED] += instance_unflushed(from);
  w->did[DID_FORK_OF_FORK] += from->fork_depth > 0;
  w->did[DID_FORK_OF_VIEW] += v != NULL;
  pagestore_instance *handle;
  WORLD_OK(w, pagestore_fork(v ? v->h.handle : from->h.handle, to->name, NULL, &handle));
  begin_instance(w, to, handle, v ? v->h.committed : from->h.committed);
  to->parent = from->serial;
  to->fork_depth = from->fork_depth + 1;
  for (uint32_t s = 0; v && s < from->snapshots; s++)
    if (strcmp(from->snapshot[s].name, v->snapshot) == 0 && from->snapshot[s].fork_count < WORLD_INSTANCES)
      from->snapshot[s].forks[from->snapshot[s].fork_count++] = to->serial;
  holder_check(w, &to->h);
  if (dice_chance(&w->dice, 70)) world_write(w);
  if (dice_chance(&w->dice, 70)) commit(w, to, commit_flags(w));
}

static void op_fork(world *w) {
  world_instance *from = some_instance(w, true);
  world_view *v = some_view(w, true);
  if (v && (v->durable || !dice_chance(&w->dice, 50))) v = NULL;
  if (v) from = v->of;
  if (from) fork_from(w, from, v);
}

/* A snapshot goes away under a fork that began as it. */
static void op_fork_of_snapshot(world *w) {
  world_instance *to = free_instance(w), *from = some_instance(w, true);
  world_snapshot *s = some_snapshot(w, from);
  pagestore_instance *view, *handle;
  if (!to || !s) return;
  WORLD_OK(w, pagestore_instance_open(w->store, from->name,
    PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .snapshot = s->name), &view));
  WORLD_OK(w, pagestore_fork(view, to->name, NULL, &handle));
  pagestore_instance_close(view);
  begin_instance(w, to, handle, s->of);
  to->parent = from->serial;
  to->fork_depth = from->fork_depth + 1;
  w->did[DID_FORK_OF_VIEW]++;
  s->forks[0] = to->serial;
  s->fork_count = 1;
  bool first = dice_chance(&w->dice, 50);
  if (first) world_write(w), commit(w, to, commit_flags(w));
  drop(w, from, s);
  if (!first) world_write(w), commit(w, to, commit_flags(w));
  holder_check(w, &to->h);
}

/* More commits than the queue takes, then a look at what is durable. */
static void op_flood(world *w) {
  world_instance *i = some_instance(w, true);
  if (!i) return;
  for (int n = 0; n < 12; n++) {
    pagestore_memory *m = world_use(w, &i->h, 0);
    model_memory *model = &i->h.work->memory[0];
    if (model->pages == 0) return;
    world_write_dense(w, &i->h, 0, m);
    i->h.changed = true;
    commit(w, i, PAGESTORE_ASYNC | PAGESTORE_NOWAIT);
  }
  world_view v = { .of = i };
  pagestore_instance *handle;
  const pagestore_instance_options *options =
    PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .version = PAGESTORE_DURABLE);
  if (pagestore_instance_open(w->store, i->name, options, &handle) != 0) return;
  holder_begin(&v.h, handle, PAGESTORE_READ, version_of(w, i, pagestore_committed_version(handle)));
  w->did[DID_DURABLE_BEHIND] += v.h.committed->number < i->h.committed->number;
  holder_check(w, &v.h);
  holder_end(&v.h);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void op_create(world *w) {
  world_instance *i = free_instance(w);
  if (!i) return;
  pagestore_instance *handle;
  const pagestore_instance_options *options =
    PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE);
  WORLD_OK(w, pagestore_instance_open(w->store, i->name, options, &handle));
  version *nothing = version_new();
  begin_instance(w, i, handle, nothing);
  version_release(nothing);
}

static void op_open(world *w) {
  world_instance *i = some_instance(w, false);
  if (!i) return;
  pagestore_instance *handle;
  WORLD_OK(w, pagestore_instance_open(w->store, i->name, NULL, &handle));
  version *of = i->h.committed;
  holder_begin(&i->h, handle, 0, of);
  version_release(of);
  holder_spot_check(w, &i->h);
  if (dice_chance(&w->dice, 30)) holder_check(w, &i->h);
}

static void op_close(world *w) {
  world_instance *i = some_instance(w, true);
  if (!i) return;
  if (i->h.committed->number == 0) end_views_of(w, i, NULL);
  holder_end(&i->h);
  if (i->h.committed->number == 0) instance_forget(i);
}

static void delete_instance(world *w, world_instance *i, unsigned flags) {
  end_views_of(w, i, NULL);
  if (i->h.handle) holder_end(&i->h);
  for (int at = 0; at < WORLD_INSTANCES; at++)
    if (w->instance[at].exists && w->instance[at].parent == i->serial) w->did[DID_DELETE_PARENT]++;
  int status = 0;
  bool stored = i->h.committed->number > 0;
  if (stored) WORLD_STATUS(w, status, pagestore_instance_delete(w->store, i->name, flags));
  WORLD_CHECK_SEALED(w, status, "delete");
  instance_forget(i);
  if (stored) world_sealed(w, status, !flags);
}

static void op_delete(world *w) {
  world_instance *i = some_instance(w, dice_chance(&w->dice, 50));
  if (i) delete_instance(w, i, dice_chance(&w->dice, 50) ? PAGESTORE_ASYNC : 0);
}

static void op_trim(world *w) {
  world_instance *i = some_instance(w, true);
  if (!i) return;
  WORLD_OK(w, pagestore_instance_trim(i->h.handle, dice_below(&w->dice, 4) * PAGE));
  holder_spot_check(w, &i->h);
}

static void op_sync(world *w) { WORLD_OK(w, pagestore_sync(w->store, PAGESTORE_FOREVER)); }

static void op_reopen(world *w) {
  world_instance *i = some_instance(w, true);
  bool trash = i && i->h.committed->number > 0 && dice_chance(&w->dice, 40);
  if (trash) delete_instance(w, i, PAGESTORE_ASYNC);
  world_reopen(w, trash);
}

static void op_check(world *w) {
  world_instance *i = some_instance(w, true);
  if (i) holder_check(w, &i->h);
}

typedef struct { unsigned weight; void (*run)(world *); } operation;
static const operation operations[WORLD_OPERATIONS] = {
  [WORLD_WRITE] = { 260, world_write }, [WORLD_GROW] = { 40, world_grow }, [WORLD_METADATA] = { 40, world_metadata },
  [WORLD_MEMORY_DELETE] = { 8, world_memory_delete }, [WORLD_COMMIT] = { 120, op_commit }, [WORLD_COMMIT_ALL] = { 20, op_commit_all },
  [WORLD_ROLLBACK] = { 40, op_rollback }, [WORLD_UPGRADE] = { 16, op_upgrade }, [WORLD_SNAPSHOT] = { 40, op_snapshot },
  [WORLD_DROP] = { 20, op_drop }, [WORLD_RESTORE] = { 24, op_restore }, [WORLD_VIEW] = { 40, op_view },
  [WORLD_ADVANCE] = { 60, op_advance }, [WORLD_END_VIEW] = { 30, op_end_view }, [WORLD_FORK] = { 24, op_fork },
  [WORLD_FORK_OF_SNAPSHOT] = { 16, op_fork_of_snapshot }, [WORLD_FLOOD] = { 4, op_flood }, [WORLD_CREATE] = { 12, op_create },
  [WORLD_OPEN] = { 24, op_open }, [WORLD_CLOSE] = { 12, op_close }, [WORLD_DELETE] = { 24, op_delete }, [WORLD_TRIM] = { 12, op_trim },
  [WORLD_SYNC] = { 4, op_sync }, [WORLD_REOPEN] = { 4, op_reopen }, [WORLD_LOOK] = { 8, op_check }, [WORLD_DIFF] = { 12, world_diff },
};

void world_do(world *w, world_operation o) {
  w->step++;
  operations[o].run(w);
}

void world_step(world *w) {
  unsigned total = 0;
  for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) total += operations[i].weight;
  uint64_t chosen = dice_below(&w->dice, total);
  world_operation o = WORLD_WRITE;
  while (chosen >= operations[o].weight) chosen -= operations[o++].weight;
  world_do(w, o);
}

void world_deep(world *w) {
  world_instance *i = some_instance(w, true);
  if (!i) {
    op_create(w);
    op_open(w);
    i = some_instance(w, true);
  }
  while (i->snapshots) drop(w, i, &i->snapshot[0]);
  world_use(w, &i->h, 0);
  for (int n = 0; n < 40; n++) {
    char name[64];
    snprintf(name, sizeof name, "deep %d", n);
    world_write(w);
    WORLD_OK(w, pagestore_metadata_set(i->h.handle, "a", &n, sizeof n));
    version_set(i->h.work, 0, &n, sizeof n);
    i->h.changed = true;
    commit(w, i, PAGESTORE_ASYNC);
    create(w, i, i->h.handle, i->h.committed, name);
    restore(w, i, &i->snapshot[i->snapshots - 1]);
    commit(w, i, n % 8 == 0 ? 0 : PAGESTORE_ASYNC);
    if (i->snapshots == WORLD_SNAPSHOTS) drop(w, i, &i->snapshot[dice_below(&w->dice, WORLD_SNAPSHOTS - 1)]);
    if (n % 5 == 0) op_view(w);
    if (n % 5 == 1) op_advance(w);
    if (n % 7 == 0) op_fork(w);
  }
  holder_check(w, &i->h);
  w->did[DID_DEEP]++;
}
