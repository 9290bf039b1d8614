/* test_trash.c - bounded, resumable steps over rows that may be needed no more. Rows here are zero markers: small, and
 * judged like any other. Long mixed runs: test_writer_model.c. */
#include "storage_fixture.h"

#include "storage/record.h"

typedef struct {
  fixture f;
  layers *layers;
  uint64_t next_trash;
  unsigned orphaned;
} bench;

static int setup(void **env) {
  bench *b = calloc(1, sizeof *b);
  fixture_open(&b->f);
  commit(begin(&b->f));
  db_slot *slot = reading(&b->f);
  assert_int_equal(layers_load((db_reader){.slot = slot}, &b->layers), 0);
  db_slot_release(slot);
  b->next_trash = 100;
  *env = b;
  return 0;
}

static int teardown(void **env) {
  bench *b = *env;
  fixture_close(&b->f);
  layers_free(b->layers);
  free(b);
  return 0;
}

static void add_layer(bench *b, uint64_t id, uint64_t parent, uint64_t version, uint64_t instance) {
  layer_record r = {.parent = parent, .parent_version = version, .depth = parent == 0 ? 1 : 2, .instance = instance};
  db_txn *txn = begin(&b->f);
  assert_int_equal(catalog_put_layer(txn, id, &r), 0);
  assert_int_equal(layers_add(b->layers, id, &r), 0);
  commit(txn);
}

/* The instance's present is in this layer. */
static void put_present(bench *b, uint64_t instance, uint64_t layer) {
  state_record r = {.layer = layer, .version = 1000};
  catalog_record encoded;
  catalog_key key = catalog_key_id(CATALOG_INSTANCE, instance);
  assert_int_equal(state_new(&r.state), 0);
  state_record_encode(&r, &encoded);
  db_txn *txn = begin(&b->f);
  assert_int_equal(record_put(txn, &key, &encoded), 0);
  commit(txn);
  state_release(r.state);
}

static void put_rows(bench *b, uint64_t layer, uint32_t memory, uint64_t pages, uint64_t versions) {
  uint8_t marker[ZERO_MARKER_BYTES], key[PAGE_KEY_BYTES];
  db_txn *txn = begin(&b->f);
  for (uint64_t p = 0; p < pages; p++)
    for (uint64_t v = 1; v <= versions; v++) {
      page_key k = {layer, memory, p, v};
      page_key_encode(k, key);
      zero_marker_encode(k, marker);
      assert_int_equal(db_put(txn, DB_PAGES, (bytes){key, sizeof key}, (bytes){marker, sizeof marker}), 0);
    }
  commit(txn);
}

static void put_record(bench *b, uint64_t id, uint64_t layer, uint32_t memory, uint64_t died_at) {
  db_txn *txn = begin(&b->f);
  trash_record r = {.layer = layer, .memory = memory, .died_at = died_at};
  assert_int_equal(trash_put(txn, id, &r), 0);
  commit(txn);
}

static trash_outcome step_aborted_or_not(bench *b, bool goes_through) {
  trash_outcome out;
  db_txn *txn = begin(&b->f);
  assert_int_equal(trash_step(txn, b->layers, &b->next_trash, &out), 0);
  if (!goes_through) {
    db_abort(txn);
    return out;
  }
  commit(txn);
  if (out.layer_removed != 0) layers_remove(b->layers, out.layer_removed);
  return out;
}

static trash_outcome step(bench *b) { return step_aborted_or_not(b, true); }

static bool pending(bench *b) {
  db_slot *slot = reading(&b->f);
  bool is = trash_pending((db_reader){.slot = slot});
  db_slot_release(slot);
  return is;
}

static void note(void *env, uint64_t layer) {
  (void)layer;
  ((bench *)env)->orphaned++;
}

static void nothing_to_do(void **env) {
  bench *b = *env;
  trash_outcome out = step(b);
  assert_false(out.worked || out.pinned || pending(b));
  add_layer(b, 1, 0, 0, 1);
  put_record(b, 7, 99, TRASH_ALL_MEMORIES, UINT64_MAX);  /* of a layer that went already */
  assert_true(pending(b));
  out = step(b);
  assert_true(out.worked && !pending(b));
}

/* 300 versions of a page, of 3 pages: steps end in the middle of a page and go on there. */
static void steps_are_bounded_and_resume_inside_a_page(void **env) {
  bench *b = *env;
  add_layer(b, 1, 0, 0, 1);
  put_present(b, 1, 1);
  put_rows(b, 1, 1, 3, 300);
  assert_int_equal(layers_retain(b->layers, 1, 150), 0);
  put_record(b, 5, 1, TRASH_ALL_MEMORIES, UINT64_MAX);
  unsigned steps = 0;
  for (uint64_t deleted = 0; pending(b); steps++) {
    trash_outcome out = step(b);
    assert_true(out.worked && out.rows_deleted <= TRASH_ROWS_DELETED_MAX && out.layer_removed == 0);
    deleted += out.rows_deleted;
    assert_int_equal(count_rows(&b->f, 1), 900 - deleted);
    if (steps == 2) fixture_reopen(&b->f);  /* a crash between steps */
  }
  assert_int_equal(count_rows(&b->f, 1), 6);  /* of each page 150, and 300 as the present */
  assert_int_equal(steps, 7);                 /* 894 at 128 a time */
}

static void a_step_sees_a_bounded_number_of_rows(void **env) {
  bench *b = *env;
  add_layer(b, 1, 0, 0, 1);
  put_present(b, 1, 1);
  put_rows(b, 1, 1, TRASH_ROWS_SEEN_MAX + 10, 1);
  put_record(b, 5, 1, TRASH_ALL_MEMORIES, UINT64_MAX);
  trash_outcome out = step(b);
  assert_int_equal(out.rows_seen, TRASH_ROWS_SEEN_MAX);
  assert_true(pending(b));
  out = step(b);
  assert_int_equal(out.rows_seen, 10);
  assert_false(pending(b));
}

static void a_layer_goes_with_its_last_row_and_then_its_parent(void **env) {
  bench *b = *env;
  add_layer(b, 1, 0, 0, 1);
  add_layer(b, 2, 1, 2, 2);
  put_rows(b, 1, 1, 2, 3);
  put_rows(b, 2, 1, 2, 3);
  put_record(b, 5, 1, TRASH_ALL_MEMORIES, UINT64_MAX);
  trash_outcome out = step(b);
  assert_int_equal(out.rows_deleted, 4);       /* the child's point keeps version 2 */
  assert_int_equal(out.layer_removed, 0);
  put_record(b, 6, 2, TRASH_ALL_MEMORIES, UINT64_MAX);
  out = step(b);
  assert_int_equal(out.layer_removed, 2);
  assert_int_equal(b->next_trash, 101);        /* a record for the parent */
  out = step(b);
  assert_int_equal(out.layer_removed, 1);
  assert_true(count_rows(&b->f, 0) == 0 && !pending(b));
}

static void an_aborted_step_is_done_again(void **env) {
  bench *b = *env;
  trash_outcome out;
  add_layer(b, 1, 0, 0, 1);
  put_rows(b, 1, 1, 2, 3);
  put_record(b, 5, 1, TRASH_ALL_MEMORIES, UINT64_MAX);
  db_txn *txn = begin(&b->f);
  assert_int_equal(trash_step(txn, b->layers, &b->next_trash, &out), 0);
  assert_int_equal(out.layer_removed, 1);
  db_abort(txn);
  assert_int_equal(count_rows(&b->f, 1), 6);
  assert_int_equal(step(b).layer_removed, 1);
  assert_int_equal(count_rows(&b->f, 1), 0);
}

/* What an aborted step found out in memory must not stand for what it did on disk. */
static void an_aborted_step_does_not_make_its_record_wait(void **env) {
  bench *b = *env;
  add_layer(b, 1, 0, 0, 1);
  put_present(b, 1, 1);
  put_rows(b, 1, 1, 2, 300);
  assert_int_equal(layers_retain(b->layers, 1, 5), 0);
  put_record(b, 5, 1, 1, 400);
  bool pinned = false;
  for (unsigned i = 0; !pinned; i++) {
    assert_true(i < 100);
    step_aborted_or_not(b, false);
    pinned = step(b).pinned;
  }
  assert_int_equal(count_rows(&b->f, 1), 2);  /* version 5 of each page */
}

static void rows_that_pins_keep_wait_and_do_not_stop_others(void **env) {
  bench *b = *env;
  line *l;
  add_layer(b, 1, 0, 0, 1);
  add_layer(b, 2, 0, 0, 2);
  put_rows(b, 1, 1, 1, 3);
  put_rows(b, 2, 1, 1, 3);
  assert_int_equal(layers_line(b->layers, 1, 2, &l), 0);
  assert_int_equal(layers_pin(b->layers, l), 0);
  put_record(b, 5, 1, TRASH_ALL_MEMORIES, UINT64_MAX);
  put_record(b, 6, 2, TRASH_ALL_MEMORIES, UINT64_MAX);
  trash_outcome out = step(b);
  assert_true(out.rows_deleted == 2 && !out.pinned);
  out = step(b);
  assert_true(out.rows_deleted == 0 && !out.pinned);   /* it waits; another record can be worked on */
  out = step(b);
  assert_true(out.layer_removed == 2 && out.pinned);
  out = step(b);
  assert_true(!out.worked && out.pinned && pending(b));
  layers_unpin(b->layers, l, note, b);
  assert_int_equal(b->orphaned, 1);
  assert_int_equal(step(b).layer_removed, 1);
  assert_false(pending(b));
  line_release(l);
}

/* No row, but somebody still looks at the layer: its record must outlive the view and no longer. */
static void an_empty_layer_waits_for_its_pins(void **env) {
  bench *b = *env;
  line *l;
  add_layer(b, 1, 0, 0, 1);
  assert_int_equal(layers_line(b->layers, 1, 2, &l), 0);
  assert_int_equal(layers_pin(b->layers, l), 0);
  put_record(b, 5, 1, TRASH_ALL_MEMORIES, UINT64_MAX);
  assert_true(step(b).pinned);
  layers_unpin(b->layers, l, note, b);
  assert_int_equal(step(b).layer_removed, 1);
  line_release(l);
}

/* Memory 1 died at 10, snapshots at 5 and 20. Dropping 5 must free its rows, though the layer is the present and 20 is newer. */
static void a_dead_memory_goes_with_the_last_point_before_its_death(void **env) {
  bench *b = *env;
  add_layer(b, 1, 0, 0, 1);
  put_present(b, 1, 1);
  put_rows(b, 1, 1, 4, 5);
  put_rows(b, 1, 2, 1, 1);
  assert_int_equal(layers_retain(b->layers, 1, 5), 0);
  assert_int_equal(layers_retain(b->layers, 1, 20), 0);
  put_record(b, 5, 1, 1, 10);
  trash_outcome out = step(b);
  assert_int_equal(out.rows_deleted, 16);
  assert_true(!out.pinned && step(b).pinned && pending(b));
  put_record(b, 6, 1, TRASH_ALL_MEMORIES, UINT64_MAX);
  layers_unretain(b->layers, 1, 5);
  out = step(b);
  assert_int_equal(out.rows_deleted, 4);
  out = step(b);
  assert_int_equal(out.rows_deleted, 0);
  assert_false(pending(b));
  assert_int_equal(count_rows(&b->f, 1), 1);  /* memory 2 lives */
}

/* Its rows are nobody's yet, and must not go before they are: also not while a group that failed is waiting to be tried again. */
static void a_layer_that_is_being_rerooted_is_left_alone(void **env) {
  bench *b = *env;
  layer_record rootless = {.depth = 1, .instance = 1};
  add_layer(b, 1, 0, 0, 1);
  put_present(b, 1, 1);
  put_rows(b, 1, 1, 1, 2);
  add_layer(b, 2, 1, 2, 1);
  db_txn *txn = begin(&b->f);
  assert_int_equal(catalog_put_layer(txn, 2, &rootless), 0);
  commit(txn);
  put_rows(b, 2, 1, 4, 1);
  put_record(b, 5, 2, TRASH_ALL_MEMORIES, UINT64_MAX);
  assert_true(step(b).pinned);
  assert_false(step(b).worked);
  assert_int_equal(count_rows(&b->f, 2), 4);
  layers_remove(b->layers, 2);  /* taken back */
  trash_outcome out = step(b);
  assert_true(out.rows_deleted == 4 && out.layer_removed == 2);
  assert_false(pending(b));
}

static void a_record_can_be_taken_back(void **env) {
  bench *b = *env;
  put_record(b, 5, 1, TRASH_ALL_MEMORIES, UINT64_MAX);
  db_txn *txn = begin(&b->f);
  assert_int_equal(trash_delete(txn, 5), 0);
  assert_int_equal(trash_delete(txn, 5), 0);
  commit(txn);
  assert_false(pending(b));
}

static void a_resume_key_outside_its_layer_is_damage(void **env) {
  bench *b = *env;
  trash_outcome out;
  trash_record r = {.layer = 1, .memory = TRASH_ALL_MEMORIES, .died_at = UINT64_MAX};
  add_layer(b, 1, 0, 0, 1);
  page_key_encode((page_key){2, 1, 1, 1}, r.resume);
  db_txn *txn = begin(&b->f);
  assert_int_equal(trash_put(txn, 5, &r), 0);
  assert_int_equal(trash_step(txn, b->layers, &b->next_trash, &out), PAGESTORE_ECORRUPT);
  db_abort(txn);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(nothing_to_do),
      TEST(steps_are_bounded_and_resume_inside_a_page),
      TEST(a_step_sees_a_bounded_number_of_rows),
      TEST(a_layer_goes_with_its_last_row_and_then_its_parent),
      TEST(an_aborted_step_is_done_again),
      TEST(an_aborted_step_does_not_make_its_record_wait),
      TEST(rows_that_pins_keep_wait_and_do_not_stop_others),
      TEST(an_empty_layer_waits_for_its_pins),
      TEST(a_dead_memory_goes_with_the_last_point_before_its_death),
      TEST(a_layer_that_is_being_rerooted_is_left_alone),
      TEST(a_record_can_be_taken_back),
      TEST(a_resume_key_outside_its_layer_is_damage),
  };
  return cmocka_run_group_tests_name("trash", tests, NULL, NULL);
}
