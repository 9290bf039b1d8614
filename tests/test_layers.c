/* test_layers.c - lines, retained points and the keep rule: by hand, and against lists from a printed seed. */
#include "storage_fixture.h"

static layers *empty_layers(fixture *f) {
  layers *t;
  db_slot *slot = reading(f);
  assert_int_equal(layers_load((db_reader){.slot = slot}, &t), 0);
  db_slot_release(slot);
  return t;
}

static int setup(void **env) {
  fixture *f = calloc(1, sizeof *f);
  fixture_open(f);
  commit(begin(f));
  *env = f;
  return 0;
}

static int teardown(void **env) {
  fixture_close(*env);
  free(*env);
  return 0;
}

static void add(layers *t, uint64_t id, uint64_t parent, uint64_t version) {
  layer_record r = {.parent = parent, .parent_version = version, .depth = 1, .instance = id};
  assert_int_equal(layers_add(t, id, &r), 0);
  assert_true(layers_is_valid(t));
}

static void lines_bound_each_step(void **env) {
  layers *t = empty_layers(*env);
  line *none, *l, *bounded, *longer, *tail;
  add(t, 1, 0, 0);
  add(t, 2, 1, 7);
  add(t, 3, 2, 9);
  assert_int_equal(line_empty(&none), 0);
  assert_int_equal(none->depth, 0);
  assert_int_equal(layers_line(t, 4, BOUND_OPEN, &l), PAGESTORE_ENOTFOUND);
  assert_int_equal(layers_line(t, 3, BOUND_OPEN, &l), 0);
  assert_int_equal(l->depth, 3);
  assert_true(l->steps[0].layer == 3 && l->steps[0].bound == BOUND_OPEN);
  assert_true(l->steps[1].layer == 2 && l->steps[1].bound == 9);
  assert_true(l->steps[2].layer == 1 && l->steps[2].bound == 7);
  assert_int_equal(line_rebound(l, 5, &bounded), 0);
  assert_true(bounded->steps[0].bound == 5 && bounded->steps[1].bound == 9);
  assert_int_equal(line_extend(bounded, 8, &longer), 0);
  assert_true(longer->depth == 4 && longer->steps[0].layer == 8 && longer->steps[1].bound == 5);
  assert_int_equal(line_tail(longer, &tail), 0);
  assert_int_equal(tail->depth, 3);
  assert_memory_equal(tail->steps, bounded->steps, 3 * sizeof(line_step));
  line *lines[] = {none, l, bounded, longer, tail, line_reference(l), NULL};
  for (unsigned i = 0; i < 7; i++) line_release(lines[i]);
  layers_free(t);
}

static void a_row_is_needed_between_itself_and_the_next(void **env) {
  layers *t = empty_layers(*env);
  add(t, 1, 0, 0);
  assert_int_equal(layers_retain(t, 1, 5), 0);
  assert_int_equal(layers_retain(t, 1, 5), 0);
  assert_int_equal(layers_needed(t, 1, 5, 6), ROW_RETAINED);
  assert_int_equal(layers_needed(t, 1, 4, 6), ROW_RETAINED);
  assert_int_equal(layers_needed(t, 1, 4, 5), ROW_UNNEEDED);
  assert_int_equal(layers_needed(t, 1, 6, BOUND_OPEN), ROW_UNNEEDED);
  assert_int_equal(layers_needed(t, 1, 9, 3), ROW_UNNEEDED);  /* written after its memory's death: never shown */
  assert_int_equal(layers_needed(t, 2, 1, BOUND_OPEN), ROW_UNNEEDED);
  layers_unretain(t, 1, 5);
  assert_int_equal(layers_needed(t, 1, 4, 6), ROW_RETAINED);
  layers_unretain(t, 1, 5);
  assert_int_equal(layers_needed(t, 1, 4, 6), ROW_UNNEEDED);
  layers_free(t);
}

static void children_are_points_of_their_parent(void **env) {
  layers *t = empty_layers(*env);
  bool only_pins;
  layer_record r;
  add(t, 1, 0, 0);
  add(t, 2, 1, 3);
  assert_int_equal(layers_needed(t, 1, 3, 4), ROW_RETAINED);
  assert_true(layers_has_points(t, 1, &only_pins) && !only_pins);
  assert_false(layers_has_points(t, 77, &only_pins));
  assert_true(layers_get(t, 2, &r) && r.parent == 1 && r.depth == 2);
  layers_reroot(t, 2);
  assert_true(layers_get(t, 2, &r) && r.parent == 0 && r.depth == 1);
  assert_false(layers_has_points(t, 1, &only_pins));
  add(t, 3, 2, 8);
  layers_remove(t, 3);
  assert_false(layers_has_points(t, 2, &only_pins) || layers_get(t, 3, &r));
  assert_true(layers_is_valid(t));
  layers_free(t);
}

typedef struct { uint64_t layers[4]; unsigned count; } orphans;
static void note(void *env, uint64_t layer) {
  orphans *o = env;
  o->layers[o->count++] = layer;
}

static void a_pin_tells_what_it_alone_kept(void **env) {
  layers *t = empty_layers(*env);
  orphans o = {.count = 0};
  bool only_pins;
  line *l, *open;
  add(t, 1, 0, 0);
  add(t, 2, 1, 3);
  assert_int_equal(layers_line(t, 2, 9, &l), 0);
  assert_int_equal(layers_line(t, 2, BOUND_OPEN, &open), 0);
  assert_int_equal(layers_pin(t, l), 0);
  assert_int_equal(layers_pin(t, l), 0);
  assert_int_equal(layers_pin(t, open), 0);  /* pins the parent alone */
  assert_true(layers_has_points(t, 2, &only_pins) && only_pins);
  assert_int_equal(layers_needed(t, 1, 2, 4), ROW_RETAINED);
  layers_unpin(t, l, note, &o);
  layers_unpin(t, l, note, &o);
  assert_int_equal(o.count, 0);  /* nobody had asked, so nothing was kept */
  assert_int_equal(layers_pin(t, l), 0);
  assert_int_equal(layers_needed(t, 2, 8, 12), ROW_PINNED);
  assert_true(layers_wait(t, 2, 5, WAIT_PINS));
  assert_true(layers_waits(t, 2, 4) && layers_waits(t, 2, 5) && !layers_waits(t, 2, 6));
  assert_false(layers_wait(t, 1, 5, WAIT_PINS));
  assert_true(layers_wait(t, 1, 5, WAIT_POINTS));
  layers_unpin(t, l, note, &o);
  assert_true(o.count == 1 && o.layers[0] == 2);
  assert_false(layers_waits(t, 2, 5) || layers_wait(t, 2, 5, WAIT_POINTS));
  layers_unpin(t, open, NULL, NULL);
  assert_true(layers_is_valid(t));
  line_release(l);
  line_release(open);
  layers_free(t);
}

static void a_removed_layer_outlives_its_pins(void **env) {
  layers *t = empty_layers(*env);
  layer_record r;
  bool only_pins;
  line *l;
  add(t, 1, 0, 0);
  add(t, 2, 1, 3);
  assert_int_equal(layers_line(t, 2, 5, &l), 0);
  assert_int_equal(layers_pin(t, l), 0);
  layers_remove(t, 2);  /* a commit taken back, while a view of it is open */
  assert_false(layers_get(t, 2, &r));
  assert_int_equal(layers_needed(t, 2, 5, BOUND_OPEN), ROW_PINNED);
  assert_int_equal(layers_needed(t, 1, 3, 4), ROW_RETAINED);
  assert_true(layers_is_valid(t));
  layers_unpin(t, l, NULL, NULL);
  assert_int_equal(layers_needed(t, 2, 5, BOUND_OPEN), ROW_UNNEEDED);
  assert_false(layers_has_points(t, 1, &only_pins));
  layers_remove(t, 2);  /* not there: nothing */
  assert_true(layers_is_valid(t));
  line_release(l);
  layers_free(t);
}

/* ---- loading ---------------------------------------------------------------------------------------------------------- */

static int loaded(fixture *f, layers **t) {
  db_slot *slot = reading(f);
  int err = layers_load((db_reader){.slot = slot}, t);
  db_slot_release(slot);
  return err;
}

static void put_record(fixture *f, uint64_t id, uint64_t parent, uint32_t depth) {
  db_txn *txn = begin(f);
  assert_int_equal(catalog_put_layer(txn, id, &(layer_record){.parent = parent, .parent_version = 4, .depth = depth, .instance = 1}), 0);
  commit(txn);
}

static void records_become_a_table(void **env) {
  layers *t;
  line *l;
  put_record(*env, 1, 0, 1);
  put_record(*env, 2, 1, 2);
  put_record(*env, 0x100000000ull, 2, 9);  /* depth as it was before 2 was re-rooted */
  assert_int_equal(loaded(*env, &t), 0);
  assert_true(layers_is_valid(t));
  assert_int_equal(layers_needed(t, 1, 4, 5), ROW_RETAINED);
  assert_int_equal(layers_line(t, 0x100000000ull, 1, &l), 0);
  assert_int_equal(l->depth, 3);
  line_release(l);
  layers_free(t);
}

static void wrong_records_are_refused(void **env) {
  layers *t;
  put_record(*env, 2, 1, 2);  /* a parent that is missing */
  assert_int_equal(loaded(*env, &t), PAGESTORE_ECORRUPT);
  put_record(*env, 1, 2, 3);  /* a loop */
  assert_int_equal(loaded(*env, &t), PAGESTORE_ECORRUPT);
  put_record(*env, 1, 0, 1);
  assert_int_equal(loaded(*env, &t), 0);
  layers_free(t);
  for (uint64_t id = 3; id <= LAYER_DEPTH_MAX + 1; id++) put_record(*env, id, id - 1, 2);
  assert_int_equal(loaded(*env, &t), PAGESTORE_ECORRUPT);  /* too deep */
}

/* ---- against lists -------------------------------------------------------------------------------------------------- */

enum { VERSIONS = 40 };
typedef struct { unsigned lasting[VERSIONS], pins[VERSIONS]; } counts;

static row_need expected(const counts *c, uint64_t version, uint64_t next) {
  row_need need = ROW_UNNEEDED;
  for (uint64_t v = version; v < VERSIONS && v < next; v++) {
    if (c->lasting[v] != 0) return ROW_RETAINED;
    if (c->pins[v] != 0) need = ROW_PINNED;
  }
  return need;
}

static void points_agree_with_lists(void **env) {
  layers *t = empty_layers(*env);
  counts c = {{0}, {0}};
  uint64_t random = test_seed("test_layers");
  line *lines[VERSIONS];
  add(t, 1, 0, 0);
  for (uint64_t v = 0; v < VERSIONS; v++) assert_int_equal(layers_line(t, 1, v, &lines[v]), 0);
  for (unsigned n = 0; n < 20000; n++) {
    uint64_t v = below(&random, VERSIONS);
    switch (below(&random, 5)) {
    case 0: if (c.lasting[v] < 2) { assert_int_equal(layers_retain(t, 1, v), 0); c.lasting[v]++; } break;
    case 1: if (c.lasting[v] > 0) { layers_unretain(t, 1, v); c.lasting[v]--; } break;
    case 2: if (c.pins[v] < 2) { assert_int_equal(layers_pin(t, lines[v]), 0); c.pins[v]++; } break;
    default: if (c.pins[v] > 0) { layers_unpin(t, lines[v], NULL, NULL); c.pins[v]--; } break;
    }
    uint64_t from = below(&random, VERSIONS), to = below(&random, 8) == 0 ? BOUND_OPEN : from + below(&random, 6);
    assert_int_equal(layers_needed(t, 1, from, to), expected(&c, from, to));
    if (n % 64 == 0) assert_true(layers_is_valid(t));
  }
  for (uint64_t v = 0; v < VERSIONS; v++) line_release(lines[v]);
  layers_free(t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(lines_bound_each_step),
      TEST(a_row_is_needed_between_itself_and_the_next),
      TEST(children_are_points_of_their_parent),
      TEST(a_pin_tells_what_it_alone_kept),
      TEST(a_removed_layer_outlives_its_pins),
      TEST(records_become_a_table),
      TEST(wrong_records_are_refused),
      TEST(points_agree_with_lists),
  };
  return cmocka_run_group_tests_name("layers", tests, NULL, NULL);
}
