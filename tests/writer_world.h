/* writer_world.h - the model of test_writer_model.c, and what its instances do until their works are sealed: commits, clearing,
 * snapshots, restores, forks, views, deletion. Everything is kept twice: as the library has it, and as plain arrays of tags.
 */
#ifndef PAGESTORE_TESTS_WRITER_WORLD_H
#define PAGESTORE_TESTS_WRITER_WORLD_H

#include "storage_fixture.h"

enum { MEMORIES = 2, PAGES = 5, INSTANCES_MAX = 200, LIVE_MAX = 5, SNAPSHOTS_MAX = 400, KEPT_MAX = 7, VIEWS_MAX = 5, QUEUE_MAX = 24 };
enum { LAYERS_MAX = 4000, DEATHS_MAX = 4000 };

/* What a version holds: tags of blocks, and metadata of one key as a length and a byte. */
typedef struct {
  uint64_t tag[MEMORIES][PAGES][PAGE_BLOCKS];
  uint32_t metadata_bytes;
  uint8_t metadata_byte;
} contents;

typedef struct {
  bool live, stored, forked;    /* forked: on its source's line, pinned, until its first commit */
  uint64_t id, version, serial;
  line *line;
  unflushed *index;
  state *state;
  state *counts;                /* as of what is stored */
  contents now;
} instance;

typedef struct {
  bool exists, stored;          /* dropped: exists no more, though its point may */
  unsigned instance;
  char name[16];
  uint64_t layer, version;
  state *counts;                /* once stored */
  state *state;
  contents was;
} snapshot;

typedef struct {
  line *line;                   /* NULL: closed */
  unflushed *index;
  state *state;
  contents was;
} view;

typedef enum { COMMIT, SNAPSHOT, DROP, DELETE } work_kind;
typedef struct {
  work_kind kind;
  unsigned instance, snapshot;
  uint64_t version, serial;
  delta *delta;
  line *line;
  state *state;
  unflushed *inherited;
  bool new_layer, counted_anew;
  layer_record layer;
  uint64_t left_layer;
  state *counts;                /* a restore's: the snapshot's */
  contents then;
} work;

typedef struct { uint64_t layer; uint32_t memory; uint64_t version; } death;

typedef struct {
  fixture f;
  uint64_t random, next_tag, next_layer, next_instance, next_trash;
  layers *layers;
  uint8_t *scratch;
  instance instances[INSTANCES_MAX];
  unsigned instance_count;
  snapshot snapshots[SNAPSHOTS_MAX];
  unsigned snapshot_count;
  view views[VIEWS_MAX];
  work queue[QUEUE_MAX];
  unsigned queued;
  uint64_t orphaned[64];
  unsigned orphaned_count;
  death deaths[DEATHS_MAX];
  unsigned death_count;
} world;

/* ---- helpers -------------------------------------------------------------------------------------------------------- */

static void note_orphan(void *env, uint64_t layer) {
  world *w = env;
  assert_true(w->orphaned_count < 64);
  w->orphaned[w->orphaned_count++] = layer;
}

static const char *const memory_names[MEMORIES] = {"a", "b"};

static uint32_t id_of(const state *s, unsigned memory) { return state_memory(s, memory_names[memory])->id; }

static uint64_t pages_in_use(const contents *c, unsigned memory) {
  static const uint64_t zeros[PAGE_BLOCKS];
  uint64_t count = 0;
  for (unsigned p = 0; p < PAGES; p++) count += memcmp(c->tag[memory][p], zeros, sizeof zeros) != 0;
  return count;
}

static void set_metadata(state *s, contents *c, uint32_t length, uint8_t byte) {
  uint8_t *value = malloc(length + 1);
  memset(value, byte, length);
  assert_int_equal(state_metadata_set(s, "key", value, length), 0);
  free(value);
  c->metadata_bytes = length;
  c->metadata_byte = byte;
}

static void assert_state(const state *s, const contents *c, bool stored) {
  const void *value;
  size_t length;
  assert_true(state_is_valid(s));
  assert_true(state_metadata_get(s, "key", &value, &length));
  assert_int_equal(length, c->metadata_bytes);
  for (size_t i = 0; i < length; i++) assert_int_equal(((const uint8_t *)value)[i], c->metadata_byte);
  for (unsigned m = 0; m < MEMORIES && stored; m++)
    assert_int_equal(state_memory(s, memory_names[m])->stored_pages, pages_in_use(c, m));
}

static void assert_shows(world *w, const line *l, const unflushed *index, const state *s, const contents *c) {
  db_slot *slot = reading(&w->f);
  pagemap map = {.reader = {.slot = slot}, .line = l, .unflushed = index, .store = store_id};
  for (unsigned m = 0; m < MEMORIES; m++) {
    uint64_t next = 0;
    for (uint64_t p = 0; p < PAGES; p++) {
      const uint8_t *bytes;
      row_place damage;
      assert_int_equal(pagemap_read(&map, id_of(s, m), p, db_slot_page(slot), &bytes, &damage), 0);
      assert_page(bytes, c->tag[m][p]);
      int err = pagemap_next(&map, id_of(s, m), p, &next);
      if (bytes != NULL) assert_true(err == 0 && next == p);
      else assert_true(err == PAGESTORE_ENOTFOUND || next >= p);
    }
  }
  db_slot_release(slot);
}

/* ---- sealing ---------------------------------------------------------------------------------------------------------- */

static work *enqueue(world *w, work_kind kind, unsigned i) {
  assert_true(w->queued < QUEUE_MAX);
  instance *in = &w->instances[i];
  work *k = &w->queue[w->queued++];
  *k = (work){.kind = kind, .instance = i, .version = in->version, .serial = in->serial, .then = in->now};
  k->line = line_reference(in->line);
  k->state = state_reference(in->state);
  return k;
}

/* Random writes to some pages; sometimes zeros, sometimes the bytes that are there. */
static delta *random_writes(world *w, instance *in) {
  static uint8_t page[PAGE_BYTES];
  delta *d;
  assert_int_equal(delta_new(MEMORIES * PAGES, MEMORIES * PAGES * PAGE_BLOCKS, &d), 0);
  uint32_t ids[MEMORIES] = {id_of(in->state, 0), id_of(in->state, 1)};
  for (unsigned n = 0; n < MEMORIES; n++) {
    unsigned m = ids[0] < ids[1] ? n : 1 - n;
    for (unsigned p = 0; p < PAGES; p++) {
      if (below(&w->random, 3) != 0) continue;
      uint16_t mask = below(&w->random, 4) == 0 ? ALL_BLOCKS : (uint16_t)mix(&w->random);
      bool zeros = below(&w->random, 4) == 0, same = below(&w->random, 6) == 0;
      if (zeros && below(&w->random, 2) == 0) mask = ALL_BLOCKS;
      for (unsigned b = 0; b < PAGE_BLOCKS; b++)
        if ((mask >> b & 1) && !same) in->now.tag[m][p][b] = zeros || below(&w->random, 5) == 0 ? 0 : w->next_tag++;
      fill_page(page, in->now.tag[m][p]);
      delta_add(d, ids[m], p, mask, page);
    }
  }
  return d;
}

static void change_state(world *w, instance *in) {
  state *changed;
  assert_int_equal(state_clone(in->state, &changed), 0);
  if (below(&w->random, 5) == 0) {
    static const uint32_t lengths[] = {0, 10, 900, 1500, 5000, 70000, 140000};
    set_metadata(changed, &in->now, lengths[below(&w->random, 7)], (uint8_t)below(&w->random, 3));
  }
  if (below(&w->random, 7) == 0) {
    unsigned m = (unsigned)below(&w->random, MEMORIES);
    state_memory_renew(changed, state_memory(changed, memory_names[m]));
    memset(in->now.tag[m], 0, sizeof in->now.tag[m]);
  }
  state_release(in->state);
  in->state = state_seal(changed);
}

/* The next commit begins a layer over `parent`. */
static uint64_t begin_layer(world *w, instance *in, const line *parent, layer_record *record) {
  uint64_t id = w->next_layer++;
  line *l;
  assert_true(id < LAYERS_MAX);
  assert_int_equal(line_extend(parent, id, &l), 0);
  *record = (layer_record){.depth = l->depth, .instance = in->id};
  if (l->depth > 1) {
    record->parent = l->steps[1].layer;
    record->parent_version = l->steps[1].bound;
  }
  assert_int_equal(layers_add(w->layers, id, record), 0);
  line *old = in->line;
  in->line = l;
  line_release(old);
  return id;
}

static void seal(world *w, unsigned i, delta *d, work *from) {
  instance *in = &w->instances[i];
  unflushed *index;
  in->version++;
  in->serial++;
  assert_int_equal(unflushed_push(in->index, d, in->serial, 0, &index), 0);
  unflushed_release(in->index);
  in->index = index;
  work *k = enqueue(w, COMMIT, i);
  k->delta = d;
  k->inherited = from->inherited;
  k->new_layer = from->new_layer;
  k->counted_anew = from->counted_anew;
  k->layer = from->layer;
  k->left_layer = from->left_layer;
  k->counts = from->counts;
}

static void do_commit(world *w, unsigned i) {
  instance *in = &w->instances[i];
  work k = {0};
  if (in->line->depth == 0 || in->forked) {
    k.new_layer = true;
    k.counted_anew = in->forked;
    k.inherited = unflushed_reference(in->index);
    line *pinned = line_reference(in->line);
    begin_layer(w, in, in->line, &k.layer);
    if (in->forked) layers_unpin(w->layers, pinned, note_orphan, w);
    line_release(pinned);
    in->forked = false;
  }
  change_state(w, in);
  seal(w, i, random_writes(w, in), &k);
}

static void do_create(world *w) {
  instance *in = &w->instances[w->instance_count++];
  memory_entry *m;
  *in = (instance){.live = true, .id = w->next_instance++};
  assert_int_equal(line_empty(&in->line), 0);
  assert_int_equal(state_new(&in->state), 0);
  for (unsigned i = 0; i < MEMORIES; i++) {
    assert_int_equal(state_memory_add(in->state, memory_names[i], &m), 0);
    m->pages = m->max_pages = PAGES;
  }
  set_metadata(in->state, &in->now, 10, 1);
  state_seal(in->state);
}

static void do_fork(world *w, unsigned i) {
  instance *source = &w->instances[i], *in = &w->instances[w->instance_count];
  if (source->version == 0 || source->forked || source->line->depth >= LAYER_DEPTH_MAX) return;
  w->instance_count++;
  *in = (instance){.live = true, .forked = true, .id = w->next_instance++, .serial = 1, .now = source->now};
  in->state = state_reference(source->state);
  assert_int_equal(line_rebound(source->line, source->version, &in->line), 0);
  assert_int_equal(layers_pin(w->layers, in->line), 0);
  assert_int_equal(unflushed_restamp(source->index, 1, &in->index), 0);
}

static void do_snapshot(world *w, unsigned i) {
  instance *in = &w->instances[i];
  if (in->version == 0 || in->forked) return;
  assert_true(w->snapshot_count < SNAPSHOTS_MAX);
  snapshot *s = &w->snapshots[w->snapshot_count];
  *s = (snapshot){.exists = true, .instance = i, .layer = in->line->steps[0].layer, .version = in->version, .was = in->now};
  snprintf(s->name, sizeof s->name, "s%u", w->snapshot_count);
  s->state = state_reference(in->state);
  assert_int_equal(layers_retain(w->layers, s->layer, s->version), 0);
  enqueue(w, SNAPSHOT, i)->snapshot = w->snapshot_count++;
}

static void do_drop(world *w, unsigned n) {
  snapshot *s = &w->snapshots[n];
  if (!s->stored) return;
  s->exists = false;
  enqueue(w, DROP, s->instance)->snapshot = n;
}

static void do_restore(world *w, unsigned n) {
  snapshot *s = &w->snapshots[n];
  instance *in = &w->instances[s->instance];
  if (!s->stored || !in->live) return;
  line *l;
  assert_int_equal(layers_line(w->layers, s->layer, s->version, &l), 0);
  if (l->depth < LAYER_DEPTH_MAX) {
    work k = {.new_layer = true, .left_layer = in->line->steps[0].layer, .counts = state_reference(s->counts)};
    begin_layer(w, in, l, &k.layer);
    state_release(in->state);
    in->state = state_reference(s->state);
    in->now = s->was;
    unflushed_release(in->index);
    in->index = NULL;
    seal(w, s->instance, random_writes(w, in), &k);
  }
  line_release(l);
}

static void do_delete(world *w, unsigned i) {
  instance *in = &w->instances[i];
  in->live = false;
  if (in->forked) {
    layers_unpin(w->layers, in->line, note_orphan, w);  /* it never was */
  } else if (in->version != 0) {
    for (unsigned n = 0; n < w->snapshot_count; n++)
      if (w->snapshots[n].instance == i) w->snapshots[n].exists = false;
    enqueue(w, DELETE, i);
  }
}

static void do_view(world *w, unsigned i) {
  instance *in = &w->instances[i];
  view *v = &w->views[below(&w->random, VIEWS_MAX)];
  if (v->line != NULL) {
    layers_unpin(w->layers, v->line, note_orphan, w);
    line_release(v->line);
    unflushed_release(v->index);
    state_release(v->state);
    *v = (view){0};
  } else if (!in->forked && in->version != 0) {
    assert_int_equal(line_rebound(in->line, in->version, &v->line), 0);
    assert_int_equal(layers_pin(w->layers, v->line), 0);
    v->index = unflushed_reference(in->index);
    v->state = state_reference(in->state);
    v->was = in->now;
  }
}

#endif
