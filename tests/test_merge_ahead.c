/* test_merge_ahead.c - a line of the log that is drained again and again is merged ahead of that, so that whoever waits for the next
 * draining waits for few pages; one that is not is left alone.
 *
 * ctest: WRAP malloc calloc realloc
 */
#include "block_log_bench.h"

enum { FLUSHES = 100, PAGES_A_GROUP = 8, FEW = 40 };

/* One block a flush, scattered. */
static void flush_one(bench *b) {
  uint64_t n = b->version;
  assert_int_equal(flush_page(b, n * 7 % PAGES, (uint16_t)(1u << n % 16), n + 1), 0);
}

static uint64_t drain(bench *b) {
  uint64_t before = b->w.rows_put;
  merge_at at = {0};
  b->w.txn = begin(&b->f);
  assert_int_equal(block_log_drain(b->log, &b->w, b->of, 10000, &at), 0);
  assert_true(at.done);
  commit(b->w.txn);
  block_log_drained(b->log, b->of, b->w.rows_put - before);
  return b->w.rows_put - before;
}

static uint64_t merge_ahead(bench *b, bool durable) {
  uint64_t pages = PAGES_A_GROUP, before = b->w.rows_put;
  b->w.txn = begin(&b->f);
  assert_int_equal(block_log_merge_ahead(b->log, &b->w, b->of, &pages), 0);
  assert_true(pages <= PAGES_A_GROUP && b->w.rows_put - before <= PAGES_A_GROUP);
  if (durable) commit(b->w.txn);
  else db_abort(b->w.txn);
  return b->w.rows_put - before;
}

static void what_is_not_drained_is_left_alone(void **env) {
  bench *b = *env;
  for (unsigned n = 0; n < FLUSHES; n++) {
    flush_one(b);
    assert_int_equal(merge_ahead(b, true), 0);
  }
  assert_all(b);
  assert_int_equal(drain(b), PAGES); /* all at once: each page has some */
  assert_all(b);
}

static void the_next_draining_finds_few(void **env) {
  bench *b = *env;
  for (unsigned n = 0; n < FLUSHES; n++) flush_one(b);
  for (unsigned round = 0; round < 3; round++) {
    uint64_t ahead = 0, pages = drain(b);
    assert_true(round == 0 ? pages == PAGES : pages <= FEW);
    assert_all(b);
    for (unsigned n = 0; n < FLUSHES; n++) {
      flush_one(b);
      ahead += merge_ahead(b, true);
      if (n % 16 == 0) assert_all(b);
    }
    assert_true(ahead > 0);
    assert_int_equal(b->state->memories[0].stored_pages, stored_pages(b));
  }
  drain(b);
  assert_int_equal(count_rows(&b->f, 0), stored_pages(b));
  assert_all_lasts(b);
}

/* What was merged in a transaction that was not durable the next draining does. */
static void an_abandoned_one_is_made_up_for(void **env) {
  bench *b = *env;
  for (unsigned n = 0; n < FLUSHES; n++) flush_one(b);
  drain(b);
  for (unsigned n = 0; n < FLUSHES; n++) {
    flush_one(b);
    merge_ahead(b, n % 3 == 0);
    assert_all(b);
  }
  drain(b);
  assert_int_equal(count_rows(&b->f, 0), stored_pages(b));
  assert_all(b);
}

/* Where nobody drains it any more, it gathers again. */
static void it_ends_by_itself(void **env) {
  bench *b = *env;
  for (unsigned n = 0; n < FLUSHES; n++) flush_one(b);
  uint64_t pages = drain(b), ahead = 0, last = 0;
  for (unsigned n = 0; n < 10 * FLUSHES; n++) {
    flush_one(b);
    ahead += last = merge_ahead(b, true);
  }
  assert_int_equal(last, 0);
  assert_in_range(ahead, pages, 2 * pages + PAGES_A_GROUP);
  assert_all(b);
}

static void few_pages_are_not_worth_it(void **env) {
  bench *b = *env;
  for (uint64_t n = 0; n < 20; n++) assert_int_equal(flush_page(b, n, 1, n + 1), 0);
  assert_int_equal(drain(b), 20);
  for (unsigned n = 0; n < FLUSHES; n++) {
    flush_one(b);
    assert_int_equal(merge_ahead(b, true), 0);
  }
  assert_all(b);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(what_is_not_drained_is_left_alone),
      TEST(the_next_draining_finds_few),
      TEST(an_abandoned_one_is_made_up_for),
      TEST(it_ends_by_itself),
      TEST(few_pages_are_not_worth_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
