/* test_writer.c - page records out of blocks, case by case. Long mixed runs: test_writer_model.c. */
#include "storage_fixture.h"

/* Two layers: 1, and 2 over (1, 10). Memory 1 is in the state. */
typedef struct {
  fixture f;
  layers *layers;
  line *parent, *child;
  state *state;
  writer w;
} bench;

static int setup(void **env) {
  bench *b = calloc(1, sizeof *b);
  memory_entry *m;
  fixture_open(&b->f);
  commit(begin(&b->f));
  db_slot *slot = reading(&b->f);
  assert_int_equal(layers_load((db_reader){.slot = slot}, &b->layers), 0);
  db_slot_release(slot);
  assert_int_equal(layers_add(b->layers, 1, &(layer_record){.depth = 1, .instance = 1}), 0);
  assert_int_equal(layers_add(b->layers, 2, &(layer_record){.parent = 1, .parent_version = 10, .depth = 2, .instance = 2}), 0);
  assert_int_equal(layers_line(b->layers, 1, BOUND_OPEN, &b->parent), 0);
  assert_int_equal(layers_line(b->layers, 2, BOUND_OPEN, &b->child), 0);
  assert_int_equal(state_new(&b->state), 0);
  assert_int_equal(state_memory_add(b->state, "heap", &m), 0);
  assert_int_equal(m->id, 1);
  b->w = (writer){.layers = b->layers, .store = store_id, .scratch = malloc(PAGE_RECORD_BYTES)};
  *env = b;
  return 0;
}

static int teardown(void **env) {
  bench *b = *env;
  fixture_close(&b->f);
  line_release(b->parent);
  line_release(b->child);
  layers_free(b->layers);
  state_release(b->state);
  free(b->w.scratch);
  free(b);
  return 0;
}

static uint64_t stored_pages(const bench *b) { return b->state->memories[0].stored_pages; }

/* Writes one page's blocks at a version, in a transaction of its own. */
static void write_page(bench *b, const line *l, uint64_t version, uint32_t memory, uint64_t page, uint16_t mask, uint64_t tag) {
  delta *d = one_page_delta(memory, page, mask, tag);
  unflushed *u;
  assert_int_equal(unflushed_push(NULL, d, 1, 0, &u), 0);
  b->w.txn = begin(&b->f);
  assert_int_equal(writer_apply(&b->w, l, version, &(writer_changes){.blocks = u}, b->state), 0);
  commit(b->w.txn);
  unflushed_release(u);
  delta_release(d);
}

static void assert_reads(bench *b, const line *l, uint64_t bound, uint64_t page, const uint64_t tags[PAGE_BLOCKS], int status) {
  line *bounded;
  row_place damage;
  const uint8_t *bytes_of;
  assert_int_equal(line_rebound(l, bound, &bounded), 0);
  db_slot *slot = reading(&b->f);
  pagemap map = {.reader = {.slot = slot}, .line = bounded, .store = store_id};
  assert_int_equal(pagemap_read(&map, 1, page, db_slot_page(slot), &bytes_of, &damage), status);
  if (status == 0) assert_page(bytes_of, tags);
  db_slot_release(slot);
  line_release(bounded);
}

/* Blocks 0..15 all of one tag, but `other` in those of `mask`. */
static const uint64_t *tags_of(uint64_t tag, uint16_t mask, uint64_t other) {
  static uint64_t tags[PAGE_BLOCKS];
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) tags[i] = mask >> i & 1 ? other : tag;
  return tags;
}

static void a_new_version_replaces_the_one_nobody_needs(void **env) {
  bench *b = *env;
  write_page(b, b->child, 1, 1, 7, 0x0001, 5);
  write_page(b, b->child, 2, 1, 7, 0x8000, 6);
  assert_int_equal(count_rows(&b->f, 0), 1);
  assert_int_equal(stored_pages(b), 1);
  assert_int_equal(b->w.rows_put, 2);
  assert_int_equal(b->w.rows_deleted, 1);
  assert_int_equal(b->w.bytes_put, 2 * PAGE_RECORD_BYTES);
  uint64_t tags[PAGE_BLOCKS] = {[0] = 5, [15] = 6};
  assert_reads(b, b->child, BOUND_OPEN, 7, tags, 0);
}

static void what_compares_equal_writes_nothing(void **env) {
  bench *b = *env;
  write_page(b, b->parent, 1, 1, 0, 0x00ff, 5);
  write_page(b, b->parent, 2, 1, 0, 0x003c, 5);
  write_page(b, b->parent, 3, 1, 1, ALL_BLOCKS, 0);
  assert_int_equal(b->w.rows_put, 1);
  assert_int_equal(b->w.blocks_written, 8);
  assert_int_equal(b->w.blocks_unchanged, 4 + 16);
  assert_int_equal(count_rows(&b->f, 0), 1);
}

static void a_retained_version_stays_and_orphans_go(void **env) {
  bench *b = *env;
  for (uint64_t v = 1; v <= 5; v++) {
    if (v == 2) assert_int_equal(layers_retain(b->layers, 1, 2), 0);
    if (v == 4) assert_int_equal(layers_retain(b->layers, 1, 4), 0);
    write_page(b, b->parent, v, 1, 0, ALL_BLOCKS, v);
  }
  assert_int_equal(count_rows(&b->f, 0), 3);  /* 2, 4, 5 */
  layers_unretain(b->layers, 1, 2);           /* its row is an orphan until the page is written again */
  write_page(b, b->parent, 6, 1, 0, ALL_BLOCKS, 6);
  assert_int_equal(count_rows(&b->f, 0), 2);
  assert_reads(b, b->parent, 4, 0, tags_of(4, 0, 0), 0);
  assert_reads(b, b->parent, BOUND_OPEN, 0, tags_of(6, 0, 0), 0);
}

/* More old rows than a batch holds. */
static void many_orphans_go_at_once(void **env) {
  bench *b = *env;
  for (uint64_t v = 1; v <= 150; v++) assert_int_equal(layers_retain(b->layers, 1, v), 0);
  for (uint64_t v = 1; v <= 150; v++) write_page(b, b->parent, v, 1, 0, 1, v);
  assert_int_equal(count_rows(&b->f, 0), 150);
  for (uint64_t v = 1; v <= 150; v++)
    if (v != 60) layers_unretain(b->layers, 1, v);
  write_page(b, b->parent, 151, 1, 0, 1, 151);
  assert_int_equal(count_rows(&b->f, 0), 3);  /* the child's point, 10, and 60 */
}

static void zeros_give_the_storage_back(void **env) {
  bench *b = *env;
  write_page(b, b->parent, 1, 1, 0, 0x000f, 3);
  write_page(b, b->parent, 2, 1, 0, ALL_BLOCKS, 0);  /* nothing under it: no marker */
  assert_int_equal(count_rows(&b->f, 0), 0);
  assert_int_equal(stored_pages(b), 0);
  write_page(b, b->parent, 3, 1, 0, 0x000f, 3);
  write_page(b, b->child, 1, 1, 0, 0x000f, 0);       /* the parent's row would show: a marker */
  assert_int_equal(count_rows(&b->f, 2), 1);
  assert_reads(b, b->child, BOUND_OPEN, 0, tags_of(0, 0, 0), 0);
  assert_reads(b, b->parent, BOUND_OPEN, 0, tags_of(0, 0x000f, 3), 0);
  assert_int_equal(stored_pages(b), 0);
  write_page(b, b->child, 2, 1, 0, 0x0010, 4);       /* the marker goes */
  assert_int_equal(count_rows(&b->f, 2), 1);
  assert_reads(b, b->child, BOUND_OPEN, 0, tags_of(0, 0x0010, 4), 0);
  assert_int_equal(stored_pages(b), 1);
}

static void the_same_version_again_replaces_itself(void **env) {
  bench *b = *env;
  write_page(b, b->parent, 3, 1, 0, 0x0001, 3);
  write_page(b, b->parent, 3, 1, 0, 0x0002, 4);
  assert_int_equal(count_rows(&b->f, 0), 1);
  uint64_t tags[PAGE_BLOCKS] = {3, 4};
  assert_reads(b, b->parent, 3, 0, tags, 0);
  write_page(b, b->parent, 3, 1, 0, 0x0003, 0);
  assert_int_equal(count_rows(&b->f, 0), 0);
}

static void memories_that_are_gone_are_left_out(void **env) {
  bench *b = *env;
  write_page(b, b->parent, 1, 9, 0, ALL_BLOCKS, 3);
  write_page(b, b->parent, 1, UINT32_MAX, 0, ALL_BLOCKS, 3);
  assert_int_equal(count_rows(&b->f, 0), 0);
}

static void damage_is_carried_and_never_laundered(void **env) {
  bench *b = *env;
  write_page(b, b->parent, 1, 1, 0, ALL_BLOCKS, 3);
  damage_row(&b->f, (page_key){1, 1, 0, 1}, PAGE_HEADER_BYTES + 5 * BLOCK_BYTES);
  write_page(b, b->parent, 2, 1, 0, 0x0001, 4);
  assert_reads(b, b->parent, BOUND_OPEN, 0, NULL, PAGESTORE_ECORRUPT);
  write_page(b, b->parent, 3, 1, 0, 1 << 5, 3);  /* a write over the damaged block mends it */
  assert_reads(b, b->parent, BOUND_OPEN, 0, tags_of(3, 1, 4), 0);
}

static void a_damaged_header_damages_what_is_carried(void **env) {
  bench *b = *env;
  write_page(b, b->parent, 1, 1, 0, ALL_BLOCKS, 3);
  damage_row(&b->f, (page_key){1, 1, 0, 1}, 70);
  write_page(b, b->parent, 2, 1, 0, 0x7fff, 3);  /* equal bytes, but under a header that says nothing */
  assert_int_equal(b->w.rows_put, 2);
  assert_reads(b, b->parent, BOUND_OPEN, 0, NULL, PAGESTORE_ECORRUPT);
  write_page(b, b->parent, 3, 1, 0, 0x8000, 3);
  assert_reads(b, b->parent, BOUND_OPEN, 0, tags_of(3, 0, 0), 0);
  assert_int_equal(stored_pages(b), 1);
}

/* Zeros under a header that says nothing may have been something else: not a page of zeros. */
static void damaged_zeros_do_not_vanish(void **env) {
  bench *b = *env;
  write_page(b, b->parent, 1, 1, 0, 0x0001, 3);
  damage_row(&b->f, (page_key){1, 1, 0, 1}, 70);
  write_page(b, b->parent, 2, 1, 0, 0x0001, 0);
  assert_int_equal(count_rows(&b->f, 0), 1);
  assert_reads(b, b->parent, BOUND_OPEN, 0, NULL, PAGESTORE_ECORRUPT);
}

static void an_equal_byte_over_a_wrong_checksum_is_written(void **env) {
  bench *b = *env;
  write_page(b, b->parent, 1, 1, 0, ALL_BLOCKS, 3);
  size_t at = PAGE_HEADER_BYTES + 2 * BLOCK_BYTES;
  damage_row(&b->f, (page_key){1, 1, 0, 1}, at);
  uint8_t *page = malloc(PAGE_BYTES);
  fill_page(page, tags_of(3, 0, 0));
  page[2 * BLOCK_BYTES] ^= 1;  /* just what the damage made of it */
  delta *d;
  unflushed *u;
  assert_int_equal(delta_new(1, 1, &d), 0);
  delta_add(d, 1, 0, 1 << 2, page);
  assert_int_equal(unflushed_push(NULL, d, 1, 0, &u), 0);
  b->w.txn = begin(&b->f);
  assert_int_equal(writer_apply(&b->w, b->parent, 2, &(writer_changes){.blocks = u}, b->state), 0);
  commit(b->w.txn);
  db_slot *slot = reading(&b->f);
  pagemap map = {.reader = {.slot = slot}, .line = b->parent, .store = store_id};
  const uint8_t *got;
  row_place damage;
  assert_int_equal(pagemap_read(&map, 1, 0, db_slot_page(slot), &got, &damage), 0);
  assert_memory_equal(got, page, PAGE_BYTES);
  db_slot_release(slot);
  unflushed_release(u);
  delta_release(d);
  free(page);
}

/* ---- system pages ---------------------------------------------------------------------------------------------------- */

static void put_system(bench *b, uint64_t version, uint64_t first, size_t length, int byte) {
  uint8_t *from = malloc(length + 1);
  memset(from, byte, length);
  b->w.txn = begin(&b->f);
  assert_int_equal(writer_system_pages(&b->w, b->parent, version, first, from, length), 0);
  commit(b->w.txn);
  free(from);
}

static void system_pages_grow_and_shrink(void **env) {
  bench *b = *env;
  put_system(b, 1, SYSTEM_TABLE_PAGE, 10, 9);
  put_system(b, 1, SYSTEM_METADATA_PAGE, 3 * PAGE_BYTES + 5000, 7);
  assert_int_equal(count_rows(&b->f, 0), 5);
  put_system(b, 2, SYSTEM_METADATA_PAGE, PAGE_BYTES + 1, 7);
  assert_int_equal(count_rows(&b->f, 0), 3);
  db_slot *slot = reading(&b->f);
  pagemap map = {.reader = {.slot = slot}, .line = b->parent, .store = store_id};
  const uint8_t *got;
  row_place damage;
  assert_int_equal(pagemap_read(&map, SYSTEM_MEMORY, 1, db_slot_page(slot), &got, &damage), 0);
  assert_int_equal(got[0], 7);
  for (size_t i = 1; i < PAGE_BYTES; i++) assert_int_equal(got[i], 0);
  db_slot_release(slot);
  put_system(b, 3, SYSTEM_METADATA_PAGE, 0, 0);
  assert_int_equal(count_rows(&b->f, 0), 1);
  put_system(b, 4, SYSTEM_TABLE_PAGE, 0, 0);
  assert_int_equal(count_rows(&b->f, 0), 0);
}

/* ---- re-rooting -------------------------------------------------------------------------------------------------------- */

static void rerooting_copies_what_is_visible(void **env) {
  bench *b = *env;
  memory_entry *m;
  assert_int_equal(state_memory_add(b->state, "a second", &m), 0);
  for (uint64_t page = 0; page < 5; page++) write_page(b, b->parent, 1, 1, page, 0x0003, page + 1);
  write_page(b, b->parent, 1, 2, 9, 0x0003, 8);
  put_system(b, 1, SYSTEM_METADATA_PAGE, 100, 7);
  write_page(b, b->child, 1, 1, 1, ALL_BLOCKS, 0);
  write_page(b, b->child, 1, 1, 2, 0x0001, 9);
  damage_row(&b->f, (page_key){1, 1, 3, 1}, PAGE_HEADER_BYTES);
  damage_row(&b->f, (page_key){1, 1, 4, 1}, 70);
  reroot_at at = {0};
  bool done = false;
  unsigned steps = 0;
  for (; !done; steps++) {
    b->w.txn = begin(&b->f);
    assert_int_equal(writer_reroot(&b->w, &(reroot_source){.line = b->child}, b->state, 3, 1, 2, &at, &done), 0);
    commit(b->w.txn);
  }
  assert_int_equal(steps, 4);                  /* 7 pages, two at a time */
  assert_int_equal(count_rows(&b->f, 3), 6);   /* the marker is not copied */
  line *flat;
  assert_int_equal(layers_add(b->layers, 3, &(layer_record){.depth = 1, .instance = 2}), 0);
  assert_int_equal(layers_line(b->layers, 3, BOUND_OPEN, &flat), 0);
  assert_reads(b, flat, 1, 0, tags_of(0, 3, 1), 0);
  assert_reads(b, flat, 1, 1, tags_of(0, 0, 0), 0);
  uint64_t tags[PAGE_BLOCKS] = {9, 3};
  assert_reads(b, flat, 1, 2, tags, 0);
  assert_reads(b, flat, 1, 3, NULL, PAGESTORE_ECORRUPT);
  assert_reads(b, flat, 1, 4, NULL, PAGESTORE_ECORRUPT);
  line_release(flat);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_new_version_replaces_the_one_nobody_needs),
      TEST(what_compares_equal_writes_nothing),
      TEST(a_retained_version_stays_and_orphans_go),
      TEST(many_orphans_go_at_once),
      TEST(zeros_give_the_storage_back),
      TEST(the_same_version_again_replaces_itself),
      TEST(memories_that_are_gone_are_left_out),
      TEST(damage_is_carried_and_never_laundered),
      TEST(a_damaged_header_damages_what_is_carried),
      TEST(damaged_zeros_do_not_vanish),
      TEST(an_equal_byte_over_a_wrong_checksum_is_written),
      TEST(system_pages_grow_and_shrink),
      TEST(rerooting_copies_what_is_visible),
  };
  return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
