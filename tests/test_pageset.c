/* test_pageset.c - the set against a plain array of booleans, from a printed seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <pagestore.h>

#include "base/pageset.h"

static uint64_t state;

static uint64_t random_below(uint64_t limit) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (state >> 33) % limit;
}

static void empty_set(void **unused) {
  (void)unused;
  pageset s = { 0 };
  assert_false(pageset_has(&s, 0));
  assert_false(pageset_remove(&s, 7));
  assert_true(pageset_next(&s, 0) == PAGESET_END);
  pageset_clear(&s);
  assert_true(pageset_is_valid(&s));
  assert_int_equal(pageset_resize(&s, UINT64_MAX), PAGESTORE_ENOMEM);
  assert_int_equal(pageset_resize(&s, 0), 0);
  pageset_free(&s);
}

static void small_set_is_small(void **unused) {
  (void)unused;
  pageset s = { 0 };
  assert_int_equal(pageset_resize(&s, 16), 0);
  assert_int_equal(s.capacity, 64);
  assert_true(pageset_add(&s, 63));
  assert_int_equal(pageset_next(&s, 0), 63);
  assert_true(pageset_next(&s, 64) == PAGESET_END);
  pageset_free(&s);
}

static void check_against(const pageset *s, const bool *model, uint64_t capacity) {
  uint64_t count = 0, next = pageset_next(s, 0);
  assert_true(pageset_is_valid(s));
  for (uint64_t i = 0; i < capacity; i++) {
    if (!model[i]) continue;
    assert_int_equal(next, i);
    next = pageset_next(s, i + 1);
    count++;
  }
  assert_true(next == PAGESET_END);
  assert_int_equal(count, s->count);
}

static void as_the_model(void **unused) {
  (void)unused;
  enum { MAX = 20000 };
  bool *model = calloc(MAX, 1);
  pageset s = { 0 };
  uint64_t capacity = 5000;
  assert_int_equal(pageset_resize(&s, capacity), 0);
  for (int step = 0; step < 30000; step++) {
    uint64_t page = random_below(random_below(2) ? capacity : capacity / 50 + 1);
    unsigned op = (unsigned)random_below(100);
    if (op < 50) {
      assert_int_equal(pageset_add(&s, page), !model[page]);
      model[page] = true;
    } else if (op < 98) {
      assert_int_equal(pageset_remove(&s, page), model[page]);
      model[page] = false;
    } else if (op == 98) {
      uint64_t next = 1 + random_below(MAX - 64);
      assert_int_equal(pageset_resize(&s, next), 0);
      for (uint64_t i = next; i < MAX; i++) model[i] = false;
      capacity = next;
    } else if (random_below(20) == 0) {
      pageset_clear(&s);
      memset(model, 0, MAX);
    }
    assert_int_equal(pageset_has(&s, page), page < capacity && model[page]);
    if (step % 100 == 0) check_against(&s, model, MAX);
  }
  pageset_free(&s);
  free(model);
}

static void walk_follows_members(void **unused) {
  (void)unused;
  pageset s = { 0 };
  uint64_t capacity = UINT64_C(5) << 20, found = 0; /* 300 GiB of pages */
  assert_int_equal(pageset_resize(&s, capacity), 0);
  for (uint64_t p = 0; p < capacity; p += 100003) pageset_add(&s, p);
  clock_t start = clock();
  for (int round = 0; round < 100; round++)
    for (uint64_t p = pageset_next(&s, 0); p != PAGESET_END; p = pageset_next(&s, p + 1)) found++;
  assert_int_equal(found, 100 * s.count);
  assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 0.5);
  assert_int_equal(pageset_resize(&s, capacity * 2), 0);
  assert_int_equal(pageset_next(&s, 100004), 200006);
  pageset_free(&s);
}

int main(void) {
  const char *seed = getenv("PAGESTORE_SEED");
  state = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
  printf("seed %llu\n", (unsigned long long)state);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(empty_set), cmocka_unit_test(small_set_is_small), cmocka_unit_test(as_the_model),
    cmocka_unit_test(walk_follows_members),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
