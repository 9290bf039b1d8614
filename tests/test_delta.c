/* test_delta.c - deltas and the index of unflushed blocks: against a model of newest serials, from a printed seed. */

#include "storage_fixture.h"

static void a_delta_gives_back_what_was_added(void **unused) {
  (void)unused;
  uint8_t *page = calloc(1, PAGE_BYTES);
  uint64_t tags[PAGE_BLOCKS] = {5, 0, 7, 8};
  fill_page(page, tags);
  delta *d;
  assert_int_equal(delta_new(3, 7, &d), 0);
  delta_add(d, 1, 10, 0x000f, page);
  delta_add(d, 1, 11, 0, page);          /* nothing */
  delta_add(d, 1, 12, 0x8002, page);     /* zeros alone */
  delta_add(d, 2, 0, 0x0004, page);
  memset(page, 0xee, PAGE_BYTES);        /* it has copied */
  assert_int_equal(delta_blocks(d), 7);
  assert_true(delta_bytes(d) >= 4 * BLOCK_BYTES && delta_bytes(d) < 5 * BLOCK_BYTES);
  uint64_t at = 0;
  delta_page got;
  uint8_t expected[BLOCK_BYTES];
  assert_true(delta_next(d, &at, &got));
  assert_true(got.memory == 1 && got.page == 10 && got.mask == 0x000f);
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    fill_block(expected, tags[i]);
    if (i < 4) assert_memory_equal(got.block[i], expected, BLOCK_BYTES);
    else assert_null(got.block[i]);
  }
  assert_true(delta_next(d, &at, &got));
  assert_true(got.page == 12 && got.mask == 0x8002 && got.block[1] == got.block[15]);
  assert_true(delta_next(d, &at, &got));
  assert_true(got.memory == 2 && got.page == 0 && got.mask == 4);
  assert_false(delta_next(d, &at, &got));
  delta_release(d);
  delta_release(NULL);
  free(page);
}

static void an_impossible_delta_is_refused(void **unused) {
  (void)unused;
  delta *d;
  assert_int_equal(delta_new(UINT64_MAX / 8, 1, &d), PAGESTORE_ENOMEM);
  assert_int_equal(delta_new(1, UINT64_MAX / BLOCK_BYTES, &d), PAGESTORE_ENOMEM);
  assert_int_equal(delta_new(1, UINT64_MAX / 4, &d), PAGESTORE_ENOMEM);
  assert_int_equal(delta_new(0, 0, &d), 0);
  unflushed *none;
  assert_int_equal(unflushed_push(NULL, d, 1, 0, &none), 0);  /* an empty delta leaves the index as it is */
  assert_null(none);
  delta_release(d);
}

static unflushed *pushed(unflushed *old, delta *d, uint64_t serial, uint64_t cut) {
  unflushed *u;
  assert_int_equal(unflushed_push(old, d, serial, cut, &u), 0);
  assert_true(unflushed_is_valid(u));
  unflushed_release(old);
  delta_release(d);
  return u;
}

static uint64_t tag_of(const uint8_t *block) {
  uint64_t word;
  memcpy(&word, block, sizeof word);
  return word;
}

static uint64_t word_of(uint64_t tag) {
  uint8_t block[BLOCK_BYTES];
  fill_block(block, tag);
  return tag_of(block);
}

static void a_drop_takes_what_the_cut_kept_apart(void **unused) {
  (void)unused;
  const uint8_t *block[PAGE_BLOCKS];
  unflushed *u = NULL;
  for (uint64_t serial = 1; serial <= 9; serial++)  /* equal sizes merge at once; from 5 on a flush covers 1..4 */
    u = pushed(u, one_page_delta(1, serial % 3, 0x0101, serial), serial, serial <= 4 ? 0 : 4);
  assert_int_equal(unflushed_find(u, 1, 0, block), 0x0101);
  assert_int_equal(tag_of(block[8]), word_of(9));
  unflushed *dropped, *same;
  assert_int_equal(unflushed_drop(u, 2, &same), 0);  /* no run ends at 2: all of it stays, which is right */
  assert_ptr_equal(same, u);
  assert_int_equal(unflushed_drop(u, 4, &dropped), 0);
  assert_ptr_not_equal(dropped, u);
  assert_true(unflushed_is_valid(dropped));
  for (uint64_t page = 0; page < 3; page++) {
    assert_int_equal(unflushed_find(dropped, 1, page, block), 0x0101);
    assert_int_equal(tag_of(block[0]), word_of(page == 0 ? 9 : 6 + page));
  }
  assert_false(unflushed_has(dropped, 1, 3) || unflushed_has(dropped, 2, 0) || unflushed_has(NULL, 1, 0));
  unflushed *nothing;
  assert_int_equal(unflushed_drop(dropped, 9, &nothing), 0);
  assert_null(nothing);
  unflushed_release(same);
  unflushed_release(u);
  unflushed_release(dropped);
}

static void a_restamped_index_has_the_same_bytes_under_one_serial(void **unused) {
  (void)unused;
  unflushed *u = pushed(NULL, one_page_delta(1, 0, ALL_BLOCKS, 3), 7, 0), *fork, *dropped;
  u = pushed(u, one_page_delta(1, 1, 1, 4), 9, 0);
  assert_int_equal(unflushed_restamp(u, 1, &fork), 0);
  unflushed_release(u);
  assert_true(unflushed_is_valid(fork));
  fork = pushed(fork, one_page_delta(1, 1, 2, 5), 2, 1);
  const uint8_t *block[PAGE_BLOCKS];
  assert_int_equal(unflushed_find(fork, 1, 1, block), 3);
  assert_int_equal(tag_of(block[0]), word_of(4));
  assert_int_equal(unflushed_drop(fork, 1, &dropped), 0);
  assert_int_equal(unflushed_find(dropped, 1, 1, block), 2);
  assert_int_equal(unflushed_find(dropped, 1, 0, block), 0);
  assert_int_equal(unflushed_restamp(NULL, 1, &u), 0);
  assert_null(u);
  unflushed_release(fork);
  unflushed_release(dropped);
}

/* A merged run lets go of deltas that it shows nothing of: the index must not hold what nobody can see. */
static void a_hot_page_does_not_pile_up(void **unused) {
  (void)unused;
  unflushed *u = NULL;
  delta *first = one_page_delta(1, 0, 3, 1);
  u = pushed(u, delta_reference(first), 1, 0);
  for (uint64_t serial = 2; serial < 200; serial++) u = pushed(u, one_page_delta(1, 0, 3, serial), serial, 0);
  const uint8_t *block[PAGE_BLOCKS];
  assert_int_equal(unflushed_find(u, 1, 0, block), 3);
  assert_int_equal(tag_of(block[1]), word_of(199));
  assert_int_equal(*(_Atomic uint32_t *)(void *)first, 1);  /* its count comes first: only ours is left */
  delta_release(first);
  unflushed_release(u);
}

/* ---- the model: for every block the newest serial ------------------------------------------------------------------- */

enum { MEMORIES = 3, PAGES = 12 };
typedef struct { uint64_t serial[MEMORIES][PAGES][PAGE_BLOCKS]; } newest;

static delta *random_delta(uint64_t *random, uint64_t serial, newest *model) {
  static uint8_t bytes[PAGE_BYTES];
  uint64_t tags[PAGE_BLOCKS];
  delta *d;
  assert_int_equal(delta_new(MEMORIES * PAGES, MEMORIES * PAGES * PAGE_BLOCKS, &d), 0);
  uint64_t density = 1 + below(random, 12);
  for (uint32_t m = 0; m < MEMORIES; m++)
    for (uint64_t p = 0; p < PAGES; p++) {
      if (below(random, density) != 0) continue;
      uint16_t mask = (uint16_t)mix(random);
      for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
        tags[i] = serial % 5 == 0 ? 0 : serial;  /* every fifth writes zeros */
        if (mask >> i & 1) model->serial[m][p][i] = serial;
      }
      fill_page(bytes, tags);
      delta_add(d, m + 1, p, mask, bytes);
    }
  return d;
}

static void assert_index(const unflushed *u, const newest *model, uint64_t after) {
  const uint8_t *block[PAGE_BLOCKS];
  uint32_t memory = 0;
  uint64_t page = 0;
  delta_page next;
  for (uint32_t m = 0; m < MEMORIES; m++)
    for (uint64_t p = 0; p < PAGES; p++) {
      uint16_t found = unflushed_find(u, m + 1, p, block), must = 0;
      for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
        uint64_t serial = model->serial[m][p][i];
        if (serial > after) must |= (uint16_t)(1u << i);
        if (found >> i & 1) assert_int_equal(tag_of(block[i]), serial % 5 == 0 ? 0 : word_of(serial));
        else assert_null(block[i]);
      }
      assert_int_equal(found & must, must);  /* it may hold more: what a run across the cut kept */
      assert_int_equal(unflushed_has(u, m + 1, p), found != 0);
      if (found == 0) continue;
      assert_true(unflushed_next(u, memory, page, &next));
      assert_true(next.memory == m + 1 && next.page == p && next.mask == found);
      assert_memory_equal(next.block, block, sizeof block);
      memory = next.memory;
      page = next.page + 1;
    }
  assert_false(unflushed_next(u, memory, page, &next));
}

static void the_index_agrees_with_a_model(void **unused) {
  (void)unused;
  uint64_t random = test_seed("test_delta");
  newest model = {0};
  unflushed *u = NULL, *kept = NULL, *shorter;
  newest kept_model = {0};
  uint64_t dropped = 0, cut = 0;
  for (uint64_t serial = 1; serial < 600; serial++) {
    u = pushed(u, random_delta(&random, serial, &model), serial, cut);
    if (below(&random, 8) == 0) cut = serial;                          /* a flush takes all there is */
    else if (cut > dropped && below(&random, 4) == 0) {                /* and ends */
      assert_int_equal(unflushed_drop(u, dropped = cut, &shorter), 0);
      unflushed_release(u);
      u = shorter;
    }
    if (below(&random, 50) == 0) {                                     /* a view keeps it */
      unflushed_release(kept);
      kept = unflushed_reference(u);
      kept_model = model;
    }
    assert_index(u, &model, dropped);
    if (kept != NULL && serial % 16 == 0) {
      assert_true(unflushed_is_valid(kept));
      assert_index(kept, &kept_model, serial);
    }
  }
  unflushed_release(u);
  unflushed_release(kept);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_delta_gives_back_what_was_added),
      cmocka_unit_test(an_impossible_delta_is_refused),
      cmocka_unit_test(a_drop_takes_what_the_cut_kept_apart),
      cmocka_unit_test(a_restamped_index_has_the_same_bytes_under_one_serial),
      cmocka_unit_test(a_hot_page_does_not_pile_up),
      cmocka_unit_test(the_index_agrees_with_a_model),
  };
  return cmocka_run_group_tests_name("delta", tests, NULL, NULL);
}
