/* test_writer_model.c - the writer, the keep rule and trash together, against plain arrays, from a printed seed.
 *
 * A world of instances commits, clears memories, takes and drops snapshots, restores, forks, opens and closes views and deletes; its
 * sealed works go to the store in groups, some of which are aborted and done again, with trash steps in between. Always:
 * - what an instance, a view or a snapshot shows is what the model holds, byte for byte, metadata too;
 * - stored_pages is the number of pages that are not all zeros.
 * In the end, once all trash is worked off, no row is left that the keep rule, computed here from records alone, does not need;
 * and when everything is deleted, no row, no layer and no trash.
 */
#include "writer_world.h"

/* ---- flushing: what the layers above do, in short ----------------------------------------------------------------------- */

typedef struct {
  world *w;
  writer out;
  work *first, *last;           /* the open segment */
  unflushed *changes;
  state *counts[INSTANCES_MAX]; /* of this group */
  unsigned deaths;              /* how many of the world's are this group's */
} group;

static void put_trash(group *g, uint64_t layer, uint32_t memory, uint64_t died_at) {
  trash_record r = {.layer = layer, .memory = memory, .died_at = died_at};
  assert_int_equal(trash_put(g->out.txn, g->w->next_trash++, &r), 0);
}

static void count_anew(group *g, const work *k, memory_entry *m) {
  pagemap map = {.reader = {.txn = g->out.txn}, .line = k->line, .store = store_id};
  m->stored_pages = 0;
  for (uint64_t p = 0; p < PAGES; p++) {
    row_place place;
    bytes row;
    assert_int_equal(pagemap_row(&map, m->id, p, &place, &row), 0);
    m->stored_pages += row.size == PAGE_RECORD_BYTES;
  }
}

static state *counted(group *g, const work *k, const state *of) {
  const state *before = k->counts != NULL ? k->counts : g->counts[k->instance];
  state *s;
  assert_int_equal(state_clone(of, &s), 0);
  for (uint32_t i = 0; i < s->memory_count; i++) {
    memory_entry *m = &s->memories[i], *old = before == NULL ? NULL : state_memory_by_id(before, m->id);
    m->stored_pages = old == NULL ? 0 : old->stored_pages;
    if (k->counted_anew) count_anew(g, k, m);
  }
  return s;
}

static void put_deaths(group *g, const work *last, const state *after) {
  const state *before = g->counts[last->instance];
  for (uint32_t i = 0; before != NULL && i < before->memory_count; i++) {
    uint32_t id = before->memories[i].id;
    if (state_memory_by_id(after, id) != NULL) continue;
    uint64_t layer = last->line->steps[0].layer;
    put_trash(g, layer, id, last->version);
    assert_true(g->w->death_count + g->deaths < DEATHS_MAX);
    g->w->deaths[g->w->death_count + g->deaths++] = (death){layer, id, last->version};
  }
}

static void put_new_layer(group *g, const work *k) {
  assert_int_equal(catalog_put_layer(g->out.txn, k->line->steps[0].layer, &k->layer), 0);
  if (k->left_layer != 0) put_trash(g, k->left_layer, TRASH_ALL_MEMORIES, UINT64_MAX);
}

static void close_segment(group *g) {
  if (g->first == NULL) return;
  const work *last = g->last;
  state *s = counted(g, g->first, last->state);
  if (g->first->new_layer) put_new_layer(g, g->first);
  else put_deaths(g, last, s);
  assert_int_equal(writer_apply(&g->out, last->line, last->version, &(writer_changes){.blocks = g->changes}, s), 0);
  assert_state(s, &last->then, true);
  state_record r = {.layer = last->line->steps[0].layer, .version = last->version, .state = s};
  assert_int_equal(catalog_put_state(&g->out, last->line, g->w->instances[last->instance].id, NULL, &r), 0);
  state_release(g->counts[last->instance]);
  g->counts[last->instance] = s;
  unflushed_release(g->changes);
  g->changes = NULL;
  g->first = g->last = NULL;
}

static void add_commit(group *g, work *k) {
  bool joins = g->first != NULL && g->first->instance == k->instance && !k->new_layer && below(&g->w->random, 5) != 0;
  if (!joins) {
    close_segment(g);
    g->first = k;
    g->changes = unflushed_reference(k->inherited);
  }
  unflushed *more;
  assert_int_equal(unflushed_push(g->changes, k->delta, k->serial, 0, &more), 0);
  unflushed_release(g->changes);
  g->changes = more;
  g->last = k;
}

static void add_snapshot(group *g, const work *k) {
  const snapshot *s = &g->w->snapshots[k->snapshot];
  state *of = counted(g, k, k->state);
  state_record r = {.layer = s->layer, .version = s->version, .snapshot = store_id, .state = of};
  assert_int_equal(catalog_put_state(&g->out, k->line, g->w->instances[k->instance].id, s->name, &r), 0);
  state_release(of);
}

static void add_drop(group *g, const snapshot *s) {
  assert_int_equal(catalog_delete_snapshot(g->out.txn, g->w->instances[s->instance].id, s->name), 0);
  put_trash(g, s->layer, TRASH_ALL_MEMORIES, UINT64_MAX);
}

static void add_delete(group *g, const work *k) {
  char name[256] = "";
  state_record r;
  db_reader reader = {.txn = g->out.txn};
  uint64_t id = g->w->instances[k->instance].id;
  while (catalog_next_snapshot(reader, id, "", name, &r) == 0) {
    assert_int_equal(catalog_delete_snapshot(g->out.txn, id, name), 0);
    put_trash(g, r.layer, TRASH_ALL_MEMORIES, UINT64_MAX);
    state_release(r.state);
  }
  assert_int_equal(catalog_delete_instance(g->out.txn, id), 0);
  put_trash(g, k->line->steps[0].layer, TRASH_ALL_MEMORIES, UINT64_MAX);
}

static void add_work(group *g, work *k) {
  if (k->kind == COMMIT) {
    add_commit(g, k);
    return;
  }
  close_segment(g);
  if (k->kind == SNAPSHOT) add_snapshot(g, k);
  if (k->kind == DROP) add_drop(g, &g->w->snapshots[k->snapshot]);
  if (k->kind == DELETE) add_delete(g, k);
}

static void forget_point(world *w, snapshot *s) {
  if (!s->stored) return;
  layers_unretain(w->layers, s->layer, s->version);
  s->stored = false;
}

static void publish(world *w, work *k) {
  instance *in = &w->instances[k->instance];
  snapshot *s = &w->snapshots[k->snapshot];
  unflushed *shorter;
  if (k->kind == COMMIT) {
    in->stored = true;
    assert_int_equal(unflushed_drop(in->index, k->serial, &shorter), 0);
    unflushed_release(in->index);
    in->index = shorter;
  }
  if (k->kind == SNAPSHOT) {
    s->stored = true;
    s->counts = state_reference(in->counts);
  }
  if (k->kind == DROP) forget_point(w, s);
  for (unsigned n = 0; k->kind == DELETE && n < w->snapshot_count; n++)
    if (w->snapshots[n].instance == k->instance) forget_point(w, &w->snapshots[n]);
}

static void release_work(work *k) {
  delta_release(k->delta);
  line_release(k->line);
  state_release(k->state);
  state_release(k->counts);
  unflushed_release(k->inherited);
}

/* Snapshots of the queue take the counts that the store has for them, not those of the group's end. */
static void load_counts(world *w) {
  db_slot *slot = reading(&w->f);
  for (unsigned n = 0; n < w->snapshot_count; n++) {
    snapshot *s = &w->snapshots[n];
    state_record r;
    if (!s->stored || s->counts == NULL) continue;
    if (catalog_snapshot((db_reader){.slot = slot}, w->layers, store_id, w->instances[s->instance].id, s->name, &r) != 0) continue;
    assert_state(r.state, &s->was, true);
    assert_int_equal(r.version, s->version);
    state_release(s->counts);
    s->counts = r.state;
  }
  db_slot_release(slot);
}

static void flush(world *w, unsigned count, bool may_fail) {
  group g = {.w = w, .out = {.txn = begin(&w->f), .layers = w->layers, .store = store_id, .scratch = w->scratch}};
  for (unsigned i = 0; i < w->instance_count; i++)
    g.counts[i] = w->instances[i].counts == NULL ? NULL : state_reference(w->instances[i].counts);
  for (unsigned i = 0; i < count; i++) add_work(&g, &w->queue[i]);
  close_segment(&g);
  bool fails = may_fail && below(&w->random, 6) == 0;
  if (fails) db_abort(g.out.txn);
  else commit(g.out.txn);
  for (unsigned i = 0; i < w->instance_count; i++) {
    state **keep = fails ? NULL : &w->instances[i].counts;
    state_release(keep == NULL ? g.counts[i] : *keep);
    if (keep != NULL) *keep = g.counts[i];
  }
  if (fails) return;
  w->death_count += g.deaths;
  for (unsigned i = 0; i < count; i++) {
    publish(w, &w->queue[i]);
    release_work(&w->queue[i]);
  }
  w->queued -= count;
  memmove(w->queue, w->queue + count, w->queued * sizeof(work));
  load_counts(w);
}

static void put_orphans(world *w) {
  if (w->orphaned_count == 0) return;
  group g = {.w = w, .out = {.txn = begin(&w->f)}};
  while (w->orphaned_count > 0) put_trash(&g, w->orphaned[--w->orphaned_count], TRASH_ALL_MEMORIES, UINT64_MAX);
  commit(g.out.txn);
}

/* False: nothing was left to do. */
static bool step_trash(world *w, bool may_fail) {
  trash_outcome outcome;
  put_orphans(w);
  db_txn *txn = begin(&w->f);
  uint64_t next = w->next_trash;
  assert_int_equal(trash_step(txn, w->layers, &next, &outcome), 0);
  assert_true(outcome.rows_deleted <= TRASH_ROWS_DELETED_MAX);
  if (!outcome.worked || (may_fail && below(&w->random, 5) == 0)) {
    db_abort(txn);
    return outcome.worked;
  }
  commit(txn);
  w->next_trash = next;
  if (outcome.layer_removed != 0) layers_remove(w->layers, outcome.layer_removed);
  return !outcome.pinned;
}

/* ---- checks --------------------------------------------------------------------------------------------------------------- */

static void check_one(world *w) {
  if (w->instance_count > 0) {
    const instance *in = &w->instances[below(&w->random, w->instance_count)];
    if (in->live) assert_shows(w, in->line, in->index, in->state, &in->now);
  }
  const view *v = &w->views[below(&w->random, VIEWS_MAX)];
  if (v->line != NULL) assert_shows(w, v->line, v->index, v->state, &v->was);
  if (w->snapshot_count == 0) return;
  const snapshot *s = &w->snapshots[below(&w->random, w->snapshot_count)];
  if (!s->stored) return;
  line *l;
  assert_int_equal(layers_line(w->layers, s->layer, s->version, &l), 0);
  assert_shows(w, l, NULL, s->state, &s->was);
  line_release(l);
}

static void check_stored_states(world *w) {
  db_slot *slot = reading(&w->f);
  for (unsigned i = 0; i < w->instance_count; i++) {
    const instance *in = &w->instances[i];
    state_record r;
    if (!in->live || !in->stored) continue;
    assert_int_equal(catalog_instance((db_reader){.slot = slot}, w->layers, store_id, in->id, &r), 0);
    assert_int_equal(r.version, in->version);
    assert_state(r.state, &in->now, true);
    state_release(r.state);
  }
  db_slot_release(slot);
}

/* The keep rule once more, from the model's lists and the layer records, without layers.c. */
static bool rule_needs(const world *w, const layer_record *records, page_key k, uint64_t next_newer) {
  bool newest = next_newer == BOUND_OPEN, dead = false;
  for (unsigned i = 0; i < w->death_count && newest; i++) {
    const death *d = &w->deaths[i];
    if (d->layer != k.layer || d->memory != k.memory) continue;
    next_newer = d->version;
    dead = true;
  }
  for (unsigned i = 0; i < w->instance_count; i++) {
    const instance *in = &w->instances[i];
    if (newest && !dead && in->live && in->stored && in->line->steps[0].layer == k.layer) return true;
  }
  for (unsigned n = 0; n < w->snapshot_count; n++) {
    const snapshot *s = &w->snapshots[n];
    if (s->stored && s->layer == k.layer && s->version >= k.version && s->version < next_newer) return true;
  }
  for (uint64_t id = 1; id < w->next_layer; id++)
    if (records[id].parent == k.layer && records[id].parent_version >= k.version && records[id].parent_version < next_newer) return true;
  return false;
}

static void check_no_row_is_in_vain(world *w) {
  layer_record *records = calloc(LAYERS_MAX, sizeof *records);
  for (uint64_t id = 1; id < w->next_layer; id++) layers_get(w->layers, id, &records[id]);
  db_slot *slot = reading(&w->f);
  page_key found, last = {0};
  bytes value;
  int err = row_seek((db_reader){.slot = slot}, (page_key){.version = UINT64_MAX}, &found, &value);
  for (; err == 0; err = row_next((db_reader){.slot = slot}, &found, &value)) {
    uint64_t next_newer = row_same_page(found, last) ? last.version : BOUND_OPEN;
    assert_true(rule_needs(w, records, found, next_newer));
    row_kind kind;
    assert_int_equal(row_check(value, found, store_id, &kind), 0);
    last = found;
  }
  db_slot_release(slot);
  free(records);
}

/* The table in memory is what a new open would load. */
static void check_layers_reload(world *w) {
  db_slot *slot = reading(&w->f);
  layers *loaded;
  assert_int_equal(layers_load((db_reader){.slot = slot}, &loaded), 0);
  db_slot_release(slot);
  for (uint64_t id = 1; id < w->next_layer; id++) {
    layer_record a = {0}, b = {0};
    assert_int_equal(layers_get(w->layers, id, &a), layers_get(loaded, id, &b));
    assert_true(a.parent == b.parent && a.parent_version == b.parent_version && a.depth == b.depth && a.instance == b.instance);
  }
  assert_true(layers_is_valid(loaded) && layers_is_valid(w->layers));
  layers_free(loaded);
}

/* ---- the run ----------------------------------------------------------------------------------------------------------------- */

static unsigned pick_live(world *w) {
  unsigned live[INSTANCES_MAX], count = 0;
  for (unsigned i = 0; i < w->instance_count; i++)
    if (w->instances[i].live) live[count++] = i;
  if (count == 0 || (count < LIVE_MAX && below(&w->random, 20) == 0 && w->instance_count < INSTANCES_MAX - 20)) {
    do_create(w);
    return w->instance_count - 1;
  }
  return live[below(&w->random, count)];
}

static unsigned live_count(const world *w) {
  unsigned count = 0;
  for (unsigned i = 0; i < w->instance_count; i++) count += w->instances[i].live;
  return count;
}

static unsigned kept_snapshots(const world *w, unsigned kept[SNAPSHOTS_MAX]) {
  unsigned count = 0;
  for (unsigned n = 0; n < w->snapshot_count; n++)
    if (w->snapshots[n].exists) kept[count++] = n;
  return count;
}

static void one_operation(world *w) {
  unsigned kept[SNAPSHOTS_MAX], kept_count = kept_snapshots(w, kept), i = pick_live(w);
  unsigned n = kept_count == 0 ? 0 : kept[below(&w->random, kept_count)];
  switch (below(&w->random, 16)) {
  case 0: if (kept_count < KEPT_MAX && w->snapshot_count < SNAPSHOTS_MAX) do_snapshot(w, i); break;
  case 1: if (kept_count > 2) do_drop(w, n); break;
  case 2: if (kept_count > 0) do_restore(w, n); break;
  case 3: if (live_count(w) < LIVE_MAX && w->instance_count < INSTANCES_MAX) do_fork(w, i); break;
  case 4: if (below(&w->random, 4) == 0) do_delete(w, i); break;
  case 5: case 6: do_view(w, i); break;
  default: do_commit(w, i); break;
  }
}

static void close_views(world *w) {
  for (unsigned i = 0; i < VIEWS_MAX; i++) {
    view *v = &w->views[i];
    if (v->line == NULL) continue;
    assert_shows(w, v->line, v->index, v->state, &v->was);
    layers_unpin(w->layers, v->line, note_orphan, w);
    line_release(v->line);
    unflushed_release(v->index);
    state_release(v->state);
    *v = (view){0};
  }
}

static void settle(world *w) {
  close_views(w);
  for (unsigned i = 0; i < w->instance_count; i++)
    if (w->instances[i].live && w->instances[i].forked) do_delete(w, i);
  flush(w, w->queued, false);
  for (unsigned steps = 0; step_trash(w, false); steps++) assert_true(steps < 10000);
  check_no_row_is_in_vain(w);
  check_layers_reload(w);
  check_stored_states(w);
  for (unsigned i = 0; i < 200; i++) check_one(w);
}

static void world_release(world *w) {
  for (unsigned i = 0; i < w->instance_count; i++) {
    line_release(w->instances[i].line);
    unflushed_release(w->instances[i].index);
    state_release(w->instances[i].state);
    state_release(w->instances[i].counts);
  }
  for (unsigned n = 0; n < w->snapshot_count; n++) {
    state_release(w->snapshots[n].state);
    state_release(w->snapshots[n].counts);
  }
  layers_free(w->layers);
  free(w->scratch);
}

static void run_world(uint64_t seed, unsigned operations) {
  world *w = calloc(1, sizeof *w);
  *w = (world){.random = seed, .next_tag = 1, .next_layer = 1, .next_instance = 1, .next_trash = 1};
  fixture_open(&w->f);
  commit(begin(&w->f));
  db_slot *slot = reading(&w->f);
  assert_int_equal(layers_load((db_reader){.slot = slot}, &w->layers), 0);
  db_slot_release(slot);
  w->scratch = malloc(PAGE_RECORD_BYTES);
  for (unsigned n = 0; n < operations; n++) {
    one_operation(w);
    if (w->queued == QUEUE_MAX || below(&w->random, 5) == 0) flush(w, w->queued, true);
    else if (w->queued > 1 && below(&w->random, 5) == 0) flush(w, 1 + (unsigned)below(&w->random, w->queued), true);
    while (w->queued == QUEUE_MAX) flush(w, w->queued, true);
    if (below(&w->random, 6) == 0) step_trash(w, true);
    check_one(w);
  }
  settle(w);
  for (unsigned i = 0; i < w->instance_count; i++)
    if (w->instances[i].live) do_delete(w, i);
  settle(w);
  assert_int_equal(count_rows(&w->f, 0), 0);
  slot = reading(&w->f);
  assert_false(trash_pending((db_reader){.slot = slot}));
  layer_record record;
  for (uint64_t n = 1; n < w->next_layer; n++) assert_false(layers_get(w->layers, n, &record));
  db_slot_release(slot);
  fixture_close(&w->f);
  world_release(w);
  free(w);
}

static void the_store_agrees_with_plain_arrays(void **unused) {
  (void)unused;
  uint64_t seed = test_seed("test_writer_model");
  const char *runs = getenv("PAGESTORE_RUNS");
  unsigned count = runs != NULL ? (unsigned)atoi(runs) : 3;
  for (unsigned i = 0; i < count; i++) run_world(seed + i, 250);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_store_agrees_with_plain_arrays),
  };
  return cmocka_run_group_tests_name("writer_model", tests, NULL, NULL);
}
