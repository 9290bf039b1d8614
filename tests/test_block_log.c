/* test_block_log.c - the log in front of page records, by itself: filling, generations, merging in slices, deletion, views with old
 * indexes, loading after each state, no memory at any place. The whole under a model: fuzz/crashsim, tests/test_model.c.
 *
 * ctest: WRAP malloc calloc realloc
 */
#include "block_log_bench.h"

/* ---- filling ------------------------------------------------------------------------------------------------------------------- */

static void a_flush_fills_it(void **env) {
  bench *b = *env;
  assert_true(block_log_is_empty(b->log));
  assert_int_equal(block_log_sequence(b->log), 1);
  fill_log(b, 5);
  assert_int_equal(count_records(b), 5);
  assert_int_equal(block_log_sequence(b->log), 6);
  assert_int_equal(count_rows(&b->f, 0), 0);
  assert_int_equal(b->state->memories[0].stored_pages, stored_pages(b));
  assert_false(block_log_has_work(b->log, LOG_BUDGET));
  assert_true(block_log_has_work(b->log, LOG_EVERYTHING));
  assert_int_equal(flush_page(b, 1, 0x00ff, 100), 0); /* too many for the log: a page record */
  assert_int_equal(flush_page(b, 0, 0x0002, 0), 0);   /* zeros, likewise; they were there */
  assert_int_equal(count_records(b), 5);
  assert_int_equal(count_rows(&b->f, 0), 1);
  assert_all(b);
}

static void unchanged_blocks_fill_nothing(void **env) {
  bench *b = *env;
  assert_int_equal(flush_page(b, 3, 0x0011, 7), 0);
  assert_int_equal(flush_page(b, 3, 0x0011, 7), 0);
  assert_int_equal(count_records(b), 1);
  assert_int_equal(b->w.blocks_unchanged, 2);
}

static void an_abandoned_flush_leaves_nothing(void **env) {
  bench *b = *env;
  fill_log(b, 4); /* the next one's block is merged with two older runs of the index */
  for (uint64_t at = 1;; at++) {
    uint64_t sequence = block_log_sequence(b->log);
    fail_in = at;
    int err = flush_page(b, 9, 0x0100, 1000 + at);
    fail_in = 0;
    if (err == 0) break;
    assert_int_equal(err, PAGESTORE_ENOMEM);
    assert_int_equal(block_log_sequence(b->log), sequence);
    assert_int_equal(count_records(b), 4);
    assert_all(b);
    assert_true(at < 1000);
  }
  assert_int_equal(count_records(b), 5);
  assert_all(b);
}

/* Blocks of the pages, each `mask` of one tag, at the next version in the transaction that is being built, as a segment of its own. */
static void write_segment(bench *b, const uint64_t *pages, const uint16_t *masks, unsigned count, uint64_t tag) {
  unflushed *u = NULL;
  for (unsigned i = 0; i < count; i++) {
    delta *d = one_page_delta(1, pages[i], masks[i], tag);
    unflushed *with;
    assert_int_equal(unflushed_push(u, d, i + 1, 0, &with), 0);
    unflushed_release(u);
    delta_release(d);
    u = with;
    for (unsigned n = 0; n < PAGE_BLOCKS; n++)
      if (masks[i] >> n & 1) b->tags[pages[i]][n] = tag;
  }
  writer_changes changes = {.blocks = u, .logged = block_log_sees(b->of), .logged_layer = 1};
  assert_int_equal(writer_apply(&b->w, b->line, ++b->version, &changes, b->state), 0);
  assert_int_equal(block_log_note(b->log, b->of, &b->packer), 0);
  unflushed_release(u);
}

/* One transaction goes on filling a record whose first blocks it takes into a page record, and compares with. */
static void a_record_is_read_while_it_is_filled(void **env) {
  bench *b = *env;
  b->w.txn = begin(&b->f);
  packer_begin(&b->packer, b->w.txn, store_id, block_log_sequence(b->log));
  b->w.packer = &b->packer;
  write_segment(b, (uint64_t[]){5, 6}, (uint16_t[]){0x0001, 0x0001}, 2, 7);
  write_segment(b, (uint64_t[]){2, 5}, (uint16_t[]){0x0001, 0x7ff0}, 2, 8);
  write_segment(b, (uint64_t[]){1, 6}, (uint16_t[]){0x0001, 0x0001}, 2, 7);
  assert_int_equal(packer_end(&b->packer), 0);
  assert_int_equal(block_log_reserve(b->log, b->packer.record_count), 0);
  assert_int_equal(put_present(b, b->version), 0);
  commit(b->w.txn);
  settle(b);
  assert_int_equal(count_records(b), 1);
  assert_int_equal(b->w.blocks_unchanged, 1);
  assert_all(b);
}

/* ---- merging -------------------------------------------------------------------------------------------------------------------- */

static void over_its_budget_the_oldest_generation_goes(void **env) {
  bench *b = *env;
  assert_int_equal(block_log_pace(b->log, 10), 0);
  fill_log(b, BUDGET_RECORDS - GENERATION);
  assert_false(block_log_has_work(b->log, LOG_BUDGET));
  fill_log(b, 1);
  assert_true(block_log_has_work(b->log, LOG_BUDGET));
  assert_true(block_log_pace(b->log, 1) > 0 && block_log_pace(b->log, 100) > block_log_pace(b->log, 1));
  assert_false(block_log_is_behind(b->log));
  uint64_t before = count_records(b);
  for (unsigned n = 0; block_log_has_work(b->log, LOG_BUDGET); n++, assert_true(n < 100)) {
    step(b, LOG_BUDGET, 3, true);
    assert_all(b);
  }
  assert_true(count_records(b) <= before - GENERATION && count_records(b) >= before - 2 * GENERATION);
  assert_true(count_rows(&b->f, 0) > 0);
  fill_log(b, 5 * GENERATION);
  assert_true(block_log_is_behind(b->log));
  assert_all(b);
}

/* Along with flushes the oldest generation goes in small parts while the log fills. Idle upkeep leaves it alone until it is full. */
static void before_that_it_goes_along_with_flushes(void **env) {
  bench *b = *env;
  uint64_t most = 0, flushes = 0, before = b->w.rows_put;
  fill_log(b, BUDGET_RECORDS - 3 * GENERATION);
  assert_int_equal(block_log_pace(b->log, PAGE_BLOCKS), 0);
  fill_log(b, 1);
  assert_false(block_log_has_work(b->log, LOG_BUDGET));
  step(b, LOG_BUDGET, 100, true);
  assert_int_equal(b->w.rows_put, before);
  for (; count_rows(&b->f, 0) < GENERATION; flushes++, assert_true(flushes <= 3 * GENERATION)) {
    uint64_t pages = block_log_pace(b->log, PAGE_BLOCKS), rows = b->w.rows_put;
    assert_true(pages > 0);
    step(b, LOG_EARLY, pages, true);
    most = max_u64(most, b->w.rows_put - rows);
    assert_true(b->w.rows_put - before <= GENERATION);
    fill_log(b, 1);
  }
  assert_true(flushes >= GENERATION / 2 && most <= PAGE_BLOCKS / 4 + 1);
  assert_false(block_log_is_behind(b->log));
  assert_all(b);
}

/* With a packer, blocks of pages that have few in the log are logged anew, as long as that is worth it: at most half of a
 * generation; their versions and the counts stay. */
static void few_blocks_are_logged_anew(void **env) {
  bench *b = *env;
  for (uint64_t n = 0; n < BUDGET_RECORDS; n++) assert_int_equal(flush_page(b, n, 0x0001, n + 1), 0);
  uint64_t sequence = block_log_sequence(b->log);
  for (unsigned n = 0; block_log_has_work(b->log, LOG_BUDGET); n++, assert_true(n < 200)) {
    b->w.txn = begin(&b->f);
    block_log_pack(b->log, &b->packer, b->w.txn, PAGE_BLOCKS);
    b->w.packer = &b->packer;
    assert_int_equal(block_log_step(b->log, &b->w, LOG_BUDGET, 3), 0);
    assert_int_equal(packer_end(&b->packer), 0);
    assert_int_equal(block_log_reserve(b->log, b->packer.record_count), 0);
    commit(b->w.txn);
    settle(b);
    block_log_stepped(b->log, b->f.db, true);
    assert_all(b);
  }
  assert_true(block_log_sequence(b->log) > sequence);
  assert_int_equal(count_rows(&b->f, 0), 0);
  assert_int_equal(b->state->memories[0].stored_pages, stored_pages(b));
  assert_all_lasts(b);
}

/* Each slice once abandoned, once done; the log loaded anew after each. */
static void in_slices_with_reloading(void **env) {
  bench *b = *env;
  fill_log(b, 40);
  for (unsigned n = 0; !block_log_is_empty(b->log); n++) {
    step(b, LOG_EVERYTHING, 4, false);
    assert_all(b);
    step(b, LOG_EVERYTHING, 4, true);
    assert_all(b);
    assert_true(n < 400);
    if (n % 20 > 2 && n % 20 != 19) continue; /* begins anew, and finds what is merged already */
    uint64_t sequence = block_log_sequence(b->log), records = count_records(b);
    unload(b);
    load(b);
    assert_int_equal(block_log_sequence(b->log), sequence);
    assert_int_equal(count_records(b), records);
    assert_all(b);
    if (n < 60) fill_log(b, 1);
  }
  assert_null(atomic_load(&b->of->blocks));
  assert_int_equal(count_rows(&b->f, 0), stored_pages(b));
  assert_int_equal(b->state->memories[0].stored_pages, stored_pages(b));
}

/* Zeros over what was merged, while its records are there: a marker stands for the row that would give way. */
static void zeros_over_merged_blocks(void **env) {
  bench *b = *env;
  assert_int_equal(flush_page(b, 2, 0x0001, 5), 0);
  merge_at at = {0};
  b->w.txn = begin(&b->f);
  assert_int_equal(block_log_drain(b->log, &b->w, b->of, 100, &at), 0);
  assert_true(at.done);
  commit(b->w.txn);
  assert_false(block_log_is_drained(b->log, b->of));
  block_log_drained(b->log, b->of, 0);
  assert_true(block_log_is_drained(b->log, b->of));
  assert_int_equal(flush_page(b, 2, 0x0001, 0), 0);
  assert_int_equal(count_rows(&b->f, 0), 1);
  assert_int_equal(b->state->memories[0].stored_pages, 0);
  assert_all_lasts(b);
  assert_int_equal(flush_page(b, 2, 0x0002, 6), 0);
  assert_all(b);
  while (!block_log_is_empty(b->log)) step(b, LOG_EVERYTHING, 10, true);
  assert_all(b);
}

/* ---- views ----------------------------------------------------------------------------------------------------------------------- */

/* A view that holds an index sees its version while records are merged, deleted, and their room is used again. */
static void a_view_outlives_the_records(void **env) {
  bench *b = *env;
  static uint64_t then[PAGES][PAGE_BLOCKS];
  fill_log(b, 20);
  unflushed *index = log_line_capture(b->log, b->of);
  uint64_t version = b->version;
  memcpy(then, b->tags, sizeof then);
  assert_int_equal(layers_retain(b->layers, 1, version), 0); /* its rows are pinned, as a view's */
  fill_log(b, 20);
  for (unsigned n = 0; n < 200 && !block_log_is_empty(b->log); n++) {
    step(b, LOG_EVERYTHING, 3, true);
    assert_reads(b, index, version, then);
    assert_all(b);
  }
  assert_true(block_log_is_empty(b->log));
  fill_log(b, 60);
  assert_reads(b, index, version, then);
  assert_all(b);
  unflushed_release(index);
  layers_unretain(b->layers, 1, version);
}

static void put_log_row(bench *b, uint64_t number, const catalog_record *record) {
  catalog_key key = catalog_key_id(CATALOG_LOG, number);
  b->w.txn = begin(&b->f);
  assert_int_equal(record_put(b->w.txn, &key, record), 0);
  commit(b->w.txn);
}

static void assert_not_loaded(bench *b) {
  block_log *log;
  db_slot *slot = reading(&b->f);
  assert_int_equal(block_log_load((db_reader){.slot = slot}, store_id, &log), PAGESTORE_ECORRUPT);
  db_slot_release(slot);
}

/* The next numbers would be others' or none. */
static void numbers_that_nobody_gives(void **env) {
  bench *b = *env;
  catalog_record record;
  fill_log(b, 2);
  log_beginning_encode(UINT64_MAX, &record);
  put_log_row(b, LOG_BEGINNING, &record);
  assert_not_loaded(b);
  log_beginning_encode(2, &record);
  put_log_row(b, LOG_BEGINNING, &record);
  log_addresses_encode(&(log_addresses){.count = 1, .at[0] = {.layer = 1, .memory = 1, .version = 1}}, &record);
  put_log_row(b, UINT64_MAX, &record);
  uint8_t key[LOG_KEY_BYTES], *row = calloc(1, PAGE_RECORD_BYTES);
  void *room;
  log_key_encode(UINT64_MAX, key);
  b->w.txn = begin(&b->f);
  assert_int_equal(db_put_reserve(b->w.txn, DB_LOG, (bytes){key, sizeof key}, PAGE_RECORD_BYTES, &room), 0);
  memcpy(room, row, PAGE_RECORD_BYTES);
  commit(b->w.txn);
  free(row);
  assert_not_loaded(b);
}

/* ---- damage ------------------------------------------------------------------------------------------------------------------------ */

/* A row of the log in a transaction that goes on. */
static void get_log_row(bench *b, uint64_t sequence, uint8_t key[LOG_KEY_BYTES], uint8_t *copy) {
  bytes value;
  log_key_encode(sequence, key);
  b->w.txn = begin(&b->f);
  assert_int_equal(db_get(b->w.txn, DB_LOG, (bytes){key, LOG_KEY_BYTES}, &value), 0);
  assert_int_equal(value.size, PAGE_RECORD_BYTES);
  memcpy(copy, value.data, value.size);
}

static uint8_t record[PAGE_RECORD_BYTES];

/* A block that is written again as it was, over damage, is written: it mends it. */
static void the_same_bytes_over_damage(void **env) {
  bench *b = *env;
  uint8_t key[LOG_KEY_BYTES];
  assert_int_equal(flush_page(b, 3, 0x0010, 7), 0);
  unload(b);
  get_log_row(b, 1, key, record);
  record[64 + 24] ^= 1; /* the checksum of its first block */
  assert_int_equal(db_put(b->w.txn, DB_LOG, (bytes){key, sizeof key}, (bytes){record, sizeof record}), 0);
  commit(b->w.txn);
  load(b);
  assert_int_equal(flush_page(b, 3, 0x0010, 7), 0);
  assert_int_equal(b->w.blocks_unchanged, 0);
  assert_int_equal(count_records(b), 2);
  assert_all(b);
}

static void a_record_of_another_size(void **env) {
  bench *b = *env;
  uint8_t key[LOG_KEY_BYTES];
  fill_log(b, 2);
  get_log_row(b, 2, key, record);
  assert_int_equal(db_put(b->w.txn, DB_LOG, (bytes){key, sizeof key}, (bytes){record, sizeof record - 1}), 0);
  commit(b->w.txn);
  assert_not_loaded(b);
}

/* What is no record of the log ends it, whatever it is: check tells. */
static void a_key_of_nothing(void **env) {
  bench *b = *env;
  static const uint8_t key[1] = {0xff};
  fill_log(b, 2);
  b->w.txn = begin(&b->f);
  assert_int_equal(db_put(b->w.txn, DB_CATALOG, (bytes){key, sizeof key}, (bytes){key, sizeof key}), 0);
  commit(b->w.txn);
  unload(b);
  load(b);
  assert_int_equal(count_records(b), 2);
  assert_all(b);
}

static void a_record_is_gone(void **env) {
  bench *b = *env;
  uint8_t key[LOG_KEY_BYTES];
  fill_log(b, 10);
  step(b, LOG_EVERYTHING, 100, true); /* merged: its rows are to be deleted */
  get_log_row(b, 2, key, record);
  assert_int_equal(db_delete(b->w.txn, DB_LOG, (bytes){key, sizeof key}), 0);
  assert_int_equal(block_log_step(b->log, &b->w, LOG_EVERYTHING, 100), PAGESTORE_ECORRUPT);
  db_abort(b->w.txn);
  block_log_stepped(b->log, b->f.db, false);
  assert_reads(b, atomic_load(&b->of->blocks), BOUND_OPEN, b->tags);
}

/* ---- no memory -------------------------------------------------------------------------------------------------------------------- */

/* Loading, with the first, the second ... allocation failing. */
static void assert_loads_without_memory(bench *b) {
  int err;
  uint64_t at = 1;
  do {
    block_log *log = NULL;
    db_slot *slot = reading(&b->f);
    fail_in = at;
    err = block_log_load((db_reader){.slot = slot}, store_id, &log);
    fail_in = 0;
    db_slot_release(slot);
    assert_true(err == 0 || err == PAGESTORE_ENOMEM);
    if (err == 0) block_log_free(log);
    assert_true(++at < 10000);
  } while (err != 0);
  assert_true(at > 30);
  at = 0;
  do {
    unflushed *index;
    db_slot *slot = reading(&b->f);
    fail_in = ++at;
    err = block_log_index((db_reader){.slot = slot}, store_id, 1, &index);
    fail_in = 0;
    db_slot_release(slot);
    assert_true(err == 0 || (err == PAGESTORE_ENOMEM && index == NULL));
    unflushed_release(index);
  } while (err != 0);
  assert_all(b);
}

/* Also with records before the log's beginning, which are a batch of their own. */
static void loading_without_memory(void **env) {
  bench *b = *env;
  fill_log(b, 30);
  assert_loads_without_memory(b);
  step(b, LOG_EVERYTHING, 100, true);
  assert_int_equal(count_records(b), 30);
  fill_log(b, 20);
  assert_loads_without_memory(b);
}

/* What lines show is let go of when there is memory again. */
static void letting_go_without_memory(void **env) {
  bench *b = *env;
  for (uint64_t at = 1; at < 4; at++) {
    fill_log(b, 9);
    for (unsigned n = 0; !block_log_is_empty(b->log); n++, assert_true(n < 100)) {
      b->w.txn = begin(&b->f);
      assert_int_equal(block_log_step(b->log, &b->w, LOG_EVERYTHING, 4), 0);
      commit(b->w.txn);
      fail_in = n % 2 ? at : 0;
      block_log_stepped(b->log, b->f.db, true);
      fail_in = 0;
      assert_all(b);
    }
  }
  assert_int_equal(count_rows(&b->f, 0), stored_pages(b));
}

/* A slice that fails changes nothing; one that cannot let go of the index afterwards is tried again. */
static void merging_without_memory(void **env) {
  bench *b = *env;
  fill_log(b, 24);
  unflushed *index = log_line_capture(b->log, b->of);
  uint64_t failed = 0;
  for (uint64_t at = 1; !block_log_is_empty(b->log); at = at % 40 + 1) {
    b->w.txn = begin(&b->f);
    fail_in = at;
    int err = block_log_step(b->log, &b->w, LOG_EVERYTHING, 5);
    uint64_t left = fail_in;
    fail_in = 0;
    failed += left == 0;
    if (err == 0) commit(b->w.txn);
    else db_abort(b->w.txn);
    assert_true(err == 0 || err == PAGESTORE_ENOMEM);
    fail_in = left;
    block_log_stepped(b->log, b->f.db, err == 0);
    fail_in = 0;
    assert_all(b);
    assert_true(failed < 10000);
  }
  assert_true(failed > 0);
  assert_int_equal(count_rows(&b->f, 0), stored_pages(b));
  unflushed_release(index);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_flush_fills_it),
      TEST(unchanged_blocks_fill_nothing),
      TEST(an_abandoned_flush_leaves_nothing),
      TEST(a_record_is_read_while_it_is_filled),
      TEST(over_its_budget_the_oldest_generation_goes),
      TEST(before_that_it_goes_along_with_flushes),
      TEST(few_blocks_are_logged_anew),
      TEST(in_slices_with_reloading),
      TEST(zeros_over_merged_blocks),
      TEST(a_view_outlives_the_records),
      TEST(numbers_that_nobody_gives),
      TEST(the_same_bytes_over_damage),
      TEST(a_record_of_another_size),
      TEST(a_key_of_nothing),
      TEST(a_record_is_gone),
      TEST(loading_without_memory),
      TEST(letting_go_without_memory),
      TEST(merging_without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
