/* test_pagemap.c - lookups over lines, bounds and unflushed blocks; damage; walking and comparing. */
#include "storage_fixture.h"

/* Lines over hand-made rows: layer 1, 2 over (1, 10), 3 over (2, 10). */
typedef struct {
  fixture f;
  line *line;
  uint8_t *scratch_a, *scratch_b;
} bench;

static void make_line(bench *b, const line_step *steps, uint32_t depth) {
  line *l;
  line_release(b->line);
  assert_int_equal(line_empty(&b->line), 0);
  for (uint32_t i = depth; i-- > 0;) {  /* from the root on */
    assert_int_equal(line_extend(b->line, steps[i].layer, &l), 0);
    line_release(b->line);
    assert_int_equal(line_rebound(l, steps[i].bound, &b->line), 0);
    line_release(l);
  }
}

static int setup(void **env) {
  bench *b = calloc(1, sizeof *b);
  fixture_open(&b->f);
  commit(begin(&b->f));
  b->scratch_a = malloc(PAGE_BYTES);
  b->scratch_b = malloc(PAGE_BYTES);
  make_line(b, (line_step[]){{3, BOUND_OPEN}, {2, 10}, {1, 10}}, 3);
  *env = b;
  return 0;
}

static int teardown(void **env) {
  bench *b = *env;
  fixture_close(&b->f);
  line_release(b->line);
  free(b->scratch_a);
  free(b->scratch_b);
  free(b);
  return 0;
}

/* Every block of one tag; tag 0: a zero marker. */
static void put(bench *b, page_key k, uint64_t tag) {
  static uint8_t record[PAGE_RECORD_BYTES];
  uint8_t key[PAGE_KEY_BYTES];
  size_t size = tag == 0 ? ZERO_MARKER_BYTES : PAGE_RECORD_BYTES;
  page_key_encode(k, key);
  if (tag == 0) zero_marker_encode(k, record);
  else page_header_init(record, k, store_id);
  for (unsigned i = 0; i < PAGE_BLOCKS && tag != 0; i++) {
    uint8_t *block = record + PAGE_HEADER_BYTES + (size_t)i * BLOCK_BYTES;
    fill_block(block, tag);
    page_header_set_checksum(record, i, block_checksum(block, k.page, i));
  }
  if (tag != 0) page_header_seal(record);
  db_txn *txn = begin(&b->f);
  assert_int_equal(db_put(txn, DB_PAGES, (bytes){key, sizeof key}, (bytes){record, size}), 0);
  commit(txn);
}

static unflushed *push(unflushed *old, uint32_t memory, uint64_t page, uint16_t mask, uint64_t tag, uint64_t serial) {
  delta *d = one_page_delta(memory, page, mask, tag);
  unflushed *u;
  assert_int_equal(unflushed_push(old, d, serial, 0, &u), 0);
  delta_release(d);
  unflushed_release(old);
  return u;
}

static pagemap map_of(bench *b, db_slot *slot, const unflushed *u) {
  return (pagemap){.reader = {.slot = slot}, .line = b->line, .unflushed = u, .store = store_id};
}

static const uint64_t *tags_of(uint64_t tag, uint16_t mask, uint64_t other) {
  static uint64_t tags[PAGE_BLOCKS];
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) tags[i] = mask >> i & 1 ? other : tag;
  return tags;
}

static int read_page(bench *b, const unflushed *u, uint64_t page, const uint64_t *tags, row_place *damage) {
  db_slot *slot = reading(&b->f);
  pagemap m = map_of(b, slot, u);
  const uint8_t *got;
  int err = pagemap_read(&m, 1, page, b->scratch_a, &got, damage);
  if (err == 0 && tags != NULL) assert_page(got, tags);
  if (err == 0 && tags == NULL) assert_null(got);
  db_slot_release(slot);
  return err;
}

static void the_newest_row_within_each_bound_is_found(void **env) {
  bench *b = *env;
  row_place damage;
  put(b, (page_key){1, 1, 0, 5}, 5);
  put(b, (page_key){1, 1, 0, 11}, 11);            /* beyond the bound */
  assert_int_equal(read_page(b, NULL, 0, tags_of(5, 0, 0), &damage), 0);
  put(b, (page_key){2, 1, 0, 10}, 10);
  put(b, (page_key){2, 1, 0, 3}, 3);
  assert_int_equal(read_page(b, NULL, 0, tags_of(10, 0, 0), &damage), 0);
  put(b, (page_key){3, 1, 0, 1}, 0);              /* a marker hides them all */
  assert_int_equal(read_page(b, NULL, 0, NULL, &damage), 0);
  put(b, (page_key){3, 1, 0, UINT64_MAX - 1}, 77);
  assert_int_equal(read_page(b, NULL, 0, tags_of(77, 0, 0), &damage), 0);
  assert_int_equal(read_page(b, NULL, 1, NULL, &damage), 0);
  make_line(b, NULL, 0);
  assert_int_equal(read_page(b, NULL, 0, NULL, &damage), 0);  /* never committed: zeros */
}

static void unflushed_blocks_lie_over_rows(void **env) {
  bench *b = *env;
  row_place damage;
  put(b, (page_key){1, 1, 0, 5}, 5);
  put(b, (page_key){2, 1, 2, 5}, 0);
  unflushed *u = push(NULL, 1, 0, 0x0ff0, 8, 1);
  u = push(u, 1, 1, 0x0001, 9, 2);
  u = push(u, 1, 2, 0x0002, 9, 3);
  u = push(u, 1, 3, ALL_BLOCKS, 7, 4);
  u = push(u, 1, 0, 0x0010, 0, 5);
  uint64_t tags[PAGE_BLOCKS];
  memcpy(tags, tags_of(5, 0x0ff0, 8), sizeof tags);
  tags[4] = 0;
  assert_int_equal(read_page(b, u, 0, tags, &damage), 0);
  assert_int_equal(read_page(b, u, 1, tags_of(0, 1, 9), &damage), 0);
  assert_int_equal(read_page(b, u, 2, tags_of(0, 2, 9), &damage), 0);
  assert_int_equal(read_page(b, u, 3, tags_of(7, 0, 0), &damage), 0);
  unflushed_release(u);
}

static void damage_is_told_with_its_place_unless_overridden(void **env) {
  bench *b = *env;
  row_place damage = {0, 0};
  put(b, (page_key){2, 1, 0, 5}, 5);
  put(b, (page_key){2, 1, 1, 5}, 5);
  put(b, (page_key){2, 1, 2, 5}, 0);
  put(b, (page_key){2, 1, 3, 5}, 5);
  damage_row(&b->f, (page_key){2, 1, 0, 5}, PAGE_HEADER_BYTES + 3 * BLOCK_BYTES + 17);
  damage_row(&b->f, (page_key){2, 1, 1, 5}, 70);
  damage_row(&b->f, (page_key){2, 1, 2, 5}, 9);
  assert_int_equal(read_page(b, NULL, 0, NULL, &damage), PAGESTORE_ECORRUPT);
  assert_true(damage.layer == 2 && damage.version == 5);
  unflushed *u = push(NULL, 1, 0, 1 << 3, 8, 1);
  assert_int_equal(read_page(b, u, 0, tags_of(5, 1 << 3, 8), &damage), 0);  /* the damaged block is not looked at */
  u = push(u, 1, 1, 1, 8, 2);
  assert_int_equal(read_page(b, u, 1, NULL, &damage), PAGESTORE_ECORRUPT);  /* a header is, as long as a block is wanted */
  u = push(u, 1, 1, ALL_BLOCKS, 8, 3);
  assert_int_equal(read_page(b, u, 1, tags_of(8, 0, 0), &damage), 0);
  assert_int_equal(read_page(b, NULL, 2, NULL, &damage), PAGESTORE_ECORRUPT);
  assert_int_equal(read_page(b, NULL, 3, tags_of(5, 0, 0), &damage), 0);    /* other pages stay readable */
  db_slot *slot = reading(&b->f);
  pagemap m = map_of(b, slot, NULL);
  m.store.byte[0] ^= 1;                                                      /* a row of another store */
  const uint8_t *got;
  assert_int_equal(pagemap_read(&m, 1, 3, b->scratch_a, &got, &damage), PAGESTORE_ECORRUPT);
  db_slot_release(slot);
  unflushed_release(u);
}

static void the_write_transaction_sees_its_own_rows(void **env) {
  bench *b = *env;
  uint8_t key[PAGE_KEY_BYTES], marker[ZERO_MARKER_BYTES];
  page_key k = {3, 1, 4, 2};
  put(b, (page_key){2, 1, 4, 5}, 5);
  page_key_encode(k, key);
  zero_marker_encode(k, marker);
  db_txn *txn = begin(&b->f);
  pagemap m = {.reader = {.txn = txn}, .line = b->line, .store = store_id};
  row_place place, damage;
  bytes row;
  const uint8_t *got;
  assert_int_equal(pagemap_read(&m, 1, 4, b->scratch_a, &got, &damage), 0);
  assert_page(got, tags_of(5, 0, 0));
  assert_int_equal(db_put(txn, DB_PAGES, (bytes){key, sizeof key}, (bytes){marker, sizeof marker}), 0);
  assert_int_equal(pagemap_row(&m, 1, 4, &place, &row), 0);
  assert_true(place.layer == 3 && place.version == 2 && row.size == ZERO_MARKER_BYTES);
  assert_int_equal(pagemap_read(&m, 1, 4, b->scratch_a, &got, &damage), 0);
  assert_null(got);
  assert_int_equal(pagemap_row(&m, 2, 4, &place, &row), 0);
  assert_true(place.version == 0 && row.data == NULL);
  db_abort(txn);
}

static void walking_finds_what_some_step_shows(void **env) {
  bench *b = *env;
  put(b, (page_key){1, 1, 3, 5}, 0);
  put(b, (page_key){1, 1, 1, 11}, 0);
  put(b, (page_key){1, 1, 4, 11}, 0);  /* newer than the bound: not shown */
  put(b, (page_key){1, 1, 6, 11}, 0);
  put(b, (page_key){1, 1, 6, 10}, 0);
  put(b, (page_key){2, 1, 3, 5}, 0);
  put(b, (page_key){3, 1, 9, 99}, 0);
  put(b, (page_key){3, 2, 1, 1}, 0);   /* another memory */
  put(b, (page_key){1, 1, 1ull << 40, 1}, 0);
  unflushed *u = push(NULL, 1, 7, 1, 5, 1);
  u = push(u, 2, 0, 1, 5, 2);
  static const uint64_t shown[] = {3, 6, 7, 9, 1ull << 40};
  db_slot *slot = reading(&b->f);
  pagemap m = map_of(b, slot, u);
  uint64_t page = 0;
  for (unsigned i = 0; i < 5; i++, page++) {
    assert_int_equal(pagemap_next(&m, 1, page, &page), 0);
    assert_int_equal(page, shown[i]);
  }
  assert_int_equal(pagemap_next(&m, 1, page, &page), PAGESTORE_ENOTFOUND);
  assert_int_equal(pagemap_next(&m, 3, 0, &page), PAGESTORE_ENOTFOUND);
  db_slot_release(slot);
  unflushed_release(u);
}

static uint16_t diff(bench *b, const line *la, const unflushed *ua, const line *lb, const unflushed *ub, uint64_t page, int status) {
  db_slot *slot = reading(&b->f);
  pagemap x = {.reader = {.slot = slot}, .line = la, .unflushed = ua, .store = store_id}, y = x;
  uint16_t mask = 0;
  row_place damage;
  y.line = lb;
  y.unflushed = ub;
  assert_int_equal(pagemap_diff(&x, &y, 1, 1, page, b->scratch_a, b->scratch_b, &mask, &damage), status);
  db_slot_release(slot);
  return mask;
}

static void only_differing_blocks_are_told(void **env) {
  bench *b = *env;
  line *older;
  put(b, (page_key){3, 1, 0, 5}, 5);
  put(b, (page_key){3, 1, 0, 8}, 8);
  put(b, (page_key){3, 1, 1, 5}, 5);
  put(b, (page_key){3, 1, 2, 8}, 8);
  assert_int_equal(line_rebound(b->line, 6, &older), 0);
  unflushed *u = push(NULL, 1, 0, 0x0003, 5, 1), *more = push(unflushed_reference(u), 1, 1, 0x0006, 9, 2);
  assert_int_equal(diff(b, older, NULL, b->line, NULL, 0, 0), ALL_BLOCKS);
  assert_int_equal(diff(b, older, NULL, b->line, u, 0, 0), 0xfffc);
  assert_int_equal(diff(b, older, NULL, b->line, NULL, 2, 0), ALL_BLOCKS);  /* zeros against a page */
  assert_int_equal(diff(b, older, NULL, b->line, NULL, 3, 0), 0);
  assert_int_equal(diff(b, older, u, older, more, 1, 0), 0x0006);
  damage_row(&b->f, (page_key){3, 1, 1, 5}, PAGE_HEADER_BYTES);
  damage_row(&b->f, (page_key){3, 1, 0, 5}, PAGE_HEADER_BYTES);
  assert_int_equal(diff(b, older, NULL, b->line, NULL, 1, 0), 0);           /* one row: not even looked at */
  assert_int_equal(diff(b, older, more, b->line, more, 1, 0), 0);
  diff(b, older, NULL, b->line, NULL, 0, PAGESTORE_ECORRUPT);
  unflushed_release(u);
  unflushed_release(more);
  line_release(older);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_newest_row_within_each_bound_is_found),
      TEST(unflushed_blocks_lie_over_rows),
      TEST(damage_is_told_with_its_place_unless_overridden),
      TEST(the_write_transaction_sees_its_own_rows),
      TEST(walking_finds_what_some_step_shows),
      TEST(only_differing_blocks_are_told),
  };
  return cmocka_run_group_tests_name("pagemap", tests, NULL, NULL);
}
