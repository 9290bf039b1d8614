/* test_history.c - changed pages by serial: what is covered, what a repeat adds, what is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pagestore/history.h"

static void count(void *env, uint64_t page, uint16_t blocks) {
  (void)page, (void)blocks;
  ++*(unsigned *)env;
}

static unsigned pages_between(const history *h, uint64_t after, uint64_t through, uint32_t memory) {
  unsigned pages = 0;
  history_each(h, after, through, memory, count, &pages);
  return pages;
}

static void each_tells_serials_and_memories_apart(void **unused) {
  (void)unused;
  history h = {0};
  history_add(&h, 1, 7, 10, 1);
  history_add(&h, 2, 7, 11, 1);
  history_add(&h, 2, 8, 11, 1);
  assert_int_equal(pages_between(&h, 0, 2, 7), 2);
  assert_int_equal(pages_between(&h, 1, 2, 7), 1);
  assert_int_equal(pages_between(&h, 0, 1, 8), 0);
  history_free(&h);
}

/* Restoring one snapshot over and over: each time what lies between is repeated, each page once. */
static void repeats_do_not_multiply(void **unused) {
  (void)unused;
  history h = {0};
  history_add(&h, 1, 7, 10, 1);
  history_add(&h, 2, 7, 10, 1);
  history_add(&h, 2, 7, 11, 1);
  for (uint64_t serial = 3; serial < 100; serial++) {
    assert_true(history_repeat(&h, 0, serial - 1, serial));
    assert_int_equal(pages_between(&h, serial - 1, serial, 7), 2);
  }
  assert_int_equal(h.count, 3 + 97 * 2);
  history_free(&h);
}

static void join(void *env, uint64_t page, uint16_t blocks) {
  (void)page;
  *(uint16_t *)env |= blocks;
}

static void a_repeat_has_all_blocks(void **unused) {
  (void)unused;
  history h = {0};
  uint16_t blocks = 0;
  history_add(&h, 1, 7, 10, 1);
  history_add(&h, 2, 7, 10, 6);
  assert_true(history_repeat(&h, 0, 2, 3));
  assert_int_equal(pages_between(&h, 2, 3, 7), 1);
  history_each(&h, 2, 3, 7, join, &blocks);
  assert_int_equal(blocks, 7);
  history_free(&h);
}

static void the_oldest_go_first_and_whole(void **unused) {
  (void)unused;
  history h = {0};
  for (uint64_t serial = 1; serial <= HISTORY_ENTRIES_MAX; serial++) {
    history_add(&h, serial, 7, 1, 1);
    history_add(&h, serial, 7, 2, 1);
  }
  assert_true(h.count <= HISTORY_ENTRIES_MAX);
  assert_false(history_covers(&h, 0));
  assert_true(history_covers(&h, h.floor));
  assert_int_equal(pages_between(&h, h.floor, h.floor + 1, 7), 2);
  assert_false(history_repeat(&h, 0, HISTORY_ENTRIES_MAX, HISTORY_ENTRIES_MAX + 1));
  assert_int_equal(h.floor, HISTORY_ENTRIES_MAX + 1);
  assert_int_equal(h.count, 0);
  history_free(&h);
}

/* More than there is room for at one serial: nothing of it is covered, and what comes later is. */
static void one_serial_that_is_too_large(void **unused) {
  (void)unused;
  history h = {0};
  for (uint64_t page = 0; page < HISTORY_ENTRIES_MAX + 10; page++) history_add(&h, 1, 7, page, 1);
  assert_int_equal(h.count, 0);
  assert_false(history_covers(&h, 0));
  for (uint64_t page = 0; page <= HISTORY_ENTRIES_MAX / 2; page++) history_add(&h, 2, 7, page, 1);
  assert_int_equal(pages_between(&h, 1, 2, 7), HISTORY_ENTRIES_MAX / 2 + 1);
  assert_false(history_repeat(&h, 1, 2, 3)); /* twice as much would not fit */
  assert_true(h.count == 0 && !history_covers(&h, 2) && history_covers(&h, 3));
  history_free(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_tells_serials_and_memories_apart),
    cmocka_unit_test(repeats_do_not_multiply),
    cmocka_unit_test(a_repeat_has_all_blocks),
    cmocka_unit_test(the_oldest_go_first_and_whole),
    cmocka_unit_test(one_serial_that_is_too_large),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
